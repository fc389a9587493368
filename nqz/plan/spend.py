"""Sharing bits, or an error, among matrices of unequal size or importance: docs/theory.md, "Rates across tensors".

Bits are shared in steps of 1/4096 bit an entry, on integers, so that every machine finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nqz.ground.arithmetic import GRID, exp2, log2
from nqz.ground.units import MAX_RATE

_MOST = int(MAX_RATE * GRID)


def default_exponent(rate: float) -> float:
    """The exponent of ``size`` where none is given, for so many bits an entry in all.

    Errors in proportion to sizes, exponent 1, are best as long as they are small. The largest matrices pay for the
    others; below about a bit too little is left of them. What is measured is in docs/benchmarks.md.
    """
    return min(0.8, 0.4 * rate)


@dataclass(frozen=True)
class Part:
    """A matrix among those that share bits.

    Attributes
    ----------
    entries : int
    importance : float
        s_k: what a relative error of it counts, beside that of others, in units of its own choice.
    exponent : float
        p of N_k^p, the power of its size that its error may be in proportion to.
    least : float
        Bits an entry below which nothing of it is left, or that it must not go below.
    """

    entries: int
    importance: float
    exponent: float
    least: float

    @property
    def error(self) -> float:
        """What its error is in proportion to: N^p / s."""
        return _power(self.entries, self.exponent) / self.importance

    @property
    def weight(self) -> float:
        """What its error counts in a mean: s N^(1 - p)."""
        return self.importance * _power(self.entries, 1.0 - self.exponent)


def _power(base: float, exponent: float) -> float:
    """A power by means of `log2` on the grid of rates."""
    return float(exp2(math.floor(exponent * float(log2(base)) * GRID + 0.5)))


def least_total(parts: Sequence[Part]) -> float:
    """Bits an entry of all that they need at least."""
    return sum(part.entries * _least(part) for part in parts) / GRID / sum(part.entries for part in parts)


def share_bits(parts: Sequence[Part], bits: float) -> list[float] | None:
    """Rates R_k = c - ½ log₂(N_k^p / s_k), none below its least one or above 12, with Σ N_k R_k at most `bits`.

    Returns
    -------
    list of float or None
        None if even the least rates take more.
    """
    budget = math.floor(bits * GRID)
    entries = [part.entries for part in parts]
    offsets = [-math.floor(GRID / 2 * float(log2(part.error)) + 0.5) for part in parts]
    least = [_least(part) for part in parts]

    def at(c: int) -> list[int]:
        return [max(low, min(c + offset, _MOST)) for offset, low in zip(offsets, least, strict=True)]

    def spent(rates: list[int]) -> int:
        return sum(n * rate for n, rate in zip(entries, rates, strict=True))

    low, high = -max(offsets), _MOST - min(offsets)  # all at their least, all at the most
    if spent(at(low)) > budget:
        return None
    while high - low > 0:
        middle = (low + high + 1) // 2
        if spent(at(middle)) <= budget:
            low = middle
        else:
            high = middle - 1
    return [rate / GRID for rate in at(low)]


def _least(part: Part) -> int:
    return min(_MOST, math.ceil(part.least * GRID))


def share_error(
    parts: Sequence[Part], error: float, least: float, most: Sequence[float]
) -> list[float] | None:
    """Errors in proportion to N_k^p / s_k whose mean, weighted by s_k N_k^(1 - p), is `error`.

    Parameters
    ----------
    parts : sequence of Part
    error : float
    least : float
        No error is less than this.
    most : sequence of float
        None is more than its own bound here.

    Returns
    -------
    list of float or None
        None if the mean cannot be as small.
    """
    proportion = np.array([part.error for part in parts])
    weight = np.array([part.weight for part in parts])
    most_of = np.asarray(most, np.float64)

    def at(step: int) -> np.ndarray:
        return np.minimum(np.maximum(float(exp2(step)) * proportion, least), most_of)

    def mean(step: int) -> float:
        return float(np.add.accumulate(weight * at(step))[-1] / np.add.accumulate(weight)[-1])

    low = math.floor(GRID * float(log2(least / float(proportion.max()))))
    high = math.ceil(GRID * float(log2(1.0 / float(proportion.min()))))
    if mean(low) > error:
        return None
    while high > low:
        middle = (low + high + 1) // 2
        if mean(middle) <= error:
            low = middle
        else:
            high = middle - 1
    return [float(e) for e in at(low)]
