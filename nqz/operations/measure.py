"""First pass over a tensor: content digest, column means and energies, and the search for non-finite entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nqz.codec import digest
from nqz.codec.statistics import ColumnStatistics, total_energy
from nqz.errors import UnsupportedError
from nqz.matrices.layout import COORDINATE_MAJOR

_PIECE = 4 << 20  # bytes that are summed by themselves
_SLAB = 2 * digest.PIECE  # what is hashed and summed at once stays in the second-level cache
_WIDE = 1 << 17


@dataclass(frozen=True)
class Measured:
    """Result of the first pass: arrays of shape (columns,), energies in units of 4 ** exponent."""

    digest: bytes
    mean: np.ndarray
    energy: np.ndarray
    exponent: np.ndarray

    @property
    def total(self) -> tuple[float, int]:
        """Energy of the matrix as mantissa and exponent of two."""
        return total_energy(self.energy, self.exponent)


def measure(tensor, view, center: bool, where: str, progress=None, pool=None) -> Measured:
    """Read a tensor once (twice if its magnitudes are extreme) and measure its columns.

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

    Raises
    ------
    UnsupportedError
        An entry is not finite.
    """
    reading = _Pass(tensor, view, where)
    statistics = ColumnStatistics(view.count, center)
    digest = reading.run(statistics, pool, progress)
    exponent = statistics.rescaled()
    if exponent is not None:
        statistics = ColumnStatistics(view.count, center, exponent)
        reading.run(statistics, pool, None)
    mean, energy = statistics.result(view.length)
    return Measured(digest, mean, energy, statistics.exponent)


class _Pass:
    """Reads a tensor in pieces, each by one thread.

    The sums of each piece are taken by themselves and then added in order, so that they do not depend on the threads;
    where a piece has few entries of many columns, all is summed in one go.
    """

    def __init__(self, tensor, view, where: str):
        self.view, self.where = view, where
        self.bfloat16 = tensor.dtype == "bfloat16"
        self.by_coordinate = view.memory == COORDINATE_MAJOR
        self.size = _PIECE // view.dtype.itemsize
        self.entries = view.length * view.count
        columns = view.count if self.by_coordinate else self.size // view.length + 2
        self.wide = min(columns, view.count) > _WIDE

    def run(self, statistics: ColumnStatistics, pool, progress) -> bytes:
        """Add everything to `statistics`; return the digest."""
        if self.by_coordinate:
            for first in range(0, self.view.count, self.size):
                _, [(_, _, row)] = self.view.span(first, min(first + self.size, self.view.count))
                statistics.begin(row, self.bfloat16, first)
        starts = range(0, self.entries, self.size)
        each = map if pool is None or self.wide else pool.map
        whole = digest.ContentDigest()

        def work(start):
            return self._piece(start, statistics, None if pool is None else pool.local)

        for start, (digests, part, column) in zip(starts, each(work, starts)):
            whole.add(digests)
            if part is not statistics:
                statistics.add(part, column)
            if progress is not None:
                progress(min(self.size, self.entries - start) * self.view.dtype.itemsize)
        return whole.value()

    def _piece(self, start: int, statistics: ColumnStatistics, buffers) -> tuple:
        """Digests and statistics of a piece, and its first column."""
        stop = min(start + self.size, self.entries)
        column, part = 0, statistics
        if not self.wide:
            last = statistics.state.shape[1]
            if not self.by_coordinate:
                column, last = start // self.view.length, -(-stop // self.view.length)
            part = statistics.part(column, last)
            if not self.by_coordinate and start % self.view.length:
                self._continue(part, column)
        digests = []
        buffer = None if buffers is None else buffers.array("slab", (_SLAB,), np.uint8)
        step = _SLAB // self.view.dtype.itemsize
        for first in range(start, stop, step):
            raw, blocks = self.view.span(first, min(first + step, stop), buffer)
            digests.append(digest.of_pieces(raw))
            for coordinate, vector, block in blocks:
                started = self.by_coordinate or coordinate > 0
                position = part.update(block, self.bfloat16, vector - column, started)
                if position >= 0:
                    self._refuse(block, position, coordinate, vector)
        return b"".join(digests), part, column

    def _continue(self, part: ColumnStatistics, column: int) -> None:
        """Give the part of a vector that began in an earlier piece its first entry."""
        at = column * self.view.length
        _, [(_, _, entry)] = self.view.span(at, at + 1)
        first = ColumnStatistics(1, part.center, part.exponent[:1])
        first.begin(entry, self.bfloat16)
        part.state[0, 0] = first.state[0, 0]

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
