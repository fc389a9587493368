"""The box "mod Λc": the classical nested code Λ/qΛ of Conway & Sloane, with scales β against overload.

A group of entries is scaled by the least of four multipliers b for which nothing overloads: the point decoded from the
index of λ in Λ/qΛ is λ - z itself. Any rate comes from mixing two adjacent values of q, group row by group row. Choosing b
sees the dither and shrinks the estimate, so the gain g = E[uû]/E[u²] is recorded and the decoder divides by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

MIX = 1 << 16
"""Denominator of the fraction of group rows that use the larger q."""

MAX_Q = 4096

MAX_POWER = 1e6


@dataclass(frozen=True)
class Nesting:
    """A nested code.

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
            if len(row) != 4 or not all(0 < b <= 4096 for b in row) or list(row) != sorted(row):
                raise ValueError("the scales of the Voronoi code are out of range")
        if not (math.isfinite(self.gain) and 1e-3 <= self.gain <= 1e3 and 0 <= self.power <= MAX_POWER):
            raise ValueError("the gain of the Voronoi code is out of range")

    def choice(self, rows: int) -> np.ndarray:
        """Which q each of the group rows of a chunk uses: uint8 of shape (rows,)."""
        edges = np.arange(rows + 1, dtype=np.int64) * self.mix // MIX
        return np.diff(edges).astype(np.uint8)


@lru_cache(maxsize=4096)
def packing(q: int) -> tuple[int, int]:
    """The best packing of base-q digits: (digits a word, bits a word), at most 63 bits."""
    best = (1, (q - 1).bit_length())
    power = 1
    for digits in range(1, 64):
        power *= q
        bits = (power - 1).bit_length()
        if bits > 63:
            break
        if bits * best[0] < best[1] * digits:
            best = (digits, bits)
    return best


def digit_bytes(count: int, q: int) -> int:
    """Bytes of `count` packed digits."""
    digits, bits = packing(q)
    return ((count + digits - 1) // digits * bits + 7) // 8


def digit_bits(q: int) -> float:
    """Bits an entry of packed digits."""
    digits, bits = packing(q)
    return bits / digits
