"""The scaling α of Figure 2: estimators of the product and the energy of their errors.

With unbiased Ĉ₁ = ⟨û, v̂⟩ / κ of a pair of columns, P = ‖a‖²‖b‖²/n, d the relative noises and ν = (1 + d_a)(1 +
d_b)/κ - 1, the noise energy is νP. Estimators are α Ĉ₁: `unbiased` α = 1; `mmse` α = κ w_a w_b = 1/(1 + ν), best for
unrelated columns; `auto` α = θ/(θ + ν), where θP models the energy of the product; `signal` finds θ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import total
from nqz.stages import norms
from nqz.stages.dependence import ANYHOW, NONE, Dependence, Together

_CODES = 4096  # norm codes that are told apart in a sum over pairs
_PAIRS = 1 << 20

_UNRELATED = (1.0, 1.0, 1.0)

ESTIMATORS = ("auto", "mmse", "unbiased")


@dataclass(frozen=True, eq=False)
class Side:
    """One operand as the estimators see it.

    Attributes
    ----------
    histogram : Histogram
        Of the norm codes of the centered columns.
    noise : ndarray of float64
        Relative noise d of each code of the histogram: 0 for an exact operand, infinite for dropped columns.
    n : int
    kappa : float
    dependence : callable, optional
        Finds what the noise has to do with the data; nothing by default.
    """

    histogram: norms.Histogram
    noise: npt.NDArray[np.float64]
    n: int
    kappa: float
    dependence: Callable[[], Dependence] | None = None

    @classmethod
    def exact(cls, histogram: norms.Histogram, n: int) -> Side:
        """An operand without noise."""
        return cls(histogram, np.zeros(len(histogram.codes)), n, 1.0)

    def part(self, codes: npt.NDArray[Any]) -> Side:
        """The side of some of the columns, by their norm codes."""
        histogram = norms.Histogram.of(codes)
        return Side(histogram, self.noise_at(histogram.codes), self.n, self.kappa, self.dependence)

    def among(self, chosen: npt.NDArray[np.bool_]) -> Side:
        """The side of the columns of some of the norm codes of the histogram."""
        histogram = norms.Histogram.counted(self.histogram.codes[chosen], self.histogram.counts[chosen])
        return replace(self, histogram=histogram, noise=self.noise[chosen])

    def noise_at(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Relative noise of columns, by their norm codes."""
        return self.histogram.look_up(self.noise, codes)

    def coded_columns(self) -> int:
        """Number of columns that are not dropped."""
        return int(self.histogram.counts[np.isfinite(self.noise)].sum())

    def dropped_columns(self) -> int:
        """Number of columns that have energy, but too little of it to be coded."""
        lost = np.isinf(self.noise) & (self.histogram.codes != norms.ZERO)
        return int(self.histogram.counts[lost].sum())

    def power(self) -> npt.NDArray[np.float64]:
        """Share of the energy that columns of each code of the histogram have."""
        energy = self.histogram.energies(norms.loudest(self.histogram.codes))
        whole = total(energy)
        return energy / whole if whole > 0 else energy

    def condensed(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Shares of the energy and relative noise: of each code, or of neighboring ones together if they are many."""
        power, noise = self.power(), self.noise
        if len(power) <= _CODES:
            return power, noise
        kept = np.isfinite(noise)
        lost = float(power[~kept].sum())
        power, noise = power[kept], noise[kept]
        if len(power) > _CODES:
            edges = np.linspace(0, len(power), _CODES + 1).astype(np.int64)[:-1]
            shares, sums = np.add.reduceat(power, edges), np.add.reduceat(power * noise, edges)
            noise = np.divide(sums, shares, out=noise[edges], where=shares > 0.0)
            power = shares
        return np.append(power, lost), np.append(noise, np.inf)

    def mean_noise(self) -> float:
        """Relative noise of the coded columns, as their energies have it."""
        coded = np.isfinite(self.noise)
        power = self.power()[coded]
        whole = total(power)
        return total(power * self.noise[coded]) / whole if whole > 0.0 else 0.0

    def coded_share(self) -> float:
        """Share of the energy that is in coded columns."""
        return total(self.power()[np.isfinite(self.noise)])

    def effective_columns(self) -> float:
        """So many columns of equal energies would count as much, (Σe)² / Σe²."""
        codes = self.histogram.codes
        energy = norms.energy(codes, norms.loudest(codes))
        square = total(energy * energy * self.histogram.counts)
        return total(energy * self.histogram.counts) ** 2 / square if square > 0 else 0.0


def excess_noise(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], kappa: float
) -> npt.NDArray[np.float64]:
    """ν of all pairs, float64 of shape (len(a), len(b)); infinite where either column is dropped."""
    return (1.0 + a)[:, None] * (1.0 + b)[None, :] / kappa - 1.0


def excess_factors(
    a: Side, b: Side, estimator: str, codes_a: npt.NDArray[Any], codes_b: npt.NDArray[Any], kappa: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """What `kernels.estimate` multiplies to 1 + ν, by norm codes: of both sides, and 1 / κ; ones for `unbiased`."""
    if estimator == "unbiased":
        return np.ones(len(codes_a)), np.ones(len(codes_b)), 1.0
    return 1.0 + a.noise_at(codes_a), 1.0 + b.noise_at(codes_b), 1.0 / kappa


def related_noise(a: Side, b: Side, together: Together = ANYHOW, cosine: float = 0.0) -> float:
    """c: beyond νP the unbiased estimate has noise of energy c C²/n, for pairs of columns whose product is C.

    Of a whole product, `together` tells what is known of how its columns lie, and `cosine` is the mean square of
    cosines over all pairs.
    """
    kappa = min(a.kappa, b.kappa)
    first, second = _dependence(a), _dependence(b)
    draw = 1.0 + (0.0 if together is ANYHOW else first.divided(second, together, cosine))
    return ((1.0 - kappa) * draw + first.related(second, a.n, together)) / kappa


def unsure_noise(a: Side, b: Side, together: Together) -> float:
    """By how much `related_noise` may be off."""
    first, second = _dependence(a), _dependence(b)
    return first.unsure(second, together) / min(a.kappa, b.kappa)


def _dependence(side: Side) -> Dependence:
    """What the noise of a side has to do with its data."""
    return NONE if side.dependence is None else side.dependence().of_noise(side.mean_noise())


def alpha(estimator: str, theta: float, nu: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The factor on Ĉ₁; 0 where ν is infinite."""
    if estimator == "unbiased":
        return np.where(np.isfinite(nu), 1.0, 0.0)
    if estimator == "mmse":
        return 1.0 / (1.0 + nu)
    factor = theta + nu
    return np.divide(theta, factor, out=factor)


def expected_error(
    a: Side,
    b: Side,
    estimator: str,
    theta: float = 1.0,
    missed: float = 1.0,
    dropped: tuple[float, float, float] = _UNRELATED,
    passed: float = 1.0,
    together: Together = ANYHOW,
) -> float:
    """E‖AᵀB - Ĉ‖² of the centered product relative to ‖Ā‖²‖B̄‖²/n.

    Parameters
    ----------
    a, b : Side
    estimator : {"auto", "mmse", "unbiased"}
    theta : float
        θ of `auto`.
    missed : float
        Energy that α leaves out, Σ (1 - α)² C², relative to Σ (1 - α)² P; 1 for unrelated operands.
    dropped : tuple of float
        Energy of entries of a dropped column of A, of one of B, and of two, in units of P.
    passed : float
        Energy that α lets through, Σ α² C², relative to Σ α² P.
    together : Together
        How columns lie to each other.

    Notes
    -----
    Includes the energy of dropped columns, and what time sharing adds for correlated pairs.
    """
    kappa = min(a.kappa, b.kappa)
    if estimator == "mmse" and missed == passed == 1.0 and dropped == _UNRELATED:
        return _unrelated_error(a, b, kappa)
    related = related_noise(a, b, together, min(passed / a.n, 1.0))
    (power, noise), (other, partner) = a.condensed(), b.condensed()
    sums, step = np.zeros(len(other)), max(1, _PAIRS // max(1, len(other)))
    for first in range(0, len(power), step):
        here = noise[first : first + step]
        nu = excess_noise(here, partner, kappa)
        factor = alpha(estimator, theta, nu)
        coded = np.isfinite(nu)
        known = np.where(coded, nu, 0.0) + related * passed / a.n
        lost_a, lost_b = np.isinf(here)[:, None], np.isinf(partner)[None, :]
        guessed = np.where(lost_a & lost_b, dropped[2], np.where(lost_a, dropped[0], dropped[1]))
        left_out = np.where(coded, missed, guessed)
        error = np.square(1.0 - factor) * left_out + np.square(factor) * known
        error *= power[first : first + step, None]
        sums = np.add.reduce(np.concatenate([sums[None], error]), axis=0)
    return total(sums * other)


def _unrelated_error(a: Side, b: Side, kappa: float) -> float:
    """The same for `mmse` and unrelated operands: with α = κ w_a w_b, the sum of 1 - α + α² (1 - κ)/(κ n) separates."""
    shares = [(side.power(), 1.0 / (1.0 + side.noise)) for side in (a, b)]
    if not all(len(power) for power, _ in shares):
        return 0.0
    whole, linear, square = (
        total(shares[0][0] * shares[0][1] ** order) * total(shares[1][0] * shares[1][1] ** order)
        for order in range(3)
    )
    return whole - kappa * linear + (1.0 - kappa) / a.n * kappa * square


def reconstruction_error(side: Side, estimator: str = "mmse") -> float:
    """E‖A - Â‖² / ‖Ā‖² of the reconstruction, `mmse` or `unbiased`."""
    power, alive, kappa = side.power(), np.isfinite(side.noise), side.kappa
    noise = side.noise[alive]
    error = 1.0 - kappa / (1.0 + noise) if estimator == "mmse" else (1.0 + noise) / kappa - 1.0
    return total(power[~alive]) + total(power[alive] * error)


def reconstruction_factor(side: Side, estimator: str = "mmse") -> npt.NDArray[np.float64]:
    """What the centered part of a column is multiplied by, by the codes of the histogram; 0 if it is dropped."""
    noise = side.noise
    return np.where(np.isfinite(noise), 1.0 / (1.0 + noise) if estimator == "mmse" else 1.0 / side.kappa, 0.0)
