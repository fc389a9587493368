"""Columns of a matrix that stay in memory for products.

Their points are decoded once, into the narrowest type that takes those of a column. Where a coding multiplies its
chunks itself, these stay as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import GRID, exp2
from nqz.ground.cached import cached_property
from nqz.ground.layout import CHUNK_ENTRIES
from nqz.ground.threads import Workers
from nqz.matrix import CodedPanel, Matrix
from nqz.product.integers import SHIFT, Integers, Rest, entry_size, load
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.chunks import Chunk
from nqz.stages.codings import Coder, Sections
from nqz.stages.parameters import Parameters
from nqz.stages.scale import exponents

_WIDE = 1 << 16
"""Coordinates of a part at most."""

_LEAST, _MOST, _PARTS = 1 << 18, 1 << 23, 16
"""Entries of a part, which one thread works on: of so many, within limits."""


_SUMMED = 1 << 22
"""Sums that are at work together."""


class Kept(ABC):
    """Some coordinates of some columns, to be multiplied any number of times.

    Attributes
    ----------
    columns : ndarray of int64
        Their numbers in the matrix, none twice.
    coordinates : slice
    m : int
        Of how many these are.
    """

    columns: NDArray[np.int64]
    coordinates: slice
    m: int

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Memory taken."""

    @abstractmethod
    def products(self, vectors: NDArray[np.int16]) -> NDArray[np.int64]:
        """Inner products of the columns with vectors of these coordinates, shape (columns, vectors)."""

    @abstractmethod
    def sums(self, weights: NDArray[np.int16]) -> NDArray[np.int64]:
        """Sums of the columns times vectors of weights, shape (vectors, coordinates)."""


@dataclass(frozen=True, eq=False)
class KeptPoints(Kept):
    """Columns as points: the sum of limbs, each times 2 ** `SHIFT` of the one before, and of a few entries more.

    Attributes
    ----------
    limbs : tuple of ndarray of int8 or int16
        Rows of the columns, least significant first.
    peaks : tuple of int
        Their largest magnitudes.
    rest : Rest
        Rows and coordinates count from the first one of the part.
    """

    columns: NDArray[np.int64]
    coordinates: slice
    m: int
    limbs: tuple[NDArray[Any], ...]
    peaks: tuple[int, ...]
    rest: Rest

    @cached_property
    def integers(self) -> Integers:
        """The points of a single limb, ready to be multiplied with those of another matrix."""
        return Integers(self.limbs[0], self.rest)

    @property
    def nbytes(self) -> int:
        """See `Kept`."""
        rest = self.rest.row.nbytes + self.rest.coordinate.nbytes + self.rest.value.nbytes
        return self.columns.nbytes + sum(rows.nbytes for rows in self.limbs) + rest

    def products(self, vectors: NDArray[np.int16]) -> NDArray[np.int64]:
        """See `Kept`."""
        out, rest = np.zeros((len(self.columns), len(vectors)), np.int64), self.rest
        part = np.empty_like(out)
        for number, (rows, peak) in enumerate(zip(self.limbs, self.peaks, strict=True)):
            kernels.row_products(rows, peak, vectors, part)
            out += part << (SHIFT * number)
        if len(rest.row):
            np.add.at(out, rest.row, (vectors[:, rest.coordinate] * rest.value).T)
        return out

    def sums(self, weights: NDArray[np.int16]) -> NDArray[np.int64]:
        """See `Kept`."""
        out, rest = np.zeros((len(weights), self.limbs[0].shape[1]), np.int64), self.rest
        part = np.empty_like(out)
        for number, (rows, peak) in enumerate(zip(self.limbs, self.peaks, strict=True)):
            kernels.row_sums(rows, peak, weights, part)
            out += part << (SHIFT * number)
        if len(rest.row):
            np.add.at(out.T, rest.coordinate, (weights[:, rest.row] * rest.value).T)
        return out


@dataclass(frozen=True, eq=False)
class KeptChunks(Kept):
    """Whole columns as they are coded, of a coding that multiplies chunks.

    Attributes
    ----------
    coder : Coder
    known : ndarray of int32
        What the coder knows of the columns of their panel.
    chunks : tuple of Chunk
    sections : tuple of Sections
    """

    columns: NDArray[np.int64]
    coordinates: slice
    m: int
    coder: Coder
    known: NDArray[np.int32]
    chunks: tuple[Chunk, ...]
    sections: tuple[Sections, ...]

    @property
    def nbytes(self) -> int:
        """See `Kept`; what is known of the panel is shared by all that are of it."""
        return self.columns.nbytes + sum(array.nbytes for arrays in self.sections for array in arrays)

    def products(self, vectors: NDArray[np.int16]) -> NDArray[np.int64]:
        """See `Kept`."""
        pairs = zip(self.chunks, self.sections, strict=True)
        return np.concatenate([self.coder.multiply_chunk(c, self.known, s, vectors) for c, s in pairs])

    def sums(self, weights: NDArray[np.int16]) -> NDArray[np.int64]:
        """See `Kept`."""
        m, first = self.m, 0
        out = np.zeros((len(weights), m), np.int64)
        together = max(1, _SUMMED // m)
        for chunk, sections in zip(self.chunks, self.sections, strict=True):
            last = first + chunk.count // m
            for v in range(0, len(weights), together):
                some = np.ascontiguousarray(weights[v : v + together, first:last])
                out[v : v + together] += self.coder.sum_chunk(chunk, self.known, sections, some, m)
            first = last
        return out


def keep(matrix: Matrix, pool: Workers) -> list[Kept]:
    """Decode a matrix into memory.

    Raises
    ------
    CorruptError
        A record is damaged.
    """
    p = matrix.parameters
    size = min(_MOST, max(_LEAST, p.columns * p.m // _PARTS))
    found: list[Kept] = []
    for panel in matrix.panels:
        order = panel.panel.first + panel.opened.order
        if p.coding.most_point is not None:
            found.extend(_as_coded(matrix, panel, order, size, pool))
            continue
        for rows, rms in _groups(p, panel):
            columns = np.sort(order[rows])
            stream = _stream(matrix, panel, rows, np.searchsorted(columns, order[rows]), pool)
            found.extend(_parts(load(stream, len(columns), p.m, None, rms, pool), columns, size))
    return found


def expected_bytes(matrix: Matrix) -> int:
    """Memory that `keep` will take, but for the few entries that are beyond the types of their columns."""
    p, found = matrix.parameters, 0
    for panel in matrix.panels:
        if p.coding.most_point is not None:
            coded = panel.opened.coded
            found += 8 * panel.panel.kept + sum(sum(panel.coder.sizes(c, coded)) for c in panel.panel.chunks)
            continue
        for rows, rms in _groups(p, panel):
            found += (rows.stop - rows.start) * (p.m * entry_size(rms) + 8)
    return found


def _as_coded(
    matrix: Matrix, panel: CodedPanel, columns: NDArray[np.int64], size: int, pool: Workers
) -> Iterator[Kept]:
    """The chunks of a panel, several together."""
    chunks, m, known = panel.panel.chunks, panel.panel.m, panel.opened.coded

    def take(chunk: Chunk) -> Sections:
        return tuple(np.array(section) for section in matrix.chunk_sections(panel, chunk))

    sections = tuple(pool.map(take, chunks))
    together = max(1, size // CHUNK_ENTRIES)
    for i in range(0, len(chunks), together):
        here = chunks[i : i + together]
        rows = slice(here[0].start // m, (here[-1].start + here[-1].count) // m)
        yield KeptChunks(columns[rows], slice(0, m), m, panel.coder, known, here, sections[i : i + together])


def _groups(p: Parameters, panel: CodedPanel) -> Iterator[tuple[slice, float]]:
    """Rows of a panel's stream whose points take the same type, and the root mean square of the loudest."""
    histogram, kept = panel.histogram, panel.scaling.kept
    exponent = exponents(histogram.codes).astype(np.int64)
    unit = p.coding.unit(p, histogram.codes, exponent)
    # columns without energy are not kept, whatever comes out for them
    size = exp2((histogram.codes - norms.DOUBLING * exponent) * (GRID // norms.DOUBLING))
    noise = np.where(kept, panel.scaling.noise, 0.0)
    spread = np.zeros(len(unit))
    np.divide(size * np.sqrt((1.0 + noise) / p.n), unit, out=spread, where=kept & (unit > 0.0))
    # the stream is in order of classes, in which types only grow
    rms = np.maximum.accumulate(histogram.look_up(spread, panel.codes[panel.opened.order]))
    types = np.array([entry_size(float(x)) for x in spread.tolist()])
    of_rows = np.maximum.accumulate(histogram.look_up(types, panel.codes[panel.opened.order]))
    edges = np.flatnonzero(np.diff(of_rows, prepend=0, append=0))
    for first, last in pairwise(edges.tolist()):
        yield slice(first, last), float(rms[last - 1])


def _stream(
    matrix: Matrix, panel: CodedPanel, rows: slice, places: NDArray[np.int64], pool: Workers
) -> Stream:
    """Some rows of a panel's stream as one of their own, in other places."""
    m = panel.panel.m
    first, last = rows.start * m, rows.stop * m

    def read(chunk: Any) -> tuple[int, NDArray[np.int32]]:
        points = pool.local.array("points", (chunk.count,), np.int32)
        matrix.chunk_points(panel, chunk, points)
        low, high = max(first, chunk.start), min(last, chunk.start + chunk.count)
        return low - first, points[low - chunk.start : high - chunk.start]

    chunks = [c for c in panel.panel.chunks if c.start < last and c.start + c.count > first]
    return Stream(places, chunks, read)


def _parts(whole: Integers, columns: NDArray[np.int64], size: int) -> Iterator[Kept]:
    """Rectangles of about so many entries."""
    count, m = whole.rows.shape
    limbs, rest = _short(whole), whole.rest
    wide = min(m, _WIDE)
    high = max(1, size // wide)
    for i in range(0, count, high):
        rows = slice(i, min(i + high, count))
        low, end = np.searchsorted(rest.row, [rows.start, rows.stop])
        for j in range(0, m, wide):
            across = slice(j, min(j + wide, m))
            here = low + np.flatnonzero(
                (rest.coordinate[low:end] >= across.start) & (rest.coordinate[low:end] < across.stop)
            )
            part = Rest(rest.row[here] - i, rest.coordinate[here] - j, rest.value[here])
            some = tuple(x[rows, across] for x in limbs)
            peaks = tuple(max(int(x.max(initial=0)), -int(x.min(initial=0))) for x in some)
            yield KeptPoints(columns[rows], across, m, some, peaks, part)


def _short(whole: Integers) -> list[NDArray[Any]]:
    """Limbs of at most int16."""
    limbs = whole.limbs
    if limbs[-1].dtype != np.int32:
        return limbs
    high = limbs.pop()
    upper = (high >> SHIFT) + (high >> (SHIFT - 1) & 1)
    return [*limbs, (high - (upper << SHIFT)).astype(np.int16), upper.astype(np.int16)]
