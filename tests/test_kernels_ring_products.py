"""Kernels of the ring code that read: every build decodes and multiplies rings of any bytes as the reference does."""

import numpy as np
import pytest

from nqz.reference.codings.ring_codes import BITS2, WINDOWS
from remembered import reference

# columns of each ring, and their length: whole units or not, few steps, more than is decoded at a time
SHAPES = [
    ([1, 1, 1, 1, 1], 512), ([2, 2, 1], 384), ([1], 1), ([3], 5), ([7, 2], 33), ([1, 1], 1000), ([2], 301),
    ([1], 4096 + 160), ([64], 8), ([1], 96), ([9], 31),
]  # fmt: skip


def rings(columns, n, bits2, seed=1):
    """Rings of random bytes: lengths, rates, bytes, and a code's dither."""
    rng = np.random.default_rng(seed)
    lengths = np.array(columns, np.int64) * n
    rates = np.full(len(lengths), bits2, np.int32)
    size = sum(reference.ring_bytes(int(length), bits2) for length in lengths)
    return lengths, rates, rng.integers(0, 256, size, np.uint8), rng.integers(0, 256, 65536, np.uint8)


def few(count, n, seed=2):
    """Vectors with entries of all sizes that they may have."""
    return np.random.default_rng(seed).integers(-16319, 16320, (count, n)).astype(np.int16)


@pytest.mark.parametrize("window", [0, *WINDOWS])
@pytest.mark.parametrize("bits2", BITS2)
def test_rings_of_any_bytes_are_decoded_and_multiplied_like_the_reference(native, bits2, window):
    for columns, n in SHAPES if window else SHAPES[:2]:
        lengths, rates, data, dither = rings(columns, n, bits2)
        code, first = native.RingCode(window, dither), 2045
        expected = np.empty(lengths.sum(), np.int32)
        reference.ring_decode(reference.RingCode(window, dither), lengths, rates, first, data, expected)
        for dtype in (np.int8, np.int32):
            points = np.empty(len(expected), dtype)
            native.ring_decode(code, lengths, rates, first, data, points)
            assert np.array_equal(points, expected)
        for count in (1, 3):
            vectors = few(count, n)
            out = np.empty((len(expected) // n, count), np.int64)
            native.ring_products(code, lengths, rates, first, data, vectors, out)
            assert np.array_equal(out, expected.reshape(-1, n).astype(np.int64) @ vectors.astype(np.int64).T)
        for count in (1, 7):
            weights, out = few(count, len(expected) // n), np.empty((count, n), np.int64)
            native.ring_sums(code, lengths, rates, first, data, weights, out)
            assert np.array_equal(out, weights.astype(np.int64) @ expected.reshape(-1, n).astype(np.int64))


def test_rings_of_several_rates_follow_one_another(native):
    n, dither = 512, np.arange(65536).astype(np.uint8)
    lengths, rates = np.full(9, n), np.array([8, 8, 7, 6, 5, 4, 3, 2, 2], np.int32)
    size = sum(reference.ring_bytes(n, int(rate)) for rate in rates)
    data, vectors = np.random.default_rng(3).integers(0, 256, size, np.uint8), few(2, n)
    out, expected = np.empty((2, 9, 2), np.int64)
    native.ring_products(native.RingCode(0, dither), lengths, rates, 7, data, vectors, out)
    reference.ring_products(reference.RingCode(0, dither), lengths, rates, 7, data, vectors, expected)
    assert np.array_equal(out, expected)
    out, expected = np.empty((2, 2, n), np.int64)
    native.ring_sums(native.RingCode(0, dither), lengths, rates, 7, data, vectors[:, :9].copy(), out)
    reference.ring_sums(
        reference.RingCode(0, dither), lengths, rates, 7, data, vectors[:, :9].copy(), expected
    )
    assert np.array_equal(out, expected)


@pytest.mark.parametrize(("columns", "n"), [(3000, 40), (9, 20000), (1, 140000)])
def test_sums_of_many_columns_and_of_long_ones_are_exact(native, columns, n):
    lengths, rates, data, dither = rings([columns], n, 8)
    code, points = native.RingCode(12, dither), np.empty(columns * n, np.int32)
    native.ring_decode(code, lengths, rates, 0, data, points)
    weights = np.sign(few(2, columns)) * np.int16(16319)
    weights[1] = 16319
    out = np.empty((2, n), np.int64)
    native.ring_sums(code, lengths, rates, 0, data, weights, out)
    assert np.array_equal(out, weights.astype(np.int64) @ points.reshape(columns, n).astype(np.int64))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_columns_longer_than_what_is_decoded_at_a_time_have_exact_products(native, count):
    n = 70000 + 16 * (count == 1)  # 70016 are whole groups of steps
    lengths, rates, data, dither = rings([2], n, 4)
    code, points = native.RingCode(12, dither), np.empty(2 * n, np.int32)
    native.ring_decode(code, lengths, rates, 0, data, points)
    vectors = np.sign(few(count, n)) * np.int16(16319)
    out = np.empty((2, count), np.int64)
    native.ring_products(code, lengths, rates, 0, data, vectors, out)
    assert np.array_equal(out, points.reshape(2, n).astype(np.int64) @ vectors.astype(np.int64).T)


def test_arguments_that_do_not_fit_rings_are_refused(native):
    lengths, rates, data, dither = rings([1, 1], 64, 4)
    fitting = {"lengths": lengths, "bits2": rates, "first": 0, "data": data, "vectors": few(1, 64)}
    for kernels in (native, reference):
        code = kernels.RingCode(0, dither)
        kernels.ring_products(code, *fitting.values(), np.empty((2, 1), np.int64))
        for wrong in (
            {"lengths": lengths * 2}, {"bits2": rates + 1}, {"bits2": rates * 3}, {"first": -1}, {"first": 2**63 - 1},
            {"data": data[1:]},
            {"vectors": few(1, 48)}, {"vectors": np.full((1, 64), 16320, np.int16)},
            {"vectors": np.full((1, 64), -16320, np.int16)}, {"vectors": few(2, 64)},
        ):  # fmt: skip
            with pytest.raises(ValueError):
                kernels.ring_products(code, *(fitting | wrong).values(), np.empty((2, 1), np.int64))
        fitting_sums = fitting | {"vectors": few(1, 2)}
        kernels.ring_sums(code, *fitting_sums.values(), np.empty((1, 64), np.int64))
        for wrong, n in (
            ({"lengths": lengths * 2}, 64), ({"data": data[1:]}, 64), ({}, 48), ({}, 0), ({"vectors": few(2, 2)}, 64),
            ({"vectors": few(1, 3)}, 64), ({"vectors": np.full((1, 2), 16320, np.int16)}, 64),
        ):  # fmt: skip
            with pytest.raises(ValueError):
                kernels.ring_sums(code, *(fitting_sums | wrong).values(), np.empty((1, n), np.int64))
