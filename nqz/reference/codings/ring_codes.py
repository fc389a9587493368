"""Constants of the ring code: generators and tables by rate and window (docs/theory.md, section 9; docs/format.md).

They were found, and are checked, by `benchmarks/ring_codes.py`. What is measured was measured on other draws than those that
chose them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from nqz.reference.arrays import Ints, require

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
        Of steps with floor(K) bits and, if K is a half, of those with one more: labels of the bits of the window, newest first.
        As many bits as the symbol has are its class, the upper ones of the label, the others are low ones. The newest bits
        are the class, the oldest ones the class in reverse with no low bits. The bits between turn the class only
        from the fifth on, and the fifth low bit and those above only then, too.
    half : tuple of int
        Upper half of the table.
    unit : float
        Units of the table in a standard deviation.
    distortion : float
        Mean square error of an entry of variance one, at the best scale: 1 - E[xv]² / (E[x²] E[v²]).
    gain : float
        E[xv] / E[x²] in units of the table.
    along : float
        n times the variance of a column's slope ⟨x, v⟩ / ⟨x, x⟩ over the square of `gain`, for columns of n entries: the noise
        along x, which the slope takes away.
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
            require(low in (4, 5) and len(generator) == self.memory + bits, "a generator has a label for every bit")
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

    @cached_property
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
        return np.float32(self.root / ENTRY_UNIT)

    @cached_property
    def centers(self) -> Floats32:
        """The table in units of the search."""
        return (self.values * (self.root / self.unit)).astype(np.float32)

    def thresholds(self, kind: int) -> Ints:
        """Return where the classes nearest to an entry in fixed point change: as many as exceed three classes."""
        bits = self.bits2 // 2 + kind
        sums = self.values.reshape(1 << bits, -1).sum(axis=1)
        per_sum = ENTRY_UNIT / (self.unit * (2 << self.labels - bits))
        return np.floor((sums[:-3] + sums[3:]) * per_sum + 0.5).astype(np.int64)

    def labels_of(self, kind: int, window: Ints) -> Ints:
        """Return the labels of windows."""
        label = np.zeros_like(window)
        for i, generator in enumerate(self.generators[kind]):
            label ^= (window >> i & 1) * generator
        return label


@lru_cache(maxsize=None)
def form_of(bits2: int, window: int = 0) -> RingForm:
    """Return the constants of a rate and a window; 0 is the window that suits the rate."""
    require(bits2 in BITS2, "bits2 must be 2 to 8")
    require(window in (0, *WINDOWS), "window must be 0, 12, 14 or 16")
    window = window or AUTO[bits2]
    labels, generators, half, unit, distortion, gain, along = _FORMS[bits2, window]
    return RingForm(bits2, window, labels, generators, half, unit, distortion, gain, along)


# By 2 K and window: bits of labels, generators, upper half of the table, unit, distortion, gain, noise along.
_FORMS: dict[
    tuple[int, int], tuple[int, tuple[tuple[int, ...], ...], tuple[int, ...], float, float, float, float]
] = {
    (2, 12): (
        5,
        ((16, 15, 15, 9, 12, 8, 18, 22, 20, 15, 9, 16),),
        (3, 5, 8, 10, 12, 14, 17, 19, 22, 25, 29, 32, 37, 43, 53, 63),
        33.6143,
        0.266101,
        24.6973,
        0.33517,
    ),  # fmt: skip
    (2, 14): (
        5,
        ((20, 2, 8, 3, 15, 30, 12, 19, 16, 13, 30, 7, 10, 16),),
        (3, 5, 8, 10, 12, 14, 17, 19, 22, 25, 29, 32, 37, 43, 53, 63),
        33.6143,
        0.263717,
        24.8158,
        0.34699,
    ),  # fmt: skip
    (2, 16): (
        5,
        ((16, 0, 0, 12, 6, 13, 23, 15, 11, 23, 9, 13, 21, 19, 13, 16),),
        (3, 5, 8, 10, 12, 14, 17, 19, 22, 25, 29, 32, 37, 43, 53, 63),
        33.6143,
        0.261551,
        24.8458,
        0.32149,
    ),  # fmt: skip
    (3, 12): (
        6,
        ((35, 15, 4, 4, 2, 24, 39, 22, 34, 16, 32), (18, 34, 3, 13, 9, 12, 41, 60, 23, 41, 32, 16),),
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 20, 21, 22, 24, 25, 27, 29, 31, 33, 36, 38, 41, 44, 50, 63),
        26.2254,
        0.136984,
        22.6227,
        0.19514,
    ),  # fmt: skip
    (3, 14): (
        6,
        ((46, 12, 11, 11, 14, 17, 24, 45, 35, 23, 58, 54, 32), (27, 32, 10, 14, 0, 7, 21, 34, 1, 2, 14, 24, 32, 16),),
        (1, 2, 2, 3, 5, 6, 6, 8, 9, 10, 11, 11, 13, 14, 15, 16, 18, 19, 20, 21, 23, 24, 26, 28, 30, 31, 34, 36, 40, 44, 49, 63),
        24.4233,
        0.135775,
        21.3789,
        0.16701,
    ),  # fmt: skip
    (3, 16): (
        6,
        ((49, 3, 5, 11, 9, 4, 42, 42, 50, 52, 30, 33, 56, 26, 32), (24, 35, 8, 6, 13, 0, 7, 28, 17, 62, 55, 7, 44, 13, 32, 16),),
        (1, 2, 2, 3, 5, 6, 6, 8, 9, 10, 11, 11, 13, 14, 15, 16, 18, 19, 20, 21, 23, 24, 26, 28, 30, 31, 34, 36, 40, 44, 49, 63),
        24.4233,
        0.134284,
        21.4224,
        0.16746,
    ),  # fmt: skip
    (4, 12): (
        6,
        ((18, 33, 10, 3, 13, 8, 25, 8, 62, 42, 32, 16),),
        (1, 2, 2, 3, 5, 6, 6, 8, 9, 10, 11, 11, 13, 14, 15, 16, 18, 19, 20, 21, 23, 24, 26, 28, 30, 31, 34, 36, 40, 44, 49, 63),
        24.4233,
        0.068919,
        22.7061,
        0.09157,
    ),  # fmt: skip
    (4, 14): (
        6,
        ((19, 33, 5, 10, 11, 2, 53, 19, 21, 15, 41, 39, 32, 16),),
        (1, 1, 2, 3, 4, 5, 7, 7, 8, 10, 10, 11, 13, 14, 15, 16, 18, 19, 20, 21, 23, 24, 25, 27, 29, 32, 34, 36, 40, 44, 48, 63),
        24.4765,
        0.067636,
        22.7839,
        0.08871,
    ),  # fmt: skip
    (4, 16): (
        6,
        ((17, 36, 14, 0, 11, 8, 31, 61, 29, 31, 13, 17, 30, 21, 32, 16),),
        (1, 2, 3, 3, 4, 6, 6, 7, 8, 10, 10, 12, 13, 13, 15, 16, 17, 19, 20, 21, 22, 24, 26, 27, 29, 31, 34, 36, 40, 43, 48, 63),
        24.4271,
        0.066733,
        22.7822,
        0.10184,
    ),  # fmt: skip
    (5, 12): (
        7,
        ((51, 72, 6, 1, 9, 2, 68, 51, 90, 64, 32), (20, 32, 65, 6, 14, 5, 1, 60, 27, 64, 32, 16),),
        (1, 1, 2, 3, 4, 5, 6, 6, 8, 8, 9, 10, 12, 12, 13, 13, 15, 15, 16, 17, 19, 19, 20, 21, 23, 23, 24, 25, 26, 28, 29, 30, 31, 32, 33, 34, 36, 37, 38, 39, 40, 42, 43, 45, 46, 47, 49, 50, 53, 55, 56, 57, 60, 62, 65, 67, 70, 73, 77, 81, 86, 93, 105, 127),
        41.0884,
        0.036859,
        39.6341,
        0.04145,
    ),  # fmt: skip
    (5, 14): (
        7,
        ((39, 68, 10, 5, 6, 12, 13, 21, 99, 70, 55, 64, 32), (16, 33, 67, 2, 10, 14, 5, 89, 124, 78, 34, 64, 32, 16),),
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 14, 15, 16, 17, 17, 19, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 33, 34, 35, 37, 38, 39, 40, 41, 42, 44, 45, 47, 49, 50, 52, 55, 56, 58, 59, 61, 63, 66, 68, 72, 74, 78, 82, 87, 95, 102, 127),
        43.4982,
        0.034529,
        41.9600,
        0.04844,
    ),  # fmt: skip
    (5, 16): (
        7,
        ((42, 77, 8, 10, 8, 11, 85, 71, 111, 8, 20, 26, 56, 64, 32), (20, 42, 67, 12, 2, 7, 2, 88, 25, 78, 3, 9, 16, 64, 32, 16),),
        (1, 1, 2, 3, 4, 5, 6, 6, 8, 8, 9, 10, 12, 12, 13, 13, 15, 15, 16, 17, 19, 19, 20, 21, 23, 23, 24, 25, 26, 28, 29, 30, 31, 32, 33, 34, 36, 37, 38, 39, 40, 42, 43, 45, 46, 47, 49, 50, 53, 55, 56, 57, 60, 62, 65, 67, 70, 73, 77, 81, 86, 93, 105, 127),
        41.0884,
        0.034381,
        39.7964,
        0.03630,
    ),  # fmt: skip
    (6, 12): (
        7,
        ((17, 32, 69, 8, 2, 3, 12, 70, 104, 64, 32, 16),),
        (1, 2, 3, 3, 4, 4, 6, 6, 8, 9, 10, 11, 11, 12, 13, 14, 15, 16, 17, 18, 19, 19, 21, 22, 23, 23, 25, 26, 27, 28, 29, 30, 32, 32, 33, 35, 36, 37, 38, 39, 41, 42, 44, 45, 46, 48, 50, 51, 54, 55, 56, 58, 60, 63, 65, 68, 70, 74, 77, 82, 87, 93, 105, 127),
        41.4018,
        0.017736,
        40.6667,
        0.02075,
    ),  # fmt: skip
    (6, 14): (
        7,
        ((19, 32, 64, 8, 4, 5, 10, 100, 75, 4, 70, 64, 32, 16),),
        (0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 10, 11, 12, 12, 12, 13, 14, 14, 15, 15, 16, 16, 17, 18, 18, 19, 19, 20, 21, 21, 22, 23, 23, 24, 25, 26, 27, 28, 28, 30, 31, 32, 33, 35, 36, 38, 40, 43, 46, 52, 63),
        20.3824,
        0.017363,
        20.0323,
        0.02331,
    ),  # fmt: skip
    (6, 16): (
        7,
        ((20, 34, 70, 6, 10, 1, 5, 118, 84, 125, 120, 107, 105, 64, 32, 16),),
        (0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 8, 8, 8, 8, 9, 10, 10, 10, 11, 11, 12, 13, 13, 13, 14, 15, 15, 16, 16, 17, 18, 18, 18, 19, 20, 21, 21, 22, 23, 24, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 38, 40, 43, 46, 52, 63),
        20.3903,
        0.017125,
        20.0495,
        0.02873,
    ),  # fmt: skip
    (7, 12): (
        8,
        ((58, 71, 130, 6, 7, 13, 5, 231, 128, 64, 32), (21, 39, 69, 131, 13, 12, 9, 8, 128, 64, 32, 16),),
        (0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 8, 9, 9, 10, 11, 11, 11, 12, 11, 12, 13, 13, 14, 14, 15, 15, 15, 16, 16, 16, 17, 18, 18, 19, 19, 19, 20, 20, 21, 21, 22, 22, 22, 23, 23, 24, 25, 25, 26, 26, 27, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33, 33, 34, 35, 35, 36, 36, 37, 38, 38, 39, 39, 40, 41, 41, 42, 43, 43, 44, 45, 45, 46, 47, 48, 49, 49, 50, 51, 52, 53, 54, 55, 56, 57, 57, 59, 60, 61, 62, 64, 65, 66, 67, 69, 71, 73, 75, 77, 79, 82, 85, 88, 93, 99, 110, 127),
        36.5552,
        0.010301,
        36.1964,
        0.01784,
    ),  # fmt: skip
    (7, 14): (
        8,
        ((34, 77, 154, 11, 1, 0, 6, 255, 8, 217, 128, 64, 32), (21, 38, 78, 139, 10, 12, 11, 13, 29, 89, 128, 64, 32, 16),),
        (0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7, 8, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 17, 17, 18, 18, 19, 19, 19, 20, 20, 20, 22, 22, 22, 22, 23, 23, 24, 24, 25, 25, 26, 26, 27, 27, 28, 28, 29, 30, 30, 31, 31, 31, 32, 32, 33, 33, 35, 35, 35, 35, 36, 37, 37, 38, 39, 39, 40, 41, 41, 42, 43, 44, 44, 45, 45, 46, 46, 47, 49, 50, 50, 51, 52, 52, 53, 54, 56, 57, 58, 58, 61, 61, 61, 63, 65, 66, 67, 69, 71, 73, 75, 77, 79, 82, 85, 89, 92, 98, 108, 127),
        37.4988,
        0.008891,
        37.1737,
        0.01344,
    ),  # fmt: skip
    (7, 16): (
        8,
        ((45, 83, 140, 7, 11, 2, 8, 229, 165, 206, 19, 84, 128, 64, 32), (26, 41, 71, 138, 3, 2, 7, 7, 112, 44, 40, 2, 128, 64, 32, 16),),
        (0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 8, 9, 9, 10, 11, 11, 11, 12, 11, 12, 13, 13, 14, 14, 15, 15, 15, 16, 16, 16, 17, 18, 18, 19, 19, 19, 20, 20, 21, 21, 22, 22, 22, 23, 23, 24, 25, 25, 26, 26, 27, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33, 33, 34, 35, 35, 36, 36, 37, 38, 38, 39, 39, 40, 41, 41, 42, 43, 43, 44, 45, 45, 46, 47, 48, 49, 49, 50, 51, 52, 53, 54, 55, 56, 57, 57, 59, 60, 61, 62, 64, 65, 66, 67, 69, 71, 73, 75, 77, 79, 82, 85, 88, 93, 99, 110, 127),
        36.5552,
        0.008803,
        36.2566,
        0.00822,
    ),  # fmt: skip
    (8, 12): (
        8,
        ((19, 35, 67, 136, 2, 9, 3, 12, 128, 64, 32, 16),),
        (0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 6, 6, 6, 6, 7, 7, 7, 8, 9, 9, 9, 10, 10, 11, 11, 11, 12, 13, 13, 13, 14, 13, 14, 14, 15, 16, 16, 16, 17, 18, 18, 19, 19, 19, 20, 21, 21, 21, 21, 22, 23, 23, 24, 24, 25, 25, 26, 26, 27, 27, 28, 28, 29, 29, 30, 30, 31, 31, 32, 32, 33, 34, 34, 34, 36, 36, 37, 37, 37, 38, 38, 39, 40, 41, 41, 42, 43, 44, 44, 45, 46, 47, 47, 48, 49, 49, 50, 51, 52, 53, 54, 55, 56, 57, 57, 59, 60, 61, 62, 63, 65, 66, 67, 70, 71, 73, 74, 77, 80, 82, 84, 89, 93, 100, 110, 127),
        36.5583,
        0.004645,
        36.3905,
        0.00696,
    ),  # fmt: skip
    (8, 14): (
        8,
        ((17, 33, 67, 128, 7, 5, 3, 9, 98, 138, 128, 64, 32, 16),),
        (0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 8, 9, 9, 10, 11, 11, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 15, 16, 16, 16, 17, 18, 18, 19, 19, 19, 20, 20, 21, 21, 22, 22, 22, 23, 23, 24, 25, 25, 26, 26, 27, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33, 33, 34, 35, 35, 36, 36, 37, 38, 38, 39, 39, 40, 41, 41, 42, 43, 43, 44, 45, 45, 46, 47, 48, 49, 49, 50, 50, 51, 52, 53, 54, 55, 56, 56, 58, 59, 60, 61, 63, 64, 65, 66, 69, 69, 71, 73, 75, 78, 80, 83, 87, 92, 98, 109, 127),
        36.0314,
        0.004459,
        35.8842,
        0.00599,
    ),  # fmt: skip
    (8, 16): (
        8,
        ((19, 32, 66, 143, 14, 11, 0, 7, 203, 51, 156, 87, 128, 64, 32, 16),),
        (0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14, 15, 15, 16, 16, 16, 17, 17, 18, 18, 19, 20, 19, 20, 21, 21, 21, 22, 22, 23, 24, 24, 25, 25, 25, 26, 26, 27, 28, 28, 28, 29, 29, 30, 31, 31, 32, 32, 33, 33, 34, 34, 35, 36, 36, 37, 37, 38, 38, 39, 40, 40, 41, 42, 42, 43, 44, 45, 46, 46, 47, 48, 48, 49, 50, 51, 51, 52, 53, 55, 56, 56, 57, 59, 60, 61, 62, 63, 65, 66, 68, 69, 71, 73, 74, 77, 79, 82, 84, 88, 93, 100, 110, 127),
        36.4838,
        0.004393,
        36.3317,
        0.00445,
    ),  # fmt: skip
}
