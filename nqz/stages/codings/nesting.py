"""Which nested code Λ/qΛ a tensor is in: two values of q, their scales, and what they do to the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIX = 1 << 16
"""Denominator of the fraction of group rows that use the larger q."""

MAX_Q = 4096
_MAX_MULTIPLIER = 4096

_MIN_POWER, MAX_POWER = 1e-6, 1e6


@dataclass(frozen=True)
class Nesting:
    """The nested code that a tensor is in: what the coding's own parameters in its header say.

    Attributes
    ----------
    q : tuple of int
        Two adjacent nesting ratios, q and q + 1.
    mix : int
        A fraction mix / 65536 of the group rows uses the larger one.
    multipliers : tuple of tuple of int
        The four scales b of each q, ascending, in units of the column's Δ.
    gain : float
        g = E[u û] / E[u²].
    power : float
        E[û²] / E[u²].
    """

    q: tuple[int, int]
    mix: int
    multipliers: tuple[tuple[int, ...], tuple[int, ...]]
    gain: float
    power: float

    @property
    def noise(self) -> float:
        """Relative noise d of û / g."""
        return max(self.power / (self.gain * self.gain) - 1.0, 0.0)

    def check(self) -> None:
        """Raise ValueError unless all values are within the format's limits."""
        if not (2 <= self.q[0] < MAX_Q and self.q[1] == self.q[0] + 1 and 0 <= self.mix <= MIX):
            raise ValueError("the nesting ratios are out of range")
        for row in self.multipliers:
            if len(row) != 4 or not all(0 < b <= _MAX_MULTIPLIER for b in row) or list(row) != sorted(row):
                raise ValueError("the scales of the Voronoi code are out of range")
        if not (math.isfinite(self.gain) and 1e-3 <= self.gain <= 1e3):
            raise ValueError("the gain of the Voronoi code is out of range")
        if not _MIN_POWER <= self.power <= MAX_POWER:
            raise ValueError("the power of the Voronoi code is out of range")

    def choice(self, rows: int) -> npt.NDArray[np.uint8]:
        """Which q each of the group rows of a chunk uses: uint8 of shape (rows,)."""
        edges = np.arange(rows + 1, dtype=np.int64) * self.mix // MIX
        return np.diff(edges).astype(np.uint8)
