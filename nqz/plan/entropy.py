"""Choice of Δ, κ and the dropped columns for a budget of bits (entropy coding).

Reverse water-filling: the Frobenius error of a product is least when every column carries the same absolute noise, so
one Δ serves the matrix, and a column too quiet for its bits is dropped: with x = e / (D Δ²), kept iff x² / (1 + x) ≥
2 ln 2 · R(x). The optimum is flat, so columns down to three quarters of an octave of variance below that are kept:
what dropped columns contribute to the error of a product is not known from the files, and the prediction has to guess
it. At low rate, time sharing: κ minimizes 1 - κ w(R/κ)², the error of a product with an unrelated partner of the same
rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import GRID, log2, round_log2, total
from nqz.ground.cached import cached_property
from nqz.ground.layout import lanes_of, padded
from nqz.plan.task import Plan, Probe, Target, Task, check_reached, coded_entries, predicted
from nqz.stages import norms
from nqz.stages.codings import tables
from nqz.stages.estimate import Side
from nqz.stages.lattices import Lattice
from nqz.stages.norms import Histogram
from nqz.stages.panels import chunk_counts
from nqz.stages.parameters import Parameters
from nqz.stages.scale import CLASSES, ENERGY_STEP, OCTAVES, finest_delta, ratio, scaling
from nqz.stages.statistics import Statistics

HEADER_ROOM = 16
"""Bytes by which a header may grow once its numbers are known."""

CHUNK_OVERHEAD = 16 + 4 + 5
"""Bytes a chunk beside its entropy-coded data and rANS states: record framing, section sizes, index entry."""

_DROP_MARGIN = 3 * CLASSES // 4

_LN_2 = 0.6931471805599453

_STATE_BITS = 16.0  # of the rANS state of a lane, those that hold nothing else

_ROUGHLY = 1e-3  # of a budget may be left over, where bits need not be exact

_STEEP = 0.5  # error below which it follows Δ

_STEPS = 8  # tries by slope before the range is halved

_DELTA_RANGE = (OCTAVES // 2 + 9) * GRID


@dataclass(frozen=True)
class Choice:
    """Parameters for a budget: kept coordinates m, delta code, lowest coded class, and the bits they should take."""

    m: int
    delta: int
    lowest_class: int
    bits: float

    def of(self, base: Parameters) -> Parameters:
        """The parameters."""
        return replace(base, m=self.m, delta=self.delta, lowest_class=self.lowest_class)


@lru_cache(maxsize=16)
def lowest_class(lattice: Lattice) -> int:
    """The lowest class to code under reverse water-filling."""
    low = int(round_log2(lattice.fine_moment, CLASSES)) - 1
    high = low + 1
    while not _pays(lattice, high):
        low, high = high, 2 * high - low + 1
    while high - low > 1:  # what pays for a class does so for higher ones
        middle = (low + high) // 2
        low, high = (low, middle) if _pays(lattice, middle) else (middle, high)
    return high - _DROP_MARGIN


def _pays(lattice: Lattice, index: int) -> bool:
    """Whether columns of a class are worth their bits."""
    variance = tables.class_variance(index)
    x = variance / lattice.fine_moment - 1.0
    bits = float(tables.rate(lattice, np.array([variance]), np.array([index]))[0])
    return x > 0 and x * x / (1.0 + x) >= 2.0 * _LN_2 * bits


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns to choose parameters for.

    Attributes
    ----------
    n : int
        Length of a column.
    histogram : Histogram
        Their norm codes.
    lattice : Lattice
    allocate : {"matrix", "column"}
    lowest : int
        The lowest class to code.
    rough : bool
        Whether bits need be right to a thousandth only.
    """

    n: int
    histogram: Histogram
    lattice: Lattice
    allocate: str
    lowest: int
    rough: bool = False

    def bits(self, m: int, delta: int) -> float:
        """Expected bits of all chunks, framing included, with m coordinates kept."""
        lattice, counts = self.lattice, self.histogram.counts
        s = scaling(self.histogram.codes, self.n, lattice, delta, self.allocate, self.lowest)
        if not s.kept.any():
            return 0.0
        variance = (ratio(s.log_ratio[s.kept], self.n) + lattice.second_moment) * lattice.fine * lattice.fine
        kept, rate = counts[s.kept], tables.rough_rate if self.rough else tables.rate
        bits = total(rate(lattice, variance, s.classes[s.kept]) * kept) * m
        entries = float(kept.sum()) * m
        for size, number in chunk_counts(self.n, m, int(counts.sum()), int(kept.sum())):
            lanes = lanes_of(size)
            padding = padded(size, lattice.group, lanes) - size
            bits += number * (padding * bits / entries + _STATE_BITS * lanes + 8.0 * CHUNK_OVERHEAD)
        return bits

    def shrinkage(self, delta: int) -> float:
        """w: the energy-weighted mean of 1 / (1 + d), 0 for dropped columns."""
        codes = self.histogram.codes
        s = scaling(codes, self.n, self.lattice, delta, self.allocate, self.lowest)
        energy, whole = self._energy
        return total(energy / (1.0 + s.noise)) / whole if whole > 0 else 0.0

    @cached_property
    def _energy(self) -> tuple[npt.NDArray[np.float64], float]:
        """Energies of all columns of each norm code, and their sum."""
        energy = self.histogram.energies(norms.loudest(self.histogram.codes))
        return energy, total(energy)

    def error(self, m: int, delta: int) -> float:
        """Expected error of a product with an unrelated partner coded alike."""
        w = self.shrinkage(delta)
        return 1.0 - m / self.n * w * w

    @property
    def finest(self) -> int:
        """The least delta code at which every column gets what it asks for."""
        return self._finest(norms.loudest(self.histogram.codes))

    @property
    def least(self) -> int:
        """The least delta code that makes a difference: columns louder than the quietest have the finest they can."""
        alive = self.histogram.codes[self.histogram.codes != norms.ZERO]
        return self._finest(int(alive[0])) if len(alive) else self.finest

    def _finest(self, code: int) -> int:
        return int(finest_delta(np.array(code if self.allocate == "matrix" else 0), self.n))

    def solve(self, m: int, budget: float) -> tuple[int, float]:
        """The least delta code whose expected bits fit the budget, and those bits."""
        low = self.finest
        high = low + _DELTA_RANGE
        guess, slope = self._likely(m, budget)
        fits = None
        if not (self.rough and guess > low + GRID):
            bits = self.bits(m, low)
            if bits <= budget:  # some columns have all that they can get, and the others the rest
                low, high, fits = self.least, low, bits
                if low == high or (bits := self.bits(m, low)) <= budget:
                    return low, bits
        for steps in count():
            # An entry costs a bit more for every octave of Δ, nearly; where columns are dropped, halving must help.
            at = (low + high) // 2 if steps >= _STEPS else min(max(guess, low + 1), high - 1)
            bits = self.bits(m, at)
            if bits <= budget:
                high, fits = at, bits
                guess = at - max(1, int((budget - bits) / slope))
            else:
                low = at
                guess = at + 1 + int((bits - budget) / slope)
            if high - low <= 1 or (self.rough and 0.0 <= budget - bits <= _ROUGHLY * budget):
                break
        return high, self.bits(m, high) if fits is None else fits

    def coarsest(self, m: int, error: float, low: int, high: int) -> int:
        """The largest delta code from `low` on, below `high`, whose error is at most `error`; `low` is one."""
        if self.rough and error < _STEEP:
            at = min(max(self._likely(m, -0.5 * float(log2(error)) * self.entries(m))[0], low), high - 1)
            for _ in range(_STEPS):  # the error doubles with every half octave of Δ, nearly
                step = math.floor(GRID / 2 * float(log2(error / self.error(m, at))))
                at = min(max(at + step, low), high - 1)
                if abs(step) <= 1:
                    break
            return at
        while high - low > 1:
            middle = (low + high) // 2
            if self.error(m, middle) <= error:
                low = middle
            else:
                high = middle
        return low

    def entries(self, m: int) -> float:
        """Entries of the columns that have energy, with m coordinates kept."""
        return m * float(self.histogram.counts[self.histogram.codes != norms.ZERO].sum())

    def _likely(self, m: int, budget: float) -> tuple[int, float]:
        """The delta code at which columns fit the budget, and bits by which one step changes them, at high rate."""
        alive = self.histogram.codes != norms.ZERO
        codes, counts = self.histogram.codes[alive], self.histogram.counts[alive]
        several = max(1.0, total(counts))
        entries = several * m
        norm = ENERGY_STEP / 2 * total(codes * counts) / several if self.allocate == "matrix" else 0.0
        noise = GRID / 2 * float(log2(self.n * self.lattice.second_moment))
        return int(norm - noise - GRID * (budget / entries)), entries / GRID

    def candidates(self, kappa: float | None) -> Iterator[int]:
        """Numbers of coordinates to try, all of them first."""
        n = self.n
        if kappa is not None:
            yield max(1, int(kappa * n))
            return
        yield n
        if n >= 32:
            yield from (max(1, fraction * n // 64) for fraction in range(60, 0, -4))


def columns_of(histogram: Histogram, n: int, lattice: Lattice, allocate: str, rough: bool = False) -> Columns:
    """Columns of length n, of which those are dropped that do not pay."""
    return Columns(
        n, histogram, lattice, allocate, lowest_class(lattice) if allocate == "matrix" else 0, rough
    )


def least_error(columns: Columns, budget: float, kappa: float | None = None) -> Choice:
    """What gives the least error for at most `budget` bits.

    `kappa`, the fraction of coordinates to keep, is the user's, if any.
    """
    counts, codes = columns.histogram.counts, columns.histogram.codes
    entries = max(1, int(counts[codes != norms.ZERO].sum()) * columns.n)
    best: Choice | None = None
    least = math.inf
    for m in columns.candidates(kappa):
        delta, bits = columns.solve(m, budget)
        error = columns.error(m, delta)
        if best is None or error < least:
            best, least = Choice(m, delta, columns.lowest, bits), error
        elif error > least + 0.02:
            break
        if budget > 1.5 * entries:  # time sharing is for low rates
            break
    assert best is not None
    return best


def fewest_bits(columns: Columns, error: float, kappa: float | None = None) -> Choice:
    """What takes the fewest bits for an expected error, with an unrelated partner coded alike, of at most `error`."""
    best: Choice | None = None
    for m in columns.candidates(kappa):
        low, high = columns.finest, columns.finest + _DELTA_RANGE
        if columns.error(m, low) > error:
            low, high = columns.least, low
        if best is not None and columns.error(m, low) > error:
            break
        low = columns.coarsest(m, error, low, high)
        bits = columns.bits(m, low)
        if best is not None and bits >= best.bits:
            break
        best = Choice(m, low, columns.lowest, bits)
        if columns.rough and bits > 1.5 * columns.entries(columns.n):  # time sharing is for low rates
            break
    assert best is not None
    return best


def _columns(base: Parameters, statistics: Statistics, rough: bool = False) -> Columns:
    return columns_of(statistics.histogram, base.n, base.lattice, base.allocate, rough)


def for_rate(
    base: Parameters, statistics: Statistics, bits: float, kappa: float | None, rough: bool = False
) -> Parameters:
    """Parameters whose chunks should take `bits` in all."""
    return least_error(_columns(base, statistics, rough), bits, kappa).of(base)


def for_error(
    task: Task, base: Parameters, statistics: Statistics, target: Target, probe: Probe, rough: bool = False
) -> Plan:
    """The fewest bits with which the predicted error is at most `target.error`; UsageError if there are none."""
    assert target.error is not None
    columns = _columns(base, statistics, rough)
    choice = fewest_bits(columns, target.error, task.kappa)
    rate = (choice.bits + 8.0 * target.fixed) / statistics.grid.entries
    found, finest = choice.of(base), columns.least
    # the formula of `fewest_bits` is for large n
    while found.delta > finest and predicted(found, statistics) > target.error:
        found = replace(found, delta=found.delta - 1)
    check_reached(task, target.error, predicted(found, statistics))
    return Plan(found, max(rate, 1e-9))


def adjusted(
    parameters: Parameters,
    statistics: Statistics,
    excess: float,
    wanted: float,
    attempt: int,
    kappa: float | None,
) -> Parameters | None:
    """Parameters for another try when the file has `excess` bits beyond the `wanted` ones; None if it is good.

    Good is at most the bits wanted, and in the first attempt within half a percent of them.
    """
    coded = coded_entries(parameters, statistics)
    if coded == 0 or (excess <= 0 and (-excess < 0.005 * wanted or attempt)):
        return None
    # a bit or two more or less are chance: what they take is not taken again and again
    step = math.ceil(GRID * (excess / coded)) + (1 << attempt if excess > 0 else 2)
    columns = _columns(parameters, statistics)
    # coarser than a search would go, nothing is left to save
    delta = min(max(parameters.delta + step, columns.least), columns.finest + _DELTA_RANGE)
    return None if delta == parameters.delta else replace(parameters, delta=delta)


def expected_bits(parameters: Parameters, statistics: Statistics, rough: bool = False) -> float:
    """Bits that all chunks should take, framing included."""
    p = parameters
    columns = Columns(p.n, statistics.histogram, p.lattice, p.allocate, p.lowest_class, rough)
    return columns.bits(p.m, p.delta)


def calibrated(parameters: Parameters, statistics: Statistics, probe: Probe) -> Parameters:
    """The parameters: everything about this coding is known before."""
    return parameters


def nearby(parameters: Parameters, histogram: Histogram, bits: float) -> Side | None:
    """A coded matrix as it would be with so many bits more for its chunks, or fewer; None if none are left."""
    p = parameters
    columns = columns_of(histogram, p.n, p.lattice, p.allocate)
    budget = columns.bits(p.m, p.delta) + bits
    if budget <= 0.0:
        return None
    found = least_error(columns, budget).of(p)
    return Side(histogram, found.norm_scaling(histogram).noise, p.n, found.kappa)
