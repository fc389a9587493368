"""Sharing bits and errors among matrices: the rule, its bounds, and that a total is met and not exceeded."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nqz.plan.spend import Part, default_exponent, least_total, share_bits, share_error

SIZES = [1000, 20_000, 300_000, 4_000_000]


def parts(exponent=1.0, least=0.1, importance=(1.0,) * 4):
    """Matrices of several sizes."""
    return [Part(n, s, exponent, least) for n, s in zip(SIZES, importance, strict=True)]


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("rate", [1.5, 3.0, 4.7])
def test_rates_follow_sizes_and_their_total_is_met(exponent, rate):
    rates = share_bits(parts(exponent), rate * sum(SIZES))
    spent = sum(n * r for n, r in zip(SIZES, rates, strict=True)) / sum(SIZES)
    assert rate - 1 / 4096 <= spent <= rate
    free = [(n, r) for n, r in zip(SIZES, rates, strict=True) if 0.1 < r < 12]
    constants = [r + exponent / 2 * math.log2(n) for n, r in free]
    assert max(constants) - min(constants) <= 2 / 4096


def test_sensitive_matrices_get_more():
    rates = share_bits(parts(importance=(1.0, 1.0, 16.0, 1.0)), 3 * sum(SIZES))
    assert rates[2] - rates[3] == pytest.approx(2 + 0.5 * math.log2(4e6 / 3e5), abs=1e-3)


def test_what_is_clamped_is_shared_by_the_others():
    bounded = [Part(n, 1.0, 1.0, low) for n, low in zip(SIZES, (0.1, 0.1, 0.1, 2.9), strict=True)]
    rates = share_bits(bounded, 3 * sum(SIZES))
    assert rates[3] >= 2.9 and max(rates) <= 12
    spent = sum(n * r for n, r in zip(SIZES, rates, strict=True))
    assert 3 * sum(SIZES) * 0.999 <= spent <= 3 * sum(SIZES)
    assert share_bits(bounded, 20 * sum(SIZES)) == [12.0] * 4


def test_what_is_less_than_the_least_is_refused():
    least = least_total(parts(least=0.5))
    assert least == pytest.approx(0.5, abs=1e-3)
    assert share_bits(parts(least=0.5), least * sum(SIZES)) is not None
    assert share_bits(parts(least=0.5), 0.999 * least * sum(SIZES)) is None


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("error", [1e-4, 0.02, 0.4])
def test_errors_follow_sizes_and_their_weighted_mean_is_the_bound(exponent, error):
    found = share_error(parts(exponent), error, 1e-7, [0.98] * 4)
    weights = np.array(SIZES) ** (1 - exponent)
    mean = (weights * found).sum() / weights.sum()
    assert error * 0.999 <= mean <= error * (1 + 1e-9)
    free = [e / n**exponent for e, n in zip(found, SIZES, strict=True) if 1e-7 < e < 0.98]
    assert max(free) / min(free) < 1.001


def test_errors_keep_their_bounds():
    found = share_error(parts(), 0.3, 1e-7, [0.98, 0.98, 0.98, 0.3])
    assert max(found[:3]) <= 0.98 and found[3] <= 0.3
    assert share_error(parts(), 1e-9, 1e-7, [0.98] * 4) is None


@pytest.mark.parametrize("rate, exponent", [(0.05, 0.02), (1.0, 0.4), (2.0, 0.8), (4.0, 0.8), (12.0, 0.8)])
def test_the_exponent_follows_the_rate(rate, exponent):
    assert default_exponent(rate) == pytest.approx(exponent)
