"""Sums of neighboring ranges of a matrix, merged: to the same bits, whatever the ranges.

Sums of floating-point numbers depend on their order, so the order is fixed: a `Grid` cuts the matrix into units that
are summed by themselves and added from the first to the last, and its columns into blocks whose energies are added
likewise. What cannot be added yet, because what stands before it is not known, is kept as it is until it meets its
neighbor: of a matrix whose columns are contiguous, the sums of one column and of less than two blocks; of the
others, if not from the first entry on, the sums of every unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nqz.stages.grid import Grid
from nqz.stages.sums import KnownColumns, State, Sums, add_later, finish, rescaled

Again = Callable[[int, int, npt.NDArray[np.int32]], State]
"""again(first, last, exponent): states of complete columns, in units of 2 ** exponent, from the data."""


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


class Merger:
    """Adds columns of ranges of a matrix, in order.

    Parameters
    ----------
    grid : Grid
    center : bool
        Whether energies are about the mean (True) or about zero.
    again : callable, optional
        Sums columns once more. Without it, blocks with columns of extreme magnitude are left as they are.
    """

    def __init__(self, grid: Grid, center: bool, again: Again | None) -> None:
        self._grid, self._center, self._again = grid, center, again
        self._parts: list[Sums | KnownColumns] = []
        self._run: _Run | None = None  # what comes after these parts
        self._base = 0  # where a block begins, none of the run

    def add(self, parts: Sequence[Sums | KnownColumns], last: int) -> None:
        """Add the columns of the range that follows, up to unit `last`."""
        ends = [part.first for part in parts[1:]] + [self._grid.complete(last)]
        for part, end in zip(parts, ends, strict=True):
            if isinstance(part, KnownColumns):
                self._end_run()
                self._parts.append(part)
                continue
            if self._run is None:
                self._run = _Run(part.first)
            self._run.add(part)
            self._close(self._run, end)

    def _close(self, run: _Run, complete: int) -> None:
        """Take those blocks out of the run that are complete: of columns before `complete`."""
        base = self._base = self._grid.block_from(run.first, self._base)
        if base > complete:
            return
        if base > run.first:
            self._parts.append(run.take(base - run.first))
        while base < complete and (end := self._grid.block_end(base)) <= complete:
            self._parts.append(self._finished(run.take(end - base)))
            base = end

    def _finished(self, sums: Sums) -> KnownColumns | Sums:
        first, count = sums.first, sums.state.shape[1]
        exponent, state = rescaled(sums.state), sums.state
        if exponent is not None:
            if self._again is None:
                return sums
            state = self._again(first, first + count, exponent)
        return finish(self._grid, self._center, first, state, exponent)

    def _end_run(self) -> None:
        run, self._run = self._run, None
        if run is not None and not run.empty:
            self._parts.append(run.take(run.width))

    def value(self) -> tuple[Sums | KnownColumns, ...]:
        """All columns so far."""
        self._end_run()
        parts: list[Sums | KnownColumns] = []
        known: list[KnownColumns] = []
        for part in self._parts:
            if isinstance(part, KnownColumns):
                known.append(part)
                continue
            parts += _joined(known)
            parts.append(part)
            known = []
        return (*parts, *_joined(known))


def _joined(parts: list[KnownColumns]) -> list[KnownColumns]:
    """Columns that follow one another, in one."""
    if len(parts) < 2:
        return parts
    means = [part.mean for part in parts if part.mean is not None]
    whole = KnownColumns(
        parts[0].first,
        np.concatenate([part.codes for part in parts]),
        np.concatenate(means) if means else None,
        tuple(total for part in parts for total in part.totals),
        np.concatenate([part.energy for part in parts]),
        np.concatenate([part.exponent for part in parts]),
    )
    return [whole]
