"""One plan for all parts of a part set, as for one matrix: with one lattice scale Δ, where the coding has one.

The parts are measured where they are, and what comes back is how many columns there are of each norm code. Parts of one
length are planned for as the columns of one matrix; of several lengths, all have as much noise an entry, the least with
which all of them together keep to the rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nqz.ground.errors import UsageError
from nqz.plan.means import mean_digits
from nqz.plan.search import expected_bits, for_bits, of_length, plan
from nqz.plan.side import rounding
from nqz.plan.task import Plan, Target, Task
from nqz.stages.center import Digits
from nqz.stages.grid import PIECE_BYTES, Grid
from nqz.stages.norms import Histogram, Rounding
from nqz.stages.parameters import Parameters
from nqz.stages.scale import OCTAVES
from nqz.stages.statistics import Statistics

_HALVINGS = 24  # to find bits that keep to a rate
_MOST = 16.0  # times as many bits as its entries are entitled to that parts of one length may take

PartProbe = Callable[[int, Parameters, Rounding], tuple[int, ...]]
"""Codes the first panel of the first part of some length, see `nqz.plan.task.Probe`."""


class PartMeasured(NamedTuple):
    """What is known of a part before it is coded.

    Attributes
    ----------
    n, columns : int
    histogram : Histogram
        Norm codes of the columns, as they were measured.
    digest : bytes
        Of its data.
    nbytes : int
        Bytes of its container beside the chunks.
    near : float
        Sum of `Statistics.near`.
    """

    n: int
    columns: int
    histogram: Histogram
    digest: bytes
    nbytes: int
    near: float

    @property
    def entries(self) -> int:
        """Number of entries."""
        return self.n * self.columns


@dataclass(frozen=True)
class PartPlan:
    """What parts of one length are coded with.

    Attributes
    ----------
    parameters : Parameters
        But for the number of columns, the key of the dither, and what follows from the data of each.
    rounding : Rounding
        Of norm codes.
    digits : Digits or None
        Of means.
    rate : float
        Bits an entry that were asked for, or that an error should take.
    """

    parameters: Parameters
    rounding: Rounding
    digits: Digits | None
    rate: float

    def of(self, base: Parameters) -> Plan:
        """The plan of a part, of which these are known before."""
        digits = self.digits
        found = replace(
            self.parameters, columns=base.columns, dither_key=base.dither_key,
            mean_digits=None if digits is None else digits.least,
            mean_reference=None if digits is None else digits.reference,
        )  # fmt: skip
        return Plan(found, self.rate)


class Together:
    """Parts of a set as they are measured: of each length their columns, counted; nothing of single parts."""

    def __init__(self) -> None:
        self.histograms: dict[int, Histogram] = {}
        self.near: dict[int, float] = {}
        self.entries = self.nbytes = 0

    def add(self, part: PartMeasured) -> None:
        """Add a part."""
        known = self.histograms.get(part.n)
        joined = [part.histogram] if known is None else [known, part.histogram]
        self.histograms[part.n] = Histogram.joined(joined)
        self.near.setdefault(part.n, part.near)
        self.entries += part.entries
        self.nbytes += part.nbytes


def plan_parts(together: Together, task: Task, target: Target, probe: PartProbe) -> dict[int, PartPlan]:
    """What to code the parts of each length with.

    Raises
    ------
    UsageError
        No rate has the error that is asked for, or the rate leaves no room.
    """
    columns = {n: _statistics(n, found, together.near[n], task) for n, found in together.histograms.items()}
    target = target.with_fixed(together.nbytes)
    # most entries are of this length; the last part is shorter
    main = max(columns, key=lambda n: columns[n].grid.entries)
    share = columns[main].grid.entries / together.entries
    own = target.with_fixed(int(together.nbytes * share))
    chosen = plan(
        task, columns[main], own, lambda parameters: probe(main, parameters, columns[main].rounding)
    )
    found = _lengths(chosen.parameters, columns)
    if target.error is None and (len(columns) > 1 or chosen.parameters.octaves != OCTAVES):
        found = _fitted(chosen.parameters, main, columns, target.bits(together.entries), share)
    if target.error is None and target.bits(together.entries) <= 0.0:
        raise UsageError("the rate leaves no room for the norms and means of the parts; cut them larger")
    digits = {n: mean_digits(task, target, some) for n, some in columns.items()}
    return {n: PartPlan(p, columns[n].rounding, digits[n], chosen.rate) for n, p in found.items()}


def _statistics(n: int, histogram: Histogram, near: float, task: Task) -> Statistics:
    """Parts of one length as one matrix."""
    grid = Grid(n, histogram.columns, PIECE_BYTES // 4, True)
    whole = Statistics(grid, task.center is not False, 0, grid.units, b"", histogram, np.array([near]))
    return whole.rounded(rounding(task, n, histogram))


def _lengths(first: Parameters, columns: dict[int, Statistics]) -> dict[int, Parameters]:
    """What parts of each length are coded with, by the parameters of one: no column has a scale for itself."""
    return {
        n: replace(
            first if n == first.n else of_length(first, n), columns=some.columns, octaves=OCTAVES,
            norm_step=some.rounding.step,
        )
        for n, some in columns.items()
    }  # fmt: skip


def _fitted(
    start: Parameters, main: int, columns: dict[int, Statistics], budget: float, share: float
) -> dict[int, Parameters]:
    """The parameters with the most bits for parts of one length with which all of them take at most so many."""

    def at(bits: float) -> dict[int, Parameters]:
        return _lengths(for_bits(start, columns[main], bits), columns)

    low, high = 0.0, _MOST * share * budget
    best = at(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        found = at(middle)
        if sum(expected_bits(Plan(p, 0.0), columns[n]) for n, p in found.items()) <= budget:
            low, best = middle, found
        else:
            high = middle
    return best
