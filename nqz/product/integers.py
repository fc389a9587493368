"""Exact inner products of decoded points.

Decoded points are integers, most of them small: they are kept as int8, as int16 or as two int16, and the few that do
not fit apart. Inner products of two such operands are exact in int32 arithmetic that wraps, in any order, as long as
the results fit. By Cauchy–Schwarz they are at most ‖y_a‖ ‖y_b‖, from the exact norms of the rows. Where the kernels
have no fast integer product, or numbers are larger, a floating-point GEMM takes its place: over integers it is exact,
too, in any order of summation, blocking or contraction, while every partial sum stays below 2²⁴ (float32) or 2⁵³
(float64).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.cached import cached_property
from nqz.ground.threads import Workers
from nqz.product.stream import Stream

_TYPES = ((np.int8, None), (np.int16, None), (np.int16, np.int16), (np.int16, np.int32))
"""Ways to keep points: types of the rows, and of what there is above them."""

_RANGE = (1 << 7, 1 << 15, 1 << 30)
_RARE = 16
"""Of 2 ** 16 entries one may be beyond its type."""

_SPREADS = 4.2
"""About one of 2 ** 16 Gaussian entries is beyond so many standard deviations; which type is tried first is a guess."""

Rows = NDArray[Any]
"""Rows of int8 or int16 (what stands above them: of int32, too), shape (w, m)."""

SHIFT = 15
"""Larger points are taken apart into two of int16."""

_PIECE = 1 << 20

_FEW, _SHORT = 8, 1 << 14
"""So few rows of so small integers are multiplied without packing the others."""

_FAST = 2.0**49
"""Products are below this where those of limbs, and sums of them on the way, have room, a few times as large."""


@dataclass(frozen=True)
class Rest:
    """What entries have beyond the range of their type, sorted by row."""

    row: NDArray[np.int64]
    coordinate: NDArray[np.int64]
    value: NDArray[np.int64]

    def within(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Triples (row - first, coordinate, value) of a range of rows."""
        i, j = np.searchsorted(self.row, [first, last])
        triples = (self.row[i:j] - first, self.coordinate[i:j], self.value[i:j])
        return zip(*(x.tolist() for x in triples), strict=True)


_NONE = Rest(*(np.zeros(0, np.int64) for _ in range(3)))


class Integers:
    """Rows of integers ready to be multiplied: rows + 2 ** 15 high + rest.

    Parameters
    ----------
    rows : ndarray of int8 or int16, shape (w, m)
    rest : Rest
    high : ndarray of int16 or int32, shape (w, m), optional
        Zero by default.

    """

    def __init__(self, rows: Rows, rest: Rest = _NONE, high: Rows | None = None):
        self.rows, self.rest, self.high = rows, rest, high
        self._norms: dict[tuple[int | None, int], NDArray[np.float64]] = {}
        self._energies: NDArray[np.float64] | None = None

    @property
    def bound(self) -> float:
        """No row has a larger norm."""
        return float(self.norms(None, 1)[0])

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return self.rows.nbytes + (0 if self.high is None else self.high.nbytes)

    @property
    def limbs(self) -> list[Rows]:
        """The rows, least significant part first, without the rest."""
        return [self.rows] if self.high is None else [self.rows, self.high]

    def energies(self) -> NDArray[np.float64]:
        """Sums of the squares of each row."""
        if self._energies is None:
            self._energies = self._squares(None, slice(0, self.rows.shape[1]))
        return self._energies

    @cached_property
    def peak(self) -> int:
        """No entry of `rows` is larger."""
        if self.rows.dtype == np.int8:
            return 1 << 7
        return max(int(self.rows.max(initial=0)), -int(self.rows.min(initial=0)))

    def norms(self, limb: int | None, parts: int) -> NDArray[np.float64]:
        """Largest norms in each of so many equal parts of the coordinates, of one limb, or of all with the rest."""
        if (limb, parts) not in self._norms:
            m = self.rows.shape[1]
            spans = pairwise(part_edges(m, parts))
            whole = limb is None and parts == 1
            squares = [self.energies()] if whole else [self._squares(limb, slice(*span)) for span in spans]
            self._norms[limb, parts] = np.array([_root(sums, m) for sums in squares])
        return self._norms[limb, parts]

    def _squares(self, limb: int | None, part: slice) -> NDArray[np.float64]:
        if limb is not None:
            sums = np.empty(len(self.rows), np.int64)
            kernels.row_energies(self.limbs[limb][:, part], sums)
            return sums.astype(np.float64)
        out, rest = self._wide_squares(part), self.rest
        chosen = (rest.coordinate >= part.start) & (rest.coordinate < part.stop)
        if chosen.any():
            row, coordinate = rest.row[chosen], rest.coordinate[chosen]
            clipped = self.rows[row, coordinate].astype(np.float64)
            if self.high is not None:
                clipped += self.high[row, coordinate] * 2.0**SHIFT
            np.add.at(out, row, np.square(clipped + rest.value[chosen]) - np.square(clipped))
        return out

    def _wide_squares(self, part: slice) -> NDArray[np.float64]:
        if self.high is None:
            return self._squares(0, part)
        out = np.empty(len(self.rows))
        step = max(1, _PIECE // max(1, self.rows.shape[1]))
        for first in range(0, len(out), step):
            chosen = slice(first, first + step), part
            x = self.rows[chosen] + self.high[chosen] * 2.0**SHIFT
            np.einsum("ij,ij->i", x, x, out=out[first : first + step])
        return out

    def chosen(self, chosen: NDArray[np.int64]) -> Integers:
        """Some of the rows, ascending."""
        if len(chosen) == len(self.rows):
            return self
        place = np.searchsorted(chosen, self.rest.row)
        kept = place < len(chosen)
        kept[kept] = chosen[place[kept]] == self.rest.row[kept]
        rest = Rest(place[kept], self.rest.coordinate[kept], self.rest.value[kept])
        high = None if self.high is None else self.high[chosen]
        return Integers(self.rows[chosen], rest, high)

    def coarse(self) -> tuple[Integers, int]:
        """The same divided by a power of two and rounded to int16, where products of rows would be too large.

        And the exponent of that power. Plain sides would be multiplied with themselves by BLAS otherwise.
        """
        if self.bound**2 < _FAST:
            return self, 0
        exact = self.floats(slice(0, len(self.rows)), np.float64)
        peak = float(np.abs(exact).max(initial=0.0))
        shift = max(0, math.frexp(2.0 * self.bound / math.sqrt(_FAST))[1], math.frexp(peak)[1] - 15)
        rounded = np.rint(np.ldexp(exact, -shift)).clip(-(2.0**15), 2.0**15 - 1.0)
        return Integers(rounded.astype(np.int16)), shift

    def floats(self, rows: slice, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """Some rows as floating-point numbers."""
        out: NDArray[Any] = self.rows[rows].astype(dtype)
        if self.high is not None:
            out += self.high[rows] * dtype(1 << SHIFT)
        for i, k, value in self.rest.within(rows.start, rows.stop):
            out[i, k] += value
        return out

    def column(self, rows: slice, k: int, rest: bool = True) -> NDArray[np.int64]:
        """Coordinate k of some rows, int64; with or without the rest."""
        out: NDArray[np.int64] = self.rows[rows, k].astype(np.int64)
        if self.high is not None:
            out += self.high[rows, k].astype(np.int64) << SHIFT
        for i, coordinate, value in self.rest.within(rows.start, rows.stop):
            if rest and coordinate == k:
                out[i] += value
        return out


def joined(pieces: list[tuple[int, Integers]]) -> Integers:
    """Pieces that follow each other as one."""
    if len(pieces) == 1:
        return pieces[0][1]
    rests = [Rest(one.rest.row + first, one.rest.coordinate, one.rest.value) for first, one in pieces]
    high = [one.high for _, one in pieces if one.high is not None]
    rows = np.concatenate([one.rows for _, one in pieces])
    return Integers(rows, _gathered(rests), np.concatenate(high) if high else None)


def at(meet: NDArray[np.int64], whole: Integers) -> Integers:
    """Some of the coordinates alone."""
    return _at(meet, whole.rows, whole.rest, whole.high)


def _root(squares: NDArray[np.float64], m: int) -> float:
    # the sums may be off by their own rounding, for which the bound allows
    return math.sqrt(float(squares.max(initial=0.0)) * (1.0 + (m + 4) * 2.0**-51))


def part_edges(m: int, parts: int) -> NDArray[np.int64]:
    """Where equal parts of m coordinates begin and end."""
    return np.linspace(0, m, parts + 1).astype(np.int64)


def _narrowest(rms: float) -> int:
    """Which of the ways to keep points will do, unless they are far from Gaussian."""
    return sum(_SPREADS * rms >= limit for limit in _RANGE)


def entry_size(rms: float) -> int:
    """Bytes that a point of a root mean square takes."""
    return sum(np.dtype(t).itemsize for t in _TYPES[_narrowest(rms)] if t is not None)


def load(
    stream: Stream,
    width: int,
    m: int,
    meet: NDArray[np.int64] | None,
    rms: float,
    pool: Workers,
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
    rms : float
        Root mean square of the loudest column, about.
    pool : Workers
    """
    make = np.empty if len(stream.order) == width else np.zeros
    for low_type, high_type in _TYPES[_narrowest(rms) :]:
        rows: Rows = make((width, m), low_type)
        high: Rows | None = None if high_type is None else make((width, m), high_type)
        most, total, found = 16 + (rows.size >> _RARE), 0, []
        for clipped, rest in pool.map(partial(_take, stream, rows, high, most), stream.chunks):
            total += clipped
            if rest is not None and total <= most:
                found.append(rest)
        if total <= most:
            break
    assert total <= most  # the last way takes all
    whole = _gathered(found)
    if high is not None:
        whole = Rest(whole.row, whole.coordinate, whole.value << SHIFT)
    return Integers(rows, whole, high) if meet is None else _at(meet, rows, whole, high)


def _take(stream: Stream, rows: Rows, high: Rows | None, most: int, chunk: Any) -> tuple[int, Rest | None]:
    """Put the points of a chunk into rows; count those beyond their type, and return them if there are few."""
    if stream.read_bytes is not None:
        start, found = stream.read_bytes(chunk)
        m = rows.shape[1]
        rows[stream.order[start // m : (start + len(found)) // m]] = found.reshape(-1, m)
        return 0, None
    start, points = stream.read(chunk)
    if high is not None:
        upper = (points >> SHIFT) + (points >> (SHIFT - 1) & 1)
        kernels.narrow(points - (upper << SHIFT), start, stream.order, rows)
        points = upper
    into = rows if high is None else high
    clipped = kernels.narrow(points, start, stream.order, into)
    return clipped, _beyond(points, start, stream.order, into) if 0 < clipped <= most else None


def _at(meet: NDArray[np.int64], rows: Rows, rest: Rest, high: Rows | None) -> Integers:
    """Some of the coordinates alone."""
    rows = np.ascontiguousarray(rows[:, meet])
    high = None if high is None else np.ascontiguousarray(high[:, meet])
    place = np.minimum(np.searchsorted(meet, rest.coordinate), len(meet) - 1)
    kept = meet[place] == rest.coordinate
    return Integers(rows, Rest(rest.row[kept], place[kept], rest.value[kept]), high)


def _beyond(points: NDArray[np.int32], start: int, order: NDArray[np.int64], rows: Rows) -> Rest:
    info, m = np.iinfo(rows.dtype), rows.shape[1]
    where = np.flatnonzero((points > info.max) | (points < info.min))
    found = points[where].astype(np.int64)
    value = found - np.clip(found, info.min, info.max)
    return Rest(order[(start + where) // m], (start + where) % m, value)


def _gathered(found: list[Rest]) -> Rest:
    if not found:
        return _NONE
    row, coordinate, value = (
        np.concatenate(x) for x in zip(*((r.row, r.coordinate, r.value) for r in found), strict=True)
    )
    order = np.lexsort((coordinate, row))
    return Rest(row[order], coordinate[order], value[order])


def result_type(a: Integers, b: Integers) -> type[np.int32] | type[np.float64]:
    """The type that holds all products of two operands: int32, or float64."""
    return np.int32 if a.high is b.high is None and a.bound * b.bound < 2.0**31 else np.float64


def multiply(a: Integers, b: Integers, rows: slice, columns: slice, out: NDArray[Any]) -> None:
    """Write the inner products of some rows of `a` with some of `b`; `out` is of their `result_type`.

    Notes
    -----
    Exact below 2⁵³. Beyond, the coordinates are split into equal parts whose exact products are added in order, so that
    the result depends on the operands alone.
    """
    bound = a.bound * b.bound
    narrow = all(x.high is None or x.high.dtype == np.int16 for x in (a, b))
    if not (kernels.fast_product() and narrow and bound < _FAST):
        _float_product(a, b, rows, columns, bound, out)
        return
    if out.dtype == np.int32 and out.shape[1] <= _FEW and b.peak <= _SHORT:
        found = np.empty(out.shape, np.int64)
        kernels.row_products(a.rows[rows], a.peak, b.rows[columns].astype(np.int16), found)
        np.copyto(out, found, casting="unsafe")
    elif out.dtype == np.int32:
        kernels.integer_product(a.rows[rows], b.rows[columns], out)
    else:
        _long_product(a, b, rows, columns, out)
    # (A + A') (B + B')ᵀ = A Bᵀ + A' (B + B')ᵀ + A B'ᵀ
    for i, k, value in a.rest.within(rows.start, rows.stop):
        out[i] += (value * b.column(columns, k)).astype(out.dtype)
    for j, k, value in b.rest.within(columns.start, columns.stop):
        out[:, j] += (value * a.column(rows, k, rest=False)).astype(out.dtype)


def _long_product(a: Integers, b: Integers, rows: slice, columns: slice, out: NDArray[Any]) -> None:
    """Products that int32 does not hold, limb by limb and in parts that it does."""
    part, scaled = np.empty(out.shape, np.int32), np.empty(out.shape)
    out[...] = 0.0
    for p, left in enumerate(a.limbs):
        for q, right in enumerate(b.limbs):
            for i, j in pairwise(_parts(a, b, 2.0**31, p, q)):
                kernels.integer_product(left[rows, i:j], right[columns, i:j], part)
                np.multiply(part, 2.0 ** (SHIFT * (p + q)), out=scaled)
                out += scaled


def _float_product(
    a: Integers, b: Integers, rows: slice, columns: slice, bound: float, out: NDArray[Any]
) -> None:
    dtype: type[np.floating[Any]] = np.float32 if bound < 2.0**24 else np.float64
    x, y = a.floats(rows, dtype), b.floats(columns, dtype)
    if bound < 2.0**53:
        np.copyto(out, x @ y.T, casting="unsafe")
        return
    out[...] = 0.0
    for i, j in pairwise(_parts(a, b, 2.0**53)):
        out += x[:, i:j] @ y[:, i:j].T


def _parts(
    a: Integers, b: Integers, limit: float, p: int | None = None, q: int | None = None
) -> NDArray[np.int64]:
    """Edges of equal parts of the coordinates in which all products (of limbs p and q) stay below a limit."""
    m, parts = a.rows.shape[1], 1
    while parts < m and (a.norms(p, parts) * b.norms(q, parts)).max() >= limit:
        parts *= 2
    return part_edges(m, min(parts, max(m, 1)))
