"""One plan for all parts of a part set: a lattice scale Δ, so that points of all parts count alike.

The parts are measured where they are, and what comes back is how many columns there are of each norm code. Parts of one
length are planned for as the columns of one matrix; Δ is the least with which all of them together keep to the rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nqz.ground.errors import UsageError
from nqz.plan.means import mean_digits
from nqz.plan.search import expected_bits, plan
from nqz.plan.side import rounding
from nqz.plan.task import Plan, Probe, Target, Task
from nqz.stages.center import Digits
from nqz.stages.grid import PIECE_BYTES, Grid
from nqz.stages.norms import Histogram, Rounding
from nqz.stages.parameters import Parameters
from nqz.stages.scale import OCTAVES
from nqz.stages.statistics import Statistics

_STEPS = 40  # to find Δ by halving


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
    """

    n: int
    columns: int
    histogram: Histogram
    digest: bytes
    nbytes: int

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
        But for the number of columns and the key of the dither.
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

    def of(self, base: Parameters) -> Parameters:
        """The parameters of a part, of which these are known before."""
        p, digits = self.parameters, self.digits
        return replace(
            base, m=p.m, delta=p.delta, lowest_class=p.lowest_class, octaves=p.octaves,
            mean_digits=None if digits is None else digits.least,
            mean_reference=None if digits is None else digits.reference,
        )  # fmt: skip


class Together:
    """Parts of a set as they are measured: of each length their columns, counted; nothing of single parts."""

    def __init__(self) -> None:
        self.histograms: dict[int, Histogram] = {}
        self.entries = self.nbytes = 0

    def add(self, part: PartMeasured) -> None:
        """Add a part."""
        known = self.histograms.get(part.n)
        joined = [part.histogram] if known is None else [known, part.histogram]
        self.histograms[part.n] = Histogram.joined(joined)
        self.entries += part.entries
        self.nbytes += part.nbytes


def plan_parts(together: Together, task: Task, target: Target, probe: Probe) -> dict[int, PartPlan]:
    """What to code the parts of each length with.

    Raises
    ------
    UsageError
        No rate has the error that is asked for.
    """
    columns = {n: _statistics(n, found, task) for n, found in together.histograms.items()}
    target = target.with_fixed(together.nbytes)
    # most entries are of this length; the last part is shorter
    main = max(columns, key=lambda n: columns[n].grid.entries)
    share = columns[main].grid.entries / together.entries
    own = target.with_fixed(int(together.nbytes * share))
    chosen = plan(task, columns[main], own, probe)
    first = chosen.parameters
    kappa = first.m / main
    found = {
        n: replace(
            first, n=n, columns=some.columns, m=max(1, min(n, int(kappa * n + 0.5))), octaves=OCTAVES,
            norm_step=some.rounding.step,
        )
        for n, some in columns.items()
    }  # fmt: skip
    delta = first.delta
    if target.error is None:
        delta = _scale(found, columns, target.bits(together.entries), first.delta)
    digits = {n: mean_digits(task, target, some) for n, some in columns.items()}
    return {
        n: PartPlan(replace(p, delta=delta), columns[n].rounding, digits[n], chosen.rate)
        for n, p in found.items()
    }


def _statistics(n: int, histogram: Histogram, task: Task) -> Statistics:
    """Parts of one length as one matrix."""
    grid = Grid(n, histogram.columns, PIECE_BYTES // 4, True)
    none = np.zeros(0)
    whole = Statistics(grid, task.center is not False, 0, grid.units, b"", histogram, none)
    return whole.rounded(rounding(task, n, histogram))


def _scale(found: dict[int, Parameters], columns: dict[int, Statistics], budget: float, start: int) -> int:
    """The least delta code with which all parts together take at most so many bits."""

    def fits(delta: int) -> bool:
        taken = (expected_bits(Plan(replace(p, delta=delta), 0.0), columns[n]) for n, p in found.items())
        return sum(taken) <= budget

    low = high = start
    step = 64
    while not fits(high):
        low, high, step = high, high + step, 2 * step
        if step > 1 << _STEPS:
            raise UsageError("the rate leaves no room for the norms and means of the parts; cut them larger")
    if low == high:
        while fits(low) and step < 1 << _STEPS:
            high, low, step = low, low - step, 2 * step
            if low < start - (1 << 20):  # nothing is left to gain
                return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
