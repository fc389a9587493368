"""Columns that share bits: what they take and what is left of them at a lattice scale Δ, and which are worth it.

Reverse water-filling: the Frobenius error of a product is least when every column carries the same absolute noise, so
one Δ serves the matrix, and columns too quiet for their bits are dropped: the quietest are kept iff what they
contribute for a bit, Σ e w / Σ R, is at least what a bit gains by a finer Δ, Σ e dw / Σ dR over all that are kept. The
optimum is flat, so columns down to a quarter of an octave of variance below that are kept: what dropped columns
contribute to the error of a product is not known from the files, and the prediction has to guess it.

Loud columns have no more than some octaves of energy above Δ², and what they do not take is left for the others. That
is as many as can be coded, unless a few loud columns would take more than a quarter of all bits: then fewer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import GRID, log2, total
from nqz.ground.cached import cached_property
from nqz.ground.layout import lanes_of, padded
from nqz.stages import norms
from nqz.stages.codings import tables
from nqz.stages.lattices import Lattice
from nqz.stages.loud import FEW
from nqz.stages.norms import Histogram
from nqz.stages.panels import chunk_counts
from nqz.stages.partner import EQUAL, EXACT, Partner, nominal
from nqz.stages.scale import CLASSES, ENERGY_STEP, OCTAVES, Scaling, finest_delta, ratio, scaling

CHUNK_OVERHEAD = 16 + 4 + 5
"""Bytes a chunk beside its entropy-coded data and rANS states: record framing, section sizes, index entry."""

DELTA_RANGE = (OCTAVES // 2 + 9) * GRID
"""Delta codes above the finest one among which there is one for every rate."""

_DROP_MARGIN = CLASSES // 4

_HIGHEST = 1 << 10  # above all classes

_STATE_BITS = 16.0  # of the rANS state of a lane, those that hold nothing else

_ROUGHLY = 1e-3  # of a budget may be left over, where bits need not be exact

_STEEP = 0.5  # error below which it follows Δ

_STEPS = 8  # tries by slope before the range is halved

LEAST_OCTAVES = 16
"""Of loud columns: about 9.5 bits an entry, and the precision of bfloat16."""

_SHARE = 0.25  # of all bits that a few loud columns may take, where they have more than that


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
    partner : {"equal", "exact"} or float
        The other factor that they are coded for.
    octaves : int
        How far above Δ² the energy of a column may be, see `scale`.
    """

    n: int
    histogram: Histogram
    lattice: Lattice
    allocate: str
    lowest: int
    rough: bool = False
    partner: Partner = EQUAL
    octaves: int = OCTAVES

    def bits(self, m: int, delta: int) -> float:
        """Expected bits of all chunks, framing included, with m coordinates kept."""
        lattice, counts = self.lattice, self.histogram.counts
        s = self._scaling(delta)
        if not s.kept.any():
            return 0.0
        kept = counts[s.kept]
        bits = total(self._rates(s) * kept) * m
        entries = float(kept.sum()) * m
        for size, number in chunk_counts(self.n, m, int(counts.sum()), int(kept.sum())):
            lanes = lanes_of(size)
            padding = padded(size, lattice.group, lanes) - size
            bits += number * (padding * bits / entries + _STATE_BITS * lanes + 8.0 * CHUNK_OVERHEAD)
        return bits

    def _scaling(self, delta: int) -> Scaling:
        codes, own = self.histogram.codes, (self.allocate, self.lowest, self.octaves)
        return scaling(codes, self.n, self.lattice, delta, *own)

    def _rates(self, s: Scaling) -> npt.NDArray[np.float64]:
        """Bits an entry of the columns that are kept, by their norm codes."""
        lattice, rate = self.lattice, tables.rough_rate if self.rough else tables.rate
        variance = (ratio(s.log_ratio[s.kept], self.n) + lattice.second_moment) * lattice.fine * lattice.fine
        found: npt.NDArray[np.float64] = rate(lattice, variance, s.classes[s.kept])
        return found

    def shrinkage(self, delta: int) -> float:
        """w: the energy-weighted mean of 1 / (1 + d), 0 for dropped columns."""
        s = self._scaling(delta)
        energy, whole = self._energy
        return total(energy / (1.0 + s.noise)) / whole if whole > 0 else 0.0

    @cached_property
    def _energy(self) -> tuple[npt.NDArray[np.float64], float]:
        """Energies of all columns of each norm code, and their sum."""
        energy = self.histogram.energies(norms.loudest(self.histogram.codes))
        return energy, total(energy)

    def error(self, m: int, delta: int) -> float:
        """Expected error of a product with an unrelated partner that they are coded for."""
        w, kappa = self.shrinkage(delta), m / self.n
        if self.partner == EXACT:
            return 1.0 - kappa * w
        return 1.0 - kappa * w * (w if isinstance(self.partner, str) else nominal(self.partner / kappa))

    def worth(self, delta: int) -> int:
        """The lowest class that is worth its bits at a scale, less a margin; the loudest is."""
        s = self._scaling(delta)
        classes = s.classes[s.kept]
        if not len(classes):
            return self.lowest
        first = int(classes.min())
        counts, w = self.histogram.counts[s.kept], 1.0 / (1.0 + s.noise[s.kept])
        energy = self._energy[0][s.kept] * w
        # of columns that have the finest scale that they can have, nothing changes with Δ
        moved = s.log_ratio[s.kept] == ENERGY_STEP * self.histogram.codes[s.kept] - 2 * delta

        def by_class(values: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
            return np.bincount(classes - first, weights=values)

        gained, taken = by_class(energy), by_class(self._rates(s) * counts)
        steep = tables.steepness(self.lattice, np.arange(first, first + len(gained)))
        change = by_class(np.where(moved, energy * (1.0 - w), 0.0))
        cost = by_class(np.where(moved, w * counts, 0.0)) * steep
        # of all from a class on
        change, cost = (np.add.accumulate(x[::-1])[::-1] for x in (change, cost))
        pays = gained * cost >= taken * change
        pays &= gained > 0.0
        pays[-1] = True
        return first + int(pays.argmax()) - _DROP_MARGIN

    def quietest(self, delta: int) -> int:
        """The lowest class that is coded at a scale; none are lower than 0."""
        s = self._scaling(delta)
        return int(s.classes[s.kept].min(initial=_HIGHEST)) if s.kept.any() else _HIGHEST

    def from_class(self, lowest: int) -> Columns:
        """The same without those of lower classes."""
        return replace(self, lowest=max(0, lowest))

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
        return int(finest_delta(np.array(code if self.allocate == "matrix" else 0), self.n, self.octaves))

    def capped(self, delta: int) -> npt.NDArray[np.bool_]:
        """Which norm codes are those of columns that have all that they can get at a scale."""
        codes = self.histogram.codes
        alive = codes != norms.ZERO
        if self.allocate != "matrix":
            return np.zeros(len(codes), np.bool_)
        found: npt.NDArray[np.bool_] = alive & (
            finest_delta(np.where(alive, codes, 0), self.n, self.octaves) > delta
        )
        return found

    def without(self, codes: npt.NDArray[np.bool_]) -> Columns:
        """The same without the columns of some norm codes."""
        histogram = Histogram.counted(self.histogram.codes[~codes], self.histogram.counts[~codes])
        return replace(self, histogram=histogram)

    def taken(self, codes: npt.NDArray[np.bool_], m: int, delta: int) -> float:
        """Expected bits of the columns of some norm codes, without framing."""
        s = self._scaling(delta)
        return total((self._rates(s) * self.histogram.counts[s.kept])[codes[s.kept]]) * m

    def few_loud(self, delta: int) -> npt.NDArray[np.bool_] | None:
        """Which norm codes are those of loud columns, if these are few."""
        loud = replace(self, octaves=LEAST_OCTAVES).capped(delta)
        counts = self.histogram.counts
        several, every = (int(counts[x].sum()) for x in (loud, self.histogram.codes != norms.ZERO))
        return loud if 0 < several * FEW <= every else None

    def fair_octaves(self, loud: npt.NDArray[np.bool_], m: int, delta: int, budget: float) -> int:
        """Octaves with which loud columns take at most a quarter of a budget, but not too few for them."""
        for octaves in range(self.octaves, LEAST_OCTAVES, -1):
            if replace(self, octaves=octaves).taken(loud, m, delta) <= _SHARE * budget:
                return octaves
        return LEAST_OCTAVES

    def solve(self, m: int, budget: float) -> tuple[int, float]:
        """The least delta code whose expected bits fit the budget, and those bits."""
        low = self.finest
        high = low + DELTA_RANGE
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
        if self.rough and error < _STEEP and isinstance(self.partner, str):
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
        yield from dict.fromkeys(max(1, fraction * n // 64) for fraction in range(60, 0, -4) if n > 1)


def columns_of(
    histogram: Histogram,
    n: int,
    lattice: Lattice,
    allocate: str,
    rough: bool = False,
    partner: Partner = EQUAL,
) -> Columns:
    """Columns of length n, of which none is dropped yet."""
    return Columns(n, histogram, lattice, allocate, 0, rough, partner)
