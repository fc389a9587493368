"""Nearest lattice points: against the reference bit for bit, against brute force, and their second moment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_cases import FINE, KEY, LANES, padded

from nqz import kernels, reference


def quantize(implementation, lattice, u, lanes=32, start=0, m=None, scale=None):
    out = np.empty(padded(u.size, lanes), dtype=np.int32)
    scale = np.ones(1, dtype=np.float32) if scale is None else scale
    implementation.nearest(lattice, u, start, m or u.size, scale, *KEY, lanes, out)
    return out


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
    level = reference.levels(*KEY, u.size).astype(np.int64).reshape(t.shape)
    x = t + 32 * level
    point = (quantize(native, lattice, u, lanes=1).reshape(t.shape) + level) // 8
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
    level = reference.levels(*KEY, t.size).astype(np.int64)
    x = t + 16 * level
    point = (quantize(native, 0, t.astype(np.float32), lanes=1) + level) // 16
    assert (np.abs(256 * point - x) <= 128).all()


@pytest.mark.parametrize("lattice, moment", [(0, 1 / 12), (1, 13 / 120), (2, 929 / 6480)])
def test_second_moment(lattice, moment):
    rng = np.random.default_rng(22)
    total, count = 0.0, 1 << 20
    for _ in range(3):
        u = rng.uniform(-50, 50, count).astype(np.float32)
        error = quantize(kernels, lattice, u, scale=np.full(1, 256, np.float32))[:count] / FINE[lattice] - u
        total += float(np.square(error).mean()) / 3
    assert abs(total / moment - 1) < 0.003


@pytest.mark.parametrize("lattice", [0, 1, 2])
def test_dithered_error_is_unbiased_whatever_the_data(lattice):
    count = 1 << 18
    for value in (0.0, 0.3, 0.5, 0.77):
        u = np.full(count, value, dtype=np.float32)
        error = quantize(kernels, lattice, u, scale=np.full(1, 256, np.float32)) / FINE[lattice] - value
        # Levels are a sixteenth (z) or an eighth of a unit apart: the bias is below half of that.
        assert abs(error.mean()) < 0.5 / FINE[lattice] + 0.004
        assert abs(np.corrcoef(error[:-1], error[1:])[0, 1]) < 0.02


def test_arguments_that_do_not_fit_are_refused(native):
    u, one = np.zeros(10, np.float32), np.ones(1, np.float32)
    good = [0, u, 0, 10, one, *KEY, 1, np.zeros(16, np.int32)]
    changes = {
        0: [4, -1],
        1: [np.zeros(0, np.float32), np.zeros(10), np.zeros(9 + (1 << 20), np.float32)],
        2: [-1, 1],
        3: [0, 9],
        4: [np.ones(0, np.float32), np.ones(1)],
        8: [0, 3, 64],
        9: [np.zeros(15, np.int32), np.zeros(17, np.int32), np.zeros(16, np.int64)],
    }
    native.nearest(*good)
    for index, values in changes.items():
        for value in values:
            bad = list(good)
            bad[index] = value
            with pytest.raises((ValueError, TypeError)):
                native.nearest(*bad)
