"""The tail of the normal distribution, the same bits on every machine."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import exp

_STEPS = 256
"""Steps a standard deviation."""

_END = 38
"""Beyond so many the tail is less than the least float64."""

_ROOT_2PI = 2.5066282746310002


@lru_cache(maxsize=1)
def _tails() -> NDArray[np.float64]:
    """Tails at multiples of a step from 0 on, by Simpson's rule from the far end."""
    x = np.arange(2 * _END * _STEPS + 1) / (2.0 * _STEPS)
    density = exp(-0.5 * x * x) / _ROOT_2PI
    pieces = (density[:-2:2] + 4.0 * density[1:-1:2] + density[2::2]) / (6.0 * _STEPS)
    found: NDArray[np.float64] = np.append(np.add.accumulate(pieces[::-1])[::-1], 0.0)
    found.setflags(write=False)
    return found


def tail(x: NDArray[Any]) -> NDArray[np.float64]:
    """The probability of being above x, at most 0.02 % too large up to eight standard deviations, and not too small."""
    tails = _tails()
    place = np.minimum(np.abs(x), _END) * _STEPS
    low = place.astype(np.int64)
    # a chord lies above the tail, which is convex
    high = tails[np.minimum(low + 1, len(tails) - 1)]
    found = tails[low] + (place - low) * (high - tails[low])
    above: NDArray[np.float64] = np.where(x >= 0.0, found, 1.0 - high)
    return above


def quantile(chance: float) -> float:
    """How many standard deviations are exceeded with a probability, at most ½, rounded up to a step."""
    tails = _tails()
    return float(np.searchsorted(-tails, -chance)) / _STEPS
