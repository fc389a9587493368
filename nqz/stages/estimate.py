"""The scaling α of Figure 2: estimators of the product and the energy of their errors.

With unbiased Ĉ₁ = ⟨û, v̂⟩ / κ of a pair of columns, P = ‖a‖²‖b‖²/n, d the relative noises and ν = (1 + d_a)(1 + d_b)/κ - 1, the
noise energy is νP. Estimators are α Ĉ₁: `unbiased` α = 1; `mmse` α = κ w_a w_b = 1/(1 + ν), best for unrelated columns;
`auto` α = θ/(θ + ν), where θP models the energy of the product; `signal` finds θ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nqz.ground.arithmetic import pieces, total, total_of
from nqz.stages import norms

ESTIMATORS = ("auto", "mmse", "unbiased")


@dataclass(frozen=True)
class Side:
    """One operand as the estimators see it.

    Attributes
    ----------
    codes : ndarray of int64, shape (a,)
        Norm codes of the centered columns.
    noise : ndarray of float64, or Lazy, of shape (a,)
        Relative noise d: 0 for an exact operand, infinite for a dropped column.
    n : int
    kappa : float
    """

    codes: np.ndarray
    noise: np.ndarray
    n: int
    kappa: float

    def noise_at(self, columns):
        """Relative noise of columns."""
        return self.noise[columns]

    def coded_columns(self) -> int:
        """Number of coded columns."""
        return int(np.isfinite(np.asarray(self.noise)).sum())

    @classmethod
    def exact(cls, codes, n: int) -> Side:
        """A side without noise."""
        return cls(codes, np.zeros(len(codes)), n, 1.0)

    def part(self, columns: np.ndarray) -> Side:
        """The side of some of the columns."""
        return Side(self.codes[columns], self.noise[columns], self.n, self.kappa)

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns of equal energy: (energies weighted by their number, relative to the total; noises)."""
        return self._groups

    @cached_property
    def _groups(self) -> tuple[np.ndarray, np.ndarray]:
        codes, count, first = norms.tally(self.codes)
        energy = norms.energy(codes, norms.reference(codes)) * count
        whole = total(energy)
        return (energy / whole if whole > 0 else energy), self.noise[first]

    def coded_share(self) -> float:
        """Share of the energy that is in coded columns."""
        power, noise = self.groups()
        return total(power[np.isfinite(noise)])

    def spread(self) -> float:
        """Effective number of columns, (Σe)² / Σe²."""
        loudest = norms.reference(self.codes)

        def energies():
            return (norms.energy(self.codes[chosen], loudest) for chosen in pieces(len(self.codes)))

        square = total_of(energy * energy for energy in energies())
        return total_of(energies()) ** 2 / square if square > 0 else 0.0


def excess_noise(a: np.ndarray, b: np.ndarray, kappa: float) -> np.ndarray:
    """ν of all pairs, float64 of shape (len(a), len(b)); infinite where either column is dropped."""
    return (1.0 + a)[:, None] * (1.0 + b)[None, :] / kappa - 1.0


def alpha(estimator: str, theta: float, nu: np.ndarray) -> np.ndarray:
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
    dropped: tuple[float, float] = (1.0, 1.0),
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
        Energy of entries of one dropped column, and of two, in units of P.

    Notes
    -----
    Includes the energy of dropped columns, and what time sharing adds for correlated pairs.
    """
    kappa = min(a.kappa, b.kappa)
    if estimator == "mmse" and missed == 1.0 and dropped == (1.0, 1.0):
        return _unrelated_error(a, b, kappa)
    power_a, noise_a = a.groups()
    power_b, noise_b = b.groups()
    nu = excess_noise(noise_a, noise_b, kappa)
    factor = alpha(estimator, theta, nu)
    coded = np.isfinite(nu)
    noise = np.where(coded, nu, 0.0) + (1.0 - kappa) / kappa * missed / a.n
    both = np.isinf(noise_a)[:, None] & np.isinf(noise_b)[None, :]
    left_out = np.where(coded, missed, np.where(both, dropped[1], dropped[0]))
    error = np.square(1.0 - factor) * left_out + np.square(factor) * noise
    return total(np.add.reduce(error * power_a[:, None], axis=0) * power_b) if error.size else 0.0


def _unrelated_error(a: Side, b: Side, kappa: float) -> float:
    """The same for `mmse` and unrelated operands: with α = κ w_a w_b, the sum of 1 - α + α² (1 - κ)/(κ n) separates."""
    shares = [(power, 1.0 / (1.0 + noise)) for power, noise in (a.groups(), b.groups())]
    if not all(len(power) for power, _ in shares):
        return 0.0
    whole, linear, square = (
        total(shares[0][0] * shares[0][1] ** order) * total(shares[1][0] * shares[1][1] ** order)
        for order in range(3)
    )
    return whole - kappa * linear + (1.0 - kappa) / a.n * kappa * square


def reconstruction_error(side: Side, estimator: str = "mmse") -> float:
    """E‖A - Â‖² / ‖Ā‖² of the reconstruction, `mmse` or `unbiased`."""
    power, noise = side.groups()
    alive = np.isfinite(noise)
    noise, kappa = noise[alive], side.kappa
    error = 1.0 - kappa / (1.0 + noise) if estimator == "mmse" else (1.0 + noise) / kappa - 1.0
    return total(power[~alive]) + total(power[alive] * error)


def reconstruction_factor(side: Side, estimator: str = "mmse") -> np.ndarray:
    """What the centered part of every reconstructed column is multiplied by; 0 for dropped columns."""
    noise = np.asarray(side.noise)
    return np.where(np.isfinite(noise), 1.0 / (1.0 + noise) if estimator == "mmse" else 1.0 / side.kappa, 0.0)
