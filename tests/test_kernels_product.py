"""The product's kernels: against the reference bit for bit, and against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest

from nqz import kernels
from remembered import reference

EVERY = list(kernels.implementations().values())
SHAPES = [(1, 1), (3, 5), (12, 32), (13, 33), (6, 17), (70, 300), (0, 4), (5, 0)]


def integers(rng, shape, dtype, extreme):
    """Entries of the whole range of a type; `extreme`: its ends, and one off, only."""
    info = np.iinfo(dtype)
    if extreme:
        return rng.choice([info.min, info.min + 1, info.max], shape).astype(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("types", [(np.int8, np.int8), (np.int16, np.int16), (np.int8, np.int16)], ids=str)
@pytest.mark.parametrize("m", [0, 1, 2, 3, 4, 5, 63, 64, 65, 130, 1025, 2051])
@pytest.mark.parametrize("extreme", [False, True])
def test_integer_products_equal_the_reference(native, types, m, extreme):
    rng = np.random.default_rng(m)
    for rows, columns in SHAPES:
        a, b = (integers(rng, (w, m), t, extreme) for w, t in zip((rows, columns), types, strict=True))
        expected, actual = (np.full((rows, columns), 77, np.int32) for _ in range(2))
        reference.integer_product(a, b, expected)
        native.integer_product(a, b, actual)
        assert np.array_equal(expected, actual)
        wide = np.zeros((rows, m + 7), types[0])
        wide[:, 3 : 3 + m] = a
        around = np.full((rows, columns + 9), 77, np.int32)
        native.integer_product(wide[:, 3 : 3 + m], b, around[:, 4 : 4 + columns])
        assert np.array_equal(expected, around[:, 4 : 4 + columns])
        assert (around[:, :4] == 77).all() and (around[:, 4 + columns :] == 77).all()


@pytest.mark.parametrize("spread", [3, 9, 14, 17, 25, 60])
def test_products_of_bytes_of_all_spreads_are_exact(native, spread):
    """How many products are summed in int16 follows from the largest entries near each other, some of them loud."""
    rng = np.random.default_rng(spread)
    a, b = (
        np.rint(rng.standard_normal((w, 4200)) * spread).clip(-128, 127).astype(np.int8) for w in (40, 150)
    )
    a[7, 100:300], b[11, 90:350], b[140, 2040:2060] = 127, 127, -128
    out = np.empty((40, 150), np.int32)
    native.integer_product(a, b, out)
    assert np.array_equal(out, a.astype(np.int64) @ b.T.astype(np.int64))
    x, y = np.abs(a[:, :33].clip(-127)), -np.abs(b[:, :33].clip(-127))
    native.integer_product(x, y, out)
    assert np.array_equal(out, x.astype(np.int64) @ y.T.astype(np.int64))


@pytest.mark.parametrize("dtype, values", [(np.int8, (-128, -127, 127)), (np.int16, (-32767, 32767))])
@pytest.mark.parametrize("implementation", EVERY)
def test_integer_products_are_exact_where_they_fit(implementation, dtype, values):
    """Sums of equal extremes next to 2³¹, against Python's integers."""
    for x in values:
        for y in values:
            m = ((1 << 31) - 1) // abs(x * y)
            m = min(m, 3001)
            a, b = np.full((2, m), x, dtype), np.full((3, m), y, dtype)
            a[1, ::2] = 1
            out = np.empty((2, 3), np.int32)
            implementation.integer_product(a, b, out)
            ones = (m + 1) // 2
            assert out[0].tolist() == [x * y * m] * 3
            assert out[1].tolist() == [y * ones + x * y * (m - ones)] * 3


def test_integer_products_of_what_does_not_fit_together_are_refused(native):
    out = np.empty((2, 2), np.int32)
    for a, b in [
        (np.zeros((2, 4), np.int8), np.zeros((2, 5), np.int8)),
        (np.zeros((2, 4), np.int32), np.zeros((2, 4), np.int8)),
        (np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.int8)),
        (np.zeros((3, 4), np.int8), np.zeros((2, 4), np.int8)),
        (np.zeros((2, 8), np.int8)[:, ::2], np.zeros((2, 4), np.int8)),
    ]:
        with pytest.raises(ValueError):
            native.integer_product(a, b, out)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("m", [1, 7, 64, 1000])
def test_narrowing_equals_the_reference(native, dtype, m):
    rng = np.random.default_rng(m)
    for start, count in [(0, 1), (3, 2500), (m, 3 * m), (2 * m + 1, 5)]:
        points = (rng.standard_normal(count) * rng.choice([10, 1000, 1e6, 1e9], count)).clip(
            -(2.0**31), 2**31 - 1
        )
        points = points.astype(np.int32)
        points[0] = -(1 << 31)
        rows = (start + count - 1) // m + 1
        place = rng.permutation(rows + 3)[:rows].astype(np.int64)
        expected, actual = (np.full((rows + 3, m), 5, dtype) for _ in range(2))
        clipped = reference.narrow(points, start, place, expected)
        assert native.narrow(points, start, place, actual) == clipped
        assert clipped == (0 if dtype == np.int32 else (np.clip(points, *_ends(dtype)) != points).sum())
        assert np.array_equal(expected, actual)


def _ends(dtype):
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def test_narrowing_stays_within_its_rows(native):
    points, out = np.zeros(10, np.int32), np.zeros((3, 4), np.int8)
    for start, place in [(0, [0, 1]), (4, [0, 1, 2]), (-1, [0, 1, 2]), (0, [0, 3, 1]), (0, [0, -1, 1])]:
        with pytest.raises(ValueError):
            native.narrow(points, start, np.array(place, np.int64), out)
    assert not out.any()


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_row_energies_are_exact(native, dtype):
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (3, 4099), (0, 5), (4, 0)]:
        rows = integers(rng, shape, dtype, True)
        out = np.full(len(rows), -1, np.int64)
        native.row_energies(rows, out)
        assert out.tolist() == [sum(int(x) ** 2 for x in row) for row in rows]


@pytest.mark.parametrize("m", [1, 5, 4096, 5000])
def test_point_products_equal_the_reference(native, m):
    rng = np.random.default_rng(m)
    for start, count, few in [(0, 1, 1), (m + 3, 2 * m + 3000, 3), (7, 5000, 16), (2, 50, 0)]:
        points = rng.integers(-(1 << 31), 1 << 31, count).astype(np.int32)
        vectors = rng.integers(-(1 << 31), 1 << 31, (few, m)).astype(np.int32)
        touched = (start + count - 1) // m - start // m + 1
        expected, actual = (np.full((touched, few), 3, np.int64) for _ in range(2))
        most = reference.point_products(points, start, vectors, expected)
        assert native.point_products(points, start, vectors, actual) == most
        assert np.array_equal(expected, actual)
    assert (
        native.point_products(
            np.full(9, -(1 << 31), np.int32), 0, np.zeros((0, 9), np.int32), np.zeros((1, 0), np.int64)
        )
        == 1 << 31
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [0, -3, 900, -1074, 1500, -2044, 2044])
def test_estimates_equal_the_reference(native, dtype, exponent):
    rng = np.random.default_rng(abs(exponent))
    for rows, columns in [(1, 1), (5, 70), (33, 9), (0, 3)]:
        for raw in (
            rng.integers(-(1 << 31), 1 << 31, (rows, columns + 2)).astype(np.int32)[:, 1:-1],
            rng.standard_normal((rows, columns)) * 1e17,
        ):
            units = [10.0 ** rng.integers(-9, 3, w) * rng.random(w) for w in (rows, columns)]
            spreads = [1 + rng.random(w) for w in (rows, columns)]
            spreads[1][::4] = np.inf
            means = [rng.standard_normal(w) for w in (rows, columns)]
            arguments = (*units, *spreads, *means, 1.25, 0.3, 1.7, 400.0, exponent)
            expected, actual = (np.empty((rows, columns), dtype) for _ in range(2))
            position = reference.estimate(raw, *arguments, expected)
            assert native.estimate(raw, *arguments, actual) == position
            assert expected.tobytes() == actual.tobytes()
            bad = np.flatnonzero(~np.isfinite(expected.ravel()))
            assert position == (bad[0] if len(bad) else -1)


def test_estimates_are_what_the_formula_says():
    raw = np.array([[6, -4]], np.int32)
    out = np.empty((1, 2))
    one, spread = np.array([2.0]), np.array([1.5])
    reference.estimate(
        raw, one, np.array([0.5, 3.0]), spread, np.array([2.0, np.inf]), np.array([0.25]), np.array([8.0, 0.0]),
        2.0, 0.75, 0.5, 10.0, 3, out,
    )  # fmt: skip
    nu = 1.5 * 2.0 * 2.0 - 1.0
    assert out[0].tolist() == pytest.approx(
        [8 * 6 * 2.0 * 0.5 * 0.5 / (0.75 + nu) + 10 * 0.25 * 8.0, 0.0], rel=1e-15
    )


def test_group_energies_equal_the_reference(native):
    rng = np.random.default_rng(4)
    for rows, columns, groups in [(1, 1, 1), (40, 1030, 5), (17, 20, 17), (6, 5, 0)]:
        order = rng.permutation(rows).astype(np.int64)[: rows if groups else 0]
        inner = np.sort(rng.integers(0, len(order) + 1, max(groups - 1, 0)))
        edges = (
            np.concatenate([[0], inner, [len(order)]]).astype(np.int64) if groups else np.zeros(1, np.int64)
        )
        unit = rng.random(rows)
        for raw in (
            rng.integers(-(1 << 31), 1 << 31, (rows, columns + 2)).astype(np.int32)[:, 1:-1],
            rng.standard_normal((rows, columns)) * 1e17,
        ):
            for skips, diagonal in ((False, 0), (True, 0), (True, -2), (True, 3)):
                expected, actual = (np.full((len(edges) - 1, columns), 9.0) for _ in range(2))
                reference.group_energies(raw, order, edges, unit, skips, diagonal, expected)
                native.group_energies(raw, order, edges, unit, skips, diagonal, actual)
                assert expected.tobytes() == actual.tobytes()
            if groups and rows > 20:
                other = raw.copy()
                other[np.arange(3, rows), np.arange(rows - 3)] = 0
                native.group_energies(np.ascontiguousarray(other), order, edges, unit, False, 0, expected)
                assert np.array_equal(expected, actual)


def _columns(rng, count, far):
    """What `deviations` takes of columns: some silent, some not coded, some with means far from float64's middle."""
    out = 10.0 ** rng.integers(-9, 3, (5, count)) * rng.random((5, count))
    out[:, ::7] = 0.0
    out[2, 2::5] = np.inf
    out[3] *= 10.0 ** (far * rng.integers(-1, 2, count))
    out[4, ::3] = 0.0
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent, far", [(0, 0), (-3, 100), (900, 0), (-1074, 200), (1500, 3), (-2044, 0)])
def test_deviations_equal_the_reference(native, dtype, exponent, far):
    rng = np.random.default_rng(abs(exponent))
    for rows, columns in [(1, 1), (5, 70), (33, 9), (0, 3)]:
        for raw in (
            rng.integers(-(1 << 31), 1 << 31, (rows, columns + 2)).astype(np.int32)[:, 1:-1],
            rng.standard_normal((rows, columns)) * 1e17,
        ):
            sides = _columns(rng, rows, far), _columns(rng, columns, far)
            group = rng.integers(0, 3, rows).astype(np.int32)
            theta = rng.random((3, columns)) * 10.0 ** rng.integers(-5, 4, (3, columns))
            estimates = (rng.standard_normal((rows, columns)) * 1e3).astype(dtype)
            estimates[:, :1] = 0.0
            for shrink, kappa, related in (
                (0.0, 1.0, 0.0),
                (0.0, 0.5, 1.0),
                (0.7, 0.75, 0.25),
                (1.0, 1.0, -0.8),
            ):
                arguments = (
                    raw,
                    *sides,
                    group,
                    theta,
                    shrink,
                    kappa,
                    related,
                    400.0,
                    1e-8,
                    exponent,
                    estimates,
                )
                expected, actual = (np.full((rows, columns), 7.0, dtype) for _ in range(2))
                found = reference.deviations(*arguments, expected)
                assert native.deviations(*arguments, actual) == found
                assert expected.tobytes() == actual.tobytes()
                assert found[1] == np.isnan(expected).sum()
                infinite = np.flatnonzero(np.isinf(expected.ravel()))
                assert found[0] == (infinite[0] if len(infinite) else -1)


def test_deviations_are_what_the_formula_says():
    n, kappa, theta, related = 16.0, 0.5, 3.0, 1.0
    raw = np.array([[6, -4]], np.int32)
    a = np.array([[0.01], [5.0], [0.5], [0.25], [2.0**-3]])
    b = np.array([[0.02, 0.01], [3.0, 2.0], [0.25, np.inf], [0.5, 0.5], [2.0**-4, 0.0]])
    estimates = np.array([[1000.0, 0.0]])
    for shrink in (0.0, 0.4):
        out = np.empty((1, 2))
        found = reference.deviations(
            raw, a, b, np.zeros(1, np.int32), np.full((1, 2), theta), shrink, kappa, related, n, 1e-3, 1, estimates, out
        )  # fmt: skip
        nu = 1.5 * 1.25 / kappa - 1.0
        cosine = 6 * 0.01 * 0.02 / kappa
        alpha = 1 / (1 + shrink * nu)
        noise = nu + related * (theta / n if shrink else cosine**2)
        square = (alpha**2 * noise + (1 - alpha) ** 2 * theta) * (15.0 * 2) ** 2 / n
        square += (0.25 * 2.0**-4) ** 2 + (0.5 * 2.0**-3) ** 2 + (512 * 1e-3) ** 2
        assert out[0, 0] == pytest.approx(np.sqrt(square), rel=1e-14)
        assert np.isnan(out[0, 1])
        assert found == (-1, 1, 0)


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_selecting_equals_the_reference(native, dtype):
    rng = np.random.default_rng(5)
    for rows, columns in [(1, 1), (5, 3), (40, 64), (7, 131), (0, 4), (4, 0)]:
        around = rng.integers(-1000, 1000, (rows, columns + 3)).astype(dtype)
        raw = around[:, 1 : columns + 1]
        for reach in (0.0, 0.3):
            a, b = rng.standard_normal((4, rows)), rng.standard_normal((3, columns))
            a[2, ::3] = -np.inf  # never selected
            b[2] *= reach
            for level in (-np.inf, 0.0, 800.0, np.inf):
                limit = level + rng.standard_normal(columns)
                for space in (0, 2, rows * columns):
                    found = []
                    for kernel in (reference, native):
                        row, column = np.full(space, 7, np.int32), np.full(space, 7, np.int32)
                        score = np.full(space, 7.0)
                        count = kernel.select(raw, a, b, limit, row, column, score)
                        found.append((count, row.tolist(), column.tolist(), score.tobytes()))
                    assert found[0] == found[1]


def test_selecting_what_does_not_fit_together_is_refused(native):
    def arguments():
        return {
            "raw": np.zeros((2, 3), np.int32), "a": np.zeros((4, 2)), "b": np.zeros((3, 3)), "limit": np.zeros(3),
            "row": np.zeros(5, np.int32), "column": np.zeros(5, np.int32), "score": np.zeros(5),
        }  # fmt: skip

    assert native.select(**arguments()) == 0
    for name, wrong in [
        ("raw", np.zeros((2, 3), np.int64)), ("a", np.zeros((4, 3))), ("b", np.zeros((2, 3))), ("limit", np.zeros(2)),
        ("row", np.zeros(4, np.int32)), ("score", np.zeros(6)),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            native.select(**{**arguments(), name: wrong})


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@pytest.mark.parametrize("shape", [(1, 1), (9, 31), (13, 513), (530, 2100), (0, 4), (4, 0)], ids=str)
def test_rows_times_few_vectors_equal_the_reference_both_ways(native, dtype, shape):
    rng, (w, m) = np.random.default_rng(shape), shape
    for extreme in (False, True):
        rows = integers(rng, (w, m + 5), dtype, extreme)[:, 2 : 2 + m]
        if dtype == np.int16 and not extreme:
            rows //= 100
        most = int(np.abs(rows.astype(np.int64)).max(initial=0))
        for few in (0, 1, 3, 6, 38) if w < 500 else (3, 13):
            for name, width, out in (("row_products", m, (w, few)), ("row_sums", w, (few, m))):
                factors = rng.choice([-(1 << 14), 1 << 14, 5, -77], (few, width)).astype(np.int16)
                expected, actual = (np.full(out, 77, np.int64) for _ in range(2))
                getattr(reference, name)(rows, most, factors, expected)
                getattr(native, name)(rows, most, factors, actual)
                assert np.array_equal(expected, actual)


@pytest.mark.parametrize("implementation", EVERY)
def test_rows_and_vectors_that_do_not_fit_together_are_refused(implementation):
    rows, out = np.zeros((3, 4), np.int8), np.zeros((3, 1), np.int64)
    for vectors in (np.zeros((1, 5), np.int16), np.full((1, 4), (1 << 14) + 1, np.int16)):
        with pytest.raises(ValueError):
            implementation.row_products(rows, 128, vectors, out)
        with pytest.raises(ValueError):
            implementation.row_sums(rows.T.copy(), 128, vectors, out.T.copy())
    vectors = np.zeros((1, 4), np.int16)
    for most in (-1, (1 << 15) + 1):
        with pytest.raises(ValueError):
            implementation.row_products(rows, most, vectors, out)
        with pytest.raises(ValueError):
            implementation.row_sums(rows.T.copy(), most, vectors, out.T.copy())
    with pytest.raises(ValueError):
        implementation.row_products(rows.astype(np.int32), 128, vectors, out)


@pytest.mark.parametrize("most", [127, 255, 2047, 16383, 16384, 32767])
def test_sums_of_the_largest_products_do_not_overflow(native, most):
    rows = np.full((1100, 40), most, np.int16)
    for few in (1, 2, 6):
        weights = np.full((few, len(rows)), -(1 << 14), np.int16)
        out = np.empty((few, 40), np.int64)
        native.row_sums(rows, most, weights, out)
        assert (out == -1100 * most * (1 << 14)).all()
        out = np.empty((40, few), np.int64)
        native.row_products(np.ascontiguousarray(rows.T), most, weights, out)
        assert (out == -1100 * most * (1 << 14)).all()
