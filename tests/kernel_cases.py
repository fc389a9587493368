"""Random but repeatable arguments for the kernels."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference.lattices import LATTICES
from nqz.reference.lattices.conv import Convolutional
from remembered import reference

KEY, COUNTER = (0x0123456789ABCDEF, 0xFEDCBA9876543210), 1 << 63
LANES = (1, 2, 4, 8, 16, 32)
FINE = {lattice.number: lattice.fine for lattice in LATTICES.values()}


def padded(count, lanes, lattice=0):
    return place(reference, lattice, count, lanes).positions


def key(implementation):
    """The key of all tests."""
    return implementation.Key(*KEY)


def place(implementation, lattice, count, lanes=32, start=0, m=None):
    """Where a chunk lies; one column by default."""
    return implementation.Place(lattice, count, start, m or count, lanes, COUNTER)


def dither(count):
    """The dither levels of a chunk, int64."""
    return reference.levels(key(reference), COUNTER, count).astype(np.int64)


def quantize(implementation, lattice, u, lanes=32, start=0, m=None, scale=256.0):
    """Fine coordinates of a chunk."""
    out = np.full(padded(u.size, lanes, lattice), 99, dtype=np.int32)
    scale = np.full(1, scale, np.float32) if isinstance(scale, float) else scale
    where = place(implementation, lattice, u.size, lanes, start, m)
    implementation.dither_quantize(where, key(implementation), u, scale, out)
    return out


def weights(share):
    """Weights of contexts from how likely they are, at most 1."""
    return np.floor(65535 * share + 0.5).astype(np.uint16)


def tables(rng, count, modelled=None, lattice=0):
    """Entropy tables of random shapes: half 1 to 127, some raw low bits, some modelled code bits where they may be.

    Of convolutional lattices their chances may look ahead.
    """
    half = rng.choice([1, 2, 3, 7, 20, 127], count).astype(np.int32)
    raw = rng.choice([0, 0, 0, 1, 2, 5], count).astype(np.int32)
    rice = rng.choice([0, 0, 1, 2, 6, 20], count).astype(np.int32)
    offset, cum, at = [], [], int(rng.integers(0, 5))
    cum.append(np.zeros(at, dtype=np.int64))
    for h in half:
        offset.append(at)
        for _ in range(16):
            share = np.exp(-0.5 * ((np.arange(2 * h + 1) - h + rng.random()) / (0.3 * h + 0.5)) ** 2)
            steps = 1 + np.floor(share / share.sum() * (4095 - 2 * h)).astype(np.int64)
            steps[h] += 4096 - steps.sum()
            cum.append(np.concatenate([[0], np.cumsum(steps)]))
        at += 16 * (2 * int(h) + 2)
    y = np.arange(16) - 8.0
    weight = np.stack([weights(np.exp(-0.5 * (y / s) ** 2)) for s in rng.choice([0.2, 2, 4, 8], count)])
    kinds = 3 if isinstance(LATTICES[lattice], Convolutional) else 2
    flags = rng.integers(0, kinds, count) if modelled is None else np.full(count, modelled)
    if not LATTICES[lattice].models_code:
        flags = np.zeros(count)
    last = rng.integers(0, count, count) if LATTICES[lattice].last_follows else np.zeros(0)
    return {
        "half": half,
        "raw": raw,
        "rice": rice,
        "offset": np.array(offset, dtype=np.int64),
        "cum": np.concatenate(cum).astype(np.uint16),
        "weight": weight,
        "modelled": flags.astype(np.uint8),
        "last": last.astype(np.int32),
    }


@dataclasses.dataclass
class Case:
    """A chunk of points, and what the entropy coder codes it with."""

    lattice: int
    points: np.ndarray
    count: int
    start: int
    m: int
    lanes: int
    table_of_column: np.ndarray
    tables: dict[str, np.ndarray]

    def arguments(self, implementation):
        """What both directions take first."""
        where = place(implementation, self.lattice, self.count, self.lanes, self.start, self.m)
        built = implementation.Tables(self.lattice, **self.tables)
        return where, key(implementation), built, self.table_of_column

    def encode(self, implementation):
        return implementation.entropy_encode(*self.arguments(implementation), self.points)

    def decode(self, implementation, streams):
        out = np.full(padded(self.count, self.lanes, self.lattice), 99, dtype=np.int32)
        implementation.entropy_decode(*self.arguments(implementation), tuple(streams), out)
        return out

    def changed(self, **tables):
        """The same with other tables."""
        return dataclasses.replace(self, tables={**self.tables, **tables})


CHUNKS: OrderedDict[str, tuple[Case, dict]] = OrderedDict()


def chunk(rng, lattice, count, lanes, m, spread=2.0, modelled=None):
    """A chunk of Gaussian points with escapes; made once for all builds of the kernels, by generators in one state."""
    key = repr((rng.bit_generator.state, lattice, count, lanes, m, spread, modelled))
    if key not in CHUNKS:
        made = new_chunk(rng, lattice, count, lanes, m, spread, modelled)
        CHUNKS[key] = made, rng.bit_generator.state
        if len(CHUNKS) > 2000:
            CHUNKS.popitem(last=False)
    made, rng.bit_generator.state = CHUNKS[key]
    return copy.deepcopy(made)  # tests change it


def new_chunk(rng, lattice, count, lanes, m, spread, modelled):
    """The chunk of a generator, which goes on from there."""
    start = int(rng.integers(0, 3 * m))
    columns = (start + count - 1) // m + 1
    number = int(rng.integers(1, 6))
    u = (rng.standard_normal(count) * spread).astype(np.float32)
    u[rng.integers(0, count, 1 + count // 200)] *= 40  # escapes
    points = quantize(reference, lattice, u, lanes, start, m, np.full(columns, 256, np.float32))
    table_of_column = np.sort(rng.integers(0, number, columns)).astype(np.int32)
    return Case(
        lattice, points, count, start, m, lanes, table_of_column, tables(rng, number, modelled, lattice)
    )


def voronoi_encode(implementation, lattice, u, lanes, start, m, scale, choice, q, multiplier):
    """Sums, digits, indices of the scales, and points."""
    positions = padded(u.size, lanes, lattice)
    digits = np.full(positions, 77, dtype=np.uint16)
    beta = np.full(positions // LATTICES[lattice].group, 9, dtype=np.uint8)
    points = np.full(positions, 5, dtype=np.int32)
    where = place(implementation, lattice, u.size, lanes, start, m)
    nest = implementation.Nest(lattice, q, multiplier)
    common = where, key(implementation), nest, choice
    return implementation.voronoi_encode(*common, u, scale, digits, beta, points), digits, beta, points


def voronoi_decode(implementation, lattice, count, lanes, choice, digits, beta, q, multiplier):
    """Points."""
    out = np.full(padded(count, lanes, lattice), 6, dtype=np.int32)
    nest = implementation.Nest(lattice, q, multiplier)
    common = place(implementation, lattice, count, lanes), key(implementation), nest, choice
    implementation.voronoi_decode(*common, digits, beta, out)
    return out


def outcome(call):
    """What a decoder returns, or None if it finds the stream corrupt; anything else fails the test."""
    try:
        return call()
    except CorruptStream as error:
        reason = str(error)
    assert 10 < len(reason) < 80
    return None


def assert_same(left, right):
    """Equal bit for bit: types, shapes and bytes."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes()
