"""What error to expect of a product, and how well that is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nqz.ground.arithmetic import total
from nqz.product import diagonal
from nqz.product.means import rounding_error
from nqz.product.operand import Operand
from nqz.product.paired import dropped_pairs
from nqz.product.risk import Signal
from nqz.stages import norms
from nqz.stages.dependence import ANYHOW
from nqz.stages.estimate import Side, alpha, expected_error, unsure_noise

_DEVIATIONS = 2.0
"""Standard deviations that a band is wide, to each side."""


class Expected(NamedTuple):
    """See `product.Measured`."""

    error: float = 0.0
    guessed: float = 0.0
    band: tuple[float, float] = (0.0, 0.0)


def of(a: Operand, b: Operand, estimator: str, theta: float, signal: Signal | None, same: bool) -> Expected:
    """What error to expect of a product.

    Parameters
    ----------
    a, b : Operand
    estimator : {"auto", "mmse", "unbiased"}
    theta : float
        θ of `auto`.
    signal : Signal, optional
        What is seen of the product, if anything.
    same : bool
        Whether both sides are one tensor.
    """
    missed, passed, dropped, together = 1.0, 1.0, (1.0, 1.0, 1.0), ANYHOW
    if signal is not None:
        missed, passed = signal.missed(estimator, theta), signal.passed(estimator, theta)
        dropped, together = signal.dropped, signal.together
    scale = _energy(a) * _energy(b) / a.side.n
    if scale <= 0.0:
        return Expected()
    error = expected_error(a.side, b.side, estimator, theta, missed, dropped, passed, together)
    lost_a, lost_b = 1.0 - a.side.coded_share(), 1.0 - b.side.coded_share()
    shares = lost_a * (1.0 - lost_b), (1.0 - lost_a) * lost_b, lost_a * lost_b
    guessed = sum(share * energy for share, energy in zip(shares, dropped, strict=True))
    if signal is not None and signal.paired and (lost_a > 0.0 or lost_b > 0.0):
        powers = [power / a.side.n / scale for power in dropped_pairs(a, b)]
        pairs = sum(p * (signal.along - energy) for p, energy in zip(powers, dropped, strict=True))
        error, guessed = error + pairs, guessed + pairs
    if same:
        error -= _diagonal_error(a, estimator, theta, missed, min(a.side.kappa, b.side.kappa)) / scale
    # what rounding left in the means, times the partner's mean
    rounding = rounding_error(a, b), rounding_error(b, a)
    error += sum(energy for energy, _ in rounding) / scale
    if error <= 0.0:
        return Expected(error, 0.0, (error, error))
    band = error, error
    if signal is not None:
        rounded = sum(variance * (energy / scale) ** 2 for energy, variance in rounding)
        learned = rounded + signal.missed_variance(estimator, theta) * ((1.0 - lost_a) * (1.0 - lost_b)) ** 2
        guess = _guess_variance(signal, (a.side, b.side), shares)
        unsure = unsure_noise(a.side, b.side, together) * min(passed / a.side.n, 1.0)
        least = error - guessed if guess > 0.0 else error  # at least nothing was left out
        least -= _DEVIATIONS * math.sqrt(learned) + unsure
        width = _DEVIATIONS * math.sqrt(learned + guess) + unsure
        band = max(error - width, least, 0.0), error + width
    return Expected(error, guessed / error, band)


def _guess_variance(signal: Signal, sides: tuple[Side, Side], shares: tuple[float, float, float]) -> float:
    """Of what dropped columns leave out, in units of ‖Ā‖²‖B̄‖²/n.

    Two samples: of kept columns, which it is learned from, and of the dropped ones themselves. Where less is seen than
    unrelated columns would have, few entries have it all, perhaps others.
    """
    counts = [[_effective(side, lost) for lost in (False, True)] for side in sides]
    found = 0.0
    guesses = zip(signal.dropped, signal.dropped_variance, strict=True)
    for share, (energy, unsure), lost in zip(shares, guesses, ((1, 0), (0, 1), (1, 1)), strict=True):
        if share > 0.0:
            known = signal.sample_variance(counts[0][0], counts[1][0])
            there = signal.sample_variance(counts[0][lost[0]], counts[1][lost[1]])
            unseen = max(1.0 - energy, 0.0)
            own = energy * energy * (known + there) + unseen * unseen + unsure
            found += share * math.sqrt(own)  # they err together
    return found * found


def _effective(side: Side, lost: bool) -> float:
    """So many columns of equal energies the dropped ones, or the others, count as."""
    power = side.power()[np.isinf(side.noise) == lost]
    counts = side.histogram.counts[np.isinf(side.noise) == lost]
    square = total(np.divide(power * power, counts, out=np.zeros(len(power)), where=counts > 0))
    return max(1.0, total(power) ** 2 / square) if square > 0.0 else 1.0


def _diagonal_error(a: Operand, estimator: str, theta: float, missed: float, kappa: float) -> float:
    """By how much less the diagonal of a matrix times itself is off than `expected_error` counts for it."""
    side, codes = a.side, a.side.histogram.codes
    energy = a.energies(codes)
    nu = np.square(1.0 + side.noise) / kappa - 1.0
    factor = alpha(estimator, theta, nu)
    known = np.where(np.isfinite(nu), nu, 0.0)
    error = np.square(1.0 - factor) * missed + np.square(factor) * known
    less = error / side.n - np.square(diagonal.deviations(a, codes, kappa))
    return total(less * energy * energy * side.histogram.counts)


def _energy(operand: Operand) -> float:
    """Energy in units of 4 ** exponent."""
    return total(operand.side.histogram.energies(norms.DOUBLING * operand.exponent))
