"""Statistics, centering and rotation: against the reference bit for bit, and against what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nqz import kernels
from remembered import reference

LAYOUTS = ("C", "F", "strided", "reversed")


def arrange(block, layout):
    """Return the same matrix with other strides."""
    if layout == "strided":
        wide = np.zeros((2 * block.shape[0], 3 * block.shape[1]), dtype=block.dtype)
        wide[::2, ::3] = block
        return wide[::2, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(block[::-1, ::-1])[::-1, ::-1]
    return np.asarray(block, order=layout)


def random_block(rng, rows, width, dtype):
    """Entries of many magnitudes, zeros, subnormals and extremes among them."""
    if dtype == "bfloat16":
        bits = rng.integers(0, 2**16, (rows, width)).astype(np.uint16)
        bits[(bits & 0x7F80) == 0x7F80] = 0
        return bits, True
    info = np.finfo(dtype)
    x = rng.standard_normal((rows, width)) * 2.0 ** rng.integers(-12, 12, (rows, width))
    pick = rng.integers(0, 12, (rows, width))
    with np.errstate(over="ignore"):
        x = np.clip(x, info.min, info.max).astype(dtype)
    x[pick == 0] = 0
    x[pick == 1] = info.smallest_subnormal * 3
    x[pick == 2] = info.max
    x[pick == 3] = -info.tiny
    return x, False


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_statistics_equal_the_reference(native, dtype, layout):
    rng = np.random.default_rng(2)
    for rows, width in [(1, 1), (3, 300), (70, 17), (130, 33), (5, 0), (0, 4)]:
        block, brain = random_block(rng, rows, width, dtype)
        exponent = rng.choice([-1100, -1040, -20, 0, 3, 128, 1024, 1100], width).astype(np.int32)
        state = rng.standard_normal((4, width))
        for started in (False, True):
            expected, actual = state.copy(), state.copy()
            assert reference.column_statistics(block, brain, expected, exponent, started) == -1
            assert native.column_statistics(arrange(block, layout), brain, actual, exponent, started) == -1
            assert expected.tobytes() == actual.tobytes()


def test_statistics_do_not_depend_on_how_rows_are_cut(native):
    rng = np.random.default_rng(3)
    block = rng.standard_normal((101, 20)).astype(np.float32)
    exponent = np.zeros(20, dtype=np.int32)
    whole, parts = np.zeros((4, 20)), np.zeros((4, 20))
    native.column_statistics(block, False, whole, exponent, False)
    for first in range(0, 101, 7):
        native.column_statistics(block[first : first + 7], False, parts, exponent, first > 0)
    assert whole.tobytes() == parts.tobytes()
    wide = block.astype(np.float64)
    assert np.allclose(whole[0] * 101 + whole[1], wide.sum(axis=0), atol=1e-9)
    assert (whole[3] == np.abs(wide).max(axis=0)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_first_entry_that_is_not_finite_is_found(native, dtype, layout):
    rng = np.random.default_rng(4)
    for bad in (np.inf, -np.inf, np.nan):
        block = rng.standard_normal((70, 40)).astype("float32" if dtype == "bfloat16" else dtype)
        for i, j in ((31, 17), (31, 20), (69, 0)):
            block[i, j] = bad
        brain = dtype == "bfloat16"
        if brain:
            block = (block.view(np.uint32) >> 16).astype(np.uint16)
        for implementation in (native, reference):
            state, exponent = np.zeros((4, 40)), np.zeros(40, dtype=np.int32)
            found = implementation.column_statistics(arrange(block, layout), brain, state, exponent, False)
            assert found == 31 * 40 + 17


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_center_equals_the_reference(native, dtype, layout):
    rng = np.random.default_rng(5)
    for n, width in [(1, 1), (200, 3), (65, 40), (3, 0), (64, 16)]:
        block, brain = random_block(rng, n, width, dtype)
        mean = rng.standard_normal(width) * 2.0 ** rng.integers(-5, 5, width)
        exponent = rng.choice([-1100, -20, 0, 3, 128, 1024, 1100], width).astype(np.int32)
        expected, actual = np.full((width, n), 7, np.float32), np.full((width, n), 8, np.float32)
        reference.center_rotate(block, brain, mean, exponent, expected)
        native.center_rotate(arrange(block, layout), brain, mean, exponent, actual)
        assert expected.tobytes() == actual.tobytes()


def test_center_survives_the_largest_numbers(native):
    largest = np.finfo(np.float64).max
    block = np.array([[largest], [-largest]])
    out = np.empty((1, 2), dtype=np.float32)
    native.center_rotate(block, False, np.array([-largest]), np.array([1024], dtype=np.int32), out)
    assert out.tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_center_puts_columns_into_their_rows(native, dtype, layout):
    rng = np.random.default_rng(12)
    sizes = [(1, 1, 3), (200, 35, 40), (65, 40, 9), (3, 0, 2), (64, 16, 16)]
    # short columns, which are rotated together: whole groups, and what is left of them
    sizes += [(12, 70, 60), (16, 64, 64), (100, 50, 45), (128, 45, 64), (129, 30, 30)]
    for n, width, rows in sizes:
        block, brain = random_block(rng, n, width, dtype)
        mean, exponent = rng.standard_normal(width), rng.integers(-3, 4, width).astype(np.int32)
        # no infinities, whose differences have no specified sign
        block = block * np.array({"float16": 1, "float32": 1e-30, "float64": 1e-300}[dtype], dtype)
        place = np.full(width, -1)
        kept = rng.permutation(width)[: min(width, rows) * 3 // 4]
        place[kept] = rng.permutation(rows)[: len(kept)]
        expected, actual = np.full((rows, n + 5), 7, np.float32), np.full((rows, n + 5), 7, np.float32)
        reference.center_rotate(block, brain, mean, exponent, expected[:, 2 : n + 2], place)
        native.center_rotate(arrange(block, layout), brain, mean, exponent, actual[:, 2 : n + 2], place)
        assert expected.tobytes() == actual.tobytes()
        assert (expected[:, 2] == 7).sum() == rows - len(kept)
        signs = random_signs(rng, n)
        reference.center_rotate(block, brain, mean, exponent, expected[:, 2 : n + 2], place, signs)
        native.center_rotate(
            arrange(block, layout), brain, mean, exponent, actual[:, 2 : n + 2], place, signs
        )
        assert expected.tobytes() == actual.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_center_of_rows_that_begin_anywhere_in_a_cache_line(native, dtype):
    rng = np.random.default_rng(15)
    whole, _ = random_block(rng, 40, 192, dtype)
    whole = whole * np.array({"float16": 1, "float32": 1e-30, "float64": 1e-300}[dtype], dtype)
    for first in range(0, 40, 3):
        block = whole[:, first : first + 100]
        mean, exponent = rng.standard_normal(100), rng.integers(-3, 4, 100).astype(np.int32)
        place = np.where(rng.random(100) < 0.3, -1, np.arange(100))
        place[32:64] = -1  # a whole strip, or most of it, is passed over
        expected, actual = np.zeros((100, 40), np.float32), np.zeros((100, 40), np.float32)
        reference.center_rotate(block, False, mean, exponent, expected, place)
        native.center_rotate(block, False, mean, exponent, actual, place)
        assert expected.tobytes() == actual.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_statistics_without_exponents_equal_the_reference(native, dtype, layout):
    rng = np.random.default_rng(13)
    for rows, width in [(1, 1), (3, 300), (70, 17), (130, 33), (64, 32), (5, 0), (0, 4)]:
        block, brain = random_block(rng, rows, width, dtype)
        exponent = np.zeros(width, np.int32)
        state = rng.standard_normal((4, width))
        for started in (False, True):
            expected, actual = state.copy(), state.copy()
            assert reference.column_statistics(block, brain, expected, exponent, started) == -1
            assert native.column_statistics(arrange(block, layout), brain, actual, exponent, started) == -1
            assert expected.tobytes() == actual.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_restore_equals_the_reference(native, dtype, layout):
    rng = np.random.default_rng(6)
    for n, width in [(1, 1), (200, 3), (65, 40), (3, 0), (256, 130), (12, 7), (16, 70), (100, 40), (128, 33)]:
        rows = width + 2
        points = (rng.standard_normal((rows, n)) * 2.0 ** rng.integers(1, 27, (rows, 1))).astype(np.int32)
        place = rng.permutation(rows)[:width]
        place[rng.random(width) < 0.2] = -1
        signs = random_signs(rng, n)
        scale, mean = 2.0 ** rng.integers(-140, 140, width), rng.standard_normal(width)
        expected, actual = np.zeros((n, width), dtype), arrange(np.ones((n, width), dtype), layout)
        reference.restore(points.copy(), signs, scale, mean, expected, place)
        native.restore(points.copy(), signs, scale, mean, actual, place)
        assert expected.tobytes() == np.ascontiguousarray(actual).tobytes()
        assert np.isfinite(expected).all()
        assert (expected[:, place < 0] == mean[place < 0].astype(dtype)).all()


@pytest.mark.parametrize("first, width", [(0, 90), (3, 7), (5, 80), (12, 36), (16, 32)])
@pytest.mark.parametrize("pitch", [1 << 18, (1 << 18) + 1])
def test_restore_to_some_columns_of_a_large_matrix_leaves_the_others(native, first, width, pitch):
    """What is far apart is written past the caches, but where lines of these are shared with other columns."""
    rng = np.random.default_rng(width)
    points, signs = rng.integers(-99, 99, (width, 50)).astype(np.int32), random_signs(rng, 50)
    scale, mean = rng.random(width), rng.random(width)
    near, far = np.empty((50, width), np.float32), np.zeros((50, pitch), np.float32)
    native.restore(points.copy(), signs, scale, mean, near)
    native.restore(points, signs, scale, mean, far[:, first : first + width])
    assert far[:, first : first + width].tobytes() == near.tobytes()
    assert not far[:, :first].any() and not far[:, first + width : first + width + 40].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_restore_saturates(native, dtype):
    largest = float(np.finfo(dtype).max)
    for implementation in (native, reference):
        out = np.empty((16, 2), dtype)
        points, signs = np.full((1, 16), 1000, np.int32), np.zeros((2, 1), np.uint64)
        with np.errstate(over="ignore"):
            implementation.restore(
                points, signs, np.full(2, largest / 2), np.full(2, largest), out, np.array([0, -1])
            )
        assert np.isfinite(out).all() and (out[:, 1] == dtype(largest)).all()
        assert (out[:, 0] == dtype(largest)).any()


def test_restore_rotates_back(native):
    rng = np.random.default_rng(14)
    points, signs = rng.integers(-50, 50, (5, 48)).astype(np.int32), random_signs(rng, 48)
    u = points.astype(np.float32)
    native.rotate(u, signs, True)
    scale, mean = rng.random(5), rng.random(5)
    out = np.empty((48, 5))
    native.restore(points, signs, scale, mean, out)
    assert (out == u.T.astype(np.float64) * scale + mean).all()


def random_signs(rng, n):
    return rng.integers(0, 2**64, (2, -(-n // 64)), dtype=np.uint64)


@pytest.mark.parametrize("inverse", [False, True])
def test_rotate_equals_the_reference(native, inverse):
    rng = np.random.default_rng(7)
    for n in [*range(1, 71), 100, 127, 128, 384, 448, 640, 768, 1000, 4096, 4097, 8192, 12288, 20000]:
        u = rng.standard_normal((35 if n <= 128 else 2, n)).astype(np.float32)
        u[0, rng.integers(0, n)] = 0
        signs = random_signs(rng, n)
        expected, actual = u.copy(), u.copy()
        reference.rotate(expected, signs, inverse)
        native.rotate(actual, signs, inverse)
        assert expected.tobytes() == actual.tobytes(), n


@pytest.mark.parametrize("inverse", [False, True])
def test_rotate_wide_equals_the_reference_and_is_the_same_map(native, inverse):
    rng = np.random.default_rng(17)
    for n in [1, 2, 3, 17, 64, 100, 384, 640, 896, 1000, 4096]:
        u, signs = rng.standard_normal((3, n)), random_signs(rng, n)
        expected, actual, narrow = u.copy(), u.copy(), u.astype(np.float32)
        reference.rotate_wide(expected, signs, inverse)
        native.rotate_wide(actual, signs, inverse)
        assert expected.tobytes() == actual.tobytes(), n
        native.rotate(narrow, signs, inverse)
        assert np.abs(narrow - actual).max() < 5e-6, n
        native.rotate_wide(actual, signs, not inverse)
        assert np.abs(actual - u).max() < 1e-6, n  # the constants are those of float32


def test_rotation_is_orthogonal():
    rng = np.random.default_rng(8)
    for n in [*range(1, 71), 100, 384]:
        q = np.eye(n, dtype=np.float32)
        kernels.rotate(q, random_signs(rng, n), False)
        wide = q.astype(np.float64)
        assert np.abs(wide @ wide.T - np.eye(n)).max() < 2e-6, n


def test_inverse_rotation_is_the_inverse():
    rng = np.random.default_rng(9)
    for n in [*range(1, 71), 100, 384, 768, 1000, 4096, 4097, 65536, 100003]:
        u = rng.standard_normal((3, n)).astype(np.float32)
        signs = random_signs(rng, n)
        v = u.copy()
        kernels.rotate(v, signs, False)
        norms = np.linalg.norm(v.astype(np.float64), axis=1) / np.linalg.norm(u.astype(np.float64), axis=1)
        assert np.abs(norms - 1).max() < 1e-6, n
        kernels.rotate(v, signs, True)
        assert np.abs(v - u).max() < 5e-6, n


@pytest.mark.parametrize("n", [63, 96, 257, 300, 384, 768, 1000, 1025])
def test_rotation_spreads_every_single_entry(n):
    # Lengths just above a power of two are the hard ones: the two transforms overlap almost entirely.
    u = np.eye(n, dtype=np.float32)
    kernels.rotate(u, random_signs(np.random.default_rng(10), n), False)
    kurtosis = n * (u.astype(np.float64) ** 4).sum(axis=1)
    assert 2 < kurtosis.mean() < 3.3
    assert kurtosis.max() < 6
    assert np.abs(u).max() * math.sqrt(n) < 6.5


def test_round_scaled_equals_the_reference(native):
    rng = np.random.default_rng(11)
    u = rng.standard_normal((7, 333)).astype(np.float32)
    u[0, :9] = [np.inf, -np.inf, np.nan, 0.5, 1.5, -0.5, -2.5, 8388609, -0.0]
    scale = np.array([1, 3, 1e-9, 1e9, 3e38, 255.5, 8], dtype=np.float32)
    expected, actual = np.empty((7, 333), np.int32), np.empty((7, 333), np.int32)
    reference.round_scaled(u, scale, expected)
    native.round_scaled(u, scale, actual)
    assert (expected == actual).all()
    assert expected[0, :9].tolist() == [2**30, -(2**30), -(2**30), 0, 2, 0, -2, 8388609, 0]


def test_arguments_that_do_not_fit_are_refused(native):
    f32, i32 = np.float32, np.int32
    u, p, signs = np.zeros((2, 5), f32), np.zeros((2, 5), i32), np.zeros((2, 1), np.uint64)
    bad = [
        lambda k: k.rotate(u, np.zeros((2, 2), np.uint64), False),
        lambda k: k.column_statistics(u, False, np.zeros((4, 4)), np.zeros(5, i32), False),
        lambda k: k.column_statistics(u, True, np.zeros((4, 5)), np.zeros(5, i32), False),
        lambda k: k.column_statistics(u, False, np.zeros((4, 5)), np.full(5, 1101, i32), False),
        lambda k: k.column_statistics(u.astype(i32), False, np.zeros((4, 5)), np.zeros(5, i32), False),
        lambda k: k.center_rotate(u, False, np.zeros(5), np.zeros(5, i32), np.zeros((2, 5), f32)),
        lambda k: k.center_rotate(u, False, np.zeros(4), np.zeros(5, i32), np.zeros((5, 2), f32)),
        lambda k: k.center_rotate(
            u.T, False, np.zeros(2), np.zeros(2, i32), np.zeros((5, 4), f32).T, np.arange(2)
        ),
        lambda k: k.center_rotate(
            u, False, np.zeros(5), np.zeros(5, i32), np.zeros((4, 2), f32), np.arange(5)
        ),
        lambda k: k.center_rotate(
            u, False, np.zeros(5), np.zeros(5, i32), np.zeros((5, 2), f32), np.zeros(5, int)
        ),
        lambda k: k.center_rotate(
            u, False, np.zeros(5), np.zeros(5, i32), np.zeros((5, 2), f32), np.arange(4)
        ),
        lambda k: k.center_rotate(
            u, False, np.zeros(5), np.zeros(5, i32), np.zeros((5, 2), f32), None, signs[:1]
        ),
        lambda k: k.restore(p, signs, np.zeros(2), np.zeros(2), np.zeros((2, 5))),
        lambda k: k.restore(p, signs, np.zeros(2), np.zeros(2), np.zeros((5, 2), i32)),
        lambda k: k.restore(u, signs, np.zeros(2), np.zeros(2), np.zeros((5, 2))),
        lambda k: k.restore(p, signs[:, :0], np.zeros(2), np.zeros(2), np.zeros((5, 2))),
        lambda k: k.restore(p, signs, np.zeros(3), np.zeros(3), np.zeros((5, 3))),
        lambda k: k.restore(p, signs, np.zeros(2), np.zeros(2), np.zeros((5, 2)), np.array([0, 2])),
        lambda k: k.restore(p, signs, np.zeros(2), np.zeros(2), np.zeros((5, 2)), np.array([1, 1])),
        lambda k: k.round_scaled(u, np.zeros(3, f32), np.zeros((2, 5), i32)),
    ]
    for call in bad:
        for implementation in (native, reference):
            with pytest.raises((ValueError, TypeError)):
                call(implementation)


def test_wrong_types_are_never_converted(native):
    out = np.zeros((5, 2), np.float64)
    with pytest.raises((ValueError, TypeError)):
        native.center_rotate(np.zeros((2, 5), np.float32), False, np.zeros(5), np.zeros(5, np.int32), out)
    readonly = np.zeros((2, 5), np.float32)
    readonly.flags.writeable = False
    with pytest.raises((ValueError, TypeError)):
        native.rotate(readonly, np.zeros((2, 1), np.uint64), False)
