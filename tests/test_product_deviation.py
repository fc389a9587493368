"""Error bars: errors of entries are as large as their standard deviations say, whatever the matrices are."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import KINDS, centered, encoded, pair
from nqz.ground.errors import OperandError
from nqz.ground.threads import Workers, workers
from nqz.product.deviation import InfiniteError
from nqz.product.product import Product
from test_product_estimate import operand

SEEDS = 16
T = 5.2
"""Student's t with 15 degrees of freedom is beyond once in 10⁴."""

POOL = Workers(1)


def units(found, sigma, truth, chosen=None):
    """Errors in units of their standard deviations, those that have one."""
    known = ~np.isnan(sigma)
    z = (found.astype(np.float64) - truth)[known if chosen is None else known & chosen]
    return z / sigma[known if chosen is None else known & chosen]


def product(a, b):
    return a.T.astype(np.float64) @ b.astype(np.float64)


def assert_is(value, samples, fineness):
    """The mean of independent samples is a value, up to chance that is T standard errors; these are small enough."""
    samples = np.asarray(samples)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert T * error <= fineness, error
    assert samples.mean() == pytest.approx(value, abs=T * error)


@pytest.mark.parametrize(
    "kind, rate",
    [("gauss", 0.5), ("heavy", 0.8), *((kind, 2) for kind in KINDS if kind not in ("equal", "lowrank"))],
)
def test_errors_are_as_large_as_their_standard_deviations(kind, rate):
    """And normally distributed: 5 % are beyond 1.96, unbiased. Products are independent, entries of one are not."""
    beyond, squares, shrunk = [], [], []
    for seed in range(SEEDS):
        a, b = pair(kind, 384, 48, 40, seed)
        files = [encoded(x, rate=rate, seed=seed) for x in (a, b)]
        z = units(*nqz.matmul(*files, estimator="unbiased", dtype="float64", sigma=True), product(a, b))
        beyond.append((np.abs(z) > 1.959964).mean())
        squares.append(np.square(z).mean())
        z = units(*nqz.matmul(*files, dtype="float64", sigma=True), product(a, b))
        shrunk.append(np.square(z).mean())
    assert_is(0.05, beyond, 0.02)
    assert_is(1.0, squares, 0.12)
    # of so few entries it is not well known how much α leaves out, and least where noise is large
    assert np.mean(shrunk) == pytest.approx(1.0, abs=0.07 if rate > 1 else 0.4)


def test_entries_of_related_columns_vary_more_where_coordinates_were_dropped():
    squares, plain = [], []
    for seed in range(SEEDS):
        a, _ = pair("gauss", 256, 60, 1, seed)
        b = np.float32(0.98) * a + np.float32(0.2) * pair("gauss", 256, 60, 1, seed + 99)[0]
        files = [encoded(x, rate=0.5, seed=seed) for x in (a, b)]
        found, sigma = nqz.matmul(*files, estimator="unbiased", dtype="float64", sigma=True)
        related = np.eye(60, dtype=bool)
        z = units(found, sigma, product(a, b), related)
        squares.append(np.square(z).mean())
        typical = np.median(sigma[~related])
        plain.append(np.square((found - product(a, b))[related] / typical).mean())
    assert_is(1.0, squares, 0.3)
    assert np.mean(plain) > 1.15


@pytest.mark.parametrize("coding", [{}, {"coding": "voronoi", "lattice": "e8"}, {"allocate": "column"}])
def test_one_sided_products_rows_and_other_codings(coding):
    left, rows = [], []
    for seed in range(SEEDS):
        a, b = pair("heavy", 384, 48, 40, seed)
        file = encoded(a, rate=3, seed=seed, **coding)
        z = units(*nqz.matmul(file, b, estimator="unbiased", dtype="float64", sigma=True), product(a, b))
        left.append(np.square(z).mean())
        across = nqz.encode(np.ascontiguousarray(a.T), rate=3, seed=seed, axis=1, **coding)
        found = nqz.matmul(b, across, estimator="unbiased", dtype="float64", sigma=True)
        rows.append(np.square(units(*found, product(b, a))).mean())
    for samples in (left, rows):
        assert_is(1.0, samples, 0.12)


def test_a_matrix_times_itself():
    """Off the diagonal as others; on it what points leave, or fine norms: uniform, as that of means is."""
    off, on = [], []
    for seed in range(SEEDS):
        n = 1024 if seed % 2 else 384
        a = pair("gauss", n, 48, 1, seed)[0] + np.float32(0.5)
        file = encoded(a, rate=2, seed=seed)
        found, sigma = nqz.matmul(file, file, estimator="unbiased", dtype="float64", sigma=True)
        assert np.array_equal(sigma, sigma.T)
        diagonal = np.eye(48, dtype=bool)
        off.append(np.square(units(found, sigma, product(a, a), ~diagonal)).mean())
        z = units(found, sigma, product(a, a), diagonal)
        on.append(np.square(z).mean())
        assert np.abs(z).max() <= (1.01 * np.sqrt(6) if n == 1024 else 5.0)
    assert_is(1.0, off, 0.06)
    assert_is(1.0, on, 0.2)


def test_the_rounding_of_means_counts():
    """Steps so large that what they leave is most of the error."""
    rng = np.random.default_rng(3)
    squares = []
    for seed in range(60):
        a, b = (5.0 + rng.standard_normal((240, 12)) for _ in range(2))
        sides = [operand(x, 1e-4, rng, seed=seed, mean_step=0.02) for x in (a, b)]
        z = units(*computed(Product(*sides, "unbiased")), product(a, b))
        squares.append(np.square(z).mean())
    assert_is(1.0, squares, 0.6)
    quiet = [operand(x, 1e-4, rng) for x in (a, b)]
    assert (
        computed(Product(*quiet, "unbiased"))[1].max() < 0.1 * computed(Product(*sides, "unbiased"))[1].min()
    )


def computed(it):
    """Estimate and standard deviations of a product in memory."""
    out, bars = (np.empty((it.a.columns, it.b.columns)) for _ in range(2))

    def put_to(array):
        def put(i, j, tile):
            array[i : i + tile.shape[0], j : j + tile.shape[1]] = tile

        return put

    measured = it.measure(POOL)
    for _ in it.tiles(measured, "float64", put_to(out), POOL, it.deviations(measured, put_to(bars))):
        pass
    return out, bars


def test_the_rounding_of_the_product_counts_and_is_warned_of():
    a, b = (x + np.float32(1000.0) for x in pair("gauss", 256, 40, 40))
    files = [encoded(x, rate=6) for x in (a, b)]
    with pytest.warns(UserWarning, match=r"100% of the entries .* float32 .*dtype='float64' is more exact"):
        found, sigma = nqz.matmul(*files, estimator="unbiased", sigma=True)
    assert found.dtype == sigma.dtype == np.float32
    z = units(found, sigma.astype(np.float64), product(a, b))
    assert np.square(z).mean() == pytest.approx(1.0, abs=0.05)
    assert (np.abs(z) > 1.96).mean() <= 0.05
    wide, fine = nqz.matmul(*files, estimator="unbiased", sigma=True, dtype="float64")
    assert (fine < 0.2 * sigma).all()
    assert np.square(units(wide, fine, product(a, b))).mean() == pytest.approx(1.0, abs=0.1)


def test_what_float64_does_not_hold_is_warned_of_too():
    rng = np.random.default_rng(1)
    a, b = (np.float64(1234567890123) + rng.integers(-3, 4, (128, 30)) for _ in range(2))
    files = [nqz.encode(x.astype(np.float64), rate=8) for x in (a, b)]
    with pytest.warns(UserWarning, match="rounding to float64 above all, the finest type there is"):
        found, sigma = nqz.matmul(*files, estimator="unbiased", sigma=True)
    true = np.array([[sum(int(x) * int(y) for x, y in zip(u, v, strict=True)) for v in b.T] for u in a.T])
    error = [[int(x) - int(y) for x, y in zip(u, v, strict=True)] for u, v in zip(found, true, strict=True)]
    z = np.array(error, np.float64) / sigma
    assert 0.1 < np.square(z).mean() < 2.0


def test_entries_of_columns_that_were_dropped_are_unknown_and_within_their_bound():
    a, b = pair("heavy", 1024, 48, 40)  # norms of shorter ones are rounded, and their bound is as loose
    left, right = (encoded(x, rate=0.7) for x in (a, b))
    for files, truth in (((left, right), product(a, b)), ((left, left), product(a, a))):
        prepared, deviations, found, sigma = through(*files)
        unknown = np.isnan(sigma)
        assert unknown.any() and not unknown.all()
        assert deviations.found.unknown == unknown.sum()
        dropped = np.isinf(prepared.product.a.noise(prepared.product.a.codes(slice(None))))
        rows = np.zeros_like(unknown)
        rows[dropped] = True
        if files[0] is files[1]:  # their energies are known
            assert not np.isnan(np.diagonal(sigma)).any()
            rows |= rows.T
            np.fill_diagonal(rows, False)
            assert np.array_equal(rows, unknown)
        else:
            assert (unknown | ~rows).all()
        bound = deviations.bound("float64")
        assert np.abs(found - truth)[unknown].max() <= bound
        sizes = [np.sqrt(np.square(centered(x)).sum(axis=0)) for x in (a, b if files[1] is right else a)]
        assert bound <= 1.01 * (sizes[0][:, None] * sizes[1])[unknown].max() * 1.3


def through(a, b):
    """What `nqz.matmul` does, with what it does not give back."""
    from contextlib import ExitStack

    from nqz.api.products import _chosen, _Whole
    from nqz.commands.matmul import prepare, tiles

    with ExitStack() as stack, workers(1) as pool:
        prepared = prepare(*_chosen(a, b, "unbiased", "float64", stack), pool)
        out, bars = _Whole(prepared), _Whole(prepared)
        deviations = prepared.product.deviations(prepared.measured, bars.put)
        for _ in tiles(prepared, out.put, pool, deviations):
            pass
        return prepared, deviations, out.array, bars.array


@pytest.mark.parametrize("estimator", ["auto", "mmse", "unbiased"])
@pytest.mark.parametrize("rate", [0.5, 2.5])
def test_they_are_known_without_the_product(estimator, rate):
    a, b = pair("related", 384, 48, 40)
    left, right = (encoded(x, rate=rate) for x in (a, b))
    for files in ((left, right), (left, b), (a, right), (left, left)):
        _, sigma = nqz.matmul(*files, estimator=estimator, dtype="float64", sigma=True)
        alone = nqz.predicted_sigma(*files, estimator, dtype="float64")
        assert np.allclose(alone, sigma, rtol=1e-9, atol=0, equal_nan=True)
    vector = nqz.predicted_sigma(left, b[:, 0], estimator)
    assert vector.shape == (48,) and vector.dtype == np.float32


def test_no_points_are_read_where_they_need_not_be(monkeypatch):
    a, b = pair("gauss", 384, 48, 40)
    left, right = (encoded(x, rate=3) for x in (a, b))

    def read(*arguments, **options):
        raise AssertionError("points were decoded")

    monkeypatch.setattr("nqz.matrix.matrix.Matrix.chunk_points", read)
    assert nqz.predicted_sigma(left, right, "unbiased").shape == (48, 40)
    with pytest.raises(AssertionError, match="decoded"):
        nqz.predicted_sigma(left, right, "auto")


def test_the_estimate_is_the_same_with_and_without_them_and_so_are_they_for_any_threads():
    a, b = pair("heavy", 384, 300, 280)
    left, right = (encoded(x, rate=0.9) for x in (a, b))
    for estimator in ("auto", "unbiased"):
        plain = nqz.matmul(left, right, estimator=estimator)
        first, second = (
            nqz.matmul(left, right, estimator=estimator, sigma=True, threads=threads) for threads in (1, 3)
        )
        assert plain.tobytes() == first[0].tobytes() == second[0].tobytes()
        assert first[1].tobytes() == second[1].tobytes()


def test_products_of_many_columns_are_measured_by_a_sample(monkeypatch):
    monkeypatch.setattr("nqz.product.product._WHOLE", 1 << 10)
    monkeypatch.setattr("nqz.product.product._SAMPLE", 40)
    a, b = pair("gauss", 384, 200, 150)
    for rate in (0.5, 2):
        files = [encoded(x, rate=rate) for x in (a, b)]
        for estimator in ("auto", "unbiased"):
            found, sigma = nqz.matmul(*files, estimator=estimator, dtype="float64", sigma=True)
            # the sample of 1600 entries knows its energy at 0.5 bit that badly
            squares = np.square(units(found, sigma, product(a, b)))
            assert squares.mean() == pytest.approx(1.0, abs=0.3 if rate < 1 else 0.1)
            alone = nqz.predicted_sigma(*files, estimator, dtype="float64")
            assert np.allclose(alone, sigma, rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [1e-290, 1e-150, 1e150, 1e290])
def test_they_scale_with_the_matrices(scale):
    """Through all of float64, whose squares would be beyond it."""
    a, b = (x.astype(np.float64) for x in pair("offset", 128, 20, 16))
    _, plain = nqz.matmul(nqz.encode(a, rate=3), nqz.encode(b, rate=3), estimator="unbiased", sigma=True)
    power = 2.0 ** round(np.log2(scale))
    _, sigma = nqz.matmul(
        nqz.encode(a * power, rate=3), nqz.encode(b, rate=3), estimator="unbiased", sigma=True
    )
    assert np.allclose(sigma / power, plain, rtol=0.05)


def test_constant_columns_are_known_as_well_as_the_means_of_the_other_side():
    a, b = (x.astype(np.float64) for x in pair("gauss", 128, 6, 5))
    a[:, 2] = 3.0
    files = (nqz.encode(x, rate=4, center=True) for x in (a, b))
    found, sigma = nqz.matmul(*files, estimator="unbiased", sigma=True)
    assert not np.isnan(sigma).any()
    error = np.abs(found - product(a, b))
    assert (error[2] <= 2 * sigma[2] + 1e-12).all() and sigma[2].max() < 0.1 * sigma[[0, 1, 3, 4, 5]].min()


def test_an_infinite_one_is_refused():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4))
    it = Product(operand(x, 0.2, rng), operand(x, 0.2, rng), "unbiased")
    deviations = it.deviations(it.measure(POOL), lambda i, j, tile: None)
    deviations._exponent = 2000  # they are this much louder than they say
    with pytest.raises(InfiniteError):
        deviations.add(slice(0, 4), slice(0, 4), np.ones((4, 4)), np.zeros((4, 4)), POOL)


def test_what_overflows_is_said(monkeypatch):
    a, b = pair("gauss", 64, 8, 8)
    files = [encoded(x, rate=2) for x in (a, b)]

    def add(*arguments, **options):
        raise InfiniteError(3, 5, True)

    monkeypatch.setattr("nqz.product.deviation.Deviations.add", add)
    with pytest.raises(
        OperandError, match=r"standard deviation of entry \[3, 5\] overflows float32; use dtype="
    ):
        nqz.matmul(*files, sigma=True)
    with pytest.raises(OperandError, match=r"entry \[3, 5\] overflows float32"):
        nqz.predicted_sigma(*files)


@pytest.mark.parametrize("options", [{"allocate": "column"}, {"coding": "voronoi", "lattice": "e8"}])
@pytest.mark.parametrize("power", [60, 140])
def test_products_of_vectors_of_all_magnitudes_are_as_good_as_their_error_bars(options, power):
    """Energies of the quietest are not there beside those of the loudest, and neither are their products."""
    rng, sizes = np.random.default_rng(5), np.logspace(-power, power, 40)
    x, y = rng.standard_normal((2, 128, 40))
    a, b = (nqz.encode(side * sizes, rate=3, seed=1, **options) for side in (x, y))
    for estimator in ("unbiased", "mmse", "auto"):
        product, sigma = nqz.matmul(a, b, sigma=True, estimator=estimator)
        product, sigma = (found / sizes[:, None] / sizes for found in (product, sigma))
        z = np.abs(product - x.T @ y) / sigma
        assert 0.85 < np.square(z).mean() < 1.25
        assert z.max() < 6.0
