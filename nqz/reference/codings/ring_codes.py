"""Constants of the ring code: generators and tables by rate and window (docs/theory.md, section 9; docs/format.md).

They were found, and are checked, by `benchmarks/ring_codes.py`. What is measured was measured on other draws than
those that chose them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from nqz.reference.arrays import Ints, require
from nqz.reference.codings.ring_tables import FORMS

Floats32 = npt.NDArray[np.float32]

BITS2 = range(2, 9)
"""Twice the bits of an entry."""

WINDOWS = (12, 14, 16)

AUTO = {2: 12, 3: 12, 4: 12, 5: 14, 6: 14, 7: 14, 8: 14}
"""The window of each rate where none is asked for."""

ENTRY_UNIT = 4096
"""Of entries in fixed point: a standard deviation."""

ROOT = 2.5
"""What the root of the expected error is worth in the search: metrics count its square."""


@dataclass(frozen=True)
class RingForm:
    """The constants of a rate and a window; ValueError for what the search does not take.

    Attributes
    ----------
    bits2, window, labels : int
        Twice the bits of an entry, bits of the window, bits of a label.
    generators : tuple
        Of steps with floor(K) bits and, if K is a half, of those with one more: labels of the bits of the window,
        newest first. As many bits as the symbol has are its class, the upper ones of the label, the others are low
        ones. The newest bits are the class, the oldest ones the class in reverse with no low bits. The bits between
        turn the class and the fifth low bit only from the fifth on.
    half : tuple of int
        Upper half of the table.
    unit : float
        Units of the table in a standard deviation.
    distortion : float
        Mean square error of an entry of variance one, at the best scale: 1 - E[xv]² / (E[x²] E[v²]).
    gain : float
        E[xv] / E[x²] in units of the table.
    along : float
        n times the variance of a column's slope ⟨x, v⟩ / ⟨x, x⟩ over the square of `gain`, for columns of n entries:
        the noise along x, which the slope takes away.
    """

    bits2: int
    window: int
    labels: int
    generators: tuple[tuple[int, ...], ...]
    half: tuple[int, ...]
    unit: float
    distortion: float
    gain: float
    along: float

    def __post_init__(self) -> None:
        require(self.bits2 in BITS2, "bits2 must be 2 to 8")
        require(self.window in WINDOWS, "window must be 12, 14 or 16")
        require(len(self.generators) == 1 + self.bits2 % 2, "a half has two generators, a whole number one")
        require(len(self.half) == 1 << self.labels - 1, "the table has as many values as there are labels")
        require(min(self.half) >= 0 and max(self.half) <= 127, "the table has integers of up to 127")
        for kind, generator in enumerate(self.generators):
            bits = self.bits2 // 2 + kind
            low = self.labels - bits
            require(
                low in (4, 5) and len(generator) == self.memory + bits,
                "a generator has a label for every bit",
            )
            for i, label in enumerate(generator):
                old = i - self.memory
                group = 1 << i if i < bits else 1 << bits - 1 - old if old >= 0 else label >> low
                right = label >> low == group and 0 <= label < 1 << self.labels
                right &= old < 0 or label & (1 << low) - 1 == 0
                right &= not bits <= i < bits + 4 or label & 15 == label
                require(right, "a generator breaks the rules of its classes")

    @property
    def memory(self) -> int:
        """Bits of a state."""
        return self.window - (self.bits2 + 1) // 2

    @property
    def ahead(self) -> int:
        """Steps after which the search settles a symbol."""
        return 192 if self.window == 16 else 96

    @property
    def values(self) -> Ints:
        """The table, C."""
        upper = np.array(self.half, dtype=np.int64)
        return np.concatenate([-upper[::-1], upper])

    @property
    def root(self) -> float:
        """Units of the search in a standard deviation."""
        return float(ROOT / np.sqrt(1.12 * np.ldexp(1.0, -self.bits2)))

    @property
    def scale(self) -> np.float32:
        """From entries in fixed point to units of the search."""
        scale: np.float32 = np.float32(self.root / ENTRY_UNIT)
        return scale

    @property
    def centers(self) -> Floats32:
        """The table in units of the search."""
        return (self.values * (self.root / self.unit)).astype(np.float32)

    def thresholds(self, kind: int) -> Ints:
        """Return where the classes nearest to an entry in fixed point change: as many as exceed three classes."""
        bits = self.bits2 // 2 + kind
        sums = self.values.reshape(1 << bits, -1).sum(axis=1)
        per_sum = ENTRY_UNIT / (self.unit * (2 << self.labels - bits))
        thresholds: Ints = np.floor((sums[:-3] + sums[3:]) * per_sum + 0.5).astype(np.int64)
        return thresholds

    def labels_of(self, kind: int, window: Ints) -> Ints:
        """Return the labels of windows."""
        label = np.zeros_like(window)
        for i, generator in enumerate(self.generators[kind]):
            label ^= (window >> i & 1) * generator
        return label


@cache
def form_of(bits2: int, window: int = 0) -> RingForm:
    """Return the constants of a rate and a window; 0 is the window that suits the rate."""
    require(bits2 in BITS2, "bits2 must be 2 to 8")
    require(window in (0, *WINDOWS), "window must be 0, 12, 14 or 16")
    window = window or AUTO[bits2]
    labels, generators, half, *measured = FORMS[bits2, window]
    rows = tuple(_numbers(generator) for generator in generators)
    return RingForm(bits2, window, labels, rows, _numbers(half), *measured)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
