"""First pass over a matrix: content digest, means and energies of the columns, search for non-finite entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.files.layout import VECTOR_MAJOR
from nqz.files.vectors import VectorView
from nqz.ground.errors import InputError, UnsupportedError
from nqz.ground.threads import Workers
from nqz.stages import digest
from nqz.stages.statistics import (
    PIECE_BYTES,
    Grid,
    Known,
    State,
    Statistics,
    Sums,
    add_later,
    known,
    merged,
    rescaled,
)

_SLAB = 2 * digest.PIECE  # bytes that are hashed and summed at once: they stay in the second-level cache
_ROWS = 8  # rows of a stripe that are read at once

Progress = Callable[[float], object]


def grid(view: VectorView) -> Grid:
    """How a matrix is cut into units to be measured."""
    return Grid(view.length, view.count, PIECE_BYTES // view.dtype.itemsize, view.memory == VECTOR_MAJOR)


def measure(
    view: VectorView,
    center: bool,
    where: str,
    units: tuple[int, int] | None = None,
    *,
    pool: Workers | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """Read a range of a matrix, and measure it.

    It is read once; twice where columns are very many and not contiguous, or of extreme magnitude.

    Parameters
    ----------
    view : VectorView
        The vectors of a tensor.
    center : bool
        Whether energies are about the means.
    where : str
        File and tensor, for messages.
    units : tuple of int, optional
        First unit of the `grid`, and the one behind the last; all by default. Statistics of neighbors add; if all
        have been measured in ranges, `settled` makes their sum complete.
    pool : Workers, optional
        Threads to work with; neither they nor ranges change the result.
    progress : callable, optional
        Called with the number of bytes read.

    Raises
    ------
    UnsupportedError
        An entry is not finite.
    """
    run = _Pass(view, center, where, pool or Workers(1), progress or (lambda size: None))
    first, last = units or (0, run.grid.units)
    found = run.stripes(first, last) if run.grid.striped else run.pieces(first, last)
    return merged(found, run.again)


def settled(view: VectorView, statistics: Statistics, where: str, pool: Workers | None = None) -> Statistics:
    """A sum of statistics of all ranges with columns of extreme magnitude, if there are some, summed again."""
    if statistics.complete:
        return statistics
    run = _Pass(view, statistics.center, where, pool or Workers(1), lambda size: None)
    return merged([statistics], run.again)


class _Pass:
    """A pass over a matrix: what all steps of it need to know."""

    def __init__(self, view: VectorView, center: bool, where: str, pool: Workers, progress: Progress) -> None:
        self.view, self.center, self.where, self.pool, self.progress = view, center, where, pool, progress
        self.grid = grid(view)
        self.itemsize = view.dtype.itemsize

    def pieces(self, first: int, last: int) -> Iterator[Statistics]:
        """Statistics of pieces, one by one."""
        row = None if self.grid.contiguous else self._first_entries(0, self.grid.columns)
        units = range(first, last)
        for unit, found in zip(units, self.pool.map(partial(self._piece, row=row), units), strict=True):
            yield found
            start, stop = self.grid.span(unit)
            self.progress((stop - start) * self.itemsize)

    def _piece(self, unit: int, row: npt.NDArray[np.float64] | None) -> Statistics:
        start, stop = self.grid.span(unit)
        if row is None:
            digests, sums = self._columns(start, stop)
        else:
            state = np.zeros((4, self.grid.columns))
            state[0] = row
            digests = self._sum(start, stop, state, 0, None)
            sums = Sums(0, state) if unit == 0 else Sums(self.grid.columns, np.empty((4, 0)), (state,))
        return Statistics(self.grid, self.center, unit, unit + 1, digests, (sums,))

    def _columns(
        self, start: int, stop: int, exponent: npt.NDArray[np.int32] | None = None, hashed: bool = True
    ) -> tuple[bytes, Sums]:
        """Digests of some entries, and the sums of their columns, which are contiguous."""
        column, late = divmod(start, self.grid.n)
        state = np.zeros((4, -(-stop // self.grid.n) - column))
        if late:  # a column that began earlier
            state[:1, :1] = self._first_entries(
                column, column + 1, None if exponent is None else exponent[:1]
            )
        digests = self._sum(start, stop, state, column, exponent, hashed)
        if not late:
            return digests, Sums(column, state)
        return digests, Sums(column + 1, state[:, 1:], (state[:, :1],))

    def _first_entries(
        self, first: int, last: int, exponent: npt.NDArray[np.int32] | None = None
    ) -> npt.NDArray[np.float64]:
        """First entries of columns, from which their sums are taken."""
        state: State = np.zeros((4, last - first))
        if self.center:
            n = self.grid.n
            span = (first * n, first * n + 1) if self.grid.contiguous else (first, last)
            _, [(_, _, block)] = self.view.span(*span)
            kernels.column_statistics(block, self.view.bfloat16, state, _scales(exponent, last - first), False)
        entry: npt.NDArray[np.float64] = state[0]
        return entry

    def _sum(
        self,
        start: int,
        stop: int,
        state: State,
        column: int,
        exponent: npt.NDArray[np.int32] | None,
        hashed: bool = True,
    ) -> bytes:
        """Add entries to the sums of the columns from number `column` on; return the digests of the pieces."""
        digests, buffer, step = [], self._buffer(_SLAB), _SLAB // self.itemsize
        for first in range(start, stop, step):
            raw, blocks = self.view.span(first, min(first + step, stop), buffer)
            if hashed:
                digests.append(digest.of_pieces(raw))
            for coordinate, vector, block in blocks:
                started = not (self.grid.contiguous and coordinate == 0)
                position = self._update(state, block, vector - column, exponent, started)
                if position >= 0:
                    self._refuse(block, position, coordinate, vector)
        return b"".join(digests)

    def _update(
        self,
        state: State,
        block: npt.NDArray[Any],
        first: int,
        exponent: npt.NDArray[np.int32] | None,
        started: bool,
    ) -> int:
        """Add a block of shape (coordinates, columns); return the row-major position of a non-finite entry, or -1.

        The first entries of its columns are known if `started`; otherwise they are those of the block.
        """
        width = block.shape[1]
        whole = width == state.shape[1]
        part = state if whole else np.ascontiguousarray(state[:, first : first + width])
        scales = _scales(None if exponent is None else exponent[first : first + width], width)
        position = kernels.column_statistics(block, self.view.bfloat16, part, scales, started or not self.center)
        if not whole:
            state[:, first : first + width] = part
        return int(position)

    def again(self, first: int, last: int, exponent: npt.NDArray[np.int32]) -> State:
        """Sums of the columns of a block in units of 2 ** exponent."""
        state = np.zeros((4, last - first))
        if not self.grid.contiguous:
            state[0] = self._first_entries(first, last, exponent)
            for part in self.pool.map(partial(self._rows_again, state[0], exponent), range(self.grid.units)):
                add_later(state, part)
            return state
        n, size = self.grid.n, self.grid.piece
        for start in range(first * n, last * n, size):
            stop = min(start + size, last * n)
            column, end = start // n - first, -(-stop // n) - first
            _, sums = self._columns(start, stop, exponent[column:end], hashed=False)
            for late in sums.late:
                add_later(state[:, column : column + 1], late)
            state[:, end - sums.state.shape[1] : end] = sums.state
        return state

    def _rows_again(self, row: npt.NDArray[np.float64], exponent: npt.NDArray[np.int32], unit: int) -> State:
        state = np.zeros((4, self.grid.columns))
        state[0] = row
        self._sum(*self.grid.span(unit), state, 0, exponent, hashed=False)
        return state

    def stripes(self, first: int, last: int) -> Iterator[Statistics]:
        """Statistics of stripes of very many columns, one by one; their share of the file is hashed before."""
        pieces = self.grid.hashed(first, last)
        digests = []
        for unit, found in zip(pieces, self.pool.map(self._hashed, pieces), strict=True):
            digests.append(found)
            start, stop = self.grid.span(unit)
            self.progress((stop - start) * self.itemsize / 2)
        units = range(first, last)
        for unit, part in zip(units, self.pool.map(self._stripe, units), strict=True):
            if part is None:
                self._refuse_first()
            yield Statistics(self.grid, self.center, unit, unit + 1, b"".join(digests), (part,))
            digests.clear()
            width = self.grid.stripe(unit)[1] - self.grid.stripe(unit)[0]
            self.progress(width * self.grid.n * self.itemsize / 2)

    def _hashed(self, unit: int) -> bytes:
        buffer, step = self._buffer(_SLAB), _SLAB // self.itemsize
        start, stop = self.grid.span(unit)
        spans = (self.view.span(first, min(first + step, stop), buffer) for first in range(start, stop, step))
        return b"".join(digest.of_pieces(raw) for raw, _ in spans)

    def _stripe(self, unit: int) -> Known | None:
        """What is known of a stripe of columns, None if an entry is not finite."""
        first, last = self.grid.stripe(unit)
        state = self._stripe_sums(first, last, None)
        if state is None:
            return None
        exponent = rescaled(state)
        if exponent is not None and (state := self._stripe_sums(first, last, exponent)) is None:
            return None
        return known(self.grid, self.center, first, state, exponent)

    def _stripe_sums(self, first: int, last: int, exponent: npt.NDArray[np.int32] | None) -> State | None:
        """Sums of a stripe, None if an entry is not finite."""
        state = np.zeros((4, last - first))
        for row, block in self._blocks_of_rows(first, last):
            if self._update(state, block, 0, exponent, row > 0) >= 0:
                return None
        return state

    def _blocks_of_rows(self, first: int, last: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        view, step = self.view, _ROWS if self.view.by_rows else 1
        whole = view.in_place(first, last)
        buffer = self._buffer(step * (last - first) * self.itemsize)
        for row in range(0, view.length, step):
            end = min(row + step, view.length)
            if whole is not None:
                yield row, whole[row:end]
            elif view.by_rows:
                yield row, view.read(first, last, buffer.view(view.dtype), (row, end))
            else:
                _, [(_, _, block)] = view.span(row * view.count + first, row * view.count + last, buffer)
                yield row, block

    def _buffer(self, nbytes: int) -> npt.NDArray[Any]:
        return self.pool.local.array("slab", (nbytes,), np.uint8)

    def _refuse_first(self) -> NoReturn:
        """Refuse the first entry in the file that is not finite."""
        for unit in range(self.grid.pieces):
            for coordinate, vector, block in self.view.span(*self.grid.span(unit))[1]:
                bits = block.astype(np.uint32) << 16 if self.view.bfloat16 else block
                bad = np.flatnonzero(~np.isfinite(bits.view(np.float32) if self.view.bfloat16 else bits))
                if len(bad):
                    self._refuse(block, int(bad[0]), coordinate, vector)
        raise InputError(f"{self.where}: seems to have changed while being read")

    def _refuse(self, block: npt.NDArray[Any], position: int, coordinate: int, vector: int) -> NoReturn:
        i, j = divmod(position, block.shape[1])
        index = self.view.index(coordinate + i, vector + j)
        value = _kind(block[i, j], self.view.bfloat16)
        raise UnsupportedError(
            f"{self.where}: entry {list(index)} is {value}; nqz compresses finite values only, replace it first"
        )


def _scales(exponent: npt.NDArray[np.int32] | None, width: int) -> npt.NDArray[np.int32]:
    return np.zeros(width, np.int32) if exponent is None else exponent


def _kind(value: Any, bfloat16: bool) -> str:
    if bfloat16:
        value = (np.uint32(value) << np.uint32(16)).view(np.float32)
    return "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"
