"""Exact integer products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from coded_cases import stream
from nqz.ground.threads import Workers
from nqz.product.integers import load, multiply, result_type

POOL = Workers(1)


def exact(a, b):
    """Inner products of rows as Python integers."""
    return a.astype(object) @ b.astype(object).T


def same(found, true):
    """Equal as numbers, entry by entry."""
    return found.dtype == np.float64 and all(
        int(x) == y for x, y in zip(found.ravel().tolist(), true.ravel().tolist(), strict=True)
    )


def integer_product(a, b, spread=1.0):
    """Inner products of rows of int32 as a product of operands computes them, as float64."""
    x, y = (load(stream(p), len(p), p.shape[1], None, spread, POOL) for p in (a, b))
    out = np.empty((len(a), len(b)), result_type(x, y))
    multiply(x, y, slice(0, len(a)), slice(0, len(b)), out)
    return out.astype(np.float64)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(1, 200),
    st.integers(0, 24),
    st.integers(0, 24),
    st.integers(0, 1 << 30),
)
def test_random_products_are_exact(rows, columns, m, bits_a, bits_b, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(-(1 << bits_a), (1 << bits_a) + 1, (rows, m)).astype(np.int32)
    b = rng.integers(-(1 << bits_b), (1 << bits_b) + 1, (columns, m)).astype(np.int32)
    assert same(integer_product(a, b), exact(a, b))


@pytest.mark.parametrize("bound", [24, 53])
@pytest.mark.parametrize("off", [-3, -1, 0, 1, 3])
def test_products_around_the_bounds_are_exact(bound, off):
    """Odd sums next to 2²⁴ and 2⁵³, where the next narrower arithmetic would round."""
    m = 64
    size = round((2.0**bound / m) ** 0.5) | 1
    a = np.full((5, m), size, np.int32)
    b = np.full((4, m), size, np.int32)
    a[0, 0] += off
    b[1, 1] += off
    a[2, ::2] *= -1
    a[3, 0], b[2, 0] = 1, 1
    true = exact(a, b)
    if bound == 53:  # beyond, sums that a float64 holds are exact, the others rounded
        found = integer_product(a, b)
        fits = np.array([[abs(x) < 1 << 53 for x in row] for row in true.tolist()])
        assert fits.any() and same(found[fits], true[fits])
        rounded = true.astype(np.float64)
        assert (np.abs(found - rounded) <= np.abs(rounded) * 2.0**-51).all()
    else:
        assert same(integer_product(a, b), true)


def test_float32_would_not_do_beyond_its_bound():
    """What the check of the bound is for: the same product in float32 is wrong."""
    a = np.full((1, 300), 4095, np.int32)
    a[0, 0] = 1
    assert int((a.astype(np.float32) @ a.astype(np.float32).T)[0, 0]) != exact(a, a)[0, 0]
    assert same(integer_product(a, a), exact(a, a))


def test_bounds_beyond_float64_are_met_by_splitting():
    rng = np.random.default_rng(3)
    a = rng.choice([-1, 1], (6, 256)).astype(np.int32) * rng.integers(1 << 23, 1 << 24, (6, 256)).astype(
        np.int32
    )
    b = rng.choice([-1, 1], (7, 256)).astype(np.int32) * rng.integers(1 << 23, 1 << 24, (7, 256)).astype(
        np.int32
    )
    true = exact(a, b)
    assert max(abs(x) for x in true.ravel().tolist()) < 1 << 53
    assert (
        np.linalg.norm(a.astype(float), axis=1).max() * np.linalg.norm(b.astype(float), axis=1).max()
        > 2.0**53
    )
    assert same(integer_product(a, b), true)
    extreme = np.full((2, 33), (1 << 30) - 1, np.int32)
    assert integer_product(extreme, extreme) / float(33 * ((1 << 30) - 1) ** 2) == pytest.approx(1, rel=1e-15)


def rare(rng, shape, sigma, beyond, count):
    """Gaussian integers, and a few far outside of them."""
    x = np.rint(rng.standard_normal(shape) * sigma).astype(np.int32)
    x.ravel()[rng.choice(x.size, count, replace=False)] = rng.choice([-1, 1], count) * beyond
    return x


@pytest.mark.parametrize(
    "sigma, beyond", [(11, 128), (11, 40000), (500, 32768), (500, 1 << 24), (11, (1 << 31) - 1)]
)
def test_points_beyond_the_narrow_type_are_exact(sigma, beyond):
    """Exceptions on both sides, some of them at the same coordinate, in tiles and in one piece."""
    rng = np.random.default_rng(beyond)
    a, b = rare(rng, (90, 130), sigma, beyond, 12), rare(rng, (70, 130), sigma, beyond, 9)
    a[3, 7] = b[5, 7] = b[6, 7] = -beyond
    x, y = (load(stream(p), len(p), 130, None, sigma, POOL) for p in (a, b))
    assert x.rows.dtype == y.rows.dtype == (np.int8 if sigma == 11 else np.int16)
    assert len(x.rest.row) > 2 and len(y.rest.row) > 2
    assert x.bound == pytest.approx(max(np.linalg.norm(r) for r in a.astype(float)), rel=1e-12)
    whole = np.empty((90, 70), result_type(x, y))
    multiply(x, y, slice(0, 90), slice(0, 70), whole)
    true = exact(a, b)
    if max(abs(v) for v in true.ravel().tolist()) < 1 << 53:
        assert same(whole.astype(np.float64), true)
    tiled = np.empty_like(whole)
    for i in range(0, 90, 40):
        for j in range(0, 70, 30):
            rows, columns = slice(i, min(i + 40, 90)), slice(j, min(j + 30, 70))
            multiply(x, y, rows, columns, tiled[rows, columns])
    assert np.array_equal(tiled, whole)
    chosen = np.array([0, 3, 4, 60, 88])
    assert np.array_equal(x.chosen(chosen).floats(slice(0, 5), np.float64), a[chosen])


def test_points_are_put_in_order_and_reduced_to_the_shared_coordinates():
    rng = np.random.default_rng(0)
    points = rare(rng, (50, 60), 20, 5000, 15)
    order = rng.permutation(64)[:50]
    meet = np.sort(rng.permutation(60)[:33])
    found = load(stream(points, order, 333), 64, 60, meet, 20, POOL)
    expected = np.zeros((64, 60), np.int32)
    expected[order] = points
    assert found.rows.dtype == np.int8 and len(found.rest.row) > 5
    assert np.array_equal(found.floats(slice(0, 64), np.float64), expected[:, meet])


@pytest.mark.parametrize("guess", [0.0, 10.0, 1e9])
def test_the_type_of_points_is_found_whatever_the_norms_promise(guess):
    """A file whose norms are wrong costs time, nothing else."""
    rng = np.random.default_rng(0)
    for sigma, size in ((10, 1), (3000, 2), (1e7, 4), (6e8, 6)):
        points = np.rint(rng.standard_normal((40, 500)) * sigma).clip(-(2**31), 2**31 - 1).astype(np.int32)
        found = load(stream(points), 40, 500, None, guess, POOL)
        assert size <= found.nbytes / points.size
        assert np.array_equal(found.floats(slice(0, 40), np.float64), points)


@pytest.mark.parametrize(
    "sigmas",
    [(20, 20), (20, 3000), (3000, 3000), (30000, 30000), (20, 1e6), (1e6, 20), (1e6, 1e6), (20, 1e9)],
    ids=str,
)
def test_integer_and_floating_point_products_are_the_same(monkeypatch, sigmas):
    """Whether the kernels' product is fast decides which is taken, and must not show."""
    rng = np.random.default_rng(1)
    a, b = (
        np.rint(rng.standard_normal((w, 900)) * s).clip(-2e9, 2e9).astype(np.int32)
        for w, s in zip((75, 130), sigmas, strict=True)
    )
    found = []
    for fast in (True, False):
        monkeypatch.setattr("nqz.kernels.fast_product", lambda fast=fast: fast)
        found.append(integer_product(a, b, max(sigmas)))
    assert np.array_equal(*found) and same(found[0], exact(a, b))


@pytest.mark.parametrize("bits", [3, 12, 22, 26])
def test_products_do_not_depend_on_threads_or_layout(bits):
    rng = np.random.default_rng(bits)
    a = rng.integers(-(1 << bits), 1 << bits, (150, 700)).astype(np.int32)
    b = rng.integers(-(1 << bits), 1 << bits, (130, 700)).astype(np.int32)
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            results.append(integer_product(a, b).tobytes())
    results.append(integer_product(np.asfortranarray(a), b[:, ::-1][:, ::-1]).tobytes())
    assert len(set(results)) == 1
