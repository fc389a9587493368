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
        load(first, last) gives int32 of shape (last - first, m), zeros for dropped columns.
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
    load: Callable[[int, int], np.ndarray]

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.unit)

    def energies(self, columns=slice(None)) -> np.ndarray:
        """Energies of columns in units of 4 ** exponent."""
        return norms.energy(self.side.codes[columns], 512 * self.exponent)


def integer_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products of integer rows, exact: float64 of shape (len(a), len(b)).

    Parameters
    ----------
    a, b : ndarray of int32, shapes (wa, m) and (wb, m)

    Notes
    -----
    Where even float64 could not hold every partial sum, the coordinates are split into equal parts whose exact products are
    added in order, so that the result depends on the data alone.
    """
    bound = math.sqrt(_largest_square(a) * _largest_square(b)) * (1.0 + 1e-6)
    if bound < 2.0**24:
        return (a.astype(np.float32) @ b.astype(np.float32).T).astype(np.float64)
    if bound < 2.0**53 or a.shape[1] == 1:
        return a.astype(np.float64) @ b.astype(np.float64).T
    half = a.shape[1] // 2
    return integer_product(a[:, :half], b[:, :half]) + integer_product(a[:, half:], b[:, half:])


def _largest_square(a: np.ndarray) -> float:
    largest = 0.0
    for first in range(0, len(a), 64):
        block = a[first : first + 64].astype(np.float64)
        largest = max(largest, float(np.einsum("ij,ij->i", block, block).max(initial=0.0)))
    return largest


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
        self._cache: dict[tuple[int, int], np.ndarray] = {}
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
                raw = np.empty((last - first, self.b.columns))
                for j, k in self.b.blocks:
                    raw[:, j:k] = integer_product(left[first - panel_first : last - panel_first], self._right(j, k))
                yield first, last, raw

    def _left(self, first: int, last: int) -> np.ndarray:
        points = self.a.load(first, last)
        return points if self._meet_a is None else np.ascontiguousarray(points[:, self._meet_a])

    def _right(self, first: int, last: int) -> np.ndarray:
        if (first, last) in self._cache:
            return self._cache[first, last]
        points = self.b.load(first, last)
        if self._meet_b is not None:
            points = np.ascontiguousarray(points[:, self._meet_b])
        if self._keep_b:
            self._cache[first, last] = points
        return points

    def _pairs(self, first: int, last: int) -> np.ndarray:
        return excess_noise(self.a.side.noise[first:last], self.b.side.noise, self.kappa)

    def _scaled(self, first: int, last: int, raw: np.ndarray) -> np.ndarray:
        a, b = self.a, self.b
        factor = alpha(self.estimator, self.theta, self._pairs(first, last)) / self.kappa
        out = raw * a.unit[first:last, None] * b.unit[None, :] * factor
        if self.same:
            i = np.arange(last - first)
            out[i, i + first] = a.energies(slice(first, last))
        with np.errstate(over="ignore", invalid="ignore"):
            out = np.ldexp(out, a.exponent + b.exponent)
            out += (a.side.n * a.means[first:last])[:, None] * b.means[None, :]
        return out

    def _measure(self) -> None:
        """Find θ, and how the energy of the product is spread, from all of it or from a sample of columns."""
        a, b = self.a, self.b
        self.theta, self._missed, self._dropped, self.guessed = 1.0, 1.0, 1.0, 0.0
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
                    raw[:, chosen] = integer_product(left, self._right(j, k)[columns[chosen] - j])
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
        self.guessed = self._dropped * (1.0 - a.side.coded_share() * b.side.coded_share()) / error if error > 0 else 0.0
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
        error = np.square(1.0 - factor) * self._missed + np.square(factor) * np.where(np.isfinite(nu), nu, 0.0)
        return total(error * energy * energy)


def _squares(x: np.ndarray) -> float:
    return total(x * x)


def _sample(count: int) -> np.ndarray:
    return np.arange(min(count, _SAMPLE)) * count // min(count, _SAMPLE)


def _gather(operand: Operand, load, chosen: np.ndarray) -> np.ndarray:
    parts = []
    for first, last in operand.blocks:
        inside = chosen[(chosen >= first) & (chosen < last)]
        if len(inside):
            parts.append(load(first, last)[inside - first])
    return np.concatenate(parts)
