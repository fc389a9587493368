"""Operands that stay in memory: one linear map in both directions, any number of times."""

from __future__ import annotations

import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

import nqz
from nqz.ground.threads import Workers
from nqz.product import kept, resident
from nqz.product.integers import load
from nqz.product.stream import Stream

N, COLUMNS = 256, 90


def matrix(**options):
    """Return a compressed matrix of columns of all kinds."""
    return nqz.open(encoded(tuple(options.items()))).matrix


@cache
def encoded(options):
    """Return its container."""
    options = dict(options)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((N, COLUMNS)) + rng.standard_normal(COLUMNS) * 3.0
    a[:, 1], a[:, 2] = 0.0, 2.5
    a[:, 3] *= 1e-7  # too quiet to be coded beside the others
    a[:, 4] *= 300.0  # loud
    if options.get("axis") == 1:
        a = a.T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the loud column
        return nqz.encode(a, **{"rate": 3, **options})


CASES = {
    "entropy": {},
    "axis 1": {"axis": 1},
    "low": {"rate": 0.7},
    "high": {"rate": 5},
    "very high": {"rate": 11},
    "fewer coordinates": {"rate": 0.9, "kappa": 0.6},
    "no means": {"center": False},
    "nested": {"coding": "voronoi", "lattice": "e8"},
    "nested, high": {"coding": "voronoi", "lattice": "d4", "rate": 5},
    "trellis": {"coding": "trellis", "rate": 2.3},
    "trellis, high": {"coding": "trellis", "rate": 4, "axis": 1},
}


@pytest.mark.parametrize("estimator", ["mmse", "unbiased"])
@pytest.mark.parametrize("case", CASES)
def test_products_are_those_of_the_decoded_matrix_and_adjoint(case, estimator):
    m = matrix(**CASES[case])
    expected = m.decode(np.float64, estimator)
    rng = np.random.default_rng(1)
    rows, columns = expected.shape
    b, c = rng.standard_normal((rows, 2)), rng.standard_normal((columns, 3))
    as_coded = CASES[case].get("coding") == "trellis"
    for exact, tolerance in ((False, 1e-4 if as_coded else 1e-6), (True, 1e-12)):
        x = m.operand(estimator, exact=exact)
        assert (x.shape, x.dtype, x.n, x.axis, len(x)) == (m.shape, np.float64, N, m.axis, rows)
        one, other = x.T @ b, x @ c
        for found, wanted in ((one, expected.T @ b), (other, expected @ c)):
            # decoding rotates in float32
            assert np.abs(found - wanted).max() <= (3e-6 if exact else 3 * tolerance) * np.linalg.norm(wanted)
        dots = one.T @ c - b.T @ other
        assert np.abs(dots).max() <= tolerance * np.linalg.norm(one) * np.linalg.norm(c)
        assert np.array_equal(x.T @ b[:, 1], one[:, 1]) and np.array_equal(b.T @ x, one.T)
        # the number is known beforehand, but for points beyond the type of their columns, a few in 65536
        assert m.operand_nbytes <= x.nbytes <= m.operand_nbytes + 24 * (64 + m.size // 4096)


def test_a_trellis_stays_as_it_is_coded_and_is_multiplied_so_by_any_threads(monkeypatch):
    m = matrix(coding="trellis", rate=2)
    with monkeypatch.context() as patched:
        patched.setattr(kept, "CHUNK_ENTRIES", 1)
        patched.setattr(resident, "_ALONE", 0)
        one, many = m.operand(threads=1), m.operand(threads=3)
        assert one.nbytes == m.operand_nbytes < 0.4 * m.size  # two bits an entry, and three numbers a column
        b, c = np.random.default_rng(7).standard_normal((2, N, 3))
        assert np.array_equal(one.T @ b, many.T @ b)
        assert np.array_equal(one @ c[:COLUMNS], pickle.loads(pickle.dumps(many)) @ c[:COLUMNS])  # noqa: S301 (our own)


def test_points_take_a_byte_or_two_each_column_as_it_needs():
    loud = matrix(rate=2).operand()
    assert N * COLUMNS < loud.nbytes < 1.4 * N * COLUMNS  # one column takes two
    assert 1.8 * N * COLUMNS < matrix(rate=5).operand().nbytes < 2.4 * N * COLUMNS


def test_columns_of_all_magnitudes_are_multiplied_as_they_are():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((N, 6)) * [1e300, 1e150, 1.0, 1e-150, 1e-300, 0.0]
    # scales of columns follow their norms
    m = nqz.open(nqz.encode(a, rate=6, coding="voronoi", lattice="z")).matrix
    decoded = m.decode()
    b = rng.standard_normal(N)
    for exact in (False, True):
        x = m.operand(exact=exact)
        np.testing.assert_allclose(x.T @ b, decoded.T @ b, rtol=3e-5)
        for j in range(6):
            unit = np.zeros(6)
            unit[j] = 1e-7
            np.testing.assert_allclose(x @ unit, decoded[:, j] * 1e-7, rtol=1e-4, atol=1e-310)
    np.testing.assert_allclose(x.T @ (b * 1e-300), (decoded.T @ b) * 1e-300, rtol=1e-4, atol=1e-310)
    with pytest.raises(nqz.OperandError, match=r"entry \[0\] of the product overflows"):
        x.T @ (b * 1e30)


def test_products_are_the_same_bytes_for_any_number_of_threads_and_callers(monkeypatch):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(kept, "_LEAST", 1000)
    monkeypatch.setattr(kept, "_WIDE", 100)  # several parts across, too
    monkeypatch.setattr(resident, "_ALONE", 0)
    m, b, c = matrix(), rng.standard_normal((N, 5)), rng.standard_normal(COLUMNS)
    one = m.operand(threads=1)
    assert len(one._resident.parts) > 10
    expected = one.T @ b, one @ c
    many = m.operand(threads=4)
    with ThreadPoolExecutor(4) as pool:
        for first, second in pool.map(lambda _: (many.T @ b, many @ c), range(8)):
            assert np.array_equal(first, expected[0]) and np.array_equal(second, expected[1])
    monkeypatch.undo()
    assert np.array_equal(m.operand().T @ b, expected[0])


def test_points_far_beyond_their_norms_are_kept_apart_or_in_wider_types():
    rng = np.random.default_rng(4)
    for beyond, count in ((1000, 3), (40_000, 3000), (1 << 24, 5000), ((1 << 31) - 1, 9000)):
        y = rng.integers(-90, 90, (70, 300), dtype=np.int32)
        y.reshape(-1)[:: y.size // count][:count] = rng.choice([-beyond, beyond], count)
        stream = Stream(np.arange(70), [0], lambda _, y=y: (0, y.reshape(-1)))
        whole = load(stream, 70, 300, None, 20.0, Workers(1))
        b, w = (rng.integers(-9000, 9000, shape).astype(np.int16) for shape in ((2, 300), (3, 70)))
        products, sums = np.zeros((70, 2), np.int64), np.zeros((3, 300), np.int64)
        for part in kept._parts(whole, np.arange(70), 5000):
            products[part.columns] += part.products(np.ascontiguousarray(b[:, part.coordinates]))
            sums[:, part.coordinates] += part.sums(np.ascontiguousarray(w[:, part.columns]))
        assert np.array_equal(products, y.astype(np.int64) @ b.T.astype(np.int64))
        assert np.array_equal(sums, w.astype(np.int64) @ y)


def test_an_operand_outlives_its_file_and_can_be_pickled(tmp_path):
    a = np.random.default_rng(5).standard_normal((64, 20), np.float32)
    nqz.encode({"w": a}, tmp_path / "a.nqz", rate=4)
    with nqz.open(tmp_path / "a.nqz") as container:
        x = container["w"].operand("unbiased")
        turned = container["w"].T.operand("unbiased")
    (tmp_path / "a.nqz").unlink()
    b = np.ones(64)
    expected = x.T @ b
    assert np.array_equal(turned @ b, expected) and turned.shape == (20, 64)
    assert np.array_equal(pickle.loads(pickle.dumps(x)).T @ b, expected)  # noqa: S301 (our own)
    assert "unbiased" in repr(x) and "'w'" in repr(x)


def test_arrays_of_no_columns_and_matrices_of_one_dimension_or_three_are_multiplied():
    rng = np.random.default_rng(6)
    m = matrix()
    x = m.operand()
    assert (x.T @ np.zeros((N, 0))).shape == (COLUMNS, 0) and (x @ np.zeros((COLUMNS, 0))).shape == (N, 0)
    assert not (x @ np.zeros(COLUMNS)).any() and not (x.T @ np.zeros(N)).any()
    line = nqz.open(nqz.encode(rng.standard_normal(300), rate=4)).matrix
    np.testing.assert_allclose(line.operand().T @ np.ones(300), [line.decode().sum()], rtol=1e-4)
    cube = nqz.open(nqz.encode(rng.standard_normal((4, 30, 50)), rate=4, axis=0)).matrix
    flat = cube.decode(np.float64).reshape(120, 50)
    np.testing.assert_allclose(cube.operand() @ np.ones(50), flat.sum(1), atol=1e-5)
    silent = nqz.open(nqz.encode(np.zeros((40, 7)), rate=4)).matrix
    assert not (silent.operand() @ np.ones(7)).any()


def test_what_is_no_vector_for_an_operand_is_told_apart():
    m = matrix()
    x = m.operand()
    infinite = np.where(np.arange(2 * COLUMNS) == 7, np.inf, 0.0).reshape(-1, 2)
    for bad, error, text in (
        (np.ones(N + 1), nqz.OperandError, rf"one of {COLUMNS} entries along its first axis"),
        (np.ones((COLUMNS, 2, 2)), nqz.OperandError, "at most two axes"),
        (3.0, nqz.OperandError, "of shape"),
        (np.full(COLUMNS, np.nan), nqz.UnsupportedError, r"entry \[0\] of the array is not finite"),
        (infinite, nqz.UnsupportedError, r"\[3, 1\]"),
        (np.ones(COLUMNS, complex), nqz.UnsupportedError, "complex128"),
        (["a"] * COLUMNS, nqz.UnsupportedError, "dtype"),
        (np.ma.masked_array(np.ones(COLUMNS), np.arange(COLUMNS) == 1), nqz.UnsupportedError, "masked"),
        (m, nqz.OperandError, "both sides are compressed"),
        (x, nqz.OperandError, "both sides are compressed"),
    ):
        with pytest.raises(error, match=text):
            x @ bad
    with pytest.raises(nqz.OperandError, match="along its last axis"):
        np.ones((2, 3)) @ x
    with pytest.raises(nqz.UsageError, match="mmse or unbiased"):
        m.operand("auto")
    exact = nqz.open(nqz.encode({"i": np.arange(6), "w": np.zeros((40, 8))}, rate=4))
    with pytest.raises(nqz.OperandError, match="carried exactly"):
        exact["i"].operand()


def test_whole_numbers_and_narrow_types_are_taken_as_they_are():
    x = matrix().operand(exact=True)
    b = np.arange(COLUMNS) % 5
    expected = x @ b.astype(np.float64)
    assert np.array_equal(x @ b, expected) and np.array_equal(x @ b.tolist(), expected)
    assert np.array_equal(x @ b.astype(np.float16), expected)


def test_scipy_is_used_where_it_is_and_asked_for_where_it_is_not(monkeypatch):
    x = matrix().operand(exact=True)
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    with pytest.raises(nqz.UnsupportedError, match="pip install scipy"):
        x.as_linear_operator()
    module = SimpleNamespace(LinearOperator=lambda shape, **maps: SimpleNamespace(shape=shape, **maps))
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", module)
    found = x.as_linear_operator()
    b, c = np.ones((N, 1)), np.ones((COLUMNS, 2))
    assert found.shape == x.shape and found.dtype == np.float64
    assert np.array_equal(found.rmatvec(b), x.T @ b) and np.array_equal(found.matvec(c[:, :1]), x @ c[:, :1])
    assert np.array_equal(found.rmatmat(b), x.T @ b) and np.array_equal(found.matmat(c), x @ c)
