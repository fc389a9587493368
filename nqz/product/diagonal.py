"""The diagonal of a matrix times itself: energies of columns, from norms or, where these are coarse, from points.

Both factors of an entry of it have the same noise, whose energy n D Δ² is known: the energy of the points less that is
unbiased, with a relative variance of (4 d + 2 d²) / n. Norms have that of their rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.product.operand import Operand
from nqz.stages import norms

_LN2 = 0.6931471805599453

ACROSS = 0.5
"""Variance of the energy of noise that is across its column, n times and in units of its square; beside it gains are
rounded."""


def energies(
    operand: Operand, codes: NDArray[Any], units: NDArray[np.float64], raw: NDArray[Any], kappa: float
) -> NDArray[np.float64]:
    """Energies of columns of these norm codes, in units of 4 ** exponent.

    `raw` are the products of their points with themselves, `units` what these are worth.
    """
    known = operand.energies(codes)
    noise = operand.noise(codes)
    chosen = _of_points(operand, noise, kappa)
    square = np.square(units) * raw / kappa
    if operand.across:  # nothing of the noise is along the column
        return np.where(chosen, square / (1.0 + np.where(chosen, noise, 0.0)), known)
    found = square - np.where(chosen, noise, 0.0) * known
    return np.where(chosen, np.maximum(found, 0.0), known)


def deviations(operand: Operand, codes: NDArray[Any], kappa: float) -> NDArray[np.float64]:
    """Standard deviations of these energies, relative to those that the norms stand for."""
    noise = operand.noise(codes)
    own = np.full(len(codes), _of_norms(operand))
    chosen = _of_points(operand, noise, kappa)
    own[chosen] = _deviation(operand, noise[chosen], kappa)
    return np.where(codes == norms.ZERO, 0.0, own)


def _of_norms(operand: Operand) -> float:
    return float(_LN2 * operand.norm_step / 12.0**0.5)


def _deviation(operand: Operand, noise: NDArray[np.float64], kappa: float) -> NDArray[np.float64]:
    if operand.across:
        share = noise / (1.0 + noise)
        return np.asarray(np.sqrt((4.0 * operand.along + ACROSS * share * share) / operand.side.n))
    spread = 4.0 * noise + 2.0 * noise * noise + 2.0 * (1.0 - kappa)
    found: NDArray[np.float64] = np.sqrt(spread / (kappa * operand.side.n))
    return found


def _of_points(operand: Operand, noise: NDArray[np.float64], kappa: float) -> NDArray[np.bool_]:
    """Which energies come from the points: where the rounded norms say less, as of loud columns."""
    if (
        operand.side.dependence is not None and not operand.across
    ):  # the noise of a nested code is not independent of what is coded
        return np.zeros(len(noise), np.bool_)
    finite = np.where(np.isfinite(noise), noise, 1e30)
    return _deviation(operand, finite, kappa) < _of_norms(operand)
