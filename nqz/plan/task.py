"""What planners are given, what they give back, and what a coding's planner has to know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from nqz.ground.errors import UsageError
from nqz.stages import norms
from nqz.stages.codings import Coding
from nqz.stages.estimate import Side
from nqz.stages.lattices import Lattice
from nqz.stages.norms import Histogram
from nqz.stages.panels import panel_columns
from nqz.stages.parameters import Parameters
from nqz.stages.partner import EQUAL, Partner, product_error
from nqz.stages.statistics import Statistics
from nqz.stages.transforms import Transform

_MARGIN = 0.0005  # bits an entry to aim below the rate, so that it is seldom exceeded and coded again

Probe = Callable[[Parameters], tuple[int, ...]]
"""Codes the first panel with some parameters, and returns the sums of the moments of `Coder.encode_chunk`."""


@dataclass(frozen=True)
class Task:
    """How a matrix is to be coded, whatever it holds and whatever it may take.

    Attributes
    ----------
    name : str
        Of the tensor, empty for an array without one.
    where : str
        File and tensor, for messages.
    axis : int
        Along which the vectors lie.
    center : bool or None
        Whether columns are centered; None where means are worth their bits.
    transform : Transform
    lattice : Lattice or None
    coding : Coding
    allocate : {"matrix", "column"}
    seed : int
    kappa : float or None
        The fraction of coordinates to keep, if the user chose it.
    partner : {"equal", "exact"} or float
        The other factor that it is coded for.
    window : int or None
        Of the trellis coding, 0 for what suits the rate; None for others.
    """

    name: str
    where: str
    axis: int
    center: bool | None
    transform: Transform
    lattice: Lattice | None
    coding: Coding
    allocate: str
    seed: int
    kappa: float | None
    partner: Partner = EQUAL
    window: int | None = None


_CHUNK_HEAD = 48
"""Bytes of a small chunk beside its data: framing, padding, sizes and states."""


@dataclass(frozen=True)
class Target:
    """What a matrix may take, or must reach: a rate, or an error.

    Attributes
    ----------
    rate : float
        Bits an entry, 0 where an error is asked for.
    error : float or None
        Predicted error of a product with an unrelated partner that it is coded for.
    max_bytes : int or None
        Bytes of the file that the rate is tried for.
    free : int
        Bytes that may come on top of the rate.
    fixed : int
        Bytes beside the chunks that the rate counts.
    """

    rate: float
    error: float | None
    max_bytes: int | None
    free: int
    fixed: int = 0

    @property
    def digits(self) -> int:
        """Binary digits of the means beyond those for a rate of 0: the rate, rounded up."""
        if self.error is None:
            return math.ceil(self.rate)
        digits = 0
        while 2.0 * 4.0**-digits > self.error:
            digits += 1
        return digits

    def with_fixed(self, fixed: int) -> Target:
        """The same, once it is known how many bytes come beside the chunks."""
        return replace(self, fixed=fixed)

    def bits(self, entries: int) -> float:
        """Bits to plan for all chunks of a matrix of so many entries."""
        return (self.rate - _MARGIN) * entries - 8.0 * (self.fixed - self._not_counted)

    def excess(self, size: int, entries: int) -> float:
        """Bits by which a matrix that takes `size` bytes in all is beyond its rate."""
        return 8.0 * (size - self._not_counted) - self.rate * entries

    @property
    def _not_counted(self) -> int:
        """Bytes that come on top of the rate: headers, that of a chunk too, so that there is room for some data."""
        return min(self.free, self.fixed + _CHUNK_HEAD)


@dataclass(frozen=True)
class Plan:
    """What a planner chose.

    Attributes
    ----------
    parameters : Parameters
    rate : float
        Bits an entry that were asked for, or that an error should take.
    """

    parameters: Parameters
    rate: float

    @property
    def panels(self) -> int:
        """Number of panels that can be coded by themselves."""
        return -(-self.parameters.columns // panel_columns(self.parameters.n))


class Planner(Protocol):
    """What a module has to offer to plan for a coding."""

    HEADER_ROOM: int
    """Bytes by which a header may grow once its numbers are known."""

    def pair_kappa(self, base: Parameters, rate: float) -> float | None:
        """The fraction of coordinates that both sides keep where the rates of both are known; None where it is free."""

    def for_rate(
        self, base: Parameters, statistics: Statistics, bits: float, kappa: float | None, rough: bool = False
    ) -> Parameters:
        """Parameters whose chunks should take `bits` in all; to a thousandth, where that is enough."""

    def for_error(
        self,
        task: Task,
        base: Parameters,
        statistics: Statistics,
        target: Target,
        probe: Probe,
        rough: bool = False,
    ) -> Plan:
        """The fewest bits with which the predicted error is at most `target.error`; UsageError if there are none."""

    def adjusted(
        self,
        parameters: Parameters,
        statistics: Statistics,
        excess: float,
        wanted: float,
        attempt: int,
        kappa: float | None,
    ) -> Parameters | None:
        """Parameters for another try when the file has `excess` bits beyond the `wanted` ones; None if it is good."""

    def expected_bits(self, parameters: Parameters, statistics: Statistics, rough: bool = False) -> float:
        """Bits that all chunks should take, framing included; to a thousandth, where that is enough."""

    def calibrated(self, parameters: Parameters, statistics: Statistics, probe: Probe) -> Parameters:
        """The parameters with what can be known only after coding: headers stand before chunks."""

    def of_length(self, parameters: Parameters, n: int) -> Parameters:
        """The same for columns of another length, whose entries are to have as much noise."""

    def nearby(
        self, parameters: Parameters, histogram: Histogram, bits: float, kappa: float | None
    ) -> Side | None:
        """A coded matrix as it would be with so many bits more for its chunks, or fewer; None if none are left.

        `kappa` is the fraction of coordinates to keep, None where it is free.
        """


def alive(statistics: Statistics) -> int:
    """Number of columns that have energy."""
    histogram = statistics.histogram
    return int(histogram.counts[histogram.codes != norms.ZERO].sum())


def coded_entries(parameters: Parameters, statistics: Statistics) -> int:
    """Number of entries that are coded."""
    histogram = statistics.histogram
    kept = parameters.coding.scaling(parameters, histogram.codes).kept
    return int(histogram.counts[kept].sum()) * parameters.m


def least_bytes(parameters: Parameters, statistics: Statistics) -> int:
    """Bytes that all chunks take at least, whatever the columns hold."""
    p, histogram = parameters, statistics.histogram
    found = p.coding.scaling(p, histogram.codes)
    bits = p.coding.least_bits(p, found.classes[found.kept])
    return int(0.99 * p.m * (histogram.counts[found.kept] * bits).sum()) // 8  # coders round


def predicted(parameters: Parameters, statistics: Statistics) -> float:
    """Predicted error of a product with an unrelated partner that the matrix is coded for."""
    p, histogram = parameters, statistics.histogram
    noise = p.coding.scaling(p, histogram.codes).noise
    side = Side(histogram, noise, p.n, p.kappa)
    return product_error(side, p.partner)


def check_reached(task: Task, error: float, least: float) -> None:
    """Raise UsageError if the least error that can be predicted is too large."""
    if least > error:
        raise UsageError(
            f"{task.where}: no rate has a predicted product error of {error:g} with these options "
            f"(lattice, coding, kappa, partner); the least is {least:.3g}"
        )
