"""The planner: from what a matrix is and what is asked of it to the parameters that it is coded with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nqz.format.header import PLANNED, TensorHeader
from nqz.format.msgpack import pack
from nqz.ground.units import MAX_RATE
from nqz.plan import entropy, trellis, voronoi
from nqz.plan.means import mean_digits
from nqz.plan.task import Plan, Planner, Probe, Target, Task
from nqz.stages import dither
from nqz.stages.codings.trellis import Water
from nqz.stages.estimate import Side
from nqz.stages.norms import Histogram
from nqz.stages.parameters import Parameters
from nqz.stages.partner import EQUAL, Partner
from nqz.stages.statistics import Statistics

PLANNERS: dict[str, Planner] = {"entropy": entropy, "voronoi": voronoi, "trellis": trellis}
"""By coding."""

_TRIES = 6
_CLOSER = 0.005  # that is aimed at below an error which was missed twice, and as much more each time


def plan(task: Task, statistics: Statistics, target: Target, probe: Probe, rough: bool = False) -> Plan:
    """Choose parameters.

    Parameters
    ----------
    task : Task
    statistics : Statistics
        Of all of the matrix.
    target : Target
    probe : callable
        Codes the first panel, where a coding cannot tell otherwise what its errors are.
    rough : bool
        Whether bits need be right to a thousandth only, for the sake of speed: nothing is to be coded so.

    Raises
    ------
    UsageError
        No rate has the error that is asked for.
    """
    planner = PLANNERS[task.coding.name]
    start = _keyless(task, statistics, target) if rough else base(task, statistics, target)
    if target.error is not None:
        return planner.for_error(task, start, statistics, target, probe, rough)
    bits = target.bits(statistics.grid.entries)
    kappa = _kappa(task, start, target.rate)
    return Plan(planner.for_rate(start, statistics, bits, kappa, rough), target.rate)


def _kappa(task: Task, base: Parameters, rate: float) -> float | None:
    """The fraction of coordinates to keep, if it does not follow from the matrix."""
    return PLANNERS[task.coding.name].pair_kappa(base, rate) if task.kappa is None else task.kappa


def for_bits(parameters: Parameters, statistics: Statistics, bits: float) -> Parameters:
    """Parameters for chunks of so many bits, with as many coordinates as these have."""
    p = parameters
    return PLANNERS[p.coding.name].for_rate(p, statistics, bits, (p.m + 0.5) / p.n)


def of_length(parameters: Parameters, n: int) -> Parameters:
    """The same for columns of another length, whose entries are to have as much noise."""
    return PLANNERS[parameters.coding.name].of_length(parameters, n)


def replan(
    task: Task, statistics: Statistics, target: Target, last: Plan, size: int, attempt: int
) -> Plan | None:
    """Another plan for a rate, after a try that took `size` bytes.

    None if that is good, at most the rate and close to it, or if it was the last one.
    """
    if target.error is not None or attempt == _TRIES - 1:
        return None
    entries = statistics.grid.entries
    excess, wanted = target.excess(size, entries), target.rate * entries
    planner = PLANNERS[task.coding.name]
    kappa = _kappa(task, last.parameters, target.rate)
    found = planner.adjusted(last.parameters, statistics, excess, wanted, attempt, kappa)
    return None if found is None else replace(last, parameters=found)


def replan_for_error(
    task: Task, statistics: Statistics, target: Target, last: Plan, error: float, probe: Probe, attempt: int
) -> Plan | None:
    """Another plan for an error, after a try that has another one than was expected; None if that is good.

    `last` has what was measured, `error` is what is predicted from it.
    """
    if target.error is None or not task.coding.gains or error <= target.error or attempt == _TRIES - 1:
        return None
    aim = target if attempt == 0 else replace(target, error=target.error * (1.0 - _CLOSER * attempt))
    return PLANNERS[task.coding.name].for_error(task, last.parameters, statistics, aim, probe)


def calibrated(plan: Plan, statistics: Statistics, probe: Probe) -> Plan:
    """The plan with those parameters that can be known only after coding, which `probe` does with the first panel."""
    planner = PLANNERS[plan.parameters.coding.name]
    return replace(plan, parameters=planner.calibrated(plan.parameters, statistics, probe))


def measured(plan: Plan, noise: npt.NDArray[np.float64]) -> Plan:
    """The plan with what was measured of noise while it was coded, see `Coding.measured`."""
    p = plan.parameters
    return replace(plan, parameters=replace(p, coding_parameters=p.coding.measured(p, noise)))


def nearby(parameters: Parameters, histogram: Histogram, bits: float) -> Side | None:
    """A coded matrix, as estimators see it, as it would be with so many bits more for its chunks, or fewer.

    None if no bits are left.
    """
    kappa = None if isinstance(parameters.partner, str) else parameters.kappa
    return PLANNERS[parameters.coding.name].nearby(parameters, histogram, bits, kappa)


def for_partner(parameters: Parameters, histogram: Histogram, rate: float, partner: Partner) -> Side | None:
    """A coded matrix of some rate, as estimators see it, as it would be if it had been coded for another partner."""
    planner, other = PLANNERS[parameters.coding.name], replace(parameters, partner=partner)
    return planner.nearby(other, histogram, 0.0, planner.pair_kappa(other, rate))


def expected_bits(plan: Plan, statistics: Statistics, rough: bool = False) -> float:
    """Bits that all chunks of a matrix should take, framing included; to a thousandth, where that is enough."""
    return PLANNERS[plan.parameters.coding.name].expected_bits(plan.parameters, statistics, rough)


def rate_within(wanted: int, exact: int, entries: int) -> float:
    """The rate to try first for a file of at most `wanted` bytes, common to all its matrices.

    Parameters
    ----------
    wanted : int
    exact : int
        Bytes of the records of what is carried exactly.
    entries : int
        Of all matrices.
    """
    return min(MAX_RATE, 8.0 * (wanted - exact) / entries) if entries else MAX_RATE


def lower_rate(rate: float, bits: float, excess: int, entries: int) -> float:
    """The rate to try after one with which matrices took `bits` and the file is `excess` bytes too large."""
    return min(rate, bits / entries) - 8.0 * (excess + 1) / entries


def base(task: Task, statistics: Statistics, target: Target) -> Parameters:
    """What is known before planning.

    The key of the dither follows from what is coded and what is asked, not from the parameters that coding ends up
    with: to draw another dither for every try, and to keep the one whose file fits, would favor small points and bias
    the estimate.
    """
    start = _keyless(task, statistics, target)
    fields = header(task, statistics, Plan(start, target.rate)).fields()
    for name in PLANNED if task.partner != EQUAL else (*PLANNED, "partner"):
        del fields[name]
    fields["coding"] = task.coding.name if task.window is None else f"{task.coding.name} {task.window}"
    fields["asked"] = [
        target.max_bytes,
        target.error,
        None if target.max_bytes else asked_rate(target),
        task.kappa,
    ]
    return replace(
        start, dither_key=dither.key(task.seed, statistics.digest, task.name, pack(list(fields.values())))
    )


def _keyless(task: Task, statistics: Statistics, target: Target) -> Parameters:
    """The same without the key of the dither."""
    digits = mean_digits(task, target, statistics)
    return Parameters(
        n=statistics.n, columns=statistics.columns, m=statistics.n, transform=task.transform, lattice=task.lattice,
        coding=task.coding, allocate=task.allocate, delta=0, lowest_class=0,
        norm_step=statistics.rounding.step, rotation_seed=task.seed, dither_key=bytes(16),
        coding_parameters=None if task.window is None else Water(task.window, 0),
        partner=task.partner, mean_digits=None if digits is None else digits.least,
        mean_reference=None if digits is None else digits.reference,
    )  # fmt: skip


def asked_rate(target: Target) -> float | None:
    """The rate, if the user named it."""
    return None if target.error is not None or target.max_bytes is not None else target.rate


def header(task: Task, statistics: Statistics, plan: Plan) -> TensorHeader:
    """The header of a matrix."""
    return TensorHeader(plan.parameters, task.axis, plan.rate, statistics.digest)


def header_bytes(task: Task, statistics: Statistics, target: Target) -> int:
    """The most bytes that the parameters take in a manifest, whatever the plan."""
    found = header(task, statistics, Plan(base(task, statistics, target), target.rate))
    return found.size() + PLANNERS[task.coding.name].HEADER_ROOM
