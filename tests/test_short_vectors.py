"""Short vectors: norms and means take few bits, and predictions hold all the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nqz
from coded_cases import coded
from nqz.plan.limit import gamma_inverse
from nqz.stages import norms


def columns(n, count, seed=0):
    return np.random.default_rng(seed).standard_normal((n, count)).astype(np.float32)


def relative(estimate, a, b):
    """Error relative to ‖Ā‖²‖B̄‖²/n, both sides centered."""
    a, b = (x.astype(np.float64) for x in (a, b))
    scale = math.prod(np.square(x - x.mean(axis=0)).sum() for x in (a, b)) / len(a)
    return np.square(estimate - a.T @ b).sum() / scale


@pytest.mark.parametrize(("n", "most"), [(64, 0.15), (128, 0.10), (256, 0.075)])
def test_columns_of_some_dozen_entries_are_near_the_limit(n, most):
    a, b = columns(n, 4096), columns(n, 4096, 1)
    files = nqz.encode(a, rate=2), nqz.encode(b, rate=2)
    error = relative(nqz.matmul(*files), a, b)
    assert 4.0 * sum(map(len, files)) / a.size - gamma_inverse(error) <= most
    assert error == pytest.approx(nqz.predicted_error(*files), rel=0.02)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_columns_of_a_few_entries_keep_to_the_rate(n):
    a, b = columns(n, 100_000), columns(n, 300, 1)
    data, other = nqz.encode(a, rate=3), nqz.encode(b, rate=3)
    assert len(data) <= 3 * a.size / 8 + (448 if a.size < 10**6 else 0)
    assert not coded(data).centered
    error = relative(nqz.matmul(other, data), b, a)
    assert error < 0.2
    # predicted relative to what is coded, which is not centered
    assert error == pytest.approx(nqz.predicted_error(other, data) * (n / (n - 1)) ** 2, rel=0.15)


def test_the_limits_between_steps_are_those_where_both_codes_cost_the_same():
    for step, most in norms._ABOVE.items():
        octaves = step / norms.STEPS
        right = norms.STEPS * math.log2(octaves * math.log(2.0) / (1.0 - 2.0**-octaves))
        assert abs(most - right) <= 0.5
        how = norms.Rounding(step, 5)
        assert how.of(np.array([5 + most - 1, 5 + most, 5 + most - step])).tolist() == [5, 5 + step, 5]
    assert norms.Rounding(64, 3).of(np.array([norms.ZERO])).tolist() == [norms.ZERO]


@pytest.mark.parametrize("heavy", [False, True])
def test_rounded_norms_keep_the_energy(heavy):
    x = columns(48, 2000).astype(np.float64)
    if heavy:
        x *= np.exp(1.5 * np.random.default_rng(2).standard_normal(2000))
    matrix = coded(nqz.encode(x, rate=4, center=False))
    assert matrix.parameters.norm_step > 1
    assert norms.energy(matrix.codes()).sum() == pytest.approx(np.square(x).sum(), rel=0.005)
    assert (len(np.unique(matrix.codes())) > 4) == heavy


def test_columns_with_means_worth_their_bits_are_centered():
    x = columns(16, 500)
    assert not coded(nqz.encode(x, rate=3)).centered
    assert coded(nqz.encode(x + 5, rate=3)).centered
    assert coded(nqz.encode(x, rate=3, center=True)).parameters.mean_digits == 3
    x[:, 7] = 2.5  # a constant column is exact
    assert (nqz.open(nqz.encode(x, rate=3)).matrix.decode()[:, 7] == 2.5).all()


def test_long_columns_have_fine_norms_and_means():
    parameters = coded(nqz.encode(columns(1024, 20), rate=2)).parameters
    assert (parameters.norm_step, parameters.mean_digits) == (1, 2)


@pytest.mark.parametrize("kappa", [None, 0.5])
def test_means_of_an_uncentered_side_are_estimated(kappa):
    """Beside a partner whose means are ten times its standard deviation they are most of the error."""
    a, b = columns(64, 300).astype(np.float64), columns(64, 100, 1) + 10.0
    found, expected = [], []
    for seed in range(6):
        files = (
            nqz.encode(a, rate=3, center=False, kappa=kappa, seed=seed),
            nqz.encode(b, rate=3, center=True, kappa=kappa, seed=seed),
        )
        scale = np.square(a).sum() * np.square(b - b.mean(axis=0)).sum() / 64
        found.append(np.square(nqz.matmul(*files, dtype="float64") - a.T @ b).sum() / scale)
        expected.append(nqz.predicted_error(*files))
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.15)


def test_error_bars_know_of_means_of_columns_that_are_near_constants():
    """All coordinates left out are then those of one vector: only the mean over seeds tells."""
    a, b = columns(256, 4).astype(np.float64) + 30.0, columns(256, 3, 1) + 10.0
    squares = []
    for seed in range(50):
        files = (
            nqz.encode(x, rate=3, center=center, kappa=0.3, lattice="z", seed=seed)
            for x, center in ((a, False), (b, True))
        )
        product, sigma = nqz.matmul(*files, estimator="unbiased", sigma=True)
        squares.append(np.mean(np.square((product - a.T @ b) / sigma)))
    assert 0.6 < np.mean(squares) < 1.5


def test_diagonals_are_as_near_as_error_bars_say():
    x = columns(64, 600).astype(np.float64)
    data = nqz.encode(x, rate=3, center=False)
    assert coded(data).parameters.norm_step > 64
    gram, sigma = nqz.matmul(data, data, sigma=True, dtype="float64", estimator="unbiased")
    z = np.diag((gram - x.T @ x) / sigma)
    assert np.mean(z * z) == pytest.approx(1.0, abs=0.25)
    assert np.abs(np.diag(gram) / np.square(x).sum(axis=0) - 1.0).max() < 0.15


def test_norms_that_hardly_differ_are_kept_as_they_are():
    signs = np.where(np.random.default_rng(3).standard_normal((512, 64)) > 0, 1.0, -1.0)
    data = nqz.encode(signs, rate=4)
    assert coded(data).parameters.norm_step == 1
    energy = np.square(signs).sum(axis=0)
    assert np.abs(np.diagonal(nqz.matmul(data, data, dtype="float64")) / energy - 1.0).max() < 0.01
    assert (
        coded(nqz.encode(np.random.default_rng(3).standard_normal((512, 64)), rate=4)).parameters.norm_step
        > 1
    )


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"center": True}, "norms and means take .* (try the other axis=, or without center=True)"),
        (
            {"coding": "voronoi", "lattice": "e8"},
            "norms and means take .* (try the other axis=, or center=False)",
        ),
        (
            {"coding": "voronoi", "lattice": "e8", "center": False},
            "vectors of .*; norms take .* (try the other axis=)",
        ),
    ],
    ids=str,
)
def test_what_is_suggested_for_norms_and_means_that_take_more_would_help(options, advice):
    x = columns(2, 1000)
    with pytest.warns(UserWarning, match=advice.replace("(", "[(]").replace(")", "[)]") + "$"):
        nqz.encode(x, rate=2, **options)
