"""What errors are expected where little tells of a product: few directions, few entries, few columns that are kept."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import nqz
from cli_tools import succeed
from nqz.product.directions import Directions, energy_variance, not_negative
from nqz.stages.dependence import ANYHOW, Dependence, Together


def low(n, columns, rank, rng):
    """Columns of few dimensions."""
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, columns))


def onehot(n, columns, rng):
    """One entry a column."""
    a = np.zeros((n, columns))
    a[rng.integers(0, n, columns), np.arange(columns)] = rng.lognormal(0, 1, columns)
    return a


def heavy(n, columns, rng):
    """Long tails, loud and quiet columns."""
    return rng.standard_t(3, (n, columns)) * rng.lognormal(0, 1, columns)


def truth(a, b):
    """The product, and what its errors are relative to."""
    a, b = a - a.mean(0), b - b.mean(0)
    return a.T @ b, np.square(a).sum() * np.square(b).sum() / len(a)


def test_error_bars_are_right_in_the_mean_where_all_entries_share_one_draw_of_few_directions():
    squares = {"mmse": [], "auto": []}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, b = (low(256, 48, 6, rng) for _ in range(2))
        files = [nqz.encode(x, rate=0.5, seed=seed) for x in (a, b)]
        for estimator, found_ones in squares.items():
            found, sigma = nqz.matmul(*files, estimator=estimator, dtype="float64", sigma=True)
            known = ~np.isnan(sigma)
            found_ones.append(np.square(((found - a.T @ b) / sigma)[known]).mean())
    # a product is off by 0.3 or so, with long tails
    for found_ones in squares.values():
        assert np.mean(found_ones) == pytest.approx(1.0, abs=0.4)
        assert max(found_ones) < 4.0


def test_small_products_at_low_rates_are_predicted_in_the_mean():
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, b = (rng.standard_normal((256, columns)) for columns in (24, 18))
        exact, scale = truth(a, b)
        files = [nqz.encode(x, rate=0.4, seed=seed) for x in (a, b)]
        error, least, most = nqz.predicted_error(*files, band=True)
        assert least < 0.97 * error
        assert most > 1.03 * error
        ratios.append(np.square(nqz.matmul(*files, dtype="float64") - exact).sum() / scale / error)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.3)
    assert max(ratios) < 3.0


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.3])
def test_noise_does_not_make_a_prediction_worse_than_what_is_known_of_unrelated_matrices(rate):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        a, b = (rng.standard_normal((1024, columns)) for columns in (100, 75))
        exact, scale = truth(a, b)
        files = [nqz.encode(x, rate=rate, seed=seed) for x in (a, b)]
        for estimator in ("auto", "mmse"):
            error, least, most = nqz.predicted_error(*files, estimator, band=True)
            found = np.square(nqz.matmul(*files, estimator=estimator, dtype="float64") - exact).sum() / scale
            assert found == pytest.approx(error, rel=0.06)
            assert least <= found <= most
            assert most < 1.5


@pytest.mark.parametrize(
    "make", [lambda n, k, rng: low(n, k, 8, rng), onehot, heavy], ids=["low", "onehot", "heavy"]
)
def test_at_very_low_rates_errors_are_about_those_of_zero_whatever_the_data(make):
    within = []
    for seed, rate in enumerate([0.05, 0.1, 0.2, 0.3]):
        rng = np.random.default_rng(seed)
        a, b = make(1024, 100, rng), make(1024, 75, rng)
        exact, scale = truth(a, b)
        files = [nqz.encode(x, rate=rate, seed=seed) for x in (a, b)]
        error, least, most = nqz.predicted_error(*files, "mmse", band=True)
        found = np.square(nqz.matmul(*files, estimator="mmse", dtype="float64") - exact).sum() / scale
        assert error < 1.5
        within.append(least <= found <= most)
    # of one-hot columns a few of all products have all the energy, in single pairs anything
    assert sum(within) >= (0 if make is onehot else 3)


def test_columns_that_are_related_are_found_to_be_so_at_very_low_rates():
    rng = np.random.default_rng(1)
    a = low(1024, 100, 8, rng)
    b = low(1024, 100, 8, rng)
    pairs = {"same space": (a, a[:, ::-1]), "pairs": (b, b + 0.5 * rng.standard_normal(b.shape))}
    for one, other in pairs.values():
        files = [nqz.encode(x, rate=0.2) for x in (one, other)]
        error, least, most = nqz.predicted_error(*files, "mmse", band=True)
        exact, scale = truth(one, other)
        found = np.square(nqz.matmul(*files, estimator="mmse", dtype="float64") - exact).sum() / scale
        assert least <= found <= most
        assert error > 10.0


def test_of_a_matrix_times_itself_all_noise_counts_twice():
    """The first unit vectors: products are hardly anything, 1/n, and what is measured of them is noise."""
    a, outside = np.eye(1024)[:, :100], 0
    _, scale = truth(a, a)
    for seed in range(8):
        file = nqz.encode(a, rate=3, seed=seed)
        _, least, most = nqz.predicted_error(file, file, band=True)
        found = nqz.matmul(file, file, dtype="float64") - a.T @ a
        outside += not least <= np.square(found).sum() / scale <= most
    assert outside <= 1


def test_what_rounding_small_means_leaves_beside_large_ones_is_within_what_is_said():
    """As much as the noise does where means are 50 times the standard deviation; one draw, whatever the seed."""
    within = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        a, b = 50.0 + rng.standard_normal((1024, 60)), rng.standard_normal((1024, 40))
        exact, (_, scale) = a.T @ b, truth(a, b)
        files = [nqz.encode(x, rate=2, seed=seed) for x in (a, b)]
        error, least, most = nqz.predicted_error(*files, band=True)
        found = np.square(nqz.matmul(*files, dtype="float64") - exact).sum() / scale
        assert 0.2 < error < 0.32
        assert most > 1.06 * error
        within.append(least <= found <= most)
    assert sum(within) >= 5


def test_what_dropped_columns_leave_out_is_within_what_is_said():
    """Two entries that meet in one of a thousand products have all the energy, and are seen or not."""
    within = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        a, b = (onehot(512, 96, rng) for _ in range(2))
        exact, scale = truth(a, b)
        files = [nqz.encode(x, rate=0.3, seed=seed) for x in (a, b)]
        _, least, most = nqz.predicted_error(*files, band=True)
        error = np.square(nqz.matmul(*files, dtype="float64") - exact).sum() / scale
        within.append(least <= error <= most)
    assert sum(within) >= 5


def test_the_command_line_says_between_what_the_expected_error_is_where_little_tells(capsys, tmp_path):
    rng = np.random.default_rng(1)
    for name in "ab":
        for rate, matrix in (("0.3", onehot(512, 96, rng)), ("3", rng.standard_normal((256, 60)))):
            path = tmp_path / f"{name}{rate}.npy"
            np.save(path, matrix)
            succeed(capsys, "encode", path, "-r", rate, "-o", tmp_path / f"{name}{rate}.nqz", "-q")
    said = {}
    for rate in ("0.3", "3"):
        files = [tmp_path / f"{name}{rate}.nqz" for name in "ab"]
        report = tmp_path / "report.json"
        done = succeed(capsys, "matmul", *files, "-o", tmp_path / f"c{rate}.npy", "--json", report, "--force")
        (product,) = json.loads(report.read_text())["products"]
        low, high = product["expected_band"]
        assert (product["expected"], low, high) == pytest.approx(nqz.predicted_error(*files, band=True))
        said[rate] = re.search(r"expected error \S+ of \S+ \(\S+ % rms\), likely (\S+) to (\S+)", done.err)
        if said[rate]:
            assert [float(x) for x in said[rate].groups()] == pytest.approx([low, high], rel=0.01)
        else:
            assert (low, high) == pytest.approx((0.97 * product["expected"], 1.03 * product["expected"]))
    assert said["0.3"]
    assert not said["3"]


def test_the_energy_of_a_product_is_known_as_well_as_is_said():
    """Simulated: columns of few dimensions, some coordinates, noise; and columns that point anywhere."""
    n, columns, kappa, noise = 200, 30, 0.5, 0.4
    for rank in (4, n):
        rng = np.random.default_rng(rank)
        off, said = [], []
        for _ in range(200):
            u, v = (
                low(n, columns, rank, rng) if rank < n else rng.standard_normal((n, columns))
                for _ in range(2)
            )
            u, v = (x / np.sqrt(np.square(x).sum(0)) for x in (u, v))
            x, y = (a[: n // 2] + np.sqrt(noise / n) * rng.standard_normal((n // 2, columns)) for a in (u, v))
            measured = n * np.square(x.T @ y / kappa).mean() - ((1 + noise) ** 2 / kappa - 1)
            energy = n * np.square(u.T @ v).mean()
            off.append(measured - energy)
            square = (np.square(u.T @ u).sum() - columns) / columns / (columns - 1)
            side = Directions(square, square + ((1 + noise) ** 2 / kappa - 1) / n)
            counts, noises = (np.array(float(columns)),) * 2, (np.array(noise),) * 2
            said.append(energy_variance(np.array(energy), (side, side), counts, noises, kappa))
        assert np.mean(np.square(off)) / np.mean(said) == pytest.approx(1.0, abs=0.35)


def test_an_energy_that_cannot_be_negative_is_what_it_is_in_the_mean():
    found = not_negative(np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 9.0]), np.ones(6))
    assert found == pytest.approx([0.373, 0.525, 0.798, 1.288, 2.055, 9.0], abs=0.02)
    assert list(not_negative(np.array([-2.0, 2.0]), np.zeros(2))) == [0.0, 2.0]


def test_what_is_found_where_most_is_nothing_is_chance():
    """Of many that are 0 less is left than the part above 0, and nothing is taken off what is far above."""
    z = np.random.default_rng(1).standard_normal(20000)
    ones = np.ones_like(z)
    assert not_negative(z, ones, 1.0).mean() < 0.7 * np.maximum(z, 0.0).mean() < not_negative(z, ones).mean()
    assert not_negative(np.array([3.0]), np.ones(1), 1.0) == [3.0]


@pytest.mark.parametrize("estimator, off", [("mmse", 0.13), ("auto", 0.3)])
def test_error_bars_are_hardly_too_long_where_few_entries_have_all_the_energy(estimator, off):
    """In products as small as these a little; without knowing that most is nothing by 0.17 and 0.36 of the squares."""
    squares = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        a, b = (onehot(1024, 300, rng) for _ in range(2))
        files = [nqz.encode(x, rate=0.5, seed=seed) for x in (a, b)]
        found, sigma = nqz.matmul(*files, estimator=estimator, dtype="float64", sigma=True)
        z = (found - truth(a, b)[0] - 1024 * np.outer(a.mean(0), b.mean(0))) / sigma
        squares.append(np.nanmean(z * z))
    assert np.mean(squares) == pytest.approx(1.0, abs=off), squares


def test_gains_of_parallel_columns_divide_out_what_they_have_in_common():
    """Coordinates that are dropped: at cosine c, 1 + c² - 8 c³ + 8 c⁴ remains, for columns in k directions 1 + 1/k."""
    nested = Dependence(alike=0.1, measured=True)
    for cosine in (0.3, 0.5, 1.0):
        together = Together(cosine**2, 0.0, (cosine**2,) * 2, (cosine,) * 2)
        found = cosine**2 * (1 + nested.divided(nested, together, cosine**2))
        assert found == pytest.approx(cosine**2 - 8 * cosine**3 + 8 * cosine**4)
    together = Together(0.1, 0.0, (1 / 8,) * 2, (1 / 8,) * 2)
    assert nested.divided(nested, together, 1 / 8) == pytest.approx(0.0)
    plain = Dependence()
    assert plain.divided(plain, together, 1 / 8) == 0.0
    assert nested.unsure(nested, Together(common=(1.0, 1.0))) == pytest.approx(0.2)
    assert nested.unsure(nested, ANYHOW) == 0.0
