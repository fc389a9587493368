"""The Leech lattice: the code, the nearest point against independent searches, entropy coding, the Voronoi code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kernel_cases import (
    LANES,
    assert_same,
    chunk,
    dither,
    outcome,
    padded,
    quantize,
    voronoi_decode,
    voronoi_encode,
)
from nqz import kernels
from nqz.kernels import CorruptStream
from nqz.reference.lattices import leech
from remembered import reference

LEECH = 3
ONE = np.full(1, 256, dtype=np.float32)


def in_lattice(points):
    m = points[..., :1] & 1
    half = (points - m) // 2
    words = (half & 1) @ (1 << np.arange(24))
    known = np.isin(words, leech.golay() @ (1 << np.arange(24)))
    return ((points - m) % 2 == 0).all(axis=-1) & known & ((points.sum(axis=-1) - 4 * m[..., 0]) % 8 == 0)


def minimal_vectors():
    """All 196560 vectors of norm 32, by their shapes: (4², 0²²), (2⁸, 0¹⁶) and (3, 1²³)."""
    words = leech.golay()
    pairs = [(i, j, s, t) for i, j in itertools.combinations(range(24), 2) for s in (4, -4) for t in (4, -4)]
    first = np.zeros((len(pairs), 24), dtype=np.int64)
    for row, (i, j, s, t) in zip(first, pairs, strict=True):
        row[i], row[j] = s, t
    signs = np.array([s for s in itertools.product((1, -1), repeat=8) if np.prod(s) == 1])
    octads = words[words.sum(axis=1) == 8]
    second = np.zeros((len(octads), len(signs), 24), dtype=np.int64)
    for of, octad in zip(second, octads, strict=True):
        of[:, np.flatnonzero(octad)] = 2 * signs
    third = np.where(words[:, None] == 1, -1, 1) * np.where(np.eye(24) == 1, -3, 1)[None]
    return np.concatenate([v.reshape(-1, 24) for v in (first, second, third)]).astype(np.int64)


MINIMAL = minimal_vectors()


def least_distance(x):
    """Squared distance of a vector from the lattice, by all cosets of (4 Z)^24 with the condition on the sum."""
    best = np.inf
    for m in (0, 1):
        rest = x - m - 2 * leech.golay()
        k = np.rint(rest / 4)
        error = rest - 4 * k
        wrong = (k.sum(axis=1) - m) % 2 != 0
        best = min(
            best, float((np.square(error).sum(axis=1) + wrong * (16 - 8 * np.abs(error).max(axis=1))).min())
        )
    return best


def test_the_code_is_the_extended_golay_code():
    words = leech.golay()
    assert (words[:, :12] @ (1 << np.arange(12)) == np.arange(4096)).all()
    assert np.bincount(words.sum(axis=1), minlength=25)[[0, 8, 12, 16, 24]].tolist() == [1, 759, 2576, 759, 1]


def test_minimal_vectors_are_those_of_the_leech_lattice():
    assert len(np.unique(MINIMAL, axis=0)) == 196560
    assert (np.square(MINIMAL).sum(axis=1) == 32).all()
    assert in_lattice(MINIMAL).all()


@pytest.mark.parametrize("lanes", LANES)
def test_nearest_equals_the_reference(native, lanes):
    rng = np.random.default_rng(lanes)
    for count in (1, 23, 24 * lanes, 24 * lanes + 1, 3001):
        m = int(rng.integers(1, count + 2))
        start = int(rng.integers(0, 4 * m))
        u = (rng.standard_normal(count) * 3).astype(np.float32)
        u[rng.integers(0, count, 4)] = [1e20, -np.inf, np.inf, 1e-30]
        scale = (256 * rng.choice([0.01, 1, 1.37, 40], (start + count - 1) // m + 1)).astype(np.float32)
        expected = quantize(reference, LEECH, u, lanes, start, m, scale)
        assert (quantize(native, LEECH, u, lanes, start, m, scale) == expected).all()


def special(rng, count):
    """Vectors with ties: lattice points, midpoints, deep holes and other vectors of half integers, undithered."""
    holes = [np.eye(24)[i] * 4 * s for i in (0, 5, 23) for s in (1, -1)]
    near = MINIMAL[rng.integers(0, len(MINIMAL), 2 * count)]
    x = np.concatenate([
        MINIMAL[:3],
        near[:count] / 2,
        (near[:count] + near[count:]) / 2,
        np.array(holes),
        rng.integers(-8, 9, (count, 24)) / 2,
        rng.integers(-4, 5, (count, 24)),
    ])  # fmt: skip
    return x + MINIMAL[rng.integers(0, len(MINIMAL), len(x))]


def test_nearest_equals_the_reference_on_ties(native):
    x = special(np.random.default_rng(70), 100)
    # One lane: a block is 24 consecutive entries. The dither is taken off, so that it adds up to x.
    u = (x.reshape(-1) - dither(x.size) / 4).astype(np.float32)
    assert (quantize(native, LEECH, u, lanes=1) == quantize(reference, LEECH, u, lanes=1)).all()


def test_nearest_is_as_near_as_an_independent_search_finds(native):
    rng = np.random.default_rng(71)
    x = np.concatenate([rng.integers(-2000, 2000, (60, 24)) / 256, special(rng, 12)])
    level = dither(x.size)
    u = (x.reshape(-1) - level / 4).astype(np.float32)
    point = ((quantize(native, LEECH, u, lanes=1) + level) // 4).reshape(x.shape)
    assert in_lattice(point).all()
    distance = np.square(x - point).sum(axis=1)
    assert distance.max() <= 16  # the covering radius squared
    for i in range(len(x)):
        assert distance[i] == least_distance(x[i])


def test_no_point_around_is_nearer():
    rng = np.random.default_rng(72)
    x = rng.integers(-2000, 2000, (300, 24)) / 256
    level = dither(x.size)
    point = (
        (quantize(kernels, LEECH, (x.reshape(-1) - level / 4).astype(np.float32), lanes=1) + level) // 4
    ).reshape(x.shape)
    assert in_lattice(point).all()
    # All relevant vectors of norm 32; of the longer ones, of norm 48, sums of minimal vectors.
    pairs = MINIMAL[rng.integers(0, len(MINIMAL), (400000, 2))].sum(axis=1)
    others = pairs[np.square(pairs).sum(axis=1) == 48]
    assert len(others) > 20000
    for vectors in (MINIMAL, others):
        inner = vectors.astype(np.float32) @ (x - point).T.astype(np.float32)
        assert (2 * inner <= np.square(vectors).sum(axis=1)[:, None]).all()


def test_second_moment():
    u = np.random.default_rng(73).uniform(-50, 50, 1 << 20).astype(np.float32)
    error = quantize(kernels, LEECH, u)[: u.size] / 4 - u
    assert abs(float(np.square(error, dtype=np.float64).mean()) / (8 * 0.065771) - 1) < 0.003


def test_dithered_error_is_unbiased_whatever_the_data():
    for value in (0.0, 0.3, 0.5, 0.77):
        u = np.full(24 * 8192, value, dtype=np.float32)
        error = quantize(kernels, LEECH, u) / 4 - value
        assert abs(error.mean()) < 0.125 + 0.005
        assert abs(np.corrcoef(error[:-1], error[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("lanes", LANES)
def test_entropy_equals_the_reference(native, lanes):
    rng = np.random.default_rng(80 + lanes)
    for count in (1, 25, 24 * lanes, 1500):
        for m in (1, 13, 333, 10**6):
            case = chunk(rng, LEECH, count, lanes, m)
            streams = case.encode(native)
            assert_same(streams, case.encode(reference))
            assert (case.decode(native, streams) == case.points).all()
            assert (case.decode(reference, streams) == case.points).all()
            assert streams[2].size == -(-case.points.size // 24 * 13 // 8)


def test_long_chunks_round_trip(native):
    case = chunk(np.random.default_rng(81), LEECH, 70000, 32, 5000)
    streams = case.encode(native)
    assert streams[1].size > 1000 and streams[4].size > 100
    assert (case.decode(native, streams) == case.points).all()


def test_extreme_points_survive(native):
    rng = np.random.default_rng(82)
    for _ in range(4):
        case = chunk(rng, LEECH, 24 * 8 * 3, 8, 100)
        # Multiples of 32 change neither the dither, nor the code bits, nor the parity of k.
        case.points += (rng.integers(-(2**26) + 2**12, 2**26 - 2**12, case.points.size) * 32).astype(np.int32)
        streams = case.encode(native)
        assert_same(streams, case.encode(reference))
        for implementation in (native, reference):
            assert (case.decode(implementation, streams) == case.points).all()


def test_corrupt_streams_are_refused_as_the_reference_does(native):
    rng = np.random.default_rng(83)
    refused = 0
    for _ in range(120):
        case = chunk(rng, LEECH, int(rng.integers(1, 400)), int(rng.choice(LANES)), int(rng.integers(1, 300)))
        bad = list(case.encode(native))
        which = int(rng.integers(0, 5))
        stream = bad[which].copy()
        kind = rng.integers(0, 3)
        if stream.size and kind == 0:
            stream.view(np.uint8)[rng.integers(0, stream.nbytes)] ^= np.uint8(1 << rng.integers(0, 8))
        elif stream.size and kind == 1:
            stream = stream[: rng.integers(0, stream.size)].copy()
        else:
            stream = np.append(stream, rng.integers(0, 256, 1).astype(stream.dtype))
        bad[which] = stream
        actual, expected = (outcome(lambda k=k: case.decode(k, bad)) for k in (native, reference))
        assert (actual is None) == (expected is None)
        assert actual is None or (actual == expected).all()
        refused += actual is None
    assert refused > 60


def test_escapes_of_the_last_entry_must_be_in_range(native):
    # Zero everywhere but in one last entry, the only escape.
    rng = np.random.default_rng(84)
    for k, valid in ((2**26 - 1, True), (-(2**26), True), (2**26, False), (-(2**26) - 1, False)):
        while True:
            case = chunk(rng, LEECH, 24, 1, 24, spread=0.0)
            case.tables["raw"][:] = 0
            if case.encode(native)[4].size == 0:
                break
        case.points[23] = 32 * 1000 + (case.points[23] & 31)
        streams = list(case.encode(native))
        table = case.tables["last"][case.table_of_column[(case.start + 23) // 24]]
        half = int(case.tables["half"][table])
        x = k - half if k > 0 else -half - 1 - k
        bits = [int(k < 0), *[1] * 20, *(x >> i & 1 for i in range(28))]
        streams[4] = np.packbits(np.array(bits, np.uint8), bitorder="little")
        for implementation in (native, reference):
            if valid:
                assert case.decode(implementation, streams)[23] >> 5 == k
            else:
                with pytest.raises(CorruptStream, match="range"):
                    case.decode(implementation, streams)


def test_tables_that_do_not_fit_are_refused(native):
    good = chunk(np.random.default_rng(85), LEECH, 100, 2, 100).tables
    tables = len(good["half"])
    for implementation in (native, reference):
        implementation.Tables(LEECH, **good)
        for name, value, reason in [
            ("modelled", np.ones(tables, np.uint8), "the code bits of leech are not modelled"),
            ("modelled", np.full(tables, 2, np.uint8), "modelled must be 0, 1 or 2"),
            ("last", np.zeros(0, np.int32), "last"),
            ("last", np.full(tables, tables, np.int32), "last names a table that does not exist"),
            ("last", np.full(tables, -1, np.int32), "last names a table that does not exist"),
            ("last", np.zeros(tables, np.int64), None),
        ]:
            with pytest.raises((ValueError, TypeError), match=reason):
                implementation.Tables(LEECH, **{**good, name: value})


MULTIPLIER = np.array([[1, 2, 3, 5], [1, 2, 4, 7]], dtype=np.int32)


def test_digits_name_the_cosets():
    rng = np.random.default_rng(90)
    x = rng.integers(-20000, 20000, (200, 24))
    point = leech.LATTICE.nearest_point(x, 256)
    for q in (2, 3, 17, 4096):
        digits = leech.LATTICE.to_digits(point, np.int64(q))
        assert (digits >= 0).all() and (digits < q).all()
        other = leech.LATTICE.from_digits(digits)
        assert in_lattice(other).all()
        assert ((point - other) % q == 0).all() and in_lattice((point - other) // q).all()
        assert (leech.LATTICE.to_digits(point + q * MINIMAL[:200], np.int64(q)) == digits).all()


@pytest.mark.parametrize("lanes", LANES)
def test_voronoi_equals_the_reference_and_comes_back(native, lanes):
    rng = np.random.default_rng(91 + lanes)
    for count, moduli in itertools.product((1, 24 * lanes + 1), ([3, 4], [2, 3], [255, 4096])):
        q = np.array(moduli, dtype=np.int32)
        m = int(rng.integers(1, count + 2))
        start = int(rng.integers(0, 4 * m))
        u = rng.standard_normal(count).astype(np.float32) * np.float32(q[0] / 4)
        u[rng.integers(0, count, 1 + count // 400)] *= 30  # overload even at the coarsest scale
        scale = (256 * rng.choice([0.8, 1, 1.3], (start + count - 1) // m + 1)).astype(np.float32)
        choice = rng.integers(0, 2, padded(count, lanes, LEECH) // (24 * lanes)).astype(np.uint8)
        sums, *coded = voronoi_encode(native, LEECH, u, lanes, start, m, scale, choice, q, MULTIPLIER)
        expected_sums, *expected = voronoi_encode(
            reference, LEECH, u, lanes, start, m, scale, choice, q, MULTIPLIER
        )
        assert sums == expected_sums
        assert_same(coded, expected)
        digits, beta, points = coded
        for implementation in (native, reference):
            assert (
                voronoi_decode(implementation, LEECH, count, lanes, choice, digits, beta, q, MULTIPLIER)
                == points
            ).all()


@pytest.mark.parametrize("size", [1e3, 1e7, 1e30, np.inf])
def test_any_overload_ends(native, size):
    u = np.where(np.arange(24 * 8) % 3 == 0, size, -size).astype(np.float32)
    choice, q = np.zeros(1, np.uint8), np.array([2, 2], dtype=np.int32)
    _, *coded = voronoi_encode(native, LEECH, u, 8, 0, u.size, ONE, choice, q, MULTIPLIER)
    assert_same(coded, voronoi_encode(reference, LEECH, u, 8, 0, u.size, ONE, choice, q, MULTIPLIER)[1:])
    digits, beta, points = coded
    assert (beta == 3).all()
    assert (voronoi_decode(native, LEECH, u.size, 8, choice, digits, beta, q, MULTIPLIER) == points).all()


def test_without_overload_the_points_are_the_nearest(native):
    u = np.random.default_rng(92).standard_normal(24 * 32).astype(np.float32)
    q, multiplier = np.array([64, 64], np.int32), np.array([[1, 2, 4, 8]] * 2, np.int32)
    (_, square), _, beta, points = voronoi_encode(
        native, LEECH, u, 32, 0, 768, ONE, np.zeros(1, np.uint8), q, multiplier
    )
    expected = quantize(reference, LEECH, u)
    assert (beta == 0).all() and (points == expected).all()
    assert square == int((expected.astype(np.int64) ** 2).sum())


def test_every_digit_string_is_a_point(native):
    # What a file may contain, up to the largest modulus: a decoder must take it, and give a point of the cell.
    rng = np.random.default_rng(93)
    for q in (2, 5, 4096):
        q_pair, choice = np.array([q, q], np.int32), np.zeros(2, np.uint8)
        digits = rng.integers(0, q, 24 * 64).astype(np.uint16)
        digits[:768] = q - 1
        beta = np.zeros(64, np.uint8)
        multiplier = np.ones((2, 4), np.int32)
        points = voronoi_decode(native, LEECH, digits.size, 32, choice, digits, beta, q_pair, multiplier)
        assert (
            points
            == voronoi_decode(reference, LEECH, digits.size, 32, choice, digits, beta, q_pair, multiplier)
        ).all()
        y = points.reshape(-1, 24, 32).transpose(0, 2, 1) / (4 * q)
        assert (np.square(y).sum(axis=-1) <= 16).all()
        digits[5] = q
        with pytest.raises(CorruptStream, match="digit"):
            voronoi_decode(native, LEECH, digits.size, 32, choice, digits, beta, q_pair, multiplier)
