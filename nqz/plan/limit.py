"""The limit: what no pair of encoders can beat on Gaussian matrices, and how far from it a result is.

Γ is the distortion-rate function of matrix multiplication of Ordentlich & Polyanskiy, "Optimal Quantization
for Matrix Multiplication" (arXiv 2410.13780): Theorem 2 bounds the error from below by it, Theorem 1 attains
it. Errors are relative to ‖Ā‖²‖B̄‖²/n, rates in bits an entry.
"""

from __future__ import annotations

import math

_LN4 = 2.0 * math.log(2.0)

UNRELATED = 0.1
"""Operands whose signal is within this of 1 count as unrelated."""

_TELLING = 1.05

_THIRDS, _HALVINGS = 60, 40  # of ranges that are searched
_MOST_SHIFT = 64.0


def _tangent_rate() -> float:
    """R*, the positive root of R = ½ log₂(1 + 4 R ln 2) (equation 3), by Newton's method.

    There the line from (0, 1) touches φ(4^{−R}): below it, time sharing with rate 0 is better.
    """
    rate = 1.0
    for _ in range(8):  # converges from the right: the function is convex
        inner = 1.0 + 2.0 * _LN4 * rate
        rate -= (rate - math.log2(inner) / 2.0) / (1.0 - 2.0 / inner)
    return rate


def phi(x: float) -> float:
    """φ(x) = 2x − x²: the error of a product of two sides of relative error x each."""
    return x * (2.0 - x)


R_STAR = _tangent_rate()
"""R* = 0.90632, where time sharing begins."""

GAMMA_STAR = phi(4.0**-R_STAR)
"""Γ(R*) = 0.48830."""


def gamma(rate: float) -> float:
    """Γ(R): no pair of encoders has a lower error on iid Gaussian matrices (equation 2, Theorem 2).

    Parameters
    ----------
    rate : float
        Bits an entry, at least 0.

    Returns
    -------
    float
        φ(4^{−R}) = 2·4^{−R} − 16^{−R} for R ≥ R*; below, the line from (0, 1) to (R*, Γ(R*)).
    """
    if rate >= R_STAR:
        return phi(4.0**-rate)
    return 1.0 - (1.0 - GAMMA_STAR) * rate / R_STAR


def gamma_inverse(error: float) -> float:
    """The rate at which Γ equals an error: 0 for errors of 1 and more, infinite for none."""
    if error >= 1.0:
        return 0.0
    if error <= 0.0:
        return math.inf
    if error > GAMMA_STAR:
        return (1.0 - error) / (1.0 - GAMMA_STAR) * R_STAR
    # x = 1 − √(1 − error), without the cancellation
    return -math.log(error / (1.0 + math.sqrt(1.0 - error))) / _LN4


def pair_limit(rate: float, partner: float) -> float:
    """The limit for two sides of different rates: no pair of encoders has a lower error on iid Gaussian matrices.

    1 - max κ (1 - 4^{-R_A/κ})(1 - 4^{-R_B/κ}) over shares κ of the coordinates: Γ(R) for equal rates, and 4^{-R} where
    a side is exact, its rate infinite. That nothing is better: docs/theory.md, section 1; `nqz.plan.profile` has the
    same for columns that differ.
    """
    if min(rate, partner) <= 0.0:
        return 1.0
    if math.isinf(rate) or math.isinf(partner):  # without noise of one side all coordinates are best
        return math.pow(4.0, -min(rate, partner))

    def error(kappa: float) -> float:
        x, y = math.pow(4.0, -rate / kappa), math.pow(4.0, -partner / kappa)
        return (1.0 - kappa) + kappa * (x + y - x * y)  # without cancellation

    low, high = 1e-3 * min(1.0, rate, partner), 1.0
    for _ in range(_THIRDS):
        step = (high - low) / 3.0
        if error(low + step) < error(high - step):
            high -= step
        else:
            low += step
    return min(error(high), error(1.0))


def shift(error: float, rate: float, partner: float) -> float:
    """Bits by which both rates may be lowered on `pair_limit` for the same error; negative for errors below it.

    The excess of a product for equal rates, and of one with an exact side, of which there is nothing to lower.
    """
    low, high = -_MOST_SHIFT, min(rate, partner)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if pair_limit(rate - middle, partner - middle) < error:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def related(error: float, signal: float) -> float:
    """The error that the noise behind `error` for unrelated operands gives for operands with a given signal.

    Parameters
    ----------
    error : float
        N/(1 + N) for noise of energy N, the best scaling of an estimate where the signal is 1; below 1.
    signal : float
        S = ‖ĀᵀB̄‖²/(‖Ā‖²‖B̄‖²/n).

    Returns
    -------
    float
        SN/(S + N).
    """
    if not signal > 0.0:
        return 0.0
    return error * signal / (signal + error - error * signal)


def equivalent(error: float, signal: float) -> float | None:
    """The error that the same noise gives for unrelated operands: the inverse of `related`.

    Parameters
    ----------
    error, signal : float
        As measured; operands with a signal within `UNRELATED` of 1 count as unrelated.

    Returns
    -------
    float or None
        error · S / (S − error + error · S); None where the error is about as large as the product itself,
        which tells nothing about the noise.
    """
    if abs(signal - 1.0) < UNRELATED:
        return error
    return error * signal / (signal - error + error * signal) if signal > _TELLING * error else None
