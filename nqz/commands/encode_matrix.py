"""One matrix of a source into a container: measure, plan, code, assemble.

It is read twice: once to be measured, once to be coded. If the result is larger than the rate allows, it is coded
again a little coarser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from typing import Any, NamedTuple

from nqz.commands.code import Progress, code, probe
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.panel_records import NoiseSums, side_records
from nqz.commands.rounded import rounded
from nqz.files.contract import SourceTensor
from nqz.files.vectors import VectorView
from nqz.format.records import Sealed
from nqz.format.writer import ContainerWriter, Draft, listed_size
from nqz.ground.arithmetic import pieces
from nqz.ground.errors import UnsupportedError, UsageError
from nqz.ground.threads import Workers
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.ground.wording import counted
from nqz.plan.means import mean_digits
from nqz.plan.search import (
    calibrated,
    for_partner,
    header,
    header_bytes,
    measured,
    plan,
    replan,
    replan_for_error,
)
from nqz.plan.task import Plan, Target, Task, alive, coded_entries, least_bytes, predicted
from nqz.stages.center import Digits, Means
from nqz.stages.estimate import Side
from nqz.stages.loud import hidden, others
from nqz.stages.norms import loudest
from nqz.stages.panels import panel_columns
from nqz.stages.partner import EQUAL, common_kappa
from nqz.stages.scale import OCTAVES
from nqz.stages.statistics import Statistics
from nqz.stages.sums import Found

_SAMPLES, _SAMPLE = 16, 1 << 15  # ranges of columns, and their width, that side information is estimated from
_BETTER = 0.02  # of the error of columns beside loud ones, from which another partner is worth a word
_PADDING = 64.0  # bits that a record is rounded up to, which norms and means have nothing to do with
_ROUND_UP = 1.001  # it had better be a little too large: what is beyond the rate is coded again


class Encoded(NamedTuple):
    """What came of a matrix.

    Attributes
    ----------
    error : float
        Predicted error of a product with an unrelated partner that it is coded for.
    warnings : list of str
    """

    error: float
    warnings: list[str]


def encode_matrix(
    tensor: SourceTensor,
    task: Task,
    target: Target,
    writer: ContainerWriter | Draft,
    whole: ContainerWriter | None,
    pool: Workers,
    progress: Progress,
    require: Callable[[int], object],
) -> Encoded:
    """Encode one matrix.

    Parameters
    ----------
    tensor : SourceTensor
    task : Task
    target : Target
        Without `fixed`, which is found out here.
    writer : ContainerWriter or Draft
        Takes the records.
    whole : ContainerWriter or None
        The file, if all of it counts, and not the records of the tensor alone.
    pool : Workers
    progress : callable
        Called with the share of the work that was done since the last call.
    require : callable
        Called with bytes that will certainly be written, before the work that they come from.

    Returns
    -------
    Encoded
    """
    view, share = vectors_of(tensor, task), 0.5 / tensor.nbytes
    if pool.fleet is not None and not view.has_address:
        raise UsageError(
            f"{task.where}: the workers of an executor read it by its path, which no pipe, no array in memory and no "
            "packed archive has; give a file that all of them can read"
        )
    statistics = measure(
        view, task.center is not False, task.where, pool=pool, progress=lambda size: progress(share * size)
    )
    matrix = rounded(MeasuredMatrix(view, statistics, task.where, pool), task, target, pool)
    statistics = matrix.statistics
    side = SideInformation.of(matrix, mean_digits(task, target, statistics), pool)
    target = target.with_fixed(fixed_bytes(task, statistics, target, side, whole))
    first_panel = partial(probe, matrix, pool)
    chosen = plan(task, statistics, target, first_panel)
    require(sum(side.lengths) + least_bytes(chosen.parameters, statistics))
    start: Any = writer.mark()
    for attempt in count():
        final = calibrated(chosen, statistics, first_panel)
        found = matrix.coded(final.parameters)
        noise = NoiseSums(loudest(found.histogram.codes))
        records = code(
            found,
            final.parameters,
            side=side.records if found is matrix else None,
            pool=pool,
            progress=lambda share: progress(share / 2),
            noise=noise,
        )
        assemble(writer, records)
        final = measured(final, noise.sums)
        writer.parameters = header(task, statistics, final).values()
        size = whole.projected_size() if whole else writer.tensor_bytes()
        error = predicted(final.parameters, found.statistics)
        again = replan(task, statistics, target, chosen, size, attempt) or replan_for_error(
            task, statistics, target, final, error, first_panel, attempt
        )
        if again is None:
            break
        chosen = again
        writer.rollback(start)
    return Encoded(error, _warnings(task, statistics, target, chosen, side, size))


def _warnings(
    task: Task, statistics: Statistics, target: Target, chosen: Plan, side: SideInformation, size: int
) -> list[str]:
    """What the user should know of a matrix that takes `size` bytes."""
    loud = _loud_warnings(task, statistics, chosen)
    if target.error is not None:
        return loud
    if target.excess(size, statistics.grid.entries) > _PADDING:
        return [_side_information_warning(task, statistics, target, side)]
    if alive(statistics) and not coded_entries(chosen.parameters, statistics):
        return [_nothing_left_warning(task, statistics, target)]
    return loud


def vectors_of(tensor: SourceTensor, task: Task) -> VectorView:
    """The vectors of a matrix; `UnsupportedError` if they are too long."""
    view = tensor.vectors(task.axis)
    if view.length > task.transform.max_length:
        raise UnsupportedError(
            f"{task.where}: vectors of {counted(view.length, 'entry')}; "
            f"at most {task.transform.max_length} are supported"
        )
    return view


@dataclass(frozen=True)
class SideInformation:
    """The side information of a matrix: its records NORM and MEAN, or only about how long they are.

    Attributes
    ----------
    lengths : list of int
        Of their payloads.
    records : list of list of Sealed, or None
        Those of every panel, where norm codes and means are `held`.
    """

    lengths: list[int]
    records: list[list[Sealed]] | None

    @classmethod
    def of(cls, matrix: MeasuredMatrix, digits: Digits | None, pool: Workers) -> SideInformation:
        """The side information of a matrix whose means are kept with so many digits."""
        count, n = matrix.statistics.columns, matrix.statistics.n
        step = matrix.statistics.rounding.step
        panels = pieces(count, panel_columns(n))
        if matrix.statistics.held is not None:
            found = list(pool.map(lambda panel: side_records(matrix.kept_means(panel, digits), step), panels))
            return cls([record.length for panel in found for record in panel], found)
        apart = -(-count // _SAMPLES)
        ends = [(first, min(first + min(_SAMPLE, apart), count)) for first in range(0, count, apart)]
        sample = Found.joined([matrix.measured(*found) for found in ends])
        records = side_records(Means.rounded(sample.mean, sample.codes, n, digits), step)
        share = _ROUND_UP / len(sample.codes)
        widths = (panel.stop - panel.start for panel in panels)
        return cls([int(record.length * width * share) for width in widths for record in records], None)


def assemble(writer: ContainerWriter | Draft, *records: Iterable[Sealed]) -> None:
    """Append the records of a tensor, which has been begun, to a container."""
    for record in chain(*records):
        writer.add(record)


def fixed_bytes(
    task: Task, statistics: Statistics, target: Target, side: SideInformation, file: ContainerWriter | None
) -> int:
    """Bytes beside the chunks that the rate counts: of all of the file, if it is given."""
    parameters = header_bytes(task, statistics, target)
    if file is None:
        return listed_size(side.lengths) + parameters
    return file.projected_size(side.lengths, parameters)


def _loud_warnings(task: Task, statistics: Statistics, chosen: Plan) -> list[str]:
    """What a few loud columns do to the others, where the error of the whole does not show it."""
    p, histogram = chosen.parameters, statistics.histogram
    found = others(p, Side(histogram, p.norm_scaling(histogram).noise, p.n, p.kappa))
    if found is None or (p.octaves == OCTAVES and not hidden(found.product, predicted(p, statistics))):
        return []
    less = "" if p.octaves == OCTAVES else ", with fewer bits than they could have, for room for the others"
    message = (
        f"{task.where}: {found.loud} of {counted(found.columns, 'vector')} far louder than the rest{less}; "
        f"the predicted product error of the others is {found.product:.3g}, which that of the whole does not show"
    )
    return [message + _better_for_others(task, statistics, chosen)]


def _better_for_others(task: Task, statistics: Statistics, chosen: Plan) -> str:
    """What a partner without loud columns would change for the others; with such, all coordinates are kept."""
    p, histogram = chosen.parameters, statistics.histogram
    if task.kappa is not None or p.partner != EQUAL:
        return ""
    rate = min(max(round(chosen.rate, 3), MIN_RATE), MAX_RATE)
    kappa = common_kappa(rate, rate)
    better = for_partner(p, histogram, rate, rate) if kappa < p.kappa else None
    if better is None:
        return ""
    # such a partner has no more coordinates
    own = Side(histogram, p.norm_scaling(histogram).noise, p.n, kappa)
    before, after = (others(replace(p, partner=rate), side) for side in (own, better))
    if before is None or after is None or before.product - after.product < _BETTER:
        return ""
    return (
        f"; beside a matrix of {rate:g} bits per entry without such vectors it is {before.product:.3g}, "
        f"and with --partner {rate:g} {after.product:.3g}"
    )


def _nothing_left_warning(task: Task, statistics: Statistics, target: Target) -> str:
    return (
        f"{task.where}: {target.rate:g} bits per entry leave room for nothing but the means of its "
        f"{counted(statistics.columns, 'vector')} of {counted(statistics.n, 'entry')}"
    )


def _side_information_warning(
    task: Task, statistics: Statistics, target: Target, side: SideInformation
) -> str:
    bits = 8.0 * sum(side.lengths) / statistics.grid.entries
    what, less = ("norms and means take", ", or --no-center") if statistics.center else ("norms take", "")
    if statistics.center and task.center:
        less = ", or without --center"
    return (
        f"{task.where}: {counted(statistics.columns, 'vector')} of only {counted(statistics.n, 'entry')}; {what} "
        f"{bits:.2g} bits an entry of the {target.rate:g} asked for (try the other --axis{less})"
    )
