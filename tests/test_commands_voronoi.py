"""Products in nested codes: constant matrices, single rows, extreme magnitudes, loud columns, entries and rows."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import NESTED, centered, scheme


def product(a, b, name, rate=2.0, seed=0, **options):
    """Estimate, its standard deviations, and the expected error of the whole."""
    pair = [nqz.open(nqz.encode(x, rate=rate, seed=seed, **scheme(name, "voronoi"))) for x in (a, b)]
    with pair[0] as x, pair[1] as y:
        found = nqz.matmul(x, y, dtype="float64", sigma=True, **options)
        return (*found, nqz.predicted_error(x, y, estimator=options.get("estimator", "auto")))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NESTED)
def test_constant_matrices_and_single_rows_multiply_exactly(name):
    rng = np.random.default_rng(0)
    columns = rng.integers(-99, 99, (3, 40)).astype(np.float64)
    for a, b in (
        (np.tile(columns[0], (300, 1)), np.tile(columns[1], (300, 1))),
        (columns[:1], columns[1:2]),
        (np.full((17, 1), 3.0), np.full((17, 1), -5.0)),
    ):
        estimate, sigma, error = product(a, b, name)
        assert np.array_equal(estimate, a.T @ b)
        assert error == 0.0
        assert (sigma <= 1e-12 * np.abs(estimate)).all()  # what float64 rounds


@pytest.mark.parametrize("exponent", [-300, 300])
@pytest.mark.parametrize("name", NESTED)
def test_predictions_hold_at_both_ends_of_float64(name, exponent):
    """20 000 errors, of a standard deviation of 2 % for their mean square."""
    a, b = np.random.default_rng(1).standard_normal((2, 500, 140))
    estimate, sigma, error = product(a * 10.0**exponent, b * 10.0**-exponent, name)
    wrong = estimate - a.T @ b
    scale = np.square(centered(a)).sum() * np.square(centered(b)).sum() / len(a)
    assert np.square(wrong).sum() / scale == pytest.approx(error, rel=0.06)
    assert np.square(wrong / sigma).mean() == pytest.approx(1.0, abs=0.06)


def _loud_column(x, factor):
    x[:, 5] *= factor


def _loud_entry(x, factor):
    x[7, 5] = factor


def _loud_row(x, factor):
    x[7] *= factor


@pytest.mark.parametrize(("make", "factor"), [(_loud_column, 1e12), (_loud_entry, 1e12), (_loud_row, 1e6)])
@pytest.mark.parametrize("name", ["e8", "leech"])
def test_errors_of_loud_and_of_ordinary_rows_are_the_ones_that_are_told(name, make, factor):
    """400 errors of the loud row of the product, known to 10 % (4 sd of that are allowed); of the others 9 200."""
    a = np.random.default_rng(2).standard_normal((1024, 24))
    b = np.random.default_rng(3).standard_normal((1024, 400))
    make(a, factor)
    estimate, sigma, error = product(a, b, name, estimator="unbiased")
    wrong = estimate - a.T @ b
    z = np.square(wrong / sigma).mean(axis=1)
    loud = np.arange(24) == 5
    assert z[loud].item() == pytest.approx(1.0, abs=0.4)
    assert z[~loud].mean() == pytest.approx(1.0, abs=0.15 if make is _loud_row else 0.06)
    scale = np.square(centered(a)).sum() * np.square(centered(b)).sum() / len(a)
    assert np.square(wrong).sum() / scale == pytest.approx(error, rel=0.4)
