"""Choice of Δ, κ and the dropped columns for a budget of bits (entropy coding).

Reverse water-filling: the Frobenius error of a product is least when every column carries the same absolute noise, so one Δ
serves the matrix, and a column too quiet for its bits is dropped: with x = e / (D Δ²), kept iff x² / (1 + x) ≥ 2 ln 2 · R(x).
The optimum is flat, so columns down to three quarters of an octave of variance below that are kept: what dropped columns
contribute to the error of a product is not known from the files, and the prediction has to guess it.
At low rate, time sharing: κ minimizes 1 - κ w(R/κ)², the error of a product with an unrelated partner of the same rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import numpy as np

from nqz.ground.arithmetic import log2, round_log2, total
from nqz.stages import norms
from nqz.stages.chunks import lanes_of, padded
from nqz.stages.codings import tables
from nqz.stages.lattices import Lattice
from nqz.stages.panels import chunk_counts
from nqz.stages.scale import CLASSES, MAX_LOG_VARIANCE, ratio, scaling

CHUNK_OVERHEAD = 16 + 4 + 5
"""Bytes a chunk beside its entropy-coded data and rANS states: record framing, section sizes, index entry."""


@dataclass(frozen=True)
class Plan:
    """Parameters for a budget: kept coordinates m, delta code, lowest coded class, and the bits they should take."""

    m: int
    delta: int
    lowest_class: int
    bits: float


_DROP_MARGIN = 3 * CLASSES // 4

_STEPS = 8  # tries by slope before the range is halved

_DELTA_RANGE = (MAX_LOG_VARIANCE // 2 + 8) * 4096


@lru_cache(maxsize=16)
def lowest_class(lattice: Lattice) -> int:
    """The lowest class to code under reverse water-filling."""
    index = int(round_log2(lattice.fine_moment, CLASSES))
    while True:
        variance = tables.class_variance(index)
        x = variance / lattice.fine_moment - 1.0
        bits = float(tables.rate(lattice, np.array([variance]), np.array([index]))[0])
        if x > 0 and x * x / (1.0 + x) >= 2.0 * 0.6931471805599453 * bits:
            return index - _DROP_MARGIN
        index += 1


@dataclass(frozen=True)
class Population:
    """How many columns there are of each norm code; arrays of equal length.

    Attributes
    ----------
    n : int
        Length of a column.
    codes, counts : ndarray of int64
        Different norm codes in increasing order, and their numbers of columns.
    """

    n: int
    codes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, n: int) -> Population:
        """Count the columns of every code."""
        histogram = norms.Histogram.of(codes)
        return cls(n, histogram.codes, histogram.counts)


def expected_bits(
    columns: Population, m: int, lattice: Lattice, delta: int, allocate: str, lowest: int
) -> float:
    """Bits of all chunks, framing included, for the given parameters."""
    n = columns.n
    s = scaling(columns.codes, n, lattice, delta, allocate, lowest)
    if not s.kept.any():
        return 0.0
    variance = (ratio(s.log_ratio[s.kept], n) + lattice.second_moment) * lattice.fine * lattice.fine
    counts = columns.counts[s.kept]
    bits = total(tables.rate(lattice, variance, s.classes[s.kept]) * counts) * m
    entries = float(counts.sum()) * m
    for size, number in chunk_counts(n, m, int(columns.counts.sum()), int(counts.sum())):
        lanes = lanes_of(size)
        padding = padded(lattice, size, lanes) - size
        bits += number * (padding * bits / entries + 16.0 * lanes + 8.0 * CHUNK_OVERHEAD)
    return bits


def shrinkage(columns: Population, lattice: Lattice, delta: int, allocate: str, lowest: int) -> float:
    """w: the energy-weighted mean of 1 / (1 + d), 0 for dropped columns."""
    s = scaling(columns.codes, columns.n, lattice, delta, allocate, lowest)
    energy = norms.energy(columns.codes, norms.reference(columns.codes)) * columns.counts
    whole = total(energy)
    return total(energy / (1.0 + s.noise)) / whole if whole > 0 else 0.0


def finest_delta(codes, n: int, allocate: str) -> int:
    """The least delta code that the kernels' fixed point allows for the loudest column."""
    loudest = norms.reference(codes) if allocate == "matrix" else 0
    return (16 * loudest - 4096 * (n.bit_length() - 1) - (MAX_LOG_VARIANCE << 12)) // 2 + 4096


def solve_delta(
    columns: Population, m: int, lattice: Lattice, allocate: str, lowest: int, budget: float
) -> tuple[int, float]:
    """The least delta code whose expected bits fit the budget, and those bits."""
    low = finest_delta(columns.codes, columns.n, allocate)
    high = low + _DELTA_RANGE
    bits = expected_bits(columns, m, lattice, low, allocate, lowest)
    if bits <= budget:
        return low, bits
    fits = None
    guess, slope = _likely_delta(columns, m, lattice, allocate, budget)
    for steps in count():
        # An entry costs a bit more for every octave of Δ, nearly; where columns are dropped, halving must help.
        at = (low + high) // 2 if steps >= _STEPS else min(max(guess, low + 1), high - 1)
        bits = expected_bits(columns, m, lattice, at, allocate, lowest)
        if bits <= budget:
            high, fits = at, bits
            guess = at - max(1, int((budget - bits) / slope))
        else:
            low = at
            guess = at + 1 + int((bits - budget) / slope)
        if high - low <= 1:
            break
    return high, expected_bits(columns, m, lattice, high, allocate, lowest) if fits is None else fits


def _likely_delta(
    columns: Population, m: int, lattice: Lattice, allocate: str, budget: float
) -> tuple[int, float]:
    """The delta code at which columns that are all coded, at high rate, fit the budget; bits by which one step changes it."""
    alive = columns.codes != norms.ZERO
    codes, counts = columns.codes[alive], columns.counts[alive]
    several = max(1.0, total(counts))
    entries = several * m
    norm = 8.0 * total(codes * counts) / several if allocate == "matrix" else 0.0
    spread = 2048.0 * float(log2(columns.n * lattice.second_moment))
    return int(norm - spread - 4096.0 * (budget / entries)), entries / 4096.0


def _error(columns: Population, m: int, lattice: Lattice, delta: int, allocate: str, lowest: int) -> float:
    """Expected error of a product with an unrelated partner coded alike."""
    w = shrinkage(columns, lattice, delta, allocate, lowest)
    return 1.0 - m / columns.n * w * w


def _candidates(n: int, kappa: float | None) -> list[int]:
    """Numbers of coordinates to try, all of them first."""
    if kappa is not None:
        return [max(1, int(kappa * n))]
    if n < 32:
        return [n]
    return [n] + [max(1, fraction * n // 64) for fraction in range(60, 0, -4)]


def plan(codes, n: int, lattice: Lattice, allocate: str, budget: float, kappa: float | None = None) -> Plan:
    """Parameters for columns of the given norm codes whose chunks are to take at most `budget` bits.

    Parameters
    ----------
    codes : ndarray of int64, shape (a,)
        Norm codes.
    n : int
        Length of a column.
    lattice : Lattice
    allocate : {"matrix", "column"}
    budget : float
        Bits for all chunks, framing included.
    kappa : float, optional
        Fraction of coordinates to keep; chosen here by default.
    """
    lowest = lowest_class(lattice) if allocate == "matrix" else 0
    columns = Population.of(codes, n)
    entries = max(1, int(columns.counts[columns.codes != norms.ZERO].sum()) * n)
    best, least = None, np.inf
    for m in _candidates(n, kappa):
        delta, bits = solve_delta(columns, m, lattice, allocate, lowest, budget)
        error = _error(columns, m, lattice, delta, allocate, lowest)
        if error < least:
            best, least = Plan(m, delta, lowest, bits), error
        elif error > least + 0.02:
            break
        if budget > 1.5 * entries:  # time sharing is for low rates
            break
    return best


def plan_error(
    codes, n: int, lattice: Lattice, allocate: str, error: float, kappa: float | None = None
) -> Plan:
    """Parameters with the fewest bits whose expected error, with an unrelated partner coded alike, is at most `error`."""
    lowest = lowest_class(lattice) if allocate == "matrix" else 0
    columns, best = Population.of(codes, n), None
    for m in _candidates(n, kappa):
        low = finest_delta(codes, n, allocate)
        if best is not None and _error(columns, m, lattice, low, allocate, lowest) > error:
            break
        high = low + _DELTA_RANGE
        while high - low > 1:
            middle = (low + high) // 2
            if _error(columns, m, lattice, middle, allocate, lowest) <= error:
                low = middle
            else:
                high = middle
        bits = expected_bits(columns, m, lattice, low, allocate, lowest)
        if best is not None and bits >= best.bits:
            break
        best = Plan(m, low, lowest, bits)
    return best
