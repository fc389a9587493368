"""First pass over a matrix: content digest, means and energies of the columns, search for non-finite entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.files.layout import VECTOR_MAJOR
from nqz.files.vectors import VectorView
from nqz.ground.errors import InputError, NqzError, UnsupportedError
from nqz.ground.threads import Workers
from nqz.stages import digest
from nqz.stages.grid import PIECE_BYTES, Grid
from nqz.stages.statistics import Statistics, merged
from nqz.stages.sums import KnownColumns, State, Sums, add_later, finish, rescaled

_SLAB = 2 * digest.PIECE  # bytes that are hashed and summed at once: they stay in the second-level cache
_ROWS = 8  # rows of a stripe that are read at once

Progress = Callable[[float], object]
Exponents = npt.NDArray[np.int32]
Entries = npt.NDArray[np.float64]


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
    run = _pass(view, center, where, pool, progress)
    return merged(run.statistics(*(units or (0, run.grid.units))), run.again)


def settled(view: VectorView, statistics: Statistics, where: str, pool: Workers | None = None) -> Statistics:
    """A sum of statistics of all ranges with columns of extreme magnitude, if there are some, summed again."""
    if statistics.complete:
        return statistics
    return merged([statistics], _pass(view, statistics.center, where, pool).again)


def _pass(
    view: VectorView, center: bool, where: str, pool: Workers | None, progress: Progress | None = None
) -> _Pass:
    cut = grid(view)
    kind = _Columns if cut.contiguous else _Stripes if cut.striped else _Rows
    return kind(view, center, where, pool or Workers(1), progress or (lambda size: None), cut)


@dataclass(frozen=True, eq=False)
class _Pass(ABC):
    """A pass over a matrix, and what all kinds of it do with entries."""

    view: VectorView
    center: bool
    where: str
    pool: Workers
    progress: Progress
    grid: Grid

    @abstractmethod
    def statistics(self, first: int, last: int) -> Iterator[Statistics]:
        """Statistics of units, one by one."""

    @abstractmethod
    def again(self, first: int, last: int, exponent: Exponents) -> State:
        """Sums of the columns of a block in units of 2 ** exponent."""

    @property
    def itemsize(self) -> int:
        return self.view.dtype.itemsize

    def bytes_of(self, unit: int) -> int:
        """Size of a piece."""
        start, stop = self.grid.span(unit)
        return (stop - start) * self.itemsize

    def one(self, unit: int, digests: bytes, part: Sums | KnownColumns) -> Statistics:
        """Statistics of a unit."""
        return Statistics(self.grid, self.center, unit, unit + 1, digests, (part,))

    def first_entries(self, start: int, stop: int, exponent: Exponents | None = None) -> Entries:
        """First entries of columns, from which their sums are taken; they are entries start … stop - 1 of the file."""
        state: State = np.zeros((4, stop - start))
        if self.center:
            _, [(_, _, block)] = self.view.span(start, stop)
            kernels.column_statistics(
                block, self.view.bfloat16, state, _scales(exponent, stop - start), False
            )
        entries: Entries = state[0]
        return entries

    def sum(
        self,
        span: tuple[int, int],
        state: State,
        column: int,
        exponent: Exponents | None = None,
        hashed: bool = True,
    ) -> bytes:
        """Add entries to the sums of the columns from number `column` on; return the digests of the pieces."""
        digests, buffer, step = [], self.buffer(_SLAB), _SLAB // self.itemsize
        start, stop = span
        for first in range(start, stop, step):
            raw, blocks = self.view.span(first, min(first + step, stop), buffer)
            if hashed:
                digests.append(digest.of_pieces(raw))
            for coordinate, vector, block in blocks:
                started = not (self.grid.contiguous and coordinate == 0)
                position = self.add(state, block, vector - column, exponent, started)
                if position >= 0:
                    self.refuse(block, position, coordinate, vector)
        return b"".join(digests)

    def add(
        self, state: State, block: npt.NDArray[Any], first: int, exponent: Exponents | None, started: bool
    ) -> int:
        """Add a block of shape (coordinates, columns); return the row-major position of a non-finite entry, or -1.

        The first entries of its columns are known if `started`; otherwise they are those of the block.
        """
        width = block.shape[1]
        whole = width == state.shape[1]
        part = state if whole else np.ascontiguousarray(state[:, first : first + width])
        scales = _scales(None if exponent is None else exponent[first : first + width], width)
        position = kernels.column_statistics(
            block, self.view.bfloat16, part, scales, started or not self.center
        )
        if not whole:
            state[:, first : first + width] = part
        return int(position)

    def buffer(self, nbytes: int) -> npt.NDArray[Any]:
        """Memory of the calling thread."""
        return self.pool.local.array("slab", (nbytes,), np.uint8)

    def refuse(self, block: npt.NDArray[Any], position: int, coordinate: int, vector: int) -> NoReturn:
        """Raise UnsupportedError for an entry that is not finite."""
        i, j = divmod(position, block.shape[1])
        index = self.view.index(coordinate + i, vector + j)
        value = _kind(block[i, j], self.view.bfloat16)
        raise UnsupportedError(
            f"{self.where}: entry {list(index)} is {value}; nqz compresses finite values only, replace it first"
        )


class _Columns(_Pass):
    """Columns that are contiguous in the file, piece by piece."""

    def statistics(self, first: int, last: int) -> Iterator[Statistics]:
        units = range(first, last)
        for unit, found in zip(units, self.pool.map(self._piece, units), strict=True):
            yield found
            self.progress(self.bytes_of(unit))

    def _piece(self, unit: int) -> Statistics:
        return self.one(unit, *self._sums(self.grid.span(unit)))

    def _sums(
        self, span: tuple[int, int], exponent: Exponents | None = None, hashed: bool = True
    ) -> tuple[bytes, Sums]:
        """Digests of some entries, and the sums of their columns."""
        n = self.grid.n
        column, late = divmod(span[0], n)
        state = np.zeros((4, -(-span[1] // n) - column))
        if late:  # a column that began earlier
            scale = None if exponent is None else exponent[:1]
            state[0, :1] = self.first_entries(column * n, column * n + 1, scale)
        digests = self.sum(span, state, column, exponent, hashed)
        return digests, Sums(column + 1, state[:, 1:], (state[:, :1],)) if late else Sums(column, state)

    def again(self, first: int, last: int, exponent: Exponents) -> State:
        n, size, state = self.grid.n, self.grid.piece, np.zeros((4, last - first))
        for start in range(first * n, last * n, size):
            stop = min(start + size, last * n)
            column, end = start // n - first, -(-stop // n) - first
            _, sums = self._sums((start, stop), exponent[column:end], hashed=False)
            for late in sums.late:
                add_later(state[:, column : column + 1], late)
            state[:, end - sums.state.shape[1] : end] = sums.state
        return state


class _Rows(_Pass):
    """Rows of all columns, piece by piece."""

    def statistics(self, first: int, last: int) -> Iterator[Statistics]:
        columns, units = self.grid.columns, range(first, last)
        piece = partial(self._piece, self.first_entries(0, columns))
        for unit, (digests, state) in zip(units, self.pool.map(piece, units), strict=True):
            late = Sums(columns, np.empty((4, 0)), (state,))
            yield self.one(unit, digests, Sums(0, state) if unit == 0 else late)
            self.progress(self.bytes_of(unit))

    def _piece(
        self, entries: Entries, unit: int, exponent: Exponents | None = None, hashed: bool = True
    ) -> tuple[bytes, State]:
        state = np.zeros((4, self.grid.columns))
        state[0] = entries
        return self.sum(self.grid.span(unit), state, 0, exponent, hashed), state

    def again(self, first: int, last: int, exponent: Exponents) -> State:
        state = np.zeros((4, last - first))
        state[0] = self.first_entries(first, last, exponent)
        piece = partial(self._piece, state[0], exponent=exponent, hashed=False)
        for _, part in self.pool.map(piece, range(self.grid.units)):
            add_later(state, part)
        return state


class _Stripes(_Pass):
    """Stripes of very many columns that are not contiguous; their share of the file is hashed before."""

    def statistics(self, first: int, last: int) -> Iterator[Statistics]:
        digests, pieces = b"", self.grid.hashed(first, last)
        for unit, found in zip(pieces, self.pool.map(self._hashed, pieces), strict=True):
            digests += found
            self.progress(self.bytes_of(unit) / 2)
        units = range(first, last)
        for unit, part in zip(units, self.pool.map(self._stripe, units), strict=True):
            if part is None:
                self._refuse_first()
            yield self.one(unit, digests, part)
            digests = b""
            self.progress(len(part.codes) * self.grid.n * self.itemsize / 2)

    def again(self, first: int, last: int, exponent: Exponents) -> State:
        raise NqzError("internal error: a stripe is summed again at once")

    def _hashed(self, unit: int) -> bytes:
        buffer, step = self.buffer(_SLAB), _SLAB // self.itemsize
        start, stop = self.grid.span(unit)
        spans = (self.view.span(first, min(first + step, stop), buffer) for first in range(start, stop, step))
        return b"".join(digest.of_pieces(raw) for raw, _ in spans)

    def _stripe(self, unit: int) -> KnownColumns | None:
        """What is known of a stripe of columns, None if an entry is not finite."""
        first, last = self.grid.stripe(unit)
        state = self._sums(first, last)
        if state is None:
            return None
        exponent = rescaled(state)
        if exponent is not None and (state := self._sums(first, last, exponent)) is None:
            return None
        return finish(self.grid, self.center, first, state, exponent)

    def _sums(self, first: int, last: int, exponent: Exponents | None = None) -> State | None:
        """Sums of a stripe, None if an entry is not finite."""
        state = np.zeros((4, last - first))
        for row, block in self._blocks(first, last):
            if self.add(state, block, 0, exponent, row > 0) >= 0:
                return None
        return state

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Rows of a stripe, some at a time."""
        view, step = self.view, _ROWS if self.view.by_rows else 1
        whole = view.in_place(first, last)
        buffer = self.buffer(step * (last - first) * self.itemsize)
        for row in range(0, view.length, step):
            end = min(row + step, view.length)
            if whole is not None:
                yield row, whole[row:end]
            elif view.by_rows:
                yield row, view.read(first, last, buffer.view(view.dtype), (row, end))
            else:
                _, [(_, _, block)] = view.span(row * view.count + first, row * view.count + last, buffer)
                yield row, block

    def _refuse_first(self) -> NoReturn:
        """Refuse the first entry in the file that is not finite."""
        for unit in range(self.grid.pieces):
            for coordinate, vector, block in self.view.span(*self.grid.span(unit))[1]:
                bits = block.astype(np.uint32) << 16 if self.view.bfloat16 else block
                bad = np.flatnonzero(~np.isfinite(bits.view(np.float32) if self.view.bfloat16 else bits))
                if len(bad):
                    self.refuse(block, int(bad[0]), coordinate, vector)
        raise InputError(f"{self.where}: seems to have changed while being read")


def _scales(exponent: Exponents | None, width: int) -> Exponents:
    return np.zeros(width, np.int32) if exponent is None else exponent


def _kind(value: Any, bfloat16: bool) -> str:
    if bfloat16:
        value = (np.uint32(value) << np.uint32(16)).view(np.float32)
    return "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"
