"""Choice of the water level, by which columns share bits, for a budget of bits (trellis coding).

A column takes whole and half bits, so that sizes are known: what is left of a budget at the lowest level that fits goes
to some of the columns that are next, less than a step of norm codes below a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import round_log2
from nqz.ground.cached import cached_property
from nqz.ground.layout import CHUNK_ENTRIES
from nqz.plan.task import Plan, Probe, Target, Task, check_reached
from nqz.stages import norms
from nqz.stages.codings.rings import Rings, ring_columns
from nqz.stages.codings.trellis import MOST, PARTS, THRESHOLDS, water_of
from nqz.stages.estimate import Side
from nqz.stages.norms import Histogram
from nqz.stages.panels import PANEL_ENTRIES
from nqz.stages.parameters import Parameters
from nqz.stages.partner import product_error
from nqz.stages.statistics import Statistics

HEADER_ROOM = 16
"""Bytes by which a header may grow once its numbers are known."""

_MANY = 1 << 18  # columns of which nobody asks which ones are raised

_GAIN_BITS = 4.5  # of a column, about
_CHUNK_BITS = 8.0 * (16 + 4 + 3)  # framing and padding of a record, and its entry in the index
_PANEL_BITS = 8.0 * (16 + 4 + 3 + 30)  # the same of gains, and the frequencies of their tokens


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns to choose a level for.

    Attributes
    ----------
    base : Parameters
    histogram : Histogram
    codes : ndarray, optional
        The norm codes, column by column, if they are known and not too many.
    """

    base: Parameters
    histogram: Histogram
    codes: npt.NDArray[np.int32] | None = None

    @classmethod
    def of(cls, base: Parameters, statistics: Statistics) -> _Columns:
        held = statistics.held if statistics.columns <= _MANY else None
        codes = None if held is None else held.codes
        return cls(base, statistics.histogram, codes)

    @property
    def levels(self) -> tuple[int, int]:
        """A level at which every column has the most bits, and one at which none has any."""
        alive = self.histogram.codes[self.histogram.codes != norms.ZERO]
        if not len(alive):
            return 0, 0
        return int(alive[0]) - MOST, int(alive[-1]) - THRESHOLDS[2] + 1

    def at(self, level: int, raised: int) -> tuple[Parameters, Histogram]:
        """Parameters, and the norm codes as they are to be kept: about, where columns are not known one by one."""
        water, step = replace(water_of(self.base), level=level, raised=raised), self.base.norm_step
        found = replace(self.base, coding_parameters=water)
        if raised and self.codes is not None:
            return found, Histogram.of(water.kept_codes(self.codes, 0, step))
        return found, water.kept_histogram(self.histogram, step)

    @cached_property
    def _column_bits(self) -> list[float]:
        """What a column takes with its gain, by half bits an entry."""
        n, together = self.base.n, ring_columns(self.base.n)
        rings = (Rings.of(np.full(together, half_bits, np.int32), n) for half_bits in range(2, 9))
        return [0.0, 0.0, *(8.0 * ring.bytes / together + _GAIN_BITS for ring in rings)]

    def bits(self, level: int, raised: int) -> float:
        """Bits of all chunks and gains, framing included."""
        parameters, histogram = self.at(level, raised)
        classes = water_of(parameters).classes(histogram.codes)
        counts = np.bincount(classes, histogram.counts, 9).tolist()
        kept = sum(counts[1:])
        if not kept:
            return 0.0
        bits: float = sum(count * each for count, each in zip(counts, self._column_bits, strict=True))
        n, columns = parameters.n, parameters.columns
        bits += _CHUNK_BITS * (1.0 + kept * n // CHUNK_ENTRIES)
        return bits + _PANEL_BITS * (1 + columns * n // PANEL_ENTRIES)

    def error(self, level: int, raised: int) -> float:
        """Expected error of a product with an unrelated partner that they are coded for."""
        parameters, histogram = self.at(level, raised)
        noise = parameters.coding.scaling(parameters, histogram.codes).noise
        return product_error(Side(histogram, np.asarray(noise), parameters.n, 1.0), parameters.partner)

    def for_bits(self, budget: float) -> Parameters:
        """The parameters that take at most so many bits, and nearly as many."""
        low, high = self.levels
        while low < high:
            middle = (low + high) // 2
            if self.bits(middle, 0) <= budget:
                high = middle
            else:
                low = middle + 1
        few, many = 0, PARTS + 1  # that are raised
        while many - few > 1:
            middle = (few + many) // 2
            if self.bits(low, middle) <= budget:
                few = middle
            else:
                many = middle
        return self.at(low, few)[0]

    def for_error(self, error: float) -> Parameters:
        """The parameters of fewest bits whose error is at most `error`, or of the least error."""
        low, high = self.levels
        most = high
        while low < high:  # the highest level that does
            middle = (low + high + 1) // 2
            if self.error(middle, 0) <= error:
                low = middle
            else:
                high = middle - 1
        if low == most:
            return self.at(low, 0)[0]
        few, many = 0, PARTS  # of the next level, raised; all of them are this level
        while many - few > 1:
            middle = (few + many) // 2
            if self.error(low + 1, middle) <= error:
                many = middle
            else:
                few = middle
        return self.at(low + 1, many)[0] if many < PARTS else self.at(low, 0)[0]


def pair_kappa(base: Parameters, rate: float) -> float | None:
    """All coordinates are kept."""
    return None


def for_rate(
    base: Parameters, statistics: Statistics, bits: float, kappa: float | None, rough: bool = False
) -> Parameters:
    """Parameters whose chunks should take `bits` in all."""
    return _Columns.of(base, statistics).for_bits(bits)


def for_error(
    task: Task, base: Parameters, statistics: Statistics, target: Target, probe: Probe, rough: bool = False
) -> Plan:
    """The fewest bits with which the predicted error is at most `target.error`; UsageError if there are none."""
    assert target.error is not None
    found = _Columns.of(base, statistics).for_error(target.error)
    check_reached(task, target.error, _predicted(found, statistics))
    bits = expected_bits(found, statistics) + 8.0 * target.fixed
    return Plan(found, max(bits / statistics.grid.entries, 1e-9))


def _predicted(parameters: Parameters, statistics: Statistics) -> float:
    water = water_of(parameters)
    return _Columns.of(parameters, statistics).error(water.level, water.raised)


def adjusted(
    parameters: Parameters,
    statistics: Statistics,
    excess: float,
    wanted: float,
    attempt: int,
    kappa: float | None,
) -> Parameters | None:
    """Parameters for another try when the file has `excess` bits beyond the `wanted` ones; None if it is good.

    Good is at most the bits wanted: what is left over is known before.
    """
    if excess <= 0:
        return None
    last, columns = water_of(parameters), _Columns.of(parameters, statistics)
    spent = columns.bits(last.level, last.raised)
    if not spent:
        return None
    return columns.for_bits(max(0.0, spent - excess))


def expected_bits(parameters: Parameters, statistics: Statistics, rough: bool = False) -> float:
    """Bits that all chunks should take, framing included."""
    water = water_of(parameters)
    return _Columns.of(parameters, statistics).bits(water.level, water.raised)


def calibrated(parameters: Parameters, statistics: Statistics, probe: Probe) -> Parameters:
    """The parameters: everything about this coding is known before."""
    return parameters


def of_length(parameters: Parameters, n: int) -> Parameters:
    """The same for columns of another length: with the water level as far from the energy of an entry."""
    water = water_of(parameters)
    level = water.level + int(round_log2(n / parameters.n, norms.STEPS))
    return replace(parameters, n=n, m=n, coding_parameters=replace(water, level=level))


def nearby(
    parameters: Parameters, histogram: Histogram, bits: float, kappa: float | None = None
) -> Side | None:
    """A coded matrix as it would be with so many bits more for its chunks, or fewer; None if none are left."""
    columns, level = _Columns(parameters, histogram), water_of(parameters).level
    budget = columns.bits(level, 0) + bits
    if budget <= 0.0:
        return None
    found = columns.for_bits(budget) if bits else parameters
    water = water_of(found)
    p, kept = columns.at(water.level, water.raised)
    return Side(kept, p.norm_scaling(kept).noise, p.n, 1.0, p.coding.dependence(p))
