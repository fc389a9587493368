"""Elementary functions whose results are the same on every machine.

Whatever decides bytes of a file (tables, lattice scale, classes) is computed with these: only IEEE additions,
multiplications, divisions and square roots in a fixed order, and exact scaling by powers of two. The `exp` and `log` of
NumPy and of C libraries differ in the last bit between processors.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

GRID = 4096
"""Steps an octave of the grid on which lattice scales lie."""

_LN2_HIGH = 0.693145751953125  # the first 20 bits: products with small integers are exact
_LN2_LOW = 1.4286068203094172e-06
_INV_LN2 = 1.4426950408889634
_EXP = [1.0]
for _i in range(1, 15):
    _EXP.append(_EXP[-1] * _i)


def exp(x: ArrayLike) -> NDArray[np.float64]:
    """Exponential of an array of float64 (arguments below -700 give 0).

    Parameters
    ----------
    x : array_like of float64, at most 700

    Returns
    -------
    ndarray of float64
    """
    x = np.asarray(x, dtype=np.float64)
    clipped = np.maximum(x, -700.0)
    k = np.rint(clipped * _INV_LN2)
    r = (clipped - k * _LN2_HIGH) - k * _LN2_LOW
    value = np.full_like(r, 1.0 / _EXP[14])
    for i in range(13, -1, -1):
        value = value * r + 1.0 / _EXP[i]
    return np.where(x < -700.0, 0.0, np.ldexp(value, k.astype(np.int32)))


def log2(x: ArrayLike) -> NDArray[np.float64]:
    """Binary logarithm of an array of positive float64."""
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = exponent - low
    t = (mantissa - 1.0) / (mantissa + 1.0)
    square = t * t
    series = np.full_like(t, 1.0 / 23.0)
    for i in range(21, 0, -2):
        series = series * square + 1.0 / i
    return exponent + (2.0 * _INV_LN2) * (t * series)


@lru_cache(maxsize=1)
def _octave() -> NDArray[np.float64]:
    table = np.ones(GRID)
    root, index = 2.0, np.arange(GRID)
    for bit in range(11, -1, -1):
        root = float(np.sqrt(root))
        table = np.where(index >> bit & 1, table * root, table)
    table.setflags(write=False)
    return table


PIECE = 1 << 16
"""Columns to work on at a time, where there may be millions."""


def pieces(count: int, size: int = PIECE) -> list[slice]:
    """Slices of at most `size` that cover 0 … count - 1 in order."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def total(x: ArrayLike) -> float:
    """Sum of float64 in the order of the array."""
    x = np.asarray(x, dtype=np.float64)
    return total_of(x[chosen] for chosen in pieces(len(x)))


def total_of(parts: Iterable[NDArray[np.float64]]) -> float:
    """Sum of float64 in the order of arrays that follow each other."""
    value: float | None = None
    for part in parts:
        if len(part):
            value = np.add.accumulate(part if value is None else np.concatenate([[value], part]))[-1]
    return 0.0 if value is None else float(value)


def exp2(code: ArrayLike) -> NDArray[np.float64]:
    """Powers of two on the grid: 2 ** (code / 4096) for an array of integers; infinite beyond float64."""
    code = np.asarray(code, dtype=np.int64)
    exponent = np.minimum(np.maximum(code >> 12, -4000), 4000).astype(np.int32)  # np.clip takes longer
    with np.errstate(over="ignore"):
        value: NDArray[np.float64] = np.ldexp(_octave()[code & (GRID - 1)], exponent)
    return value


def round_log2(x: ArrayLike, steps: int) -> NDArray[np.int64]:
    """Nearest integer to ``steps * log2(x)`` for positive float64, by comparison with the exact grid.

    Parameters
    ----------
    x : array_like of float64, positive
    steps : int
        Steps an octave, a divisor of 2048.

    Returns
    -------
    ndarray of int64
    """
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    edges, below = _edges(steps)
    mantissa = mantissa * 2.0
    index = below[((mantissa - 1.0) * (2 * steps)).astype(np.int64)]
    index += mantissa >= edges[index]
    return (exponent.astype(np.int64) - 1) * steps + index


@lru_cache(maxsize=4)
def _edges(steps: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where in [1, 2) the nearest step is the next, and how many of these are at most 1, 1 + 1 / (2 steps), ….

    Two of them are farther apart: no more than one lies in between.
    """
    half = GRID // (2 * steps)
    edges = _octave()[half :: 2 * half]
    starts = 1.0 + np.arange(2 * steps) / (2 * steps)
    return np.append(edges, np.inf), np.searchsorted(edges, starts, side="right").astype(np.int64)
