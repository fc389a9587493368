"""Convolutional lattices: the reference bit for bit, all paths tried, windows, code bits raw and modelled."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from kernel_cases import LANES, assert_same, chunk, dither, key, place, quantize, weights
from nqz import kernels
from nqz.kernels import CorruptStream
from nqz.reference.lattices import conv, nested_lattice_of
from remembered import reference

CODE = {lattice.memory: lattice for lattice in conv.LATTICES}
MEMORIES = list(CODE)


def code_bits_of(points, lanes):
    """Parities [2 T, lanes] of fine coordinates."""
    return ((points + dither(points.size)) // 8 & 1).reshape(-1, lanes)


def inputs_of(memory, bits):
    """Inputs [T, lanes] of the path with these code bits [2 T, lanes]."""
    return CODE[memory].index_of(bits.reshape(-1, 2, bits.shape[1]).swapaxes(1, 2))


@pytest.mark.parametrize("memory", MEMORIES)
def test_nearest_equals_the_reference(native, memory):
    rng = np.random.default_rng(memory)
    cases = [(lanes, int(rng.integers(1, 40 * lanes))) for lanes in LANES] + [(1, 1), (32, 1), (16, 900)]
    if memory < 9:
        cases += [(4, 5001), (32, 20000)]
    for lanes, count in cases:
        m = int(rng.integers(1, count + 2))
        start = int(rng.integers(0, 4 * m))
        u = (rng.standard_normal(count) * 3).astype(np.float32)
        u[rng.integers(0, count, 4)] = [1e20, -np.inf, np.inf, 1e-30]
        scale = (256 * rng.choice([0.01, 1, 1.37, 40], (start + count - 1) // m + 1)).astype(np.float32)
        expected = quantize(reference, 32 + memory, u, lanes, start, m, scale)
        assert (quantize(native, 32 + memory, u, lanes, start, m, scale) == expected).all()


@pytest.mark.parametrize(
    "memory, lanes, count",
    [(12, 1, 9000), (12, 2, 2 * 2 * 2300), (10, 1, 3 * 4096), (9, 4, 17000), (6, 32, 150000)],
)
def test_windows_equal_the_reference(native, memory, lanes, count):
    assert count / lanes / 2 > CODE[memory].window
    rng = np.random.default_rng(memory)
    # Half of the entries on ties and far from lattice points: metrics as far apart as they get.
    u = rng.uniform(-3, 3, count).astype(np.float32)
    u[: count // 2] = np.round(2 * u[: count // 2]) / 2
    expected = quantize(reference, 32 + memory, u, lanes)
    assert (quantize(native, 32 + memory, u, lanes) == expected).all()


@pytest.mark.parametrize("memory", MEMORIES)
def test_extreme_costs_are_added_alike(native, memory):
    # Dither undone: runs of steps at one distance from the lattice, whose sums go round 256 many times.
    count, lanes = 4000, 4
    level = dither(count).astype(np.float64)
    for distance in (0.0, 1.0, 0.5):
        u = (np.repeat(np.arange(40) % 2, 100) * distance - level / 8).astype(np.float32)
        assert (quantize(native, 32 + memory, u, lanes) == quantize(reference, 32 + memory, u, lanes)).all()


@pytest.mark.parametrize("memory", [2, 3, 6, 12])
def test_nearest_is_the_nearest_of_all_paths_but_for_the_rounding_of_metrics(native, memory):
    # One group of one lane: four trellis steps, sixteen paths. Costs of steps, metrics over 128 but for a constant, are
    # rounded by half a unit of 128/11 at most, in each of two paths.
    rounding, excess = 4 * 2 * 0.5 * (1 << conv.SHIFT) / conv.FACTOR / 256, []
    rng = np.random.default_rng(50)
    paths = np.array(list(itertools.product((0, 1), repeat=4))).T
    code = CODE[memory].code_bits_of(paths)
    assert len(np.unique(code, axis=1).T) == 16
    for trial in range(60):
        u = (rng.integers(-500, 500, 8) / (256 if trial % 2 else 2)).astype(np.float32)
        point = quantize(native, 32 + memory, u, lanes=1)
        z = u + dither(8) / 8
        error = np.abs(((z[:, None] - code + 1) % 2) - 1)
        assert (np.abs(code - code_bits_of(point, 1)).sum(axis=0) == 0).any()
        excess.append(((point / 8 - u) ** 2).sum() - (error**2).sum(axis=0).min())
    assert min(excess) > -1e-6 and max(excess) < rounding and np.mean(excess) < 0.005


@pytest.mark.parametrize("memory", MEMORIES)
def test_points_lie_on_a_path_of_the_code(native, memory):
    u = np.random.default_rng(51).uniform(-9, 9, 6400).astype(np.float32)
    bits = code_bits_of(quantize(native, 32 + memory, u), 32)
    inputs = inputs_of(memory, bits)
    assert (CODE[memory].code_bits_of(inputs) == bits).all()
    assert 0.4 < inputs.mean() < 0.6


@pytest.mark.parametrize("memory", MEMORIES)
def test_entropy_equals_the_reference(native, memory):
    rng = np.random.default_rng(60 + memory)
    for lanes in LANES:
        count, m = int(rng.integers(1, 900)), int(rng.integers(1, 99))
        case = chunk(rng, 32 + memory, count, lanes, m)
        streams = case.encode(native)
        assert_same(streams, case.encode(reference))
        assert (case.decode(native, streams) == case.points).all()
        assert (case.decode(reference, streams) == case.points).all()


@pytest.mark.parametrize("modelled", [0, 1])
def test_long_chunks_round_trip(native, modelled):
    rng = np.random.default_rng(61)
    for memory, count in ((2, 3000), (7, 20000), (12, 3000)):
        case = chunk(rng, 32 + memory, count, 32, 700, modelled=modelled)
        streams = case.encode(native)
        assert (case.decode(native, streams) == case.points).all()
        assert (streams[2].size == 0) == bool(modelled)
        if not modelled:
            assert streams[2].size == case.points.size // 16
            inputs = inputs_of(memory, code_bits_of(case.points, 32))
            assert (np.unpackbits(streams[2], bitorder="little") == inputs.reshape(-1)).all()


def test_code_bits_cost_less_where_they_are_modelled():
    rng = np.random.default_rng(62)
    case = chunk(rng, 38, 1 << 16, 32, 1 << 16, spread=0.2)
    tables = len(case.tables["half"])
    y = np.arange(16) - 16 * (np.arange(16) >= 8)
    sigma2 = (8 * 0.2) ** 2 + 64 * 0.1258
    weight = np.tile(weights(np.exp(-(y**2) / (2 * sigma2))), (tables, 1))
    sizes = {}
    for modelled in (0, 1):
        changed = case.changed(weight=weight, modelled=np.full(tables, modelled, dtype=np.uint8))
        streams = changed.encode(kernels)
        assert (changed.decode(kernels, streams) == case.points).all()
        sizes[modelled] = 16 * streams[1].size + 8 * streams[2].size
    assert sizes[1] < sizes[0] - 0.02 * 65536


def test_corrupt_streams_are_refused_as_the_reference_does(native):
    rng = np.random.default_rng(63)
    refused = 0
    for _ in range(80):
        lattice, lanes = int(rng.integers(34, 45)), int(rng.choice(LANES))
        case = chunk(rng, lattice, int(rng.integers(1, 400)), lanes, int(rng.integers(1, 300)))
        streams = list(case.encode(native))
        which = int(rng.integers(0, 5))
        bad = streams[which].copy()
        if bad.size and rng.integers(0, 2):
            bad.view(np.uint8)[rng.integers(0, bad.nbytes)] ^= np.uint8(1 << rng.integers(0, 8))
        else:
            bad = np.append(bad, bad[:1]) if bad.size and rng.integers(0, 2) else bad[:-1]
        streams[which] = bad
        results = []
        for implementation in (native, reference):
            try:
                results.append(case.decode(implementation, streams))
            except CorruptStream:
                results.append(None)
        assert (results[0] is None) == (results[1] is None)
        assert results[0] is None or (results[0] == results[1]).all()
        refused += results[0] is None
    assert refused > 25


MOMENTS = {2: 0.1331, 4: 0.1287, 6: 0.12577, 7: 0.1249, 8: 0.1242, 10: 0.1229, 12: 0.1225}


@pytest.mark.parametrize("memory", MOMENTS)
def test_second_moment(memory):
    count = 1 << 20 if memory < 9 else 1 << 19
    u = np.random.default_rng(64).uniform(-50, 50, count).astype(np.float32)
    error = quantize(kernels, 32 + memory, u) / 8 - u
    assert abs(float(np.square(error).mean()) / MOMENTS[memory] - 1) < 0.01


def test_the_voronoi_code_refuses_convolutional_lattices(native):
    q, multiplier, choice = np.full(2, 4, np.int32), np.ones((2, 4), np.int32), np.zeros(1, np.uint8)
    u, scale = np.zeros(8, np.float32), np.ones(1, np.float32)
    coded = np.zeros(8, np.uint16), np.zeros(1, np.uint8), np.zeros(8, np.int32)
    with pytest.raises(ValueError, match="the Voronoi code is for lattices") as refused:
        nested_lattice_of(38)
    for implementation in (native, reference):
        nest = implementation.Nest(2, q, multiplier)
        chunk_of = {
            lattice: (place(implementation, lattice, 8, 1), key(implementation)) for lattice in (2, 38)
        }
        implementation.voronoi_encode(*chunk_of[2], nest, choice, u, scale, *coded)
        with pytest.raises(ValueError, match=re.escape(str(refused.value))):
            implementation.Nest(38, q, multiplier)
        with pytest.raises(ValueError, match="different lattices"):
            implementation.voronoi_encode(*chunk_of[38], nest, choice, u, scale, *coded)
        with pytest.raises(ValueError, match="different lattices"):
            implementation.voronoi_decode(*chunk_of[38], nest, choice, *coded)
