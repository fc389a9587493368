"""Nearest lattice points: against the reference bit for bit, against brute force, and their second moment."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from kernel_cases import (
    FINE,
    LANES,
    assert_same,
    chunk,
    dither,
    key,
    place,
    quantize,
    voronoi_decode,
    voronoi_encode,
)
from nqz import kernels
from nqz.reference.lattices import LATTICES, NESTED, lattice_of
from nqz.reference.lattices.contract import BlockLattice
from remembered import reference

BLOCKS = [number for number, lattice in LATTICES.items() if isinstance(lattice, BlockLattice)]


@pytest.mark.parametrize("lattice", [0, 1, 2])
@pytest.mark.parametrize("lanes", LANES)
def test_nearest_equals_the_reference(native, lattice, lanes):
    rng = np.random.default_rng(lattice * 64 + lanes)
    for count in (1, 7, 8 * lanes, 8 * lanes + 1, 255, 257, 3001, 70000 if lanes == 32 else 5000):
        m = int(rng.integers(1, count + 2))
        start = int(rng.integers(0, 4 * m))
        columns = (start + count - 1) // m + 1
        u = (rng.standard_normal(count) * 3).astype(np.float32)
        u[rng.integers(0, count, 4)] = [1e20, -np.inf, np.inf, 1e-30]
        scale = (256 * rng.choice([0.01, 1, 1.37, 40], columns)).astype(np.float32)
        expected = quantize(reference, lattice, u, lanes, start, m, scale)
        assert (quantize(native, lattice, u, lanes, start, m, scale) == expected).all()


@pytest.mark.parametrize("lattice", LATTICES)
def test_every_lattice_of_the_registry_equals_the_reference(native, lattice):
    """Points, entropy coding and Voronoi code; what is special about a lattice is tested in a file of its own."""
    rng = np.random.default_rng(lattice)
    for lanes, count in ((1, 100), (4, 333)):
        case = chunk(rng, lattice, count, lanes, 50)
        u = (rng.standard_normal(count) * 3).astype(np.float32)
        expected = quantize(reference, lattice, u, lanes)
        assert_same([quantize(native, lattice, u, lanes)], [expected])
        streams = case.encode(native)
        assert_same(streams, case.encode(reference))
        assert_same([case.decode(native, streams)], [case.decode(reference, streams)])
        if lattice in NESTED:
            choice = rng.integers(0, 2, expected.size // (lanes * LATTICES[lattice].group)).astype(np.uint8)
            nest = np.array([3, 4], np.int32), np.array([[1, 2, 3, 5], [1, 2, 4, 7]], np.int32)
            arguments = lattice, u, lanes, 0, count, np.full(1, 256, np.float32), choice, *nest
            sums, *coded = voronoi_encode(native, *arguments)
            expected_sums, *expected_coded = voronoi_encode(reference, *arguments)
            assert sums == expected_sums
            assert_same(coded, expected_coded)
            back = voronoi_decode(native, lattice, count, lanes, choice, *coded[:2], *nest)
            assert_same([back], [coded[2]])


def interesting(rng, count):
    """Fixed-point coordinates: anywhere, and on the boundaries where ties and holes are."""
    anywhere = rng.integers(-2000, 2000, (count // 2, 8))
    edges = rng.integers(-8, 9, (count - count // 2, 8)) * 128
    return np.concatenate([anywhere, edges])


def in_code(lattice, points):
    bits = points % 2
    if lattice == 1:
        return bits.sum(axis=-1) % 2 == 0
    return (
        (bits[..., 3] == bits[..., [0, 1, 2]].sum(axis=-1) % 2)
        & (bits[..., 5] == bits[..., [0, 1, 4]].sum(axis=-1) % 2)
        & (bits[..., 6] == bits[..., [0, 2, 4]].sum(axis=-1) % 2)
        & (bits[..., 7] == bits[..., [1, 2, 4]].sum(axis=-1) % 2)
    )


@pytest.mark.parametrize("lattice", [1, 2])
def test_nearest_is_the_nearest_of_all_points(native, lattice):
    size = 4 * lattice
    t = interesting(np.random.default_rng(20), 160).reshape(-1, size)
    # One lane: a block is `size` consecutive entries.
    u = t.reshape(-1).astype(np.float32)
    level = dither(u.size).reshape(t.shape)
    x = t + 32 * level
    point = (quantize(native, lattice, u, lanes=1, scale=1.0).reshape(t.shape) + level) // 8
    assert in_code(lattice, point).all()
    distance = ((256 * point - x) ** 2).sum(axis=1)
    # The covering radius is below 1.5: three candidates a coordinate are enough.
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=size)))
    for i in range(len(x)):
        near = (x[i] + 128) // 256 + steps
        near = near[in_code(lattice, near)]
        assert distance[i] == ((256 * near - x[i]) ** 2).sum(axis=1).min()


def test_nearest_integer(native):
    t = interesting(np.random.default_rng(21), 200).reshape(-1)
    level = dither(t.size)
    x = t + 16 * level
    point = (quantize(native, 0, t.astype(np.float32), lanes=1, scale=1.0) + level) // 16
    assert (np.abs(256 * point - x) <= 128).all()


@pytest.mark.parametrize("lattice", BLOCKS)
def test_second_moment(lattice):
    rng = np.random.default_rng(22)
    moment, total, count = LATTICES[lattice].second_moment, 0.0, 1 << 20
    for _ in range(3):
        u = rng.uniform(-50, 50, count).astype(np.float32)
        error = quantize(kernels, lattice, u)[:count] / FINE[lattice] - u
        total += float(np.square(error).mean()) / 3
    assert abs(total / moment - 1) < 0.003


@pytest.mark.parametrize("lattice", BLOCKS)
def test_dithered_error_is_unbiased_whatever_the_data(lattice):
    count = 1 << 18
    for value in (0.0, 0.3, 0.5, 0.77):
        u = np.full(count, value, dtype=np.float32)
        error = quantize(kernels, lattice, u) / FINE[lattice] - value
        # Levels are a sixteenth (z) or an eighth of a unit apart: the bias is below half of that.
        assert abs(error.mean()) < 0.5 / FINE[lattice] + 0.004
        assert abs(np.corrcoef(error[:-1], error[1:])[0, 1]) < 0.02


def test_places_know_their_size(native):
    for implementation in (native, reference):
        where = implementation.Place(lattice=3, count=100, start=7, m=50, lanes=2, counter=2**64 - 1)
        assert (where.lattice, where.count, where.start, where.m, where.lanes) == (3, 100, 7, 50, 2)
        assert (where.counter, where.positions, where.groups) == (2**64 - 1, 144, 6)
        for number, lattice in LATTICES.items():
            for lanes in LANES:
                where, row = implementation.Place(number, 100, 0, 1, lanes, 0), lattice.group * lanes
                assert where.positions - row < 100 <= where.positions and where.positions % row == 0
                assert where.groups == where.positions // lattice.group


def test_places_that_cannot_be_are_refused(native):
    good = {"lattice": 0, "count": 10, "start": 0, "m": 10, "lanes": 1, "counter": 0}
    with pytest.raises(ValueError, match="lattice must be") as refused:
        lattice_of(-1)
    unknown = re.escape(str(refused.value))
    bad = [
        ("lattice", set(range(-2, 66)) - set(LATTICES), unknown),
        ("count", (0, -1, 1 + (1 << 20)), r"a chunk has 1 to 2\^20 entries"),
        ("start", (-1,), "start must be at least 0"),
        ("m", (0, -1), "m at least 1"),
        ("lanes", (0, 3, 64), "lanes must be 1, 2, 4, 8, 16 or 32"),
    ]
    for implementation in (native, reference):
        implementation.Place(**good)
        for name, values, reason in bad:
            for value in values:
                with pytest.raises(ValueError, match=reason):
                    implementation.Place(**{**good, name: value})
        for counter in (-1, 1 << 64):
            with pytest.raises((ValueError, TypeError)):
                implementation.Place(**{**good, "counter": counter})


def test_arguments_that_do_not_fit_are_refused(native):
    u, one, out = np.zeros(10, np.float32), np.ones(1, np.float32), np.zeros(16, np.int32)
    for implementation in (native, reference):
        where = place(implementation, 0, 10, 1)
        good = [where, key(implementation), u, one, out]
        changes = {
            0: [place(implementation, 0, 10, 1, start=1), place(implementation, 0, 10, 1, m=9)],
            2: [np.zeros(0, np.float32), np.zeros(10), np.zeros(9, np.float32), np.zeros(11, np.float32)],
            3: [np.ones(0, np.float32), np.ones(1)],
            4: [np.zeros(15, np.int32), np.zeros(17, np.int32), np.zeros(16, np.int64)],
        }
        implementation.dither_quantize(*good)
        for index, values in changes.items():
            for value in values:
                bad = list(good)
                bad[index] = value
                with pytest.raises((ValueError, TypeError)):
                    implementation.dither_quantize(*bad)
