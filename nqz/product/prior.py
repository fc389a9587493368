"""What is known of the energy of a product before it is measured, and what of it remains once it is.

Matrices are related or not. If not, each having its directions for itself, the energy is that of P, θ = 1, but for
what so few columns in so few directions add by chance, a variance that is known. If they are, nothing is known of it.
Which of both it is, the measured energy tells, where its noise lets it: docs/theory.md, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import exp, total

_UNRELATED = 0.99
"""Probability that matrices are unrelated, before anything is measured."""

_STEPS = 256
"""Energies that related matrices may have, as likely one as the other: quantiles of a density of 1 / (1 + θ)²."""

_CHANCE = 2.0
"""What unrelated matrices may have by chance, beside its variance, which is known from a kurtosis that is estimated."""

_LEAST = 1e-30

Noise = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Variance of what is measured, from what there is."""


class Hypothesis(NamedTuple):
    """What the energy of a product is in one of both cases, in units of P.

    Attributes
    ----------
    chance : float
        Probability of the case.
    energy : float
        What it is, as far as measured: may be negative.
    variance : float
        How well that is known.
    floor, doubt : float
        Of what was only measured, the variance where there is nothing, and as it is: expectations allow for it. What
        is known before is the mean of all that it may be.
    """

    chance: float
    energy: float
    variance: float
    floor: float = 0.0
    doubt: float = 0.0


class Unrelated(NamedTuple):
    """The energy of a product of unrelated matrices, in units of P: 1, and its variance.

    Attributes
    ----------
    variance : float
        By chance, of these columns.
    common : float
        That part of it that other columns in the same directions have in common with these.
    """

    variance: float
    common: float = 0.0

    @classmethod
    def of(cls, kurtosis: float, share: float, common: float) -> Unrelated:
        """Of products of which a `share` is one by itself, and another draw has a `common` one."""
        return cls(_CHANCE * (kurtosis - 1.0) * share, _CHANCE * (kurtosis - 1.0) * common)

    def chance(self, measured: float, noise: Noise) -> float:
        """How likely matrices are unrelated, given what is measured."""
        edge = np.arange(1, 2 * _STEPS, 2) / (2.0 * _STEPS)
        energy = np.append(edge / (1.0 - edge), 1.0)
        width = np.append(1.0 / (_STEPS * np.square(1.0 - edge)), 0.0)
        own = np.append(np.zeros(_STEPS), self.variance)
        variance = noise(energy) + np.square(width) / 12.0 + own + _LEAST
        exponent = -0.5 * (np.square(measured - energy) / variance)
        density = exp(np.maximum(exponent - exponent.max(), -700.0)) / np.sqrt(variance)
        one, other = _UNRELATED * density[-1], (1.0 - _UNRELATED) * total(density[:-1]) / _STEPS
        return float(one / (one + other))

    def known(self, measured: float, noise: Noise, chance: float) -> Hypothesis:
        """What is known of the energy of these when it is measured."""
        energy = 1.0
        for _ in range(2):  # with the noise of what it is
            there = float(noise(np.array(max(energy, 0.0))))
            trusted = 1.0 - self.drawn(there)
            energy = 1.0 + trusted * (measured - 1.0)
        return Hypothesis(chance, energy, trusted * there)

    def elsewhere(self, measured: float, noise: float, chance: float) -> Hypothesis:
        """The same of products of other columns, of which only directions are common with these."""
        trusted = self.common / (self.variance + noise + _LEAST)
        return Hypothesis(chance, 1.0 + trusted * (measured - 1.0), self.common * (1.0 - trusted))

    def drawn(self, noise: float) -> float:
        """The share of 1 in what is known, where the rest is what is measured."""
        return noise / (self.variance + noise + _LEAST)


def mixed(cases: tuple[Hypothesis, ...], of: Callable[[Hypothesis], Any]) -> Any:
    """The mean of something over cases, as likely as they are."""
    return sum(case.chance * of(case) for case in cases)


def spread(cases: tuple[Hypothesis, ...]) -> float:
    """Variance of the energy, whichever case it is."""
    mean = mixed(cases, lambda case: max(case.energy, 0.0))
    return float(mixed(cases, lambda case: case.variance + (max(case.energy, 0.0) - mean) ** 2))
