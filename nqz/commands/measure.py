"""First pass over a matrix: content digest, means and energies of the columns, search for non-finite entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.files.layout import VECTOR_MAJOR
from nqz.files.vectors import VectorView
from nqz.ground.errors import InputError, UnsupportedError
from nqz.ground.fleet import Fleet
from nqz.ground.threads import Workers
from nqz.stages import digest
from nqz.stages.grid import PIECE_BYTES, Grid
from nqz.stages.norms import Histogram
from nqz.stages.panels import panel_columns
from nqz.stages.statistics import Statistics, merged
from nqz.stages.sums import Found, State, add_later, finish, rescaled

_SLAB = 2 * digest.PIECE  # bytes that are hashed and summed at once: they stay in the second-level cache
_ROWS = 8  # rows of a stripe that are read at once
_PIECES = 4  # of a file that a worker elsewhere is given at a time

Progress = Callable[[float], object]
Exponents = npt.NDArray[np.int32]
Entries = npt.NDArray[np.float64]
_RowsPart = tuple[bytes, State]


def grid(view: VectorView) -> Grid:
    """How a matrix is cut into units to be measured."""
    return Grid(view.length, view.count, PIECE_BYTES // view.itemsize, view.memory == VECTOR_MAJOR)


def measure(
    view: VectorView,
    center: bool,
    where: str,
    units: tuple[int, int] | None = None,
    *,
    pool: Workers | None = None,
    progress: Progress | None = None,
    hashed: bool = True,
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
        First unit of the `grid`, and the one behind the last; all by default. Statistics of neighbors add.
    pool : Workers, optional
        Threads to work with; neither they nor ranges change the result.
    progress : callable, optional
        Called with the number of bytes read.
    hashed : bool
        Whether the digest is needed; without it that of no data stands in its place.

    Raises
    ------
    UnsupportedError
        An entry is not finite.
    """
    run = _pass(view, center, where, pool, progress, hashed)
    if units is None and run.fleet is not None and run.grid.units > 1:
        return merged(_elsewhere(run, run.fleet))
    return merged(run.statistics(*(units or (0, run.grid.units))))


def _elsewhere(run: _Pass, fleet: Fleet) -> Iterator[Statistics]:
    """Statistics of all units in order, some at a time, from the workers of an executor."""
    count = run.grid.units
    step = max(1, _PIECES * count // run.grid.pieces)
    ranges = [(first, min(first + step, count)) for first in range(0, count, step)]
    jobs = ((run.view, run.center, run.where, units, fleet.threads, run.hashed) for units in ranges)
    for (first, last), found in zip(ranges, fleet.map(_units, jobs), strict=True):
        yield found
        run.progress((last - first) / count * run.grid.entries * run.itemsize)


def _units(
    view: VectorView, center: bool, where: str, units: tuple[int, int], threads: int, hashed: bool
) -> Statistics:
    """Some units, measured on a worker."""
    pool = Workers(threads)
    try:
        return measure(view, center, where, units, pool=pool, hashed=hashed)
    finally:
        pool.close()


def measure_columns(
    view: VectorView, center: bool, where: str, first: int, last: int, pool: Workers | None = None
) -> Found:
    """Columns first … last - 1, in a matrix whose columns are not `held`: to the same bits as `measure`."""
    run = _pass(view, center, where, pool)
    step = max(1, run.grid.piece // run.grid.n)

    def some(start: int) -> Found:
        return run.finished(start, run.sums(start, min(start + step, last)))[0]

    return Found.joined(list(run.pool.map(some, range(first, last, step))))


def _pass(
    view: VectorView,
    center: bool,
    where: str,
    pool: Workers | None,
    progress: Progress | None = None,
    hashed: bool = True,
) -> _Pass:
    cut = grid(view)
    kind = _Columns if cut.contiguous else _Stripes if cut.striped else _Rows
    return kind(view, center, where, pool or Workers(1), progress or (lambda size: None), cut, hashed)


@dataclass(frozen=True, eq=False)
class _Pass(ABC):
    """A pass over a matrix, and what all kinds of it do with entries."""

    view: VectorView
    center: bool
    where: str
    pool: Workers
    progress: Progress
    grid: Grid
    hashed: bool

    @abstractmethod
    def statistics(self, first: int, last: int) -> Iterator[Statistics]:
        """Statistics of units, one by one."""

    @abstractmethod
    def sums(self, first: int, last: int, exponent: Exponents | None = None) -> State:
        """Sums of columns in units of 2 ** exponent; of all of them, or of any where they are not `held`."""

    def finished(self, first: int, state: State) -> tuple[Found, Entries]:
        """Columns from number `first` on from their sums, those of extreme magnitude summed again; see `finish`."""
        exponent = rescaled(state)
        if exponent is not None:
            state = self.sums(first, first + state.shape[1], exponent)
        near = max(0, panel_columns(self.grid.n) - first)
        return finish(state, exponent, self.grid.n, self.center, near)

    def one(self, unit: int, digests: bytes, state: State) -> Statistics:
        """Statistics of a unit from the sums of its columns."""
        found, near = self.finished(self.grid.begun(unit)[0], state)
        kept = found if self.grid.held else Histogram.of(found.codes)
        return Statistics(self.grid, self.center, unit, unit + 1, digests, kept, near)

    @property
    def fleet(self) -> Fleet | None:
        """Workers elsewhere, if there are any and they can read the matrix, and it is of some size."""
        found = self.pool.fleet
        return found if found is not None and self.grid.pieces > _PIECES and self.view.has_address else None

    @property
    def itemsize(self) -> int:
        return self.view.itemsize

    def bytes_of(self, piece: int) -> int:
        """Size of a piece."""
        start, stop = self.grid.span(piece)
        return (stop - start) * self.itemsize

    def sum(
        self,
        span: tuple[int, int],
        state: State,
        column: int,
        exponent: Exponents | None = None,
        hashed: bool = True,
    ) -> bytes:
        """Add entries to the sums of the columns from number `column` on; return the digests of the pieces.

        Entries of columns before are only hashed.
        """
        digests, buffer, step = [], self.buffer(_SLAB), _SLAB // self.itemsize
        start, stop = span
        for first in range(start, stop, step):
            raw, blocks = self.view.span(first, min(first + step, stop), buffer)
            if hashed:
                digests.append(digest.of_pieces(raw))
            for coordinate, vector, block in blocks:
                if vector < column:
                    continue
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
        (start, stop), (first, last) = self.grid.span(unit), self.grid.begun(unit)
        state = np.zeros((4, last - first))
        digests = self.sum((start, stop), state, first, hashed=self.hashed)
        if last > first:
            self._add(state, first, stop)
        return self.one(unit, digests, state)

    def sums(self, first: int, last: int, exponent: Exponents | None = None) -> State:
        state = np.zeros((4, last - first))
        self._add(state, first, first * self.grid.n, exponent)
        return state

    def _add(self, state: State, first: int, start: int, exponent: Exponents | None = None) -> None:
        """Add the entries of columns from entry `start` on, those in each piece summed by themselves."""
        n, size, stop = self.grid.n, self.grid.piece, (first + state.shape[1]) * self.grid.n
        while start < stop:
            end = min((start // size + 1) * size, stop)
            late, begin = start % n > 0, start // n - first
            chosen = slice(begin, -(-end // n) - first)
            part = np.zeros((4, chosen.stop - begin))
            part[0, :late] = state[0, begin : begin + late]  # of a column that began earlier
            scale = None if exponent is None else exponent[chosen]
            self.sum((start, end), part, first + begin, scale, hashed=False)
            add_later(state[:, begin : begin + late], part[:, :late])
            state[:, begin + late : chosen.stop] = part[:, late:]
            start = end


class _Rows(_Pass):
    """Rows of all columns, piece by piece."""

    def statistics(self, first: int, last: int) -> Iterator[Statistics]:
        found: list[bytes] = []
        state = self._sums(None, found)
        yield self.one(0, b"".join(found), state)

    def sums(self, first: int, last: int, exponent: Exponents | None = None) -> State:
        return self._sums(exponent)

    def _sums(self, exponent: Exponents | None, digests: list[bytes] | None = None) -> State:
        """Sums of all columns; digests of the pieces are appended to a list, and counted as progress."""
        pieces = range(self.grid.pieces)
        state: State = np.zeros((4, self.grid.columns))
        if self.center:
            _, [(_, _, block)] = self.view.span(0, self.grid.columns)
            scales = _scales(exponent, self.grid.columns)
            kernels.column_statistics(block, self.view.bfloat16, state, scales, False)
            state[1:] = 0.0
        hashed = self.hashed and digests is not None
        parts = self._parts(state[0].copy(), exponent, hashed)
        for piece, (found, part) in zip(pieces, parts, strict=True):
            add_later(state, part)
            if digests is not None:
                digests.append(found)
                self.progress(self.bytes_of(piece))
        return state

    def _parts(self, entries: Entries, exponent: Exponents | None, hashed: bool) -> Iterator[_RowsPart]:
        """What `part` gives of all pieces."""
        count, fleet = self.grid.pieces, self.fleet
        if fleet is None:
            return self.pool.map(lambda piece: self.part(entries, exponent, hashed, piece), range(count))
        own = self.view, self.center, self.where, entries, exponent, hashed
        jobs = ((*own, first, min(first + _PIECES, count)) for first in range(0, count, _PIECES))
        return chain.from_iterable(fleet.map(_rows, jobs))

    def part(self, entries: Entries, exponent: Exponents | None, hashed: bool, piece: int) -> _RowsPart:
        """Digests and sums of a piece; `entries` are the first of the columns."""
        part = np.zeros((4, self.grid.columns))
        part[0] = entries
        return self.sum(self.grid.span(piece), part, 0, exponent, hashed), part


def _rows(
    view: VectorView, center: bool, where: str, entries: Entries, exponent: Exponents | None, hashed: bool,
    first: int, last: int,
) -> list[_RowsPart]:  # fmt: skip
    """Some pieces of rows, summed on a worker."""
    run = _pass(view, center, where, None)
    assert isinstance(run, _Rows)
    return [run.part(entries, exponent, hashed, piece) for piece in range(first, last)]


class _Stripes(_Pass):
    """Stripes of very many columns that are not contiguous; their share of the file is hashed before."""

    def statistics(self, first: int, last: int) -> Iterator[Statistics]:
        digests, pieces = b"", self.grid.hashed(first, last) if self.hashed else range(0)
        for piece, found in zip(pieces, self.pool.map(self._hashed, pieces), strict=True):
            digests += found
            self.progress(self.bytes_of(piece) / 2)
        units = range(first, last)
        for unit, found in zip(units, self.pool.map(self._stripe, units), strict=True):
            yield replace(found, digests=digests)
            digests = b""
            begin, end = self.grid.begun(unit)
            self.progress((end - begin) * self.grid.n * self.itemsize / 2)

    def _hashed(self, piece: int) -> bytes:
        buffer, step = self.buffer(_SLAB), _SLAB // self.itemsize
        start, stop = self.grid.span(piece)
        spans = (self.view.span(first, min(first + step, stop), buffer) for first in range(start, stop, step))
        return b"".join(digest.of_pieces(raw) for raw, _ in spans)

    def _stripe(self, unit: int) -> Statistics:
        return self.one(unit, b"", self.sums(*self.grid.begun(unit)))

    def sums(self, first: int, last: int, exponent: Exponents | None = None) -> State:
        state = np.zeros((4, last - first))
        for row, block in self._blocks(first, last):
            if self.add(state, block, 0, exponent, row > 0) >= 0:
                self._refuse_first()
        return state

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Rows of a stripe, some at a time."""
        view, step = self.view, _ROWS if self.view.by_rows else 1
        whole = view.in_place(first, last)
        buffer = self.buffer(step * (last - first) * self.view.dtype.itemsize)
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
        for piece in range(self.grid.pieces):
            for coordinate, vector, block in self.view.span(*self.grid.span(piece))[1]:
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
