"""One matrix of a source into a container: measure, plan, code, assemble.

It is read twice: once to be measured, once to be coded. If the result is larger than the rate allows, it is coded
again a little coarser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, count
from typing import Any

from nqz.commands.code import Progress, code, probe, side_records
from nqz.commands.measure import measure
from nqz.files.contract import SourceTensor
from nqz.format.records import Sealed
from nqz.format.writer import ContainerWriter, Draft, listed_size
from nqz.ground.errors import UnsupportedError
from nqz.ground.threads import Workers
from nqz.plan.search import calibrated, header, header_bytes, plan, replan
from nqz.plan.task import Target, Task, alive, coded_entries, least_bytes
from nqz.stages.panels import panel_columns
from nqz.stages.statistics import Statistics


def encode_matrix(
    tensor: SourceTensor,
    task: Task,
    target: Target,
    writer: ContainerWriter | Draft,
    whole: ContainerWriter | None,
    pool: Workers,
    progress: Progress,
    require: Callable[[int], object],
) -> list[str]:
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
    list of str
        Warnings.
    """
    view, share = tensor.vectors(task.axis), 0.5 / tensor.nbytes
    if view.length > task.transform.max_length:
        raise UnsupportedError(
            f"{task.where}: vectors of {view.length} entries; at most {task.transform.max_length} are supported"
        )
    found = measure(view, task.center, task.where, pool=pool, progress=lambda size: progress(share * size))
    statistics = found.rounded(target.digits if task.center else None)
    del found  # means take 8 bytes a column, rounded ones 5
    width = panel_columns(view.length)
    side = [
        record
        for first in range(0, view.count, width)
        for record in side_records(statistics, first, min(first + width, view.count))
    ]
    target = target.with_fixed(fixed_bytes(task, statistics, target, side, whole))
    first_panel = partial(probe, view, statistics, pool)
    chosen = plan(task, statistics, target, first_panel)
    require(sum(record.length for record in side) + least_bytes(chosen.parameters, statistics))
    start: Any = writer.mark()
    for attempt in count():
        final = calibrated(chosen, statistics, first_panel)
        chunks = code(
            view, statistics, final.parameters, pool=pool, progress=lambda share: progress(share / 2)
        )
        writer.parameters = header(task, statistics, final).values()
        assemble(writer, chunks)
        size = whole.projected_size() if whole else writer.tensor_bytes()
        again = replan(task, statistics, target, chosen, size, attempt)
        if again is None:
            break
        chosen = again
        writer.rollback(start)
    if target.error is not None:
        return []
    if target.excess(size, statistics.grid.entries) > 0:
        return [_side_information_warning(task, statistics, target, side)]
    if alive(statistics) and not coded_entries(chosen.parameters, statistics):
        return [_nothing_left_warning(task, statistics, target)]
    return []


def assemble(writer: ContainerWriter | Draft, *records: Iterable[Sealed]) -> None:
    """Append the records of a tensor, which has been begun, to a container."""
    for record in chain(*records):
        writer.add(record)


def fixed_bytes(
    task: Task, statistics: Statistics, target: Target, side: list[Sealed], file: ContainerWriter | None
) -> int:
    """Bytes beside the chunks that the rate counts: of all of the file, if it is given."""
    lengths, parameters = [record.length for record in side], header_bytes(task, statistics, target)
    return listed_size(lengths) + parameters if file is None else file.projected_size(lengths, parameters)


def _nothing_left_warning(task: Task, statistics: Statistics, target: Target) -> str:
    return (
        f"{task.where}: {target.rate:g} bits per entry leave room for nothing but the means of its "
        f"{statistics.columns} vectors of {statistics.n} entries"
    )


def _side_information_warning(task: Task, statistics: Statistics, target: Target, side: list[Sealed]) -> str:
    bits = 8.0 * sum(record.length for record in side) / statistics.grid.entries
    return (
        f"{task.where}: its {statistics.columns} vectors have only {statistics.n} entries each; norms and means "
        f"alone take {bits:.2g} bits an entry of the {target.rate:g} asked for (try the other --axis, or --no-center)"
    )
