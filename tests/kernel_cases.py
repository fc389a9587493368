"""Random but repeatable arguments for the kernels."""

from __future__ import annotations

import numpy as np

from nqz import reference

KEY = (0x0123456789ABCDEF, 0xFEDCBA9876543210, 1 << 63)
LANES = (1, 2, 4, 8, 16, 32)
FINE = (16, 8, 8, 4)


def padded(count, lanes, lattice=0):
    row = (24 if lattice == 3 else 8) * lanes
    return -(-count // row) * row


def tables(rng, count, modelled=None, lattice=0):
    """Entropy tables of random shapes: half 1 to 127, some raw low bits, some modelled code bits (but for leech)."""
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
    weight = np.stack([np.exp(-0.5 * (y / s) ** 2) for s in rng.choice([0.2, 2, 4, 8], count)])
    flags = rng.integers(0, 2, count) if modelled is None else np.full(count, modelled)
    last = np.zeros(0)
    if lattice == 3:
        flags, last = np.zeros(count), rng.integers(0, count, count)
    return (
        half,
        raw,
        rice,
        np.array(offset, dtype=np.int64),
        np.concatenate(cum).astype(np.uint16),
        weight,
        flags.astype(np.uint8),
        last.astype(np.int32),
    )


def chunk(rng, lattice, count, lanes, m, spread=2.0, modelled=None):
    """Points of a chunk, and the arguments of the entropy coder from `count` on."""
    start = int(rng.integers(0, 3 * m))
    columns = (start + count - 1) // m + 1
    number = int(rng.integers(1, 6))
    u = (rng.standard_normal(count) * spread).astype(np.float32)
    u[rng.integers(0, count, 1 + count // 200)] *= 40  # escapes
    points = np.empty(padded(count, lanes, lattice), dtype=np.int32)
    scale = np.full(columns, 256, dtype=np.float32)
    reference.nearest(lattice, u, start, m, scale, *KEY, lanes, points)
    table_of_column = np.sort(rng.integers(0, number, columns)).astype(np.int32)
    return points, (count, start, m, table_of_column, lanes, *KEY, *tables(rng, number, modelled, lattice))


def assert_same(left, right):
    """Equal bit for bit: types, shapes and bytes."""
    assert len(left) == len(right)
    for a, b in zip(left, right):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes()
