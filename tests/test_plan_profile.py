"""The limit for columns of given energies: what it reduces to, and what brute force finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nqz.plan.limit import gamma
from nqz.plan.profile import Limit, Profile
from nqz.stages import norms
from nqz.stages.norms import Histogram

ALIKE = Profile([3.0], [100])


def described(energies: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Share of the energy that is described where each column gets a rate of its own."""
    return (energies * (1.0 - 4.0**-rates)).sum(-1) / energies.sum()


def test_columns_all_alike_have_gamma():
    for rate in (0.01, 0.2, 0.5, 0.9, 0.91, 1.0, 2.0, 6.0, 12.0):
        assert Limit(ALIKE, ALIKE)(rate) == pytest.approx(gamma(rate), rel=1e-6)
        assert Limit(ALIKE, Profile([0.0], [7]))(rate, rate) == pytest.approx(gamma(rate), rel=1e-5)
        assert Limit(ALIKE, None)(rate) == pytest.approx(4.0**-rate)


@pytest.mark.parametrize("rates", [(0.1, 2.0), (0.3, 0.75), (0.3, 6.0), (0.75, 1.5), (1.5, 3.0)])
def test_unequal_rates_have_the_curve_of_time_sharing_with_nothing(rates):
    kappa = np.linspace(1e-4, 1.0, 20001)
    best = (kappa * (1.0 - 4.0 ** (-rates[0] / kappa)) * (1.0 - 4.0 ** (-rates[1] / kappa))).max()
    for a, b in (rates, rates[::-1]):
        assert Limit(ALIKE, Profile([0.0], [1]))(a, b) == pytest.approx(1.0 - best, rel=2e-5)


def test_water_filling_is_the_best_of_all_allocations():
    energies, profile = np.array([8.0, 2.0, 0.5]), Profile([3.0, 1.0, -1.0], [1, 1, 1])
    share = np.linspace(0.0, 1.0, 401)
    first, second = (x.ravel() for x in np.meshgrid(share, share))
    first, second = first[first + second <= 1.0], second[first + second <= 1.0]
    for rate in (0.05, 0.3, 1.0, 3.0):
        all_rates = 3.0 * rate * np.stack([first, second, 1.0 - first - second], -1)
        best = described(energies, all_rates).max()
        assert best <= 1.0 - profile.missed(rate) + 1e-12
        assert best == pytest.approx(1.0 - float(profile.missed(rate)), rel=1e-4)
        step = 1e-6
        slope = (profile.missed(rate - step) - profile.missed(rate + step)) / (2.0 * step)
        assert profile.slope(rate) == pytest.approx(float(slope), rel=1e-5)


def test_nothing_that_is_shared_over_coordinates_is_below_the_limit_and_something_reaches_it():
    rng = np.random.default_rng(0)
    energies = [np.array([9.0, 1.0, 1.0]), np.array([4.0, 3.0, 1e-3])]
    profiles = [Profile(np.log2(e), np.ones(3, int)) for e in energies]
    for rates in ((0.15, 0.15), (0.1, 0.5), (0.6, 0.4), (1.5, 1.0)):
        limit = Limit(*profiles)(*rates)
        shares = rng.dirichlet((0.7, 0.7, 0.7), 20000)
        budgets = [rng.dirichlet((0.5, 0.5, 0.5), len(shares)) for _ in rates]
        found = []
        for profile, rate, budget in zip(profiles, rates, budgets, strict=True):
            found.append(1.0 - profile.missed(rate * budget / np.maximum(shares, 1e-300)))
        total = (shares * found[0] * found[1]).sum(1)
        best = 1.0 - float(total.max())
        assert limit <= best + 1e-9
        assert best == pytest.approx(limit, rel=0.03)


def test_the_excess_is_what_both_rates_may_lose():
    uneven = Profile([6.0, 0.0], [3, 60], silent=4)
    for limit in (Limit(uneven, uneven), Limit(uneven, ALIKE), Limit(uneven, None)):
        for a, b in ((0.4, 0.4), (2.0, 1.5), (5.0, 5.0)):
            error = limit(a, b)
            assert limit.excess(error, a + 0.25, b + 0.25) == pytest.approx(0.25, abs=1e-6)
            assert limit.excess(error, a - 0.1, b - 0.1) == pytest.approx(-0.1, abs=1e-6)
    assert Limit(uneven, uneven).excess(0.0, 2.0) == math.inf
    assert Limit(uneven, uneven)(0.0) == 1.0


def test_codes_of_norms_make_the_profile_whatever_their_size():
    codes = np.array([norms.ZERO, *([-300000] * 5), *([-300000 + 4 * norms.STEPS] * 2)], np.int32)
    profile = Profile.of(Histogram.of(codes))
    same = Profile([2.0, -2.0], [2, 5], silent=1)
    assert not profile.silent and Profile.of(Histogram.of(codes[:1])).silent
    for rate in (0.1, 1.0, 4.0):
        assert float(profile.missed(rate)) == pytest.approx(float(same.missed(rate)), rel=1e-12)
    assert float(profile.missed(0.0)) == pytest.approx(1.0)
