"""What an error and a size mean: as a share, and next to the limits that nothing can beat on Gaussian matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nqz.plan import limit
from nqz.plan.profile import Limit

_CURVE = 97


class Judge:
    """The limits of a pair of matrices.

    Parameters
    ----------
    bound : Limit, optional
        That of columns of their energies; None where a side has none.
    signal : float, optional
        S = ‖ĀᵀB̄‖²/(‖Ā‖²‖B̄‖²/n), 1 for unrelated matrices.
    one_sided : bool
        Whether the partner is exact, so that 4^{-R} takes the place of Γ(R).
    """

    def __init__(self, bound: Limit | None, signal: float, one_sided: bool = False):
        self._bound, self._signal, self._one_sided = bound, signal, one_sided

    def gamma(self, rate: float) -> float:
        """Γ(R), or 4^{-R}: the limit where all columns have the same energy."""
        return 4.0**-rate if self._one_sided else limit.gamma(rate)

    def judged(self, error: float | None, rate: float, rates: tuple[float, float]) -> dict[str, Any]:
        """What is derived from the error of a product.

        Parameters
        ----------
        error : float, optional
        rate : float
            Bits an entry of all that is stored.
        rates : tuple of float
            Of both sides.
        """
        equivalent = None if error is None else limit.equivalent(error, self._signal)
        gamma = self.gamma(rate)
        bound = None if self._bound is None else self._bound(*rates)
        needed = excess = None
        if equivalent is not None:
            needed = self._rate_of(equivalent)
            if self._bound is not None:
                excess = self._bound.excess(equivalent, *rates)
        return {
            "error": error,
            "percent": None if error is None else 100.0 * math.sqrt(max(error, 0.0)),
            "decibels": 10.0 * math.log10(error) if error else None,
            "error_equivalent": equivalent,
            "gamma": gamma,
            "ratio": None if error is None or not gamma else error / gamma,  # gamma of thousands of bits is 0
            "excess": None if needed is None or math.isinf(needed) else rate - needed,
            "limit": bound,
            "over_limit": None if excess is None or math.isinf(excess) else excess,
        }

    def _rate_of(self, error: float) -> float:
        if not self._one_sided:
            return limit.gamma_inverse(error)
        return -math.log2(error) / 2.0 if error > 0.0 else math.inf

    def curve(self, last: float) -> dict[str, list[float]]:
        """Both limits, for the related operands that are judged, at rates from 0 to `last`."""
        rates = (last * (np.arange(_CURVE) / (_CURVE - 1)) ** 1.5).tolist()
        bounds = {
            "gamma": [self.gamma(rate) for rate in rates],
            "limit": [] if self._bound is None else [self._bound(rate, rate) for rate in rates],
        }
        if abs(self._signal - 1.0) >= limit.UNRELATED:
            bounds = {key: [limit.related(x, self._signal) for x in found] for key, found in bounds.items()}
        return {"rate": rates, **bounds}
