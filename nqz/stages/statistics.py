"""What the first pass over a matrix finds, of any range of it: `Statistics`, which neighbours add up to.

Sums run over d = x - first, first the column's first entry, so that a large mean does no harm; constant columns have
energy exactly 0. Columns of extreme magnitude are summed in units of a power of two.

Sums of floating-point numbers depend on their order, so the order is fixed: a `Grid` cuts the matrix into units that
are summed by themselves and added from the first to the last, and its columns into blocks whose energies are added
likewise. What cannot be added yet, because what stands before it is not known, is kept as it is until it meets its
neighbour: of a matrix whose columns are contiguous, the sums of one column and of less than two blocks; of the
others, if not from the first entry on, the sums of every unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import pieces, total_of
from nqz.ground.errors import NqzError
from nqz.stages import norms
from nqz.stages.center import Means, quantize
from nqz.stages.digest import ContentDigest
from nqz.stages.grid import Grid
from nqz.stages.panels import panel_columns

Energy = tuple[float, int]
"""An energy as mantissa in [0.5, 1) and exponent of two; (0.0, 0) for nothing."""

State = npt.NDArray[np.float64]
"""Of shape (4, w), for w columns: first entry, Σ and Σ of squares of the differences from it, largest magnitude."""

Again = Callable[[int, int, npt.NDArray[np.int32]], State]
"""again(first, last, exponent): states of complete columns, in units of 2 ** exponent, from the data."""

_LARGE, _SMALL = 1e120, 1e-120
_NOTHING = -(1 << 40)


@dataclass(frozen=True, eq=False)
class Sums:
    """Columns of which some entries may be missing, or that belong to a block of which some columns are.

    Attributes
    ----------
    first : int
        The first of those whose first entries are there.
    state : ndarray, shape (4, w)
        What is known of them.
    late : tuple of ndarray of shape (4, k)
        Sums of later entries of the k columns before `first`, to be added in order.
    """

    first: int
    state: State
    late: tuple[State, ...] = ()


@dataclass(frozen=True, eq=False)
class Known:
    """Columns in whole blocks, all of whose entries have been seen.

    Attributes
    ----------
    first : int
    codes : ndarray of int32, shape (w,)
        Norm codes.
    mean : ndarray of float64, shape (w,), or None
        None once they are rounded, and for a matrix that is not centered.
    totals : tuple of Energy
        Of the blocks.
    energy, exponent : ndarray of float64 and int32
        Energies of those columns that are in the first panel, in units of 4 ** exponent.
    """

    first: int
    codes: npt.NDArray[np.int32]
    mean: npt.NDArray[np.float64] | None
    totals: tuple[Energy, ...]
    energy: npt.NDArray[np.float64]
    exponent: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of units first … last - 1 of a matrix.

    Attributes
    ----------
    grid : Grid
    center : bool
        Whether energies are about the mean (True) or about zero.
    first, last : int
    digests : bytes
        SHA-256s of the pieces of data: 32 bytes for 256 KiB.
    parts : tuple of Sums and Known
        Columns in order.
    rounded_means : Means or None
        The means of all columns, once they are rounded.
    """

    grid: Grid
    center: bool
    first: int
    last: int
    digests: bytes
    parts: tuple[Sums | Known, ...]
    rounded_means: Means | None = None

    def __add__(self, other: Statistics) -> Statistics:
        """The statistics of both ranges; `other` must continue this one."""
        return merged([self, other])

    @property
    def seen(self) -> bool:
        """Whether all units have been seen."""
        return (self.first, self.last) == (0, self.grid.units)

    @property
    def complete(self) -> bool:
        """Whether all columns are known. If all units have been seen and they are not, some need to be summed again."""
        return self.seen and len(self.parts) == 1 and isinstance(self.parts[0], Known)

    @property
    def known(self) -> Known:
        """All columns."""
        if not self.complete:
            raise NqzError("internal error: statistics of part of a matrix")
        found = self.parts[0]
        assert isinstance(found, Known)
        return found

    @property
    def n(self) -> int:
        """Length of a column."""
        return self.grid.n

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.grid.columns

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """Norm codes of all columns."""
        return self.known.codes

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Means of all columns as they were found, zero if the matrix is not centered."""
        found = self.known.mean
        if found is None and self.center:
            raise NqzError("internal error: the means have been rounded")
        return np.zeros(self.columns) if found is None else found

    @property
    def energy(self) -> npt.NDArray[np.float64]:
        """Energies of the columns of the first panel, in units of 4 ** `exponent`."""
        return self.known.energy

    @property
    def exponent(self) -> npt.NDArray[np.int32]:
        """See `energy`."""
        return self.known.exponent

    @cached_property
    def digest(self) -> bytes:
        """The content digest."""
        whole = ContentDigest()
        whole.add(self.digests)
        return whole.value()

    @property
    def total(self) -> Energy:
        """Energy of the matrix."""
        value = (0.0, 0)
        for block in self.known.totals:
            value = add_energies(value, block)
        return value

    @cached_property
    def histogram(self) -> norms.Histogram:
        """The norm codes, counted."""
        return norms.Histogram.of(self.codes)

    def rounded(self, digits: int | None) -> Statistics:
        """The same with means as they are kept, with so many digits; None for a matrix that is not centered."""
        kept, known = self.rounded_means, self.known
        if kept is not None and kept.digits == digits:
            return self
        kept = Means.none(known.codes, self.n) if digits is None else _rounded(self, digits)
        return replace(self, parts=(replace(known, mean=None),), rounded_means=kept)

    @property
    def means(self) -> Means:
        """The means of all columns as the decoder will see them."""
        if self.rounded_means is None:
            raise NqzError("internal error: the means have not been rounded")
        return self.rounded_means


def merged(parts: Iterable[Statistics], again: Again | None = None) -> Statistics:
    """Statistics of ranges that follow one another.

    Parameters
    ----------
    parts : iterable of Statistics
        At least one.
    again : callable, optional
        Sums columns once more. Without it, blocks with columns of extreme magnitude are left as they are.
    """
    merger: _Merger | None = None
    for part in parts:
        if merger is None:
            merger = _Merger(part, again)
        merger.add(part)
    assert merger is not None
    return merger.value()


class _Run:
    """Sums of columns that follow one another, as they grow."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.width = 0
        self._late: list[State] = []
        self._states: list[State] = []
        self._own: State | None = None  # the last state, once it may be written to

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not self.width and not self._late

    def add(self, part: Sums) -> None:
        """Add what continues these."""
        for late in part.late:
            self._fold(late)
        if part.state.shape[1]:
            self._states.append(part.state)
            self.width += part.state.shape[1]

    def _fold(self, late: State) -> None:
        if not self._states:
            self._late.append(late)
            return
        last, count = self._states[-1], late.shape[1]
        if last is not self._own:
            rest, self._own = last[:, :-count], last[:, -count:].copy()
            self._states[-1:] = [rest, self._own] if rest.shape[1] else [self._own]
        add_later(self._states[-1], late)

    def take(self, count: int) -> Sums:
        """Take the first columns out."""
        whole = (
            self._states[0]
            if len(self._states) == 1
            else np.concatenate([np.empty((4, 0)), *self._states], axis=1)
        )
        found = Sums(self.first, whole[:, :count], tuple(self._late))
        self.first, self.width, self._late = self.first + count, self.width - count, []
        # a copy, so that the others go when they have been taken
        self._own, self._states = None, [whole[:, count:].copy()] if self.width else []
        return found


class _Merger:
    """Adds statistics of ranges, in order."""

    def __init__(self, first: Statistics, again: Again | None) -> None:
        self._grid, self._center, self._again = first.grid, first.center, again
        self._first = self._last = first.first
        self._digests = bytearray()
        self._parts: list[Sums | Known] = []
        self._run: _Run | None = None  # what comes after these parts
        self._base = 0  # where a block begins, none of the run

    def add(self, part: Statistics) -> None:
        """Add what continues the rest."""
        expected, given = (self._grid, self._center, self._last), (part.grid, part.center, part.first)
        if given != expected or part.rounded_means is not None:
            raise NqzError("internal error: statistics that are not neighbors")
        self._last = part.last
        self._digests += part.digests
        ends = [piece.first for piece in part.parts[1:]] + [self._grid.complete(part.last)]
        for piece, end in zip(part.parts, ends, strict=True):
            if isinstance(piece, Known):
                self._end_run()
                self._parts.append(piece)
                continue
            if self._run is None:
                self._run = _Run(piece.first)
            self._run.add(piece)
            self._close(self._run, end)

    def _close(self, run: _Run, complete: int) -> None:
        """Take those blocks out of the run that are complete: of columns before `complete`."""
        base = self._base = self._grid.block_from(run.first, self._base)
        if base > complete:
            return
        if base > run.first:
            self._parts.append(run.take(base - run.first))
        while base < complete and (end := self._grid.block_end(base)) <= complete:
            self._parts.append(self._known(run.take(end - base)))
            base = end

    def _known(self, sums: Sums) -> Known | Sums:
        first, count = sums.first, sums.state.shape[1]
        exponent, state = rescaled(sums.state), sums.state
        if exponent is not None:
            if self._again is None:
                return sums
            state = self._again(first, first + count, exponent)
        return known(self._grid, self._center, first, state, exponent)

    def _end_run(self) -> None:
        run, self._run = self._run, None
        if run is not None and not run.empty:
            self._parts.append(run.take(run.width))

    def value(self) -> Statistics:
        """The sum so far."""
        self._end_run()
        parts: list[Sums | Known] = []
        known: list[Known] = []
        for part in self._parts:
            if isinstance(part, Known):
                known.append(part)
                continue
            parts += _joined(known)
            parts.append(part)
            known = []
        parts += _joined(known)
        return Statistics(
            self._grid, self._center, self._first, self._last, bytes(self._digests), tuple(parts)
        )


def _joined(parts: list[Known]) -> list[Known]:
    """Columns that follow one another, in one."""
    if len(parts) < 2:
        return parts
    means = [part.mean for part in parts if part.mean is not None]
    whole = Known(
        parts[0].first,
        np.concatenate([part.codes for part in parts]),
        np.concatenate(means) if means else None,
        tuple(total for part in parts for total in part.totals),
        np.concatenate([part.energy for part in parts]),
        np.concatenate([part.exponent for part in parts]),
    )
    return [whole]


def _rounded(statistics: Statistics, digits: int) -> Means:
    mean, codes, n = statistics.mean, statistics.codes, statistics.n
    shift, q = np.empty(len(mean), np.uint8), np.empty(len(mean), np.int32)
    wide: npt.NDArray[np.int64] | None = None
    for chosen in pieces(len(mean)):
        shift[chosen], exact = quantize(mean[chosen], codes[chosen], n, digits)
        if wide is None and not -(1 << 31) <= exact.min() <= exact.max() < 1 << 31:
            wide = q.astype(np.int64)
        (q if wide is None else wide)[chosen] = exact
    return Means(codes, n, digits, shift, q if wide is None else wide)


def known(
    grid: Grid, centered: bool, first: int, state: State, exponent: npt.NDArray[np.int32] | None
) -> Known:
    """What is known of the columns of a block from their sums, in units of 2 ** exponent."""
    exponent = np.zeros(state.shape[1], np.int32) if exponent is None else exponent
    mean, energy = _results(state, exponent, grid.n) if centered else (None, state[2].copy())
    near = max(0, panel_columns(grid.n) - first)
    return Known(
        first,
        norms.encode(energy, exponent),
        mean,
        (total_energy(energy, exponent),),
        energy[:near].copy(),
        exponent[:near].copy(),
    )


def add_later(state: State, later: State) -> None:
    """Add sums of later entries of the same columns to a state."""
    state[1:3] += later[1:3]
    np.maximum(state[3], later[3], out=state[3])


def rescaled(state: State) -> npt.NDArray[np.int32] | None:
    """Exponents with which the sums must be taken anew, None where the sums are safe."""
    largest = state[3]
    if not any(
        ((x > _LARGE) | ((x > 0) & (x < _SMALL))).any()
        for x in map(largest.__getitem__, pieces(len(largest)))
    ):
        return None
    _, exponent = np.frexp(largest)
    return np.where(largest > 0, exponent, 0).astype(np.int32)


def _results(
    state: State, exponent: npt.NDArray[np.int32], n: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means, and energies about them in units of 4 ** exponent."""
    count = state.shape[1]
    mean, energy = np.empty(count), np.empty(count)
    for chosen in pieces(count):
        first, linear, square, _ = state[:, chosen]
        np.maximum(square - linear * (linear / n), square / (n + 1.0), out=energy[chosen])
        np.ldexp(first + linear / n, exponent[chosen], out=mean[chosen])
    return mean, energy


def total_energy(energy: npt.NDArray[np.float64], exponent: npt.NDArray[np.int32]) -> Energy:
    """Sum of the columns' energies, in units of 4 ** exponent."""
    parts = pieces(len(energy))
    top = max((int(_split(energy[c], exponent[c])[1].max()) for c in parts), default=_NOTHING)
    if top == _NOTHING:
        return 0.0, 0

    def shifted(chosen: slice) -> npt.NDArray[np.float64]:
        mantissa, power = _split(energy[chosen], exponent[chosen])
        return np.ldexp(mantissa, np.clip(power - top, -1100, 0).astype(np.int32))

    value, extra = np.frexp(total_of(map(shifted, parts)))
    return float(value), top + int(extra)


def add_energies(a: Energy, b: Energy) -> Energy:
    """Sum of two energies."""
    if a[0] == 0.0 or b[0] == 0.0:
        return b if a[0] == 0.0 else a
    top = max(a[1], b[1])
    value, extra = np.frexp(sum(float(np.ldexp(x, max(power - top, -1100))) for x, power in (a, b)))
    return float(value), top + int(extra)


def _split(
    energy: npt.NDArray[np.float64], exponent: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Mantissas, 0 where there is no energy, and exponents of two, very low there."""
    mantissa, power = np.frexp(energy)
    positive = energy > 0
    return (
        np.where(positive, mantissa, 0.0),
        np.where(positive, power.astype(np.int64) + 2 * exponent, _NOTHING),
    )
