"""Choice of Δ, κ and the dropped columns for a budget of bits (entropy coding); what columns take is in `columns`.

At low rate, time sharing: κ minimizes the error of a product with an unrelated partner, 1 - κ w(R/κ)² with one of the
same rate, 1 - κ w(R/κ) with one that is not compressed. Of a pair of rates κ follows from these alone (`partner`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from nqz.ground.arithmetic import GRID, round_log2
from nqz.plan.columns import DELTA_RANGE, Columns, columns_of
from nqz.plan.task import Plan, Probe, Target, Task, check_reached, coded_entries, predicted
from nqz.stages import norms
from nqz.stages.codings.coding import lattice_of
from nqz.stages.estimate import Side
from nqz.stages.loud import hidden, loud
from nqz.stages.norms import Histogram
from nqz.stages.parameters import Parameters
from nqz.stages.partner import common_kappa
from nqz.stages.scale import CLASSES
from nqz.stages.statistics import Statistics

HEADER_ROOM = 16
"""Bytes by which a header may grow once its numbers are known."""

_ROUNDS = 4  # of dropping columns, and of finding Δ for those that are kept

_GAIN = 0.02  # of the error of a product of the others, for which loud columns have fewer bits


@dataclass(frozen=True)
class Choice:
    """Parameters for a budget, the bits that they should take, and how far loud columns may be above Δ²."""

    m: int
    delta: int
    lowest_class: int
    bits: float
    octaves: int

    def of(self, base: Parameters) -> Parameters:
        """The parameters."""
        return replace(base, m=self.m, delta=self.delta, lowest_class=self.lowest_class, octaves=self.octaves)


Search = Callable[[Columns, int], tuple[float, Choice]]
"""What is to be least, and the parameters for it, of some columns with m coordinates kept."""


def _without_quiet(columns: Columns, m: int, search: Search) -> tuple[float, Choice]:
    """What a search finds when columns that are not worth their bits are dropped."""
    cost, best = search(columns, m)
    if columns.allocate != "matrix":  # every column has the same relative precision, and so every one has it
        return cost, best
    if cost == math.inf:  # even the least that all of them take is too much
        lowest = int(round_log2(columns.lattice.fine_moment, CLASSES)) + 1
    else:
        lowest = columns.worth(best.delta)
    found = best
    for _ in range(_ROUNDS):
        if lowest <= columns.quietest(found.delta):
            break
        columns = columns.from_class(lowest)
        again, found = search(columns, m)
        if again >= cost:
            break
        cost, best = again, found
        lowest = columns.worth(found.delta)
    return cost, best


def least_error(columns: Columns, budget: float, kappa: float | None = None) -> Choice:
    """What gives the least error for at most `budget` bits, of which a few loud columns do not take most.

    `kappa`, the fraction of coordinates to keep, is the user's, if any.
    """
    best = _shared(columns, budget, kappa)
    few = columns.few_loud(best.delta)
    if few is None or (octaves := columns.fair_octaves(few, best.m, best.delta, budget)) == columns.octaves:
        return best
    fair = _shared(replace(columns, octaves=octaves), budget, kappa)
    others = columns.without(few)
    before, after = (others.from_class(x.lowest_class).error(x.m, x.delta) for x in (best, fair))
    return fair if before - after >= _GAIN else best


def _shared(columns: Columns, budget: float, kappa: float | None) -> Choice:
    """The same; columns that have all that they can get leave the rest to the others, which share it by themselves."""
    best = _least_error(columns, budget, kappa)
    capped = columns.capped(best.delta)
    others = columns.without(capped)
    if not capped.any() or not others.entries(1):
        return best
    left = budget - columns.taken(capped, best.m, best.delta)
    lowest = _least_error(others, left, (best.m + 0.5) / columns.n).lowest_class
    delta, bits = columns.from_class(lowest).solve(best.m, budget)
    return Choice(best.m, delta, lowest, bits, columns.octaves)


def _least_error(columns: Columns, budget: float, kappa: float | None) -> Choice:
    def search(columns: Columns, m: int) -> tuple[float, Choice]:
        delta, bits = columns.solve(m, budget)
        cost = columns.error(m, delta) if bits <= budget else math.inf
        return cost, Choice(m, delta, columns.lowest, bits, columns.octaves)

    counts, codes = columns.histogram.counts, columns.histogram.codes
    entries = max(1, int(counts[codes != norms.ZERO].sum()) * columns.n)
    best: Choice | None = None
    least = math.inf
    for m in columns.candidates(kappa):
        error, found = _without_quiet(columns, m, search)
        if best is None or error < least:
            best, least = found, error
        elif error > least + 0.02:
            break
        if budget > 1.5 * entries:  # time sharing is for low rates
            break
    assert best is not None
    return best


def fewest_bits(columns: Columns, error: float, kappa: float | None = None) -> Choice:
    """What takes the fewest bits for an expected error, with a partner that it is for, of at most `error`."""

    def search(columns: Columns, m: int) -> tuple[float, Choice]:
        low, high = columns.finest, columns.finest + DELTA_RANGE
        if columns.error(m, low) > error:
            low, high = columns.least, low
        reached = columns.error(m, low) <= error
        low = columns.coarsest(m, error, low, high)
        bits = columns.bits(m, low)
        return bits if reached else math.inf, Choice(m, low, columns.lowest, bits, columns.octaves)

    best: Choice | None = None
    fewest = math.inf
    for m in columns.candidates(kappa):
        bits, found = _without_quiet(columns, m, search)
        if best is not None and bits >= fewest:
            break
        best, fewest = found, bits
        if columns.rough and bits > 1.5 * columns.entries(columns.n):  # time sharing is for low rates
            break
    assert best is not None
    return best


def _with_others(columns: Columns, error: float, kappa: float | None) -> Choice:
    """What takes the fewest bits for an error, of the whole, and of the others where a few loud columns hide it."""
    choice = fewest_bits(columns, error, kappa)
    found = loud(columns.histogram) if columns.allocate == "matrix" else None
    if found is None:
        return choice
    others = columns.without(found)
    if not hidden(others.from_class(choice.lowest_class).error(choice.m, choice.delta), error):
        return choice
    own = fewest_bits(others, error, kappa)
    m, delta = max(choice.m, own.m), min(choice.delta, own.delta)
    bits = columns.from_class(own.lowest_class).bits(m, delta)
    return Choice(m, delta, own.lowest_class, bits, columns.octaves)


def _columns(base: Parameters, statistics: Statistics, rough: bool = False) -> Columns:
    return columns_of(statistics.histogram, base.n, lattice_of(base), base.allocate, rough, base.partner)


def pair_kappa(base: Parameters, rate: float) -> float | None:
    """The fraction of coordinates that both sides keep where the rates of both are known; None where it is free."""
    return None if isinstance(base.partner, str) else common_kappa(rate, base.partner)


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
    choice = _with_others(columns, target.error, task.kappa)
    rate = (choice.bits + 8.0 * target.fixed) / statistics.grid.entries
    if task.kappa is None and (kappa := pair_kappa(base, rate)) is not None:  # as the partner finds it, too
        choice = _with_others(columns, target.error, kappa)
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
    m, last = parameters.m, parameters.delta
    columns = replace(
        _columns(parameters, statistics), lowest=parameters.lowest_class, octaves=parameters.octaves
    )
    delta, _ = columns.solve(m, max(0.0, columns.bits(m, last) - excess))
    if excess > 0:  # a bit or two more or less are chance: what they take is not taken again and again
        delta = max(delta, last + (1 << attempt))
    return None if delta == parameters.delta else replace(parameters, delta=delta)


def expected_bits(parameters: Parameters, statistics: Statistics, rough: bool = False) -> float:
    """Bits that all chunks should take, framing included."""
    p = parameters
    histogram, octaves = statistics.histogram, p.octaves
    columns = Columns(p.n, histogram, lattice_of(p), p.allocate, p.lowest_class, rough, octaves=octaves)
    return columns.bits(p.m, p.delta)


def calibrated(parameters: Parameters, statistics: Statistics, probe: Probe) -> Parameters:
    """The parameters: everything about this coding is known before."""
    return parameters


def of_length(parameters: Parameters, n: int) -> Parameters:
    """The same for columns of another length: with the same Δ, where it is not in proportion to their norms."""
    p = parameters
    m = max(1, min(n, int(p.kappa * n + 0.5)))
    longer = int(round_log2(n / p.n, GRID // 2)) if p.allocate == "column" else 0
    return replace(p, n=n, m=m, delta=p.delta - longer)


def nearby(
    parameters: Parameters, histogram: Histogram, bits: float, kappa: float | None = None
) -> Side | None:
    """A coded matrix as it would be with so many bits more for its chunks, or fewer; None if none are left."""
    p = parameters
    columns = columns_of(histogram, p.n, lattice_of(p), p.allocate, partner=p.partner)
    budget = replace(columns, lowest=p.lowest_class, octaves=p.octaves).bits(p.m, p.delta) + bits
    if budget <= 0.0:
        return None
    found = least_error(columns, budget, kappa).of(p)
    return Side(histogram, found.norm_scaling(histogram).noise, p.n, found.kappa)
