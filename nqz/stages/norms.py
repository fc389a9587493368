"""Energies of the columns: rounded to 1/256 octave or coarser, the side information that everything else derives from.

A norm code c stands for the energy ‖ā‖² = 2 ** (c / 256); `ZERO` for a column without energy. Codes are integers with
an unbounded exponent, so that columns of 1e±300 need no special care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import GRID, exp2, pieces, round_log2, total
from nqz.ground.units import NORM_STEPS, NORM_ZERO

STEPS = NORM_STEPS
"""Steps an octave of energy."""

DOUBLING = 2 * STEPS
"""Steps in which the norm itself doubles: the power of two of a norm is code // DOUBLING."""

ZERO = NORM_ZERO
"""Code of a column whose energy is zero."""

COARSEST = 8192
"""The largest step, in 1/256 octave, of which norm codes of a matrix may be multiples beyond the least one."""

LIMIT = 1 << 21
"""Norm codes are at most this either way."""

_TABLE = 1 << 10  # codes for which there is always a table


def encode(energy: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """Norm codes of energies.

    Parameters
    ----------
    energy : ndarray of float64, shape (a,)
        Energy of every column in units of 4 ** exponent.
    exponent : ndarray of int, shape (a,)

    Returns
    -------
    ndarray of int32, shape (a,)
    """
    codes = np.full(len(energy), ZERO, np.int32)
    for chosen in pieces(len(energy)):
        e, power = energy[chosen], exponent[chosen].astype(np.int64)
        rounded = round_log2(np.where(e > 0, e, 1.0), STEPS) + DOUBLING * power
        np.copyto(codes[chosen], rounded, where=e > 0, casting="same_kind")
    return codes


def energy(codes: np.ndarray, relative_to: int = 0) -> np.ndarray:
    """Energies in units of 2 ** (relative_to / 256): float64, zero for `ZERO`."""
    codes = np.asarray(codes, np.int64)
    shifted = np.where(codes == ZERO, 0, codes - relative_to)
    return np.where(codes == ZERO, 0.0, exp2(shifted * (GRID // STEPS)))


def loudest(codes: np.ndarray) -> int:
    """The code of the loudest column, relative to which energies do not overflow."""
    return max(0 if len(codes) == 0 else int(codes.max()), -LIMIT)


_ABOVE = {
    2: 1, 4: 2, 8: 4, 16: 8, 32: 16, 64: 32, 128: 62, 256: 121, 512: 227, 1024: 400, 2048: 634, 4096: 889,
    8192: 1145,
}  # fmt: skip
"""By step, what is rounded down to a code: less than so much above it. Of energies 1 and r = 2 ** (step / 256) that
which both describe alike is ln r / (1 - 1 / r); then what a code stands for is the mean of what is rounded to it."""


def above(step: float) -> float:
    """By how many octaves the energy of a column may be above what its code stands for; `step` in octaves, too."""
    return _ABOVE.get(round(step * STEPS), step * STEPS / 2.0) / STEPS


def to_step(codes: npt.NDArray[np.int64], step: int, phase: Any) -> npt.NDArray[np.int64]:
    """Round codes, none of them `ZERO`, to phase + k · step, a power of two; arrays that fit together."""
    rounded: npt.NDArray[np.int64] = ((codes - phase + (step - _ABOVE[step])) & -step) + phase
    return rounded


@dataclass(frozen=True)
class Rounding:
    """Norm codes rounded to phase + k · step, so that they take fewer bits.

    Attributes
    ----------
    step : int
        A power of two up to `COARSEST`, 1 for codes as they are.
    phase : int
    """

    step: int = 1
    phase: int = 0

    def of(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Round codes, of the same type; `ZERO` stays."""
        if self.step == 1:
            return codes
        wide = np.where(codes == ZERO, 0, codes).astype(np.int64)
        return np.where(codes == ZERO, ZERO, to_step(wide, self.step, self.phase)).astype(codes.dtype)

    def counted(self, histogram: Histogram) -> Histogram:
        """Round the codes of a histogram."""
        if self.step == 1:
            return histogram
        codes = self.of(histogram.codes)
        start = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]])[: len(codes)])
        return Histogram.counted(codes[start], np.add.reduceat(histogram.counts, start))


EXACTLY = Rounding()
"""Norm codes as they are."""

_GATHERED = 1 << 14  # norm codes of histograms that wait to be joined


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many columns there are of each norm code: nearly everything about a column follows from its code.

    Attributes
    ----------
    codes, counts : ndarray of int64
        The different codes in increasing order, `ZERO` included where it occurs, and how many columns have each.
    rows : ndarray of int32 or None
        Position in `codes` of every code from the least one of a column with energy on, after that of `ZERO`. None
        where there are more codes in between than columns.
    """

    codes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32] | None

    @classmethod
    def of(cls, codes: npt.NDArray[Any]) -> Histogram:
        """Count the columns of every code, int32 or int64."""
        least = _least(codes)
        span = int(codes.max(initial=ZERO)) - least + 2
        if 0 < span <= min(max(len(codes), _TABLE), 1 << 16):
            floor = codes.dtype.type(least - 1)
            between = np.zeros(span, np.int64)
            for chosen in pieces(len(codes)):
                between += np.bincount(np.maximum(codes[chosen], floor) - floor, minlength=span)
            found = np.flatnonzero(between)
            return cls._made(np.where(found == 0, ZERO, found + (least - 1)), between[found])
        ordered = np.sort(codes)  # not np.unique, which imports numpy.ma
        start = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
        return cls._made(ordered[start].astype(np.int64), np.diff(start, append=len(ordered)))

    @classmethod
    def _made(cls, codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Histogram:
        loud = codes[codes != ZERO]
        span = int(loud[-1] - loud[0]) + 2 if len(loud) else 1
        if span > max(int(counts.sum()), _TABLE):
            return cls(codes, counts, None)
        rows = np.zeros(span, np.int32)
        rows[loud - loud[:1] + 1] = np.arange(len(codes) - len(loud), len(codes))
        return cls(codes, counts, rows)

    @classmethod
    def counted(cls, codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Histogram:
        """So many columns, at least one, of each of some different codes in increasing order."""
        return cls._made(codes, counts)

    @classmethod
    def joined(cls, parts: Sequence[Histogram]) -> Histogram:
        """The columns of several together."""
        codes = np.concatenate([part.codes for part in parts])
        order = np.argsort(codes, kind="stable")
        codes, counts = codes[order], np.concatenate([part.counts for part in parts])[order]
        start = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
        return cls._made(codes[start], np.add.reduceat(counts, start) if len(start) else counts)

    @classmethod
    def gathered(cls, parts: Iterable[Histogram]) -> Histogram:
        """The same of a great many, at least one, of which only a few are in memory at a time."""
        left = iter(parts)
        held, waiting = [next(left)], 0
        for part in left:
            held.append(part)
            waiting += len(part.codes)
            if waiting > max(_GATHERED, len(held[0].codes)):
                held, waiting = [cls.joined(held)], 0
        return cls.joined(held) if len(held) > 1 else held[0]

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.counts.sum())

    def energies(self, relative_to: int = 0) -> npt.NDArray[np.float64]:
        """Energy of all columns of each of the codes, in units of 2 ** (relative_to / 256)."""
        return energy(self.codes, relative_to) * self.counts

    def energy(self) -> tuple[float, int]:
        """Energy of all columns as mantissa in [0.5, 1) and exponent of two; (0.0, 0) for nothing."""
        octave = loudest(self.codes) // STEPS
        mantissa, exponent = np.frexp(total(self.energies(octave * STEPS)))
        return float(mantissa), int(exponent) + octave if mantissa else 0

    def index(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Position in `codes` of each of some codes, which all must be there."""
        if self.rows is None:
            return np.searchsorted(self.codes, codes)
        floor = codes.dtype.type(next((code - 1 for code in self.codes[:2].tolist() if code != ZERO), ZERO))
        rows: npt.NDArray[Any] = self.rows[np.maximum(codes, floor) - floor]
        return rows

    def look_up(self, values: npt.NDArray[Any], codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """For some codes, what `values` has for each of the different ones."""
        found: npt.NDArray[Any] = values[self.index(codes)]
        return found

    def apply(
        self, function: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]], codes: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """What a function that works entry by entry makes of some codes; of the different ones if these are fewer."""
        if len(codes) <= len(self.codes):
            return function(codes.astype(np.int64))
        return self.look_up(function(self.codes), codes)


def _least(codes: np.ndarray) -> int:
    """The least code of a column that has energy, 0 if there is none."""
    found = [part.min() for c in pieces(len(codes)) if len(part := codes[c][codes[c] != ZERO])]
    return int(min(found, default=0))


def to_offsets(codes: np.ndarray, step: int = 1) -> tuple[int, np.ndarray]:
    """Serialize norm codes as the least of them and (code - least) / step + 1 for every column, 0 for `ZERO`; int32.

    The codes must differ by multiples of `step`.
    """
    least = _least(codes)
    floor = np.int32(least - step)
    return least, (np.maximum(np.asarray(codes, np.int32), floor) - floor) // np.int32(step)


def from_offsets(least: int, offsets: np.ndarray, step: int = 1) -> np.ndarray:
    """Inverse of `to_offsets`, int32; ValueError for codes out of range."""
    most = (LIMIT - least) // step + 1
    if abs(least) > LIMIT or offsets.min(initial=0) < 0 or offsets.max(initial=0) > most:
        raise ValueError("norm code out of range")
    codes = np.empty(len(offsets), np.int32)
    for chosen in pieces(len(offsets)):
        codes[chosen] = np.where(offsets[chosen] == 0, ZERO, offsets[chosen] * step + (least - step))
    return codes
