"""The exact product of decoded points.

Decoded points are integers, so their inner products are integers, and a floating-point GEMM over integers is exact in any
order of summation, blocking or contraction while every partial sum stays below 2²⁴ (float32) or 2⁵³ (float64). By
Cauchy–Schwarz all of them are below ‖y_a‖ ‖y_b‖, which is checked for every block. Scaling is per entry, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from . import norms, project
from .arithmetic import total
from .estimate import Side, alpha, excess_noise, expected_error
from .signal import Signal, group, group_energies

_WHOLE = 1 << 24
_SAMPLE = 4096
_ROW_BLOCK = 1 << 23
_CACHED = 1 << 25


@dataclass
class Operand:
    """One side of a product, integers to be loaded column range by column range.

    Attributes
    ----------
    name : str
        For messages.
    side : Side
    m : int
        Kept coordinates.
    rotation_seed : int
    means : ndarray of float64, shape (a,)
    mean_step : ndarray of float64, shape (a,)
        Steps to which the means were rounded, in units of 2 ** exponent; 0 for exact ones.
    unit : ndarray of float64, shape (a,)
        Worth of an integer in each column, in units of 2 ** exponent.
    exponent : int
        A power of two near the norm of the loudest column.
    blocks : list of tuple of int
        Ranges of columns that are best loaded together.
    load : callable
        load(first, last) gives (points, order): int32 of shape (columns, m), and which of the columns first … last - 1 each
        is; order None stands for all of them in order.
    """

    name: str
    side: Side
    m: int
    rotation_seed: int
    means: np.ndarray
    mean_step: np.ndarray
    unit: np.ndarray
    exponent: int
    blocks: list[tuple[int, int]]
    load: Callable[[int, int], tuple[np.ndarray, np.ndarray | None]]

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.unit)

    def energies(self, columns=slice(None)) -> np.ndarray:
        """Energies of columns in units of 4 ** exponent."""
        return norms.energy(self.side.codes[columns], 512 * self.exponent)


class Integers:
    """Rows of integers ready to be multiplied: as float32 where that holds them exactly, else as float64.

    Parameters
    ----------
    points : ndarray of int32, shape (w, m)
    order : ndarray of int, optional
        Row of each point vector, for those that are not in place; rows without one are zero.
    width : int, optional
        Number of rows where `order` is given.
    """

    def __init__(self, points: np.ndarray, order: np.ndarray | None = None, width: int = 0):
        exact = points.size == 0 or max(int(points.max()), -int(points.min())) < 1 << 24
        if order is None:
            self.rows = points.astype(np.float32 if exact else np.float64)
        else:
            make = np.empty if len(order) == width else np.zeros
            self.rows = make((width, points.shape[1]), np.float32 if exact else np.float64)
            self.rows[order] = points
        # the sum may be off by its own rounding, for which the bound allows
        squares = np.einsum("ij,ij->i", self.rows, self.rows)
        slack = 1.0 + points.shape[1] * (2.0**-22 if exact else 2.0**-51)
        self.bound = math.sqrt(float(squares.max(initial=0.0)) * slack)

    def chosen(self, rows: slice | np.ndarray) -> Integers:
        """Some of the rows, with the bound of all."""
        part = object.__new__(Integers)
        part.rows, part.bound = self.rows[rows], self.bound
        return part


def product_of(a: Integers, b: Integers) -> np.ndarray:
    """Exact inner products of rows, of shape (len(a.rows), len(b.rows)), float32 or float64.

    Notes
    -----
    Where even float64 could not hold every partial sum, the coordinates are split into equal parts whose exact products are
    added in order, so that the result depends on the data alone.
    """
    bound = a.bound * b.bound
    if bound < 2.0**24:
        return a.rows @ b.rows.T
    x, y = a.rows.astype(np.float64, copy=False), b.rows.astype(np.float64, copy=False)
    parts = 1
    while bound >= 2.0**53 and parts < x.shape[1]:
        parts *= 2
        edges = np.linspace(0, x.shape[1], parts + 1).astype(int)
        bound = max(_bound(x[:, i:j]) * _bound(y[:, i:j]) for i, j in zip(edges[:-1], edges[1:]))
    if parts == 1:
        return x @ y.T
    out = np.zeros((len(x), len(y)))
    for i, j in zip(edges[:-1], edges[1:]):
        out += x[:, i:j] @ y[:, i:j].T
    return out


def integer_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Exact inner products of rows of int32, shapes (wa, m) and (wb, m): float64 of shape (wa, wb)."""
    return product_of(Integers(a), Integers(b)).astype(np.float64, copy=False)


def _bound(x: np.ndarray) -> float:
    return math.sqrt(float(np.einsum("ij,ij->i", x, x).max(initial=0.0)) * (1.0 + x.shape[1] * 2.0**-51))


class Product:
    """The estimate of AᵀB from two operands.

    Parameters
    ----------
    a, b : Operand
        Of equal length and rotation seed.
    estimator : {"auto", "mmse", "unbiased"}
    same : bool
        Whether both are one and the same tensor: they share their dither, and the diagonal comes from the norms.

    Attributes
    ----------
    theta : float
        θ of the `auto` estimator.
    guessed : float
        The share of `error` that dropped columns contribute, whose products are not known.
    error : float
        Expected ‖AᵀB - Ĉ‖² relative to ‖Ā‖²‖B̄‖²/n.
    """

    def __init__(self, a: Operand, b: Operand, estimator: str, same: bool = False):
        self.a, self.b, self.same = a, b, same
        self.estimator = estimator
        self.kappa = min(a.side.kappa, b.side.kappa)
        shared, seed, n = min(a.m, b.m), a.rotation_seed, a.side.n
        self._meet_a = project.meet(seed, n, a.m, shared)
        self._meet_b = project.meet(seed, n, b.m, shared)
        self._cache: dict[tuple[int, int], Integers] = {}
        self._keep_b = b.columns * b.m <= _CACHED
        self._raw: np.ndarray | None = None
        self._measure()
        self.error = self._expected_error()

    def rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """The estimate in blocks of rows: (first row, float64 of shape (rows, b))."""
        for first, last, raw in self._raw_rows():
            yield first, self._scaled(first, last, raw)

    def _raw_rows(self) -> Iterator[tuple[int, int, np.ndarray]]:
        if self._raw is not None:
            width = max(1, _ROW_BLOCK // max(1, self.b.columns))
            for first in range(0, self.a.columns, width):
                last = min(first + width, self.a.columns)
                yield first, last, self._raw[first:last]
            return
        yield from self._computed_rows()

    def _computed_rows(self) -> Iterator[tuple[int, int, np.ndarray]]:
        width = max(1, _ROW_BLOCK // max(1, self.b.columns))
        for panel_first, panel_last in self.a.blocks:
            left = self._left(panel_first, panel_last)
            for first in range(panel_first, panel_last, width):
                last = min(first + width, panel_last)
                part = left.chosen(slice(first - panel_first, last - panel_first))
                raw = np.empty((last - first, self.b.columns))
                for j, k in self.b.blocks:
                    raw[:, j:k] = product_of(part, self._right(j, k))
                yield first, last, raw

    def _left(self, first: int, last: int) -> Integers:
        return _loaded(self.a, first, last, self._meet_a)

    def _right(self, first: int, last: int) -> Integers:
        if (first, last) in self._cache:
            return self._cache[first, last]
        integers = _loaded(self.b, first, last, self._meet_b)
        if self._keep_b:
            self._cache[first, last] = integers
        return integers

    def _pairs(self, first: int, last: int) -> np.ndarray:
        return excess_noise(self.a.side.noise[first:last], self.b.side.noise, self.kappa)

    def _scaled(self, first: int, last: int, raw: np.ndarray) -> np.ndarray:
        a, b = self.a, self.b
        out = alpha(self.estimator, self.theta, self._pairs(first, last))
        out *= raw
        out *= (a.unit[first:last] / self.kappa)[:, None]
        out *= b.unit[None, :]
        if self.same:
            i = np.arange(last - first)
            out[i, i + first] = a.energies(slice(first, last))
        with np.errstate(over="ignore", invalid="ignore"):
            np.ldexp(out, a.exponent + b.exponent, out=out)
            out += (a.side.n * a.means[first:last])[:, None] * b.means[None, :]
        return out

    def _measure(self) -> None:
        """Find θ, and how the energy of the product is spread, from all of it or from a sample of columns."""
        a, b = self.a, self.b
        self.theta, self._missed, self._dropped, self.guessed = 1.0, 1.0, (1.0, 1.0), 0.0
        if not a.columns or not b.columns:
            return
        if a.columns * b.columns <= _WHOLE:
            self._raw = np.empty((a.columns, b.columns))
            for first, last, raw in self._computed_rows():
                self._raw[first:last] = raw
            self._cache.clear()
            rows, columns, raw = np.arange(a.columns), np.arange(b.columns), self._raw
        else:
            rows, columns = _sample(a.columns), _sample(b.columns)
            raw = np.empty((len(rows), len(columns)))
            left = _gather(self.a, self._left, rows)
            for j, k in b.blocks:
                chosen = (columns >= j) & (columns < k)
                if chosen.any():
                    raw[:, chosen] = product_of(left, self._right(j, k).chosen(columns[chosen] - j))
        self._match(rows, columns, raw)

    def _match(self, rows: np.ndarray, columns: np.ndarray, raw: np.ndarray) -> None:
        """Learn from the raw products of some rows and columns where the energy of the product lies."""
        a, b = self.a, self.b
        side_a, side_b = a.side.part(rows), b.side.part(columns)
        energy_a, energy_b = a.energies(rows), b.energies(columns)
        group_a, group_b = group(side_a, energy_a), group(side_b, energy_b)
        if not len(group_a.energy) or not len(group_b.energy):
            return
        unit_a, unit_b = a.unit[rows] / self.kappa, b.unit[columns]
        found = group_energies(raw, unit_a, unit_b, group_a, group_b, not self.same)
        entries = side_a.spread() * side_b.spread()
        signal = Signal(found, group_a, group_b, a.side.n, self.kappa, entries)
        self.theta = signal.theta() if self.estimator == "auto" else 1.0
        self._missed = signal.missed(self.estimator, self.theta)
        self._dropped = signal.dropped

    def _expected_error(self) -> float:
        a, b = self.a, self.b
        if not a.columns or not b.columns:
            return 0.0
        scale = total(a.energies()) * total(b.energies()) / a.side.n
        if scale <= 0.0:
            return 0.0
        error = expected_error(a.side, b.side, self.estimator, self.theta, self._missed, self._dropped)
        lost_a, lost_b = 1.0 - a.side.coded_share(), 1.0 - b.side.coded_share()
        one, both = lost_a * (1.0 - lost_b) + (1.0 - lost_a) * lost_b, lost_a * lost_b
        self.guessed = (one * self._dropped[0] + both * self._dropped[1]) / error if error > 0 else 0.0
        if self.same:
            error -= self._diagonal_error() / (scale * a.side.n)
        # what rounding left in the means, times the partner's mean
        left = _squares(np.ldexp(a.means, -a.exponent)) * _squares(b.mean_step)
        right = _squares(np.ldexp(b.means, -b.exponent)) * _squares(a.mean_step)
        return error + (left + right) * a.side.n**2 / 12.0 / scale

    def _diagonal_error(self) -> float:
        """What `expected_error` counts for the diagonal of a matrix times itself, which the norms give instead."""
        noise, energy = self.a.side.noise, self.a.energies()
        nu = np.square(1.0 + noise) / self.kappa - 1.0
        factor = alpha(self.estimator, self.theta, nu)
        error = np.square(1.0 - factor) * self._missed + np.square(factor) * np.where(
            np.isfinite(nu), nu, 0.0
        )
        return total(error * energy * energy)


def _squares(x: np.ndarray) -> float:
    return total(x * x)


def _sample(count: int) -> np.ndarray:
    return np.arange(min(count, _SAMPLE)) * count // min(count, _SAMPLE)


def _loaded(operand: Operand, first: int, last: int, meet: np.ndarray | None) -> Integers:
    points, order = operand.load(first, last)
    return Integers(points if meet is None else points[:, meet], order, last - first)


def _gather(operand: Operand, load: Callable[[int, int], Integers], chosen: np.ndarray) -> Integers:
    parts = []
    for first, last in operand.blocks:
        inside = chosen[(chosen >= first) & (chosen < last)]
        if len(inside):
            parts.append(load(first, last).chosen(inside - first))
    gathered = parts[0]
    gathered.rows = np.concatenate([part.rows for part in parts])
    gathered.bound = max(part.bound for part in parts)
    return gathered
