"""What an error and a size mean: as a share, and next to the limits that nothing can beat on Gaussian matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nqz.plan import limit
from nqz.plan.profile import Limit
from nqz.stages.partner import EQUAL, Partner

_CURVE = 97


class Judge:
    """The limits of products of a matrix.

    Parameters
    ----------
    bound : Limit, optional
        That of columns of their energies; None where a side has none.
    signal : float, optional
        S = ‖ĀᵀB̄‖²/(‖Ā‖²‖B̄‖²/n), 1 for unrelated matrices.
    partner : {"equal", "exact"} or float
        The other side: coded alike, not compressed, or of so many bits an entry.
    """

    def __init__(self, bound: Limit | None, signal: float, partner: Partner = EQUAL):
        self._bound, self._signal, self._partner = bound, signal, partner

    def of_partner(self, rate: float) -> float:
        """The rate of the partner of a side of some rate; infinite for an exact one."""
        if isinstance(self._partner, str):
            return rate if self._partner == EQUAL else math.inf
        return self._partner

    def judged(self, error: float | None, rate: float, rates: tuple[float, float]) -> dict[str, Any]:
        """What is derived from the error of a product.

        Parameters
        ----------
        error : float, optional
        rate : float
            Bits an entry of what is compared: of both sides that are coded alike, or of the first.
        rates : tuple of float
            Of both sides.
        """
        other = self.of_partner(rate)
        equivalent = None if error is None else limit.equivalent(error, self._signal)
        gamma = limit.pair_limit(rate, other)
        excess = over = None
        if equivalent is not None and equivalent > 0.0:
            excess = (
                rate - limit.gamma_inverse(equivalent)
                if other == rate
                else limit.shift(equivalent, rate, other)
            )
            over = None if self._bound is None else self._bound.excess(equivalent, *rates)
        return {
            "error": error,
            "percent": None if error is None else 100.0 * math.sqrt(max(error, 0.0)),
            "decibels": 10.0 * math.log10(error) if error else None,
            "error_equivalent": equivalent,
            "gamma": gamma,
            "ratio": None if error is None or not gamma else error / gamma,  # gamma of thousands of bits is 0
            "excess": excess,
            "limit": None if self._bound is None else self._bound(*rates),
            "over_limit": over,
        }

    def curve(self, last: float) -> dict[str, list[float]]:
        """Both limits, for the related operands that are judged, at rates from 0 to `last`."""
        rates = (last * (np.arange(_CURVE) / (_CURVE - 1)) ** 1.5).tolist()
        bounds = {
            "gamma": [limit.pair_limit(rate, self.of_partner(rate)) for rate in rates],
            "limit": []
            if self._bound is None
            else [self._bound(rate, self.of_partner(rate)) for rate in rates],
        }
        if abs(self._signal - 1.0) >= limit.UNRELATED:
            bounds = {key: [limit.related(x, self._signal) for x in found] for key, found in bounds.items()}
        return {"rate": rates, **bounds}
