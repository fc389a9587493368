"""The Voronoi code and packed digits: round trips, the reference bit for bit, overload, corrupt input."""

from __future__ import annotations

import numpy as np
import pytest

from kernel_cases import FINE, LANES, assert_same, padded, quantize, voronoi_decode, voronoi_encode
from nqz import kernels
from nqz.kernels import CorruptStream
from remembered import reference

Q = np.array([3, 4], dtype=np.int32)
MULTIPLIER = np.array([[1, 2, 3, 5], [1, 2, 4, 7]], dtype=np.int32)


@pytest.mark.parametrize("lattice", [0, 1, 2])
@pytest.mark.parametrize("lanes", LANES)
def test_voronoi_equals_the_reference_and_comes_back(native, lattice, lanes):
    rng = np.random.default_rng(50 + lattice * 64 + lanes)
    for count in (1, 8 * lanes + 1, 700, 6000):
        for moduli in ([3, 4], [2, 3], [16, 17], [255, 4096]):
            q = np.array(moduli, dtype=np.int32)
            m = int(rng.integers(1, count + 2))
            start = int(rng.integers(0, 4 * m))
            u = rng.standard_normal(count).astype(np.float32) * np.float32(q[0] / 4)
            u[rng.integers(0, count, 1 + count // 300)] *= 30  # overload even at the coarsest scale
            scale = (256 * rng.choice([0.8, 1, 1.3], (start + count - 1) // m + 1)).astype(np.float32)
            choice = rng.integers(0, 2, padded(count, lanes) // (8 * lanes)).astype(np.uint8)
            sums, *coded = voronoi_encode(native, lattice, u, lanes, start, m, scale, choice, q, MULTIPLIER)
            expected_sums, *expected = voronoi_encode(
                reference, lattice, u, lanes, start, m, scale, choice, q, MULTIPLIER
            )
            assert sums == expected_sums
            assert_same(coded, expected)
            digits, beta, points = coded
            assert (digits < 4096).all() and (beta < 4).all()
            for implementation in (native, reference):
                back = voronoi_decode(
                    implementation, lattice, count, lanes, choice, digits, beta, q, MULTIPLIER
                )
                assert (back == points).all()


@pytest.mark.parametrize("lattice", [0, 1, 2])
def test_without_overload_the_points_are_the_nearest(native, lattice):
    rng = np.random.default_rng(52)
    u = rng.standard_normal(4096).astype(np.float32)
    scale, choice = np.full(1, 256, np.float32), np.zeros(16, np.uint8)
    q, multiplier = np.array([64, 64], np.int32), np.array([[1, 2, 4, 8]] * 2, np.int32)
    (cross, square), _, beta, points = voronoi_encode(
        native, lattice, u, 32, 0, 4096, scale, choice, q, multiplier
    )
    expected = quantize(reference, lattice, u)
    assert (beta == 0).all() and (points == expected).all()
    assert square == int((expected.astype(np.int64) ** 2).sum())
    assert abs(cross / 256 - float(u.astype(np.float64) @ expected)) < 0.01 * square


@pytest.mark.parametrize("lattice", [0, 1, 2])
@pytest.mark.parametrize("size", [1e3, 1e7, 1e30, np.inf])
def test_any_overload_ends(native, lattice, size):
    u = np.where(np.arange(512) % 3 == 0, size, -size).astype(np.float32)
    scale, choice = np.full(1, 256, np.float32), np.zeros(2, np.uint8)
    q = np.array([2, 2], dtype=np.int32)
    _, *coded = voronoi_encode(native, lattice, u, 32, 0, 512, scale, choice, q, MULTIPLIER)
    assert_same(coded, voronoi_encode(reference, lattice, u, 32, 0, 512, scale, choice, q, MULTIPLIER)[1:])
    digits, beta, points = coded
    assert (beta == 3).all()
    assert (voronoi_decode(native, lattice, 512, 32, choice, digits, beta, q, MULTIPLIER) == points).all()
    assert np.abs(points).max() <= 5 * 2 * 2 * FINE[lattice]


def test_corrupt_digits_are_refused(native):
    rng = np.random.default_rng(53)
    u = rng.standard_normal(1000).astype(np.float32)
    scale, choice = np.full(1, 256, np.float32), rng.integers(0, 2, 4).astype(np.uint8)
    for implementation in (native, reference):
        _, digits, beta, _ = voronoi_encode(implementation, 2, u, 32, 0, 1000, scale, choice, Q, MULTIPLIER)
        for p in (0, 511, 1023):
            bad = digits.copy()
            bad[p] = Q[choice[p // 256]]
            with pytest.raises(CorruptStream, match="digit"):
                voronoi_decode(implementation, 2, 1000, 32, choice, bad, beta, Q, MULTIPLIER)
        for g in (0, 127):
            bad = beta.copy()
            bad[g] = 4
            with pytest.raises(CorruptStream, match="scale"):
                voronoi_decode(implementation, 2, 1000, 32, choice, digits, bad, Q, MULTIPLIER)
        for q, multiplier, chosen in [
            (np.array([1, 3], np.int32), MULTIPLIER, choice),
            (np.array([3, 4097], np.int32), MULTIPLIER, choice),
            (Q, np.zeros((2, 4), np.int32), choice),
            (Q, MULTIPLIER, choice + np.uint8(2)),
            (Q, MULTIPLIER, choice[:3].copy()),
        ]:
            with pytest.raises(ValueError):
                voronoi_decode(implementation, 2, 1000, 32, chosen, digits, beta, q, multiplier)


PACKINGS = [(2, 1, 1), (2, 63, 63), (3, 5, 8), (3, 39, 62), (5, 27, 63), (10, 18, 60), (4096, 5, 60)]


@pytest.mark.parametrize("q, per_word, bits", PACKINGS)
def test_digits_pack_and_come_back(native, q, per_word, bits):
    rng = np.random.default_rng(54)
    for count in (0, 1, per_word - 1, per_word, per_word + 1, 1000):
        digits = rng.integers(0, q, count).astype(np.uint16)
        digits[: count // 2] = q - 1
        packed = native.pack_digits(digits, q, per_word, bits)
        assert packed.size == -(-(-(-count // per_word) * bits) // 8)
        assert_same([packed], [reference.pack_digits(digits, q, per_word, bits)])
        for implementation in (native, reference):
            assert_same([implementation.unpack_digits(packed, count, q, per_word, bits)], [digits])


def test_packed_digits_follow_the_definition():
    # 1 + 2·3 + 0·9 = 7 and 2 + 1·3 = 5, in 5 bits each: 7 + 5·32 = 167.
    digits = np.array([1, 2, 0, 2, 1], dtype=np.uint16)
    assert kernels.pack_digits(digits, 3, 3, 5).tolist() == [167, 0]


def test_corrupt_packed_digits_are_refused(native):
    good = native.pack_digits(np.array([1, 2, 0, 2, 1], dtype=np.uint16), 3, 3, 5)
    too_large = np.array([27, 0], dtype=np.uint8)  # 27 = 3^3
    padded_digit = np.array([7 + (2 + 3 + 9) * 32 & 255, (2 + 3 + 9) >> 3], dtype=np.uint8)
    last_bit = good | np.array([0, 128], dtype=np.uint8)
    for implementation in (native, reference):
        for data, count in [
            (good[:1].copy(), 5),
            (np.append(good, np.uint8(0)), 5),
            (good, 10),
            (good, 10**12),
            (too_large, 5),
            (padded_digit, 5),
            (last_bit, 5),
        ]:
            with pytest.raises(CorruptStream):
                implementation.unpack_digits(data, count, 3, 3, 5)
        for q, per_word, bits in [(1, 1, 1), (3, 0, 5), (3, 4, 6), (2, 64, 63), (2, 1, 64), (70000, 1, 20)]:
            with pytest.raises(ValueError):
                implementation.pack_digits(np.zeros(3, np.uint16), q, per_word, bits)
        with pytest.raises(ValueError):
            implementation.pack_digits(np.array([3], np.uint16), 3, 1, 2)
