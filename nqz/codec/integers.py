"""Exact inner products of decoded points.

Decoded points are integers, most of them small: they are kept as int8 or int16, and the few that do not fit apart. Inner
products of two such operands are exact in int32 arithmetic that wraps, in any order, as long as the results fit. By
Cauchy–Schwarz they are at most ‖y_a‖ ‖y_b‖, from the exact norms of the rows. Where the kernels have no fast integer
product, or numbers are larger, a floating-point GEMM takes its place: over integers it is exact, too, in any order of
summation, blocking or contraction, while every partial sum stays below 2²⁴ (float32) or 2⁵³ (float64).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .. import kernels
from .operand import Stream

_TYPES = (np.int8, np.int16, np.int32)
_RARE = 16
"""Of 2 ** 16 entries one may be beyond its type."""

_SPREADS = 4.2
"""About one of 2 ** 16 Gaussian entries is beyond so many standard deviations; which type is tried first is a guess."""

_PIECE = 1 << 20


@dataclass(frozen=True)
class Rest:
    """What entries have beyond the range of their type, sorted by row."""

    row: np.ndarray
    coordinate: np.ndarray
    value: np.ndarray

    def within(self, first: int, last: int) -> zip:
        """Triples (row - first, coordinate, value) of a range of rows."""
        i, j = np.searchsorted(self.row, [first, last])
        return zip((self.row[i:j] - first).tolist(), self.coordinate[i:j].tolist(), self.value[i:j].tolist())


_NONE = Rest(*(np.zeros(0, np.int64) for _ in range(3)))


class Integers:
    """Rows of integers ready to be multiplied.

    Parameters
    ----------
    rows : ndarray of int8, int16 or int32, shape (w, m)
    rest : Rest
        To be added to the rows.

    Attributes
    ----------
    bound : float
        No row has a larger norm.
    """

    def __init__(self, rows: np.ndarray, rest: Rest = _NONE):
        self.rows, self.rest = rows, rest
        self.small = rows.dtype != np.int32
        self._bounds: dict[int, np.ndarray] = {}
        squares = self._squares(rows)
        if len(rest.row):
            clipped = rows[rest.row, rest.coordinate].astype(np.float64)
            np.add.at(squares, rest.row, np.square(clipped + rest.value) - np.square(clipped))
        self.bound = _root(squares, rows.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return self.rows.nbytes

    def bounds(self, parts: int) -> np.ndarray:
        """Largest norms of rows in each of so many equal parts of the coordinates, without the rest."""
        if parts not in self._bounds:
            m = self.rows.shape[1]
            edges = part_edges(m, parts)
            self._bounds[parts] = np.array(
                [_root(self._squares(self.rows[:, i:j]), m) for i, j in pairwise(edges)]
            )
        return self._bounds[parts]

    def _squares(self, rows: np.ndarray) -> np.ndarray:
        if self.small:
            sums = np.empty(len(rows), np.int64)
            kernels.row_energies(rows, sums)
            return sums.astype(np.float64)
        out = np.empty(len(rows))
        step = max(1, _PIECE // max(1, rows.shape[1]))
        for first in range(0, len(rows), step):
            x = rows[first : first + step].astype(np.float64)
            np.einsum("ij,ij->i", x, x, out=out[first : first + step])
        return out

    def chosen(self, chosen: np.ndarray) -> Integers:
        """Some of the rows, ascending."""
        if len(chosen) == len(self.rows):
            return self
        place = np.searchsorted(chosen, self.rest.row)
        kept = place < len(chosen)
        kept[kept] = chosen[place[kept]] == self.rest.row[kept]
        rest = Rest(place[kept], self.rest.coordinate[kept], self.rest.value[kept])
        return Integers(np.ascontiguousarray(self.rows[chosen]), rest)

    def floats(self, rows: slice, dtype) -> np.ndarray:
        """Some rows as floating-point numbers."""
        out = self.rows[rows].astype(dtype)
        for i, k, value in self.rest.within(rows.start, rows.stop):
            out[i, k] += value
        return out

    def column(self, rows: slice, k: int) -> np.ndarray:
        """Coordinate k of some rows, int64."""
        out = self.rows[rows, k].astype(np.int64)
        for i, coordinate, value in self.rest.within(rows.start, rows.stop):
            if coordinate == k:
                out[i] += value
        return out


def _root(squares: np.ndarray, m: int) -> float:
    # the sums may be off by their own rounding, for which the bound allows
    return math.sqrt(float(squares.max(initial=0.0)) * (1.0 + (m + 4) * 2.0**-51))


def part_edges(m: int, parts: int) -> np.ndarray:
    """Where equal parts of m coordinates begin and end."""
    return np.linspace(0, m, parts + 1).astype(int)


def narrowest(spread: float) -> type:
    """The type that nearly all points of a root mean square fit, unless they are far from Gaussian."""
    return next((t for t in _TYPES if _SPREADS * spread <= np.iinfo(t).max), np.int32)


def load(
    stream: Stream,
    width: int,
    m: int,
    meet: np.ndarray | None,
    spread: float,
    run: Callable,
) -> Integers:
    """Decode a block of columns, in the narrowest type that nearly all points fit.

    Parameters
    ----------
    stream : Stream
    width : int
        Columns of the block.
    m : int
        Coordinates of a column.
    meet : ndarray of int, optional
        The coordinates to keep; all by default.
    spread : float
        Root mean square of the loudest column, about.
    run : callable
        As `map`, perhaps in several threads.
    """
    make = np.empty if len(stream.order) == width else np.zeros
    for dtype in _TYPES[_TYPES.index(narrowest(spread)) :]:
        rows = make((width, m), dtype)
        most = 16 + (rows.size >> _RARE)

        def take(chunk, rows=rows, most=most):
            start, points = stream.read(chunk)
            clipped = kernels.narrow(points, start, stream.order, rows)
            return clipped, _beyond(points, start, stream.order, rows) if 0 < clipped <= most else None

        found, total = [], 0
        for clipped, rest in run(take, stream.chunks):
            total += clipped
            if rest is not None and total <= most:
                found.append(rest)
        if total <= most:
            break
    rest = _gathered(found)
    if meet is not None:
        rows = np.ascontiguousarray(rows[:, meet])
        place = np.minimum(np.searchsorted(meet, rest.coordinate), len(meet) - 1)
        kept = meet[place] == rest.coordinate
        rest = Rest(rest.row[kept], place[kept], rest.value[kept])
    return Integers(rows, rest)


def _beyond(points: np.ndarray, start: int, order: np.ndarray, rows: np.ndarray) -> Rest:
    info, m = np.iinfo(rows.dtype), rows.shape[1]
    where = np.flatnonzero((points > info.max) | (points < info.min))
    found = points[where].astype(np.int64)
    value = found - np.clip(found, info.min, info.max)
    return Rest(order[(start + where) // m], (start + where) % m, value)


def _gathered(found: list[Rest]) -> Rest:
    if not found:
        return _NONE
    row, coordinate, value = (
        np.concatenate(x) for x in zip(*((r.row, r.coordinate, r.value) for r in found))
    )
    order = np.lexsort((coordinate, row))
    return Rest(row[order], coordinate[order], value[order])


def result_type(a: Integers, b: Integers) -> type:
    """The type that holds all products of two operands: int32, or float64."""
    return np.int32 if a.bound * b.bound < 2.0**31 else np.float64


def multiply(a: Integers, b: Integers, rows: slice, columns: slice, out: np.ndarray) -> None:
    """Write the inner products of some rows of `a` with some of `b`; `out` is of their `result_type`.

    Notes
    -----
    Exact below 2⁵³. Beyond, the coordinates are split into equal parts whose exact products are added in order, so that the
    result depends on the operands alone.
    """
    bound = a.bound * b.bound
    if not (kernels.fast_product() and a.small and b.small and bound < 2.0**53):
        _float_product(a, b, rows, columns, bound, out)
        return
    left, right = a.rows[rows], b.rows[columns]
    if out.dtype == np.int32:
        kernels.integer_product(left, right, out)
    else:
        edges = part_edges(left.shape[1], _parts(a, b, 2.0**31))
        part = np.empty(out.shape, np.int32)
        out[...] = 0.0
        for i, j in pairwise(edges):
            kernels.integer_product(left[:, i:j], right[:, i:j], part)
            out += part
    # (A + A') (B + B')ᵀ = A Bᵀ + A' (B + B')ᵀ + A B'ᵀ
    for i, k, value in a.rest.within(rows.start, rows.stop):
        out[i] += (value * b.column(columns, k)).astype(out.dtype)
    for j, k, value in b.rest.within(columns.start, columns.stop):
        out[:, j] += (value * left[:, k].astype(np.int64)).astype(out.dtype)


def _float_product(
    a: Integers, b: Integers, rows: slice, columns: slice, bound: float, out: np.ndarray
) -> None:
    dtype = np.float32 if bound < 2.0**24 else np.float64
    x, y = a.floats(rows, dtype), b.floats(columns, dtype)
    if bound < 2.0**53:
        np.copyto(out, x @ y.T, casting="unsafe")
        return
    edges = part_edges(x.shape[1], _parts(a, b, 2.0**53))
    out[...] = 0.0
    for i, j in pairwise(edges):
        out += x[:, i:j] @ y[:, i:j].T


def _parts(a: Integers, b: Integers, limit: float) -> int:
    """Into how many parts to split the coordinates so that all products of parts stay below a limit."""
    parts = 1
    while parts < a.rows.shape[1] and (a.bounds(parts) * b.bounds(parts)).max() >= limit:
        parts *= 2
    return parts
