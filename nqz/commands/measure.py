"""First pass over a tensor: content digest, column means and energies, and the search for non-finite entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nqz.files.layout import COORDINATE_MAJOR
from nqz.ground.errors import UnsupportedError
from nqz.stages import digest
from nqz.stages.statistics import ColumnStatistics, add_energies, total_energy

_PIECE = 4 << 20  # bytes that are summed by themselves
_SLAB = 2 * digest.PIECE  # what is hashed and summed at once stays in the second-level cache
_BLOCK = 1 << 16  # columns that are handed on together, at least
_WIDE = 1 << 17  # columns beyond which a few rows of all are no longer summed at a time
_STRIPE = 1 << 15  # columns that are summed together then
_ROWS = 8


class Block(NamedTuple):
    """Some consecutive columns from number `first` on: means, and energies in units of 4 ** exponent."""

    first: int
    mean: np.ndarray
    energy: np.ndarray
    exponent: np.ndarray


@dataclass(frozen=True)
class Measured:
    """Result of the first pass: arrays of shape (columns,), energies in units of 4 ** exponent.

    `total` is the energy of the matrix as mantissa and exponent of two.
    """

    digest: bytes
    total: tuple[float, int]
    mean: np.ndarray
    energy: np.ndarray
    exponent: np.ndarray


def measure(tensor, view, center: bool, where: str, progress=None, pool=None) -> Measured:
    """Read a tensor, and measure all of its columns: see `FirstPass`."""
    run = FirstPass(tensor, view, center, where, progress, pool)
    parts = [block[1:] for block in run.blocks()]
    return Measured(run.digest, run.total, *map(np.concatenate, zip(*parts)))


class FirstPass:
    """Reads a tensor once (twice if it has very many columns that are not contiguous, or extreme magnitudes).

    Parameters
    ----------
    tensor : SourceTensor
    view : VectorView
        Its vectors along the axis in question.
    center : bool
    where : str
        File and tensor, for messages.
    progress : callable, optional
        Called with the number of bytes read.
    pool : Workers, optional
        Threads to work with; they do not change the result.

    Attributes
    ----------
    digest : bytes
    total : (float, int)
        Energy of the matrix as mantissa and exponent of two. Both are known when all blocks have been given out.

    Notes
    -----
    Work is split in pieces of a fixed size, whose sums are taken by themselves and then added in order, so that they do not
    depend on the threads. No more than the columns of some pieces is kept, unless the tensor has all of them in every row.
    """

    def __init__(self, tensor, view, center: bool, where: str, progress=None, pool=None):
        self.view, self.center, self.where = view, center, where
        self.bfloat16 = tensor.dtype == "bfloat16"
        self.by_coordinate = view.memory == COORDINATE_MAJOR
        self.itemsize = view.dtype.itemsize
        self.size = _PIECE // self.itemsize
        self.entries = view.length * view.count
        self.progress = progress or (lambda size: None)
        self.map = map if pool is None else pool.map
        self.pool = pool
        self.digest, self.total = b"", (0.0, 0)

    def blocks(self) -> Iterator[Block]:
        """All columns in order, as `Block`.

        Raises
        ------
        UnsupportedError
            An entry is not finite.
        """
        whole = digest.ContentDigest()
        if not self.by_coordinate:
            found = self._contiguous(whole)
        elif self.view.count <= _WIDE:
            found = self._by_rows(whole)
        else:
            found = self._by_stripes(whole)
        for first, statistics in found:
            mean, energy = statistics.result(self.view.length)
            self.total = add_energies(self.total, total_energy(energy, statistics.exponent))
            yield Block(first, mean, energy, statistics.exponent)
        self.digest = whole.value()

    def _contiguous(self, whole) -> Iterator[tuple[int, ColumnStatistics]]:
        """Statistics of columns that are contiguous in the file."""
        n, count = self.view.length, self.view.count
        most = min(count, _BLOCK + self.size // n + 2)
        open_, base = ColumnStatistics(most, self.center), 0
        starts = range(0, self.entries, self.size)
        parts = self.map(
            lambda start: self._columns(start, min(start + self.size, self.entries), True), starts
        )
        for start, (digests, first, part) in zip(starts, parts):
            whole.add(digests)
            open_.add(part, first - base)
            stop = min(start + self.size, self.entries)
            self.progress((stop - start) * self.itemsize)
            complete = stop // n
            if complete - base >= _BLOCK or stop == self.entries:
                statistics = open_.taken(complete - base)
                exponent = statistics.rescaled()
                if exponent is not None:
                    statistics = self._again(base, complete, exponent)
                yield base, statistics
                base = complete

    def _again(self, first: int, last: int, exponent: np.ndarray) -> ColumnStatistics:
        """Statistics of contiguous columns of extreme magnitudes."""
        n, found = self.view.length, ColumnStatistics(last - first, self.center, exponent)
        for start in range(first * n, last * n, self.size):
            stop = min(start + self.size, last * n)
            _, column, part = self._columns(
                start, stop, False, exponent[start // n - first : -(-stop // n) - first]
            )
            found.add(part, column - first)
        return found

    def _columns(self, start: int, stop: int, hashed: bool, exponent=None) -> tuple:
        """Digests of a piece, its first column, and the statistics of its columns."""
        n = self.view.length
        column = start // n
        part = ColumnStatistics(-(-stop // n) - column, self.center, exponent)
        if start % n:  # a vector that began in an earlier piece: its first entry
            _, [(_, _, entry)] = self.view.span(column * n, column * n + 1)
            first = ColumnStatistics(1, self.center, part.exponent[:1])
            first.begin(entry, self.bfloat16)
            part.state[0, 0] = first.state[0, 0]
        return self._summed(start, stop, part, column, hashed), column, part

    def _by_rows(self, whole) -> Iterator[tuple[int, ColumnStatistics]]:
        """Statistics of all columns, some rows of all of them at a time."""
        statistics = self._rows(whole, None)
        exponent = statistics.rescaled()
        yield 0, statistics if exponent is None else self._rows(None, exponent)

    def _rows(self, whole, exponent) -> ColumnStatistics:
        statistics = ColumnStatistics(self.view.count, self.center, exponent)
        _, [(_, _, row)] = self.view.span(0, self.view.count)
        statistics.begin(row, self.bfloat16)

        def work(start):
            part = statistics.part(0, self.view.count)
            return self._summed(start, min(start + self.size, self.entries), part, 0, whole is not None), part

        starts = range(0, self.entries, self.size)
        for start, (digests, part) in zip(starts, self.map(work, starts)):
            statistics.add(part, 0)
            if whole is not None:
                whole.add(digests)
                self.progress(min(self.size, self.entries - start) * self.itemsize)
        return statistics

    def _summed(self, start: int, stop: int, part: ColumnStatistics, column: int, hashed: bool) -> bytes:
        """Add entries to statistics of the columns from number `column` on; return the digests of the pieces."""
        digests, buffer, step = [], self._buffer(_SLAB), _SLAB // self.itemsize
        for first in range(start, stop, step):
            raw, blocks = self.view.span(first, min(first + step, stop), buffer)
            if hashed:
                digests.append(digest.of_pieces(raw))
            for coordinate, vector, block in blocks:
                started = self.by_coordinate or coordinate > 0
                position = part.update(block, self.bfloat16, vector - column, started)
                if position >= 0:
                    self._refuse(block, position, coordinate, vector)
        return b"".join(digests)

    def _by_stripes(self, whole) -> Iterator[tuple[int, ColumnStatistics]]:
        """Statistics of very many columns, all rows of some of them at a time; hashed before."""
        starts = range(0, self.entries, self.size)
        for start, digests in zip(starts, self.map(self._hashed, starts)):
            whole.add(digests)
            self.progress(min(self.size, self.entries - start) * self.itemsize / 2)
        firsts = range(0, self.view.count, _STRIPE)
        for first, statistics in zip(firsts, self.map(self._stripe, firsts)):
            if statistics is None:
                self._refuse_first()
            self.progress(statistics.state.shape[1] * self.view.length * self.itemsize / 2)
            yield first, statistics

    def _hashed(self, start: int) -> bytes:
        buffer, step = self._buffer(_SLAB), _SLAB // self.itemsize
        stop = min(start + self.size, self.entries)
        spans = (self.view.span(first, min(first + step, stop), buffer) for first in range(start, stop, step))
        return b"".join(digest.of_pieces(raw) for raw, _ in spans)

    def _stripe(self, first: int, exponent: np.ndarray | None = None) -> ColumnStatistics | None:
        """Statistics of the columns from `first` on, None if an entry is not finite."""
        last = min(first + _STRIPE, self.view.count)
        statistics = ColumnStatistics(last - first, self.center, exponent)
        for row, block in self._blocks_of_rows(first, last):
            if statistics.update(block, self.bfloat16, 0, row > 0) >= 0:
                return None
        wanted = statistics.rescaled() if exponent is None else None
        return statistics if wanted is None else self._stripe(first, wanted)

    def _blocks_of_rows(self, first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
        view, step = self.view, _ROWS if self.view.by_rows else 1
        whole = view.in_place(first, last)
        buffer = self._buffer(step * (last - first) * self.itemsize)
        for row in range(0, view.length, step):
            end = min(row + step, view.length)
            if whole is not None:
                yield row, whole[row:end]
            elif view.by_rows:
                out = None if buffer is None else buffer.view(view.dtype)
                yield row, view.read(first, last, out, (row, end))
            else:
                _, [(_, _, block)] = view.span(row * view.count + first, row * view.count + last, buffer)
                yield row, block

    def _buffer(self, nbytes: int) -> np.ndarray | None:
        return None if self.pool is None else self.pool.local.array("slab", (nbytes,), np.uint8)

    def _refuse_first(self) -> None:
        """Refuse the first entry in the file that is not finite."""
        for start in range(0, self.entries, self.size):
            for coordinate, vector, block in self.view.span(start, min(start + self.size, self.entries))[1]:
                bits = block.astype(np.uint32) << 16 if self.bfloat16 else block
                bad = np.flatnonzero(~np.isfinite(bits.view(np.float32) if self.bfloat16 else bits))
                if len(bad):
                    self._refuse(block, int(bad[0]), coordinate, vector)

    def _refuse(self, block, position: int, coordinate: int, vector: int) -> None:
        i, j = divmod(position, block.shape[1])
        index = self.view.index(coordinate + i, vector + j)
        value = _kind(block[i, j], self.bfloat16)
        raise UnsupportedError(
            f"{self.where}: entry {list(index)} is {value}; nqz compresses finite values only, replace it first"
        )


def _kind(value, bfloat16: bool) -> str:
    if bfloat16:
        value = (np.uint32(value) << np.uint32(16)).view(np.float32)
    return "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"
