"""The estimators, on operands with synthetic noise of known size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from cli_tools import MANY
from coded_cases import KINDS, Truth, centered, pair, side_of, stream
from nqz.ground.threads import Workers
from nqz.product.groups import Part, group
from nqz.product.operand import Operand
from nqz.product.product import Product
from nqz.product.risk import group_energies
from nqz.stages import norms, project
from nqz.stages.estimate import (
    ESTIMATORS,
    alpha,
    excess_noise,
    expected_error,
    reconstruction_error,
    reconstruction_factor,
)
from nqz.stages.transforms import DEFAULT as TRANSFORM

POOL = Workers(1)


def operand(x, d, rng, m=None, seed=0, mean_step=None):
    """Columns of x with noise of relative energy d in every coordinate (inf: dropped), m of them kept."""
    u = np.ascontiguousarray(centered(x).T, np.float32)
    TRANSFORM.rotate(u, seed)
    n, columns = len(x), len(u)
    m = n if m is None else m
    d = np.broadcast_to(np.asarray(d, np.float64), columns)
    energy = np.square(centered(x)).sum(axis=0)
    sigma = np.sqrt(np.where(np.isfinite(d), d, 0.0) * energy / n)
    kept = project.kept(seed, n, m)
    noisy = (u + sigma[:, None] * rng.standard_normal(u.shape))[:, slice(None) if kept is None else kept]
    codes = norms.encode(energy, np.zeros(columns, np.int32))
    unit = units(codes, n)
    points = np.rint(noisy / unit[:, None]).astype(np.int32)
    points[np.isinf(d)] = 0
    mean = x.astype(np.float64).mean(axis=0)
    step = np.zeros(columns) if mean_step is None else np.broadcast_to(mean_step, columns)
    stored = np.where(step > 0, np.rint(mean / np.where(step > 0, step, 1)) * step, mean)
    return Synthetic(side_of(codes, d, n, m / n), m, seed, points, codes, stored, step.copy())


def units(codes, n):
    """What a point is worth."""
    return np.sqrt(np.maximum(norms.energy(codes), 1e-300) / n) / (1 << 16)


class Synthetic(Operand):
    """An operand of points in memory, in two blocks."""

    def __init__(self, side, m, seed, points, norm_codes, mean, step):
        columns = len(points)
        super().__init__("test", side, m, seed, 0, [(0, columns // 2), (columns // 2, columns)])
        self.points, self.norm_codes, self.mean, self.step = points, norm_codes, mean, step
        self.scale = 1.0  # of what a point is worth

    def codes(self, columns):
        return self.norm_codes[columns]

    def units(self, codes):
        return units(codes, self.side.n) * self.scale

    def means(self, columns):
        return self.mean[columns]

    def mean_steps(self, columns):
        return self.step[columns]

    def stream(self, first, last, pool):
        return stream(self.points[first:last])


def level(x, d):
    """Relative noises of an absolute one that is d of the mean energy; equal for equal norm codes."""
    codes = norms.encode(np.square(centered(x)).sum(axis=0), np.zeros(x.shape[1], np.int32))
    energy = norms.energy(codes)
    return np.minimum(d * energy.mean() / energy, 2.0)


def whole(product, measured=None, pool=POOL):
    """The estimate as one array."""
    measured = product.measure(pool) if measured is None else measured
    out = np.full((product.a.columns, product.b.columns), np.nan)

    def put(i, j, tile):
        out[i : i + tile.shape[0], j : j + tile.shape[1]] = tile

    assert sum(share for share, _ in product.tiles(measured, "float64", put, pool)) == pytest.approx(1)
    return out


def monte_carlo(a, b, estimator, make, draws=80 if MANY else 40):
    """Mean error and mean expected error of some draws of operands."""
    truth = Truth(a, b)
    errors, expected = [], []
    for seed in range(draws):
        product = Product(*make(np.random.default_rng(seed), seed), estimator)
        measured = product.measure(POOL)
        errors.append(truth.error(whole(product, measured)))
        expected.append(measured.error)
    return np.mean(errors), np.mean(expected), np.std(errors) / np.sqrt(draws)


@lru_cache(maxsize=80)
def noisy(kind, kappa, seed):
    """Operands: the same relative noise on one side, the same absolute noise on the other."""
    a, b = pair(kind, 240, 40, 36)
    rng, m = np.random.default_rng(seed), [int(k * 240) for k in kappa]
    return operand(a, 0.3, rng, m[0], seed), operand(b, level(b, 0.2), rng, m[1], seed)


SYNTHETIC = [
    (kappa, kind, estimator)
    for kappa in ((1.0, 1.0), (0.5, 0.75))
    for kind in KINDS
    for estimator in ESTIMATORS
    # too few effective entries to find out at this noise what the others should know
    if min(kappa) == 1 or kind not in ("heavy", "lowrank", "equal") or estimator == "unbiased"
]


@pytest.mark.parametrize("kappa, kind, estimator", SYNTHETIC, ids=str)
def test_expected_error_is_the_mean_over_synthetic_noise(kappa, kind, estimator):
    a, b = pair(kind, 240, 40, 36)
    error, expected, deviation = monte_carlo(a, b, estimator, lambda _, seed: noisy(kind, kappa, seed))
    # the prior of θ = 1 costs up to 1 % where few entries are known as badly as at these κ
    assert error == pytest.approx(expected, rel=0.02 if min(kappa) == 1 else 0.03, abs=4 * deviation)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_expected_error_counts_dropped_columns(estimator):
    a, b = pair("gauss", 240, 40, 36)
    a = a * np.where(np.arange(40) % 4 == 0, 0.9, 1.1)
    d = np.where(np.arange(40) % 4 == 0, np.inf, 0.2)
    error, expected, _ = monte_carlo(
        a, b, estimator, lambda rng, s: (operand(a, d, rng), operand(b, 0.1, rng)), 40
    )
    # what dropped columns contribute is known from other columns only: two samples of 360 entries, √(2/360) = 7 % each
    assert error == pytest.approx(expected, rel=0.1)
    assert error > 0.18


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_expected_error_counts_what_rounding_left_in_the_means(estimator):
    rng = np.random.default_rng(0)
    a, b = 20 + rng.standard_normal((240, 200)), -35 + rng.standard_normal((240, 180))
    step = 1 / 128
    error, expected, _ = monte_carlo(
        a,
        b,
        estimator,
        lambda r, s: (operand(a, 1e-4, r, mean_step=step), operand(b, 1e-4, r, mean_step=step)),
        3,
    )
    without = Product(operand(a, 1e-4, rng), operand(b, 1e-4, rng), estimator).measure(POOL).error
    assert expected > 10 * without
    # residuals are uniform: their mean square is known to 7 % for 200 of them
    assert error == pytest.approx(expected, rel=4 * np.sqrt(0.8 / 180))


def test_exact_operands_give_the_exact_product():
    a, b = pair("offset", 240, 20, 30)
    for estimator in ESTIMATORS:
        rng = np.random.default_rng(0)
        product = Product(operand(a, 0.0, rng), operand(b, 0.0, rng), estimator)
        assert product.measure(POOL).error == pytest.approx(0, abs=1e-9)
        assert Truth(a, b).error(whole(product)) < 1e-8


def test_auto_is_about_as_good_as_the_best_fixed_factor():
    """Cosine 0, 0.5 and 0.95: never worse than `mmse` and `unbiased` by more than what finding θ costs."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((300, 48))
    for cosine in (0.0, 0.5, 0.95):
        b = cosine * a + np.sqrt(1 - cosine**2) * rng.standard_normal((300, 48))
        truth = Truth(a, b)
        errors = {estimator: [] for estimator in ESTIMATORS}
        best = []
        for seed in range(12):
            for estimator in ESTIMATORS:
                draw = np.random.default_rng(seed)
                estimate = whole(Product(operand(a, 0.15, draw), operand(b, 0.15, draw), estimator))
                errors[estimator].append(truth.error(estimate))
            raw = estimate - np.outer(a.mean(0), b.mean(0)) * 300
            signal = centered(a).T @ centered(b)
            factor = (raw * signal).sum() / np.square(raw).sum()
            best.append(np.square(signal - factor * raw).sum() / truth.scale)
        mean = {estimator: np.mean(e) for estimator, e in errors.items()}
        assert mean["auto"] <= 1.03 * np.mean(best)
        assert mean["auto"] <= 1.01 * min(mean["mmse"], mean["unbiased"])


def test_alpha_goes_from_nothing_through_mmse_to_unbiased():
    nu = np.array([[0.3, 2.0, np.inf, 0.0]])
    assert np.allclose(alpha("auto", 1.0, nu), alpha("mmse", 7.0, nu))
    assert np.allclose(alpha("auto", 1e12, nu), alpha("unbiased", 7.0, nu))
    assert np.allclose(alpha("auto", 1e-300, nu), [[0, 0, 0, 1]])
    assert alpha("mmse", 1.0, nu).tolist() == [[1 / 1.3, 1 / 3, 0.0, 1.0]]
    assert alpha("unbiased", 1.0, nu).tolist() == [[1.0, 1.0, 0.0, 1.0]]


def test_excess_noise_of_pairs():
    nu = excess_noise(np.array([0.0, 1.0, np.inf]), np.array([0.5, 0.0]), 0.5)
    assert nu.tolist() == [[2.0, 1.0], [5.0, 3.0], [np.inf, np.inf]]


def test_reconstruction_of_one_side():
    codes = np.array([512, 768, 256, norms.ZERO])
    side = side_of(codes, np.array([0.25, 1.0, np.inf, np.inf]), 100, 0.5)
    assert reconstruction_error(side) == pytest.approx((4 * (1 - 0.5 / 1.25) + 8 * (1 - 0.25) + 2) / 14)
    assert reconstruction_error(side, "unbiased") == pytest.approx((4 * 1.5 + 8 * 3 + 2) / 14)
    assert reconstruction_factor(side).tolist() == [0.0, 0.0, 0.8, 0.5]  # by code
    assert reconstruction_factor(side, "unbiased").tolist() == [0.0, 0.0, 2.0, 2.0]


def test_few_entries_draw_theta_to_one():
    """A product of one entry says next to nothing about θ; one of thousands says all."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((400, 64))
    thetas = []
    for columns in (1, 64):
        draw = np.random.default_rng(1)
        related = Product(operand(x[:, :columns], 0.3, draw), operand(x[:, :columns], 0.3, draw), "auto")
        thetas.append(related.measure(POOL).theta)
    assert thetas[0] > 1 and thetas[1] > 2
    draws = [
        Product(operand(x, 0.3, r), operand(rng.standard_normal((400, 64)), 0.3, r), "auto")
        .measure(POOL)
        .theta
        for r in (np.random.default_rng(s) for s in range(8))
    ]
    assert 0.75 < np.exp(np.mean(np.log(draws))) < 1.35


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_products_with_few_vectors_are_those_of_the_general_path(monkeypatch, estimator):
    """Multiplying each chunk as it is decoded, from either side, changes no bit, and nor do threads."""
    a, b = pair("related", 240, 60, 16)
    rng = np.random.default_rng(0)
    sides = operand(a, 0.2, rng), operand(b, 0.0, rng)
    for x, y in (sides, sides[::-1]):
        found = []
        for few, threads in ((0, 1), (16, 1), (16, 3), (0, 2)):
            monkeypatch.setattr("nqz.product.few._FEW", few)
            pool = Workers(threads)
            product = Product(x, y, estimator)
            measured = product.measure(pool)
            found.append((whole(product, measured, pool).tobytes(), measured.theta, measured.error))
            pool.close()
        assert all(f == found[0] for f in found)


def test_few_vectors_too_large_for_the_sums_take_the_general_path(monkeypatch):
    a, b = pair("gauss", 600, 30, 2)
    rng = np.random.default_rng(0)
    sides = operand(a, 0.0, rng), operand(b, 0.0, rng)
    expected = whole(Product(*sides, "mmse"))
    loud = operand(a, 0.0, rng)
    loud.points = loud.points << 12
    loud.scale = 1 / 4096
    assert Product(loud, sides[1], "mmse").few_raw(POOL) is None
    assert np.allclose(whole(Product(loud, sides[1], "mmse")), expected, rtol=1e-9)


@pytest.mark.parametrize("held", [1, 20_000])
def test_blocks_that_cannot_be_held_are_decoded_again(monkeypatch, held):
    a, b = pair("related", 200, 70, 50)
    rng = np.random.default_rng(0)
    sides = operand(a, 0.2, rng), operand(b, 0.2, rng)
    for side in sides:
        side.blocks = [(i, min(i + 9, side.columns)) for i in range(0, side.columns, 9)]
    for same_side in (False, True):
        pair_of = (sides[0], sides[0]) if same_side else sides
        found = []
        for limit in (1 << 26, held):
            monkeypatch.setattr("nqz.product.tiles.HELD", limit)
            monkeypatch.setattr("nqz.product.product._WHOLE", 1000)
            monkeypatch.setattr("nqz.product.product._SAMPLE", 30)
            product = Product(*pair_of, "auto", same_side)
            measured = product.measure(POOL)
            found.append((whole(product, measured).tobytes(), measured.theta, measured.error))
        assert found[0] == found[1]


def test_large_products_are_sampled_and_blocked_alike(monkeypatch):
    """Working from a sample of columns, in small blocks of rows, changes θ a little and nothing else."""
    a, b = pair("related", 200, 70, 50)
    rng = np.random.default_rng(0)
    sides = operand(a, 0.2, rng), operand(b, 0.2, rng)
    full = Product(*sides, "mmse")
    expected, error = whole(full), full.measure(POOL).error
    monkeypatch.setattr("nqz.product.product._WHOLE", 1000)
    monkeypatch.setattr("nqz.product.tiles._TILE", 7)
    monkeypatch.setattr("nqz.product.product._SAMPLE", 40)
    sampled = Product(*sides, "mmse")
    measured = sampled.measure(POOL)
    assert len(list(sampled.tiles(measured, "float32", lambda *_: None, POOL))) >= 20
    assert np.array_equal(whole(sampled), expected)
    assert measured.error == pytest.approx(error, rel=0.15)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_dropped_columns_are_guessed_by_entries_of_their_own_kind(estimator):
    """The i-th columns are related, and others not: of 24 pairs with a dropped one, energies scatter by 7 % at most."""
    rng = np.random.default_rng(5)
    n, columns = 2000, 48
    a, b = rng.standard_normal((2, n, columns))
    b = 0.8 * a + 0.6 * b
    # no two of one norm code: noise goes by these
    a, b = (x * np.exp2(rng.permutation(columns) / columns) for x in (a, b))
    d = (
        rng.permutation(np.repeat([0.1, np.inf], columns // 2)),
        rng.permutation(np.repeat([0.2, np.inf], columns // 2)),
    )
    product = Product(operand(a, d[0], rng), operand(b, d[1], rng), estimator)
    found = product.measure(POOL)
    c = np.square(centered(a).T @ centered(b)) / (
        np.square(centered(a)).sum() * np.square(centered(b)).sum() / n
    )
    lost = c[np.isinf(d[0])[:, None] | np.isinf(d[1])].sum()
    assert found.guessed * found.error == pytest.approx(lost, rel=0.07)


def _centered_product(product, measured):
    means = [x.means(slice(None)) for x in (product.a, product.b)]
    return whole(product, measured) - product.a.side.n * np.outer(*means)


def test_the_noise_of_missing_coordinates_grows_with_cosines():
    """All columns are of few dimensions: (1 - κ)/κ ρ² is a tenth of the noise. The mean of 60 is known to 2 %."""
    rng = np.random.default_rng(6)
    n, columns = 128, 40
    factors = rng.standard_normal((n, 6))
    a, b = (factors @ rng.standard_normal((2, 6, columns))).astype(np.float32)
    exact = centered(a).T @ centered(b)
    scale = np.square(centered(a)).sum() * np.square(centered(b)).sum() / n
    ratios = []
    for seed in range(60):
        product = Product(*(operand(x, 0.02, rng, m=n // 3, seed=seed) for x in (a, b)), "unbiased")
        found = product.measure(POOL)
        error = np.square(_centered_product(product, found) - exact).sum() / scale
        ratios.append((error, found.error))
    measured, predicted = np.mean(ratios, axis=0)
    assert measured == pytest.approx(predicted, rel=0.06)


@pytest.mark.parametrize("same", [False, True])
def test_energies_of_pairs_of_groups_are_those_of_their_entries(monkeypatch, same):
    """Blocks that divide groups, stripes of columns, columns that do not count."""
    monkeypatch.setattr("nqz.product.risk._COLUMNS", 3)
    monkeypatch.setattr("nqz.product.risk._ENTRIES", 3)
    rng = np.random.default_rng(4)
    codes = [rng.integers(-400, 400, count) for count in (23, 23 if same else 31)]
    for found in codes:
        found[[2, 7]] = norms.ZERO
    codes[1] = codes[0] if same else codes[1]
    scaled = [np.ldexp(1.0, found % 5) for found in codes]
    parts, numbers = [], []
    for found in codes:
        noise = np.where(found % 7 == 3, np.inf, 0.25)
        side = side_of(found, noise, 100, 1.0)
        groups = group(side, norms.energy(side.histogram.codes))
        parts.append(Part(groups, found.__getitem__, lambda c: np.ldexp(1.0, c % 5), norms.energy))
        counted = (found != norms.ZERO) & np.isfinite(noise)
        buckets = sorted(set((found[counted] // 64).tolist()))
        numbers.append(
            np.array([buckets.index(c // 64) if ok else -1 for c, ok in zip(found, counted, strict=True)])
        )
        assert len(groups.energy) == len(buckets) > 5
        for g in range(len(buckets)):
            energy = norms.energy(found[numbers[-1] == g])
            assert groups.energy[g] == pytest.approx(energy.sum()) and groups.noise[g] == 0.25
        assert groups.columns.tolist() == [(numbers[-1] == g).sum() for g in range(len(buckets))]
    raw = rng.integers(-1000, 1000, (23, len(codes[1]))).astype(np.int32)
    cut = {(i, j): raw[i : i + 10, j : j + 16] for i in (0, 10, 20) for j in (0, 16)}
    found = group_energies(cut, *parts, same)
    squares = np.square(raw * scaled[0][:, None] * scaled[1])
    if same:
        np.fill_diagonal(squares, 0.0)
    for g, row in enumerate(found):
        for h, value in enumerate(row):
            assert value == pytest.approx(squares[np.ix_(numbers[0] == g, numbers[1] == h)].sum())


@pytest.mark.parametrize("estimator", ["auto", "mmse", "unbiased"])
def test_many_norm_codes_are_taken_together(monkeypatch, estimator):
    """So many pairs are added in pieces, to the same sum; beyond, neighboring codes count as one."""
    rng = np.random.default_rng(3)
    sides = []
    for count in (300, 200):
        codes = np.arange(count)
        noise = np.where(codes < 17, np.inf, np.exp2(-codes / 64) * (1 + rng.random(count) / 8))
        sides.append(side_of(codes, noise, 64, 1.0))
    options = {"theta": 2.0, "missed": 0.5, "dropped": (0.7, 0.8, 0.9), "passed": 1.2}
    whole = expected_error(*sides, estimator, **options)
    monkeypatch.setattr("nqz.stages.estimate._PAIRS", 1000)
    assert expected_error(*sides, estimator, **options) == whole
    monkeypatch.setattr("nqz.stages.estimate._CODES", 64)
    assert expected_error(*sides, estimator, **options) == pytest.approx(whole, rel=0.01)
    monkeypatch.setattr("nqz.stages.estimate._CODES", 199)  # fewer than there are, not than are coded
    assert expected_error(*sides, estimator, **options) == pytest.approx(whole, rel=0.01)
