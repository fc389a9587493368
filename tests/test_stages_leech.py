"""The Leech lattice through encode, decode and matmul: its noise, its rate, and the coding of a block's last entry."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import Truth, centered, chunk_bytes, coded
from nqz.stages import scale
from nqz.stages.codings import tables
from nqz.stages.lattices import LATTICES
from nqz.stages.scale import CLASSES

LEECH = LATTICES["leech"]
SPACE_FILLING = 0.5 * np.log2(2 * np.pi * np.e * LEECH.second_moment / 8)


def gaussian(columns, n=1024, seed=1):
    return np.random.default_rng(seed).standard_normal((n, columns)).astype(np.float32)


@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
@pytest.mark.parametrize("rate", [1.0, 2.0, 4.0])
def test_decoded_matrices_and_products_have_the_noise_that_is_predicted(rate, coding):
    a, b = gaussian(200), gaussian(180, seed=2)
    files = [nqz.encode(x, rate=rate, lattice="leech", coding=coding, kappa=1.0) for x in (a, b)]
    assert all(abs(8 * len(file) / x.size - rate) < 0.1 for file, x in zip(files, (a, b), strict=True))
    matrix = coded(files[0])
    p = matrix.parameters
    with nqz.open(files[0]) as x, nqz.open(files[1]) as y:
        back = x.matrix.decode("float64", estimator="unbiased")
        predicted = nqz.predicted_error(x, y)
    noise = np.square(back - a).sum() / np.square(centered(a)).sum()
    relative = p.coding.scaling(p, matrix.codes()).noise.mean()
    assert noise == pytest.approx(
        (relative + 1 - p.kappa) / p.kappa, rel=0.03
    )  # dropped coordinates decode as zero
    truth = Truth(a, b)
    error = truth.error(nqz.matmul(*files, dtype="float64").astype(np.float64))
    assert error == pytest.approx(predicted, rel=6 * truth.deviation + 0.01)


@pytest.mark.parametrize("rate", [1.5, 2.0, 3.0, 4.0])
def test_the_rate_is_that_of_the_gaussian_channel_and_the_space_filling_loss(rate):
    x = gaussian(512, n=2048)
    matrix = coded(nqz.encode(x, rate=rate, lattice="leech", kappa=1.0))
    p = matrix.parameters
    noise = scale.scaling(matrix.codes(), p.n, p.lattice, p.delta, p.allocate, p.lowest_class).noise
    ideal = 0.5 * np.log2(1 + 1 / noise).mean() + SPACE_FILLING
    assert -0.001 < 8 * chunk_bytes(matrix) / x.size - ideal < 0.01


@pytest.mark.parametrize("index", range(4 * CLASSES, 12 * CLASSES, 5))
def test_halving_the_last_entry_loses_next_to_nothing(index):
    """Y >> 1 in the table of half the σ against the ideal code of Y given Y mod 32, bits a block."""
    variance = tables.class_variance(index)
    table = tables.table(tables.halved(index))
    y = np.arange(-int(9 * np.sqrt(variance)) - 32, int(9 * np.sqrt(variance)) + 32)
    p = np.exp(-0.5 * y * y / variance)
    p /= p.sum()
    ideal = -np.log2(np.maximum(p / np.bincount(y & 31, p)[y & 31], 1e-300))
    k2 = y >> 5 >> table.raw
    inside = (k2 >= -table.half) & (k2 < table.half)
    frequency = np.diff(table.cumulative.astype(np.float64), axis=1)
    symbol = np.where(inside, k2 + table.half, 2 * table.half)
    escape = tables.rice_lengths(np.where(k2 < 0, -table.half - 1 - k2, k2 - table.half), table.rice)
    real = 12 - np.log2(frequency[y >> 1 & 15, symbol]) + table.raw + np.where(inside, 0, escape)
    loss = float((p * (real - ideal)).sum())
    assert -0.001 < loss < 0.03
    assert tables.point_bits(LEECH, index) * 24 - 23 * tables.table(index).bits == pytest.approx(
        float((p * real).sum()), abs=0.03
    )


@pytest.mark.parametrize("shape", [(1, 64), (23, 7), (24, 40), (25, 33), (7, 50), (500, 3)])
@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
def test_small_matrices_come_back_as_well_as_with_e8(shape, coding):
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    error = {}
    for lattice in ("leech", "e8"):
        with nqz.open(nqz.encode(x, rate=12, lattice=lattice, coding=coding, center=False)) as container:
            back = container.matrix.decode("float64", estimator="unbiased")
        assert back.shape == shape
        error[lattice] = np.square(back - x).sum() / np.square(x).sum()
    # though padded to groups of 24, and records to 8 bytes; columns of one entry are kept or dropped
    assert error["leech"] < 2.5 * error["e8"] + (0.1 if shape[0] == 1 else 0.0)


def test_the_largest_rates_are_reached():
    x = gaussian(8)
    for coding, rate in (("entropy", 12.0), ("voronoi", 11.0)):
        with nqz.open(nqz.encode(x, rate=rate, lattice="leech", coding=coding)) as container:
            back = container.matrix.decode("float64", estimator="unbiased")
        assert np.sqrt(np.square(back - x).mean()) < 1.3 * 2.0**-rate * 1.2
