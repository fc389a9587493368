"""Entropy coding: round trips, the reference bit for bit, the size that theory gives, corrupt streams."""

from __future__ import annotations

import numpy as np
import pytest

from kernel_cases import LANES, assert_same, chunk, padded
from nqz import kernels, reference
from nqz.kernels import CorruptStream


def decode(implementation, lattice, arguments, streams):
    out = np.full(padded(arguments[0], arguments[4]), 99, dtype=np.int32)
    implementation.entropy_decode(lattice, *arguments, *streams, out)
    return out


@pytest.mark.parametrize("lattice", [0, 1, 2])
@pytest.mark.parametrize("lanes", LANES)
def test_entropy_equals_the_reference(native, lattice, lanes):
    rng = np.random.default_rng(lattice * 64 + lanes)
    for count in (1, 9, 8 * lanes, 1500, 2300):
        for m in (1, 13, 333, 10**6):
            points, arguments = chunk(rng, lattice, count, lanes, m)
            streams = native.entropy_encode(lattice, points, *arguments)
            assert_same(streams, reference.entropy_encode(lattice, points, *arguments))
            assert (decode(native, lattice, arguments, streams) == points).all()
            if count == 1500:
                assert (decode(reference, lattice, arguments, streams) == points).all()


@pytest.mark.parametrize("lattice", [0, 1, 2])
@pytest.mark.parametrize("modelled", [0, 1])
def test_long_chunks_equal_the_reference(native, lattice, modelled):
    rng = np.random.default_rng(30 + lattice)
    points, arguments = chunk(rng, lattice, 70000, 32, 5000, modelled=modelled)
    streams = native.entropy_encode(lattice, points, *arguments)
    assert_same(streams, reference.entropy_encode(lattice, points, *arguments))
    assert (decode(native, lattice, arguments, streams) == points).all()
    states, words, code, low, escapes = streams
    assert words.size > 1000 and escapes.size > 100
    assert (code.size == 0) == (bool(modelled) or lattice == 0)


def test_extreme_points_survive(native):
    rng = np.random.default_rng(33)
    for lattice in (0, 1, 2):
        points, arguments = chunk(rng, lattice, 512, 8, 100)
        # Multiples of 16 change neither the dither nor the codeword.
        points += (rng.integers(-(2**27) + 2**12, 2**27 - 2**12, 512) * 16).astype(np.int32)
        streams = native.entropy_encode(lattice, points, *arguments)
        assert_same(streams, reference.entropy_encode(lattice, points, *arguments))
        assert (decode(native, lattice, arguments, streams) == points).all()


def test_code_bits_cost_what_the_model_says():
    # At a spread where e8's codewords are far from uniform, modelling them must save; the decoder must agree.
    rng = np.random.default_rng(34)
    points, arguments = chunk(rng, 2, 1 << 16, 32, 1 << 16, spread=0.2)
    arguments = list(arguments)
    _, table_of_column, tables = arguments[2], arguments[3], len(arguments[8])
    assert (table_of_column < tables).all()
    y = np.arange(16) - 16 * (np.arange(16) >= 8)
    sigma2 = (8 * 0.2) ** 2 + 64 * 929 / 6480
    arguments[12] = np.tile(np.exp(-(y**2) / (2 * sigma2)), (tables, 1))
    sizes = {}
    for modelled in (0, 1):
        arguments[13] = np.full(tables, modelled, dtype=np.uint8)
        streams = kernels.entropy_encode(2, points, *arguments)
        assert (decode(kernels, 2, arguments, streams) == points).all()
        sizes[modelled] = 16 * streams[1].size + 8 * streams[2].size
    assert sizes[1] < sizes[0] - 0.02 * 65536


def test_rans_is_within_a_few_bits_of_the_entropy(native):
    rng = np.random.default_rng(35)
    steps = np.array([2000, 1000, 700, 300, 90, 5, 1])
    cum = np.concatenate([[0], np.cumsum(steps)]).astype(np.uint16)
    symbols = rng.choice(7, 100000, p=steps / 4096).astype(np.uint8)
    states, words = native.rans_encode(symbols, cum, 32)
    ideal = -np.log2(steps / 4096)[symbols].sum()
    assert ideal - 1 < 16 * words.size + 32 * 16 < 1.001 * ideal + 32 * 32
    assert (native.rans_decode(symbols.size, cum, 32, states, words) == symbols).all()


@pytest.mark.parametrize("lanes", LANES)
def test_rans_equals_the_reference(native, lanes):
    rng = np.random.default_rng(36 + lanes)
    for count in (0, 1, lanes, lanes + 1, 5000):
        for known in (1, 2, 17, 256):
            steps = np.bincount(rng.integers(0, known, 4096), minlength=known)
            cum = np.concatenate([[0], np.cumsum(steps)]).astype(np.uint16)
            symbols = rng.choice(np.flatnonzero(steps), count).astype(np.uint8)
            states, words = native.rans_encode(symbols, cum, lanes)
            assert_same((states, words), reference.rans_encode(symbols, cum, lanes))
            for implementation in (native, reference):
                assert_same([implementation.rans_decode(count, cum, lanes, states, words)], [symbols])


def outcome(call):
    """What a decoder returns, or None if it finds the stream corrupt; anything else fails the test."""
    try:
        return call()
    except CorruptStream as error:
        assert 10 < len(str(error)) < 80
        return None


def mutate(rng, array):
    """A copy with bits flipped, items dropped, added or swapped."""
    array = array.copy()
    kind = rng.integers(0, 5) if array.size else 3
    if kind == 0:
        array.view(np.uint8)[rng.integers(0, array.nbytes)] ^= np.uint8(1 << rng.integers(0, 8))
    elif kind == 1:
        array = array[: rng.integers(0, array.size)]
    elif kind == 2:
        array = np.delete(array, rng.integers(0, array.size))
    elif kind == 3:
        array = np.append(array, rng.integers(0, 256, 1).astype(array.dtype))
    else:
        array.view(np.uint8)[:] = rng.integers(0, 256, array.nbytes)
    return np.ascontiguousarray(array)


@pytest.mark.parametrize("lattice", [0, 1, 2])
def test_corrupt_streams_are_refused_as_the_reference_does(native, lattice):
    rng = np.random.default_rng(40 + lattice)
    refused = 0
    for _ in range(60):
        lanes, count = int(rng.choice(LANES)), int(rng.integers(1, 400))
        points, arguments = chunk(rng, lattice, count, lanes, int(rng.integers(1, 300)))
        streams = list(native.entropy_encode(lattice, points, *arguments))
        for _ in range(4):
            bad = list(streams)
            which = int(rng.integers(0, 5))
            bad[which] = mutate(rng, bad[which])
            actual = outcome(lambda: decode(native, lattice, arguments, bad))
            expected = outcome(lambda: decode(reference, lattice, arguments, bad))
            assert (actual is None) == (expected is None)
            assert actual is None or (actual == expected).all()
            refused += actual is None
    assert refused > 150


def test_corrupt_long_streams_never_crash(native):
    rng = np.random.default_rng(44)
    points, arguments = chunk(rng, 2, 20000, 32, 3000)
    streams = list(native.entropy_encode(2, points, *arguments))
    refused = 0
    for _ in range(200):
        bad = list(streams)
        which = int(rng.integers(0, 5))
        bad[which] = mutate(rng, bad[which])
        refused += outcome(lambda: decode(native, 2, arguments, bad)) is None
    assert refused > 150


REASONS = ["state", "words", "code bits", "low bits", "escape"]


@pytest.mark.parametrize("which, reason", list(enumerate(REASONS)))
def test_reasons_name_the_stream(which, reason):
    rng = np.random.default_rng(45)
    arguments, streams = None, [np.zeros(0)] * 5
    while not all(s.size for s in streams):
        points, arguments = chunk(rng, 2, 2000, 8, 100, modelled=0)
        streams = list(kernels.entropy_encode(2, points, *arguments))
    for implementation in (kernels, reference):
        bad = list(streams)
        bad[which] = bad[which][:-1]
        with pytest.raises(CorruptStream, match=reason):
            decode(implementation, 2, arguments, bad)


def test_corrupt_rans_streams_are_refused_as_the_reference_does(native):
    rng = np.random.default_rng(46)
    cum = np.array([0, 3000, 3900, 4090, 4096], dtype=np.uint16)
    for _ in range(200):
        lanes = int(rng.choice(LANES))
        symbols = rng.choice(4, int(rng.integers(0, 200)), p=np.diff(cum.astype(int)) / 4096).astype(np.uint8)
        states, words = native.rans_encode(symbols, cum, lanes)
        bad = (mutate(rng, states), words) if rng.integers(0, 3) == 0 else (states, mutate(rng, words))
        actual = outcome(lambda: native.rans_decode(symbols.size, cum, lanes, *bad))
        expected = outcome(lambda: reference.rans_decode(symbols.size, cum, lanes, *bad))
        assert (actual is None) == (expected is None)
        assert actual is None or (actual == expected).all()


def test_tables_that_are_not_valid_are_refused(native):
    rng = np.random.default_rng(47)
    points, arguments = chunk(rng, 2, 100, 8, 1000, modelled=1)
    arguments = list(arguments)
    used = int(arguments[3][arguments[1] // 1000])
    out = np.zeros_like(points)

    def changed(index, value):
        bad = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        if callable(value):
            value(bad[index])
        else:
            bad[index] = value
        return bad

    cases = [
        changed(3, lambda a: a.fill(99)),
        changed(3, lambda a: a.fill(-1)),
        changed(8, lambda a: a.fill(0)),
        changed(8, lambda a: a.fill(128)),
        changed(9, lambda a: a.fill(21)),
        changed(9, lambda a: a.fill(-1)),
        changed(10, lambda a: a.fill(-1)),
        changed(10, lambda a: a.fill(2**62)),
        changed(11, lambda a: a.fill(0)),
        changed(11, arguments[11][: int(arguments[10][used]) + 20].copy()),
        changed(12, lambda a: a.fill(np.nan)),
        changed(12, lambda a: a.fill(-1)),
        changed(12, arguments[12][:, :8].copy()),
        changed(13, arguments[13][:0].copy()),
    ]
    streams = native.entropy_encode(2, points, *arguments)
    for implementation in (native, reference):
        for bad in cases:
            with pytest.raises((ValueError, TypeError)) as caught:
                implementation.entropy_encode(2, points, *bad)
            assert not isinstance(caught.value, CorruptStream)
            with pytest.raises((ValueError, TypeError)):
                implementation.entropy_decode(2, *bad, *streams, out)
        with pytest.raises(ValueError):
            implementation.rans_encode(np.array([1], np.uint8), np.array([0, 4096], np.uint16), 1)
        with pytest.raises(ValueError):
            implementation.rans_encode(np.array([0], np.uint8), np.array([0, 5000, 4096], np.uint16), 1)
