"""One matrix of a source into a container: measure, plan, code, assemble.

It is read twice: once to be measured, once to be coded. If the result is larger than the rate allows, it is coded
again a little coarser.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import chain, count
from typing import Any

from nqz.commands.code import Progress, code, probe
from nqz.commands.measure import measure
from nqz.files.contract import SourceTensor
from nqz.format.norm_mean import pack_means, pack_norms
from nqz.format.records import Sealed, seal
from nqz.format.writer import ContainerWriter, Draft, listed_size
from nqz.ground.errors import UnsupportedError
from nqz.ground.threads import Workers
from nqz.ground.wording import counted
from nqz.plan.search import calibrated, header, header_bytes, plan, replan
from nqz.plan.task import Plan, Target, Task, alive, coded_entries
from nqz.stages.statistics import Statistics


def encode_matrix(
    tensor: SourceTensor,
    task: Task,
    target: Target,
    writer: ContainerWriter | Draft,
    whole: ContainerWriter | None,
    pool: Workers,
    progress: Progress,
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

    Returns
    -------
    list of str
        Warnings.
    """
    view, share = tensor.vectors(task.axis), 0.5 / tensor.nbytes
    if view.length > task.transform.max_length:
        raise UnsupportedError(
            f"{task.where}: vectors of {counted(view.length, 'entry')}; "
            f"at most {task.transform.max_length} are supported"
        )
    found = measure(view, task.center, task.where, pool=pool, progress=lambda size: progress(share * size))
    statistics = found.rounded(target.digits if task.center else None)
    del found  # means take 8 bytes a column, rounded ones 5
    side = side_records(statistics)
    target = target.with_fixed(fixed_bytes(task, statistics, target, side, whole))
    first_panel = partial(probe, view, statistics, pool)
    chosen = plan(task, statistics, target, first_panel)
    start: Any = writer.mark()
    for attempt in count():
        final = calibrated(chosen, statistics, first_panel)
        chunks = code(
            view, statistics, final.parameters, pool=pool, progress=lambda share: progress(share / 2)
        )
        assemble(writer, leading_records(task, statistics, final, side), chunks)
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


def side_records(statistics: Statistics) -> list[Sealed]:
    """The norms and means of a matrix, with means rounded."""
    norms, means = seal("NORM", pack_norms(statistics.codes)), statistics.means
    return [norms] if means.digits is None else [norms, seal("MEAN", pack_means(means.shift, means.q))]


def leading_records(task: Task, statistics: Statistics, plan: Plan, side: list[Sealed]) -> list[Sealed]:
    """Everything in front of the chunks."""
    return [seal("TENS", header(task, statistics, plan).pack()), *side]


def assemble(writer: ContainerWriter | Draft, *records: Iterable[Sealed]) -> None:
    """Append the records of a tensor, which has been begun, to a container."""
    for record in chain(*records):
        writer.add(record)


def fixed_bytes(
    task: Task, statistics: Statistics, target: Target, side: list[Sealed], file: ContainerWriter | None
) -> int:
    """Bytes beside the chunks that the rate counts: of all of the file, if it is given."""
    lengths = [header_bytes(task, statistics, target), *(record.length for record in side)]
    return listed_size(lengths) if file is None else file.projected_size(lengths)


def _nothing_left_warning(task: Task, statistics: Statistics, target: Target) -> str:
    return (
        f"{task.where}: {target.rate:g} bits per entry leave room for nothing but the means of its "
        f"{counted(statistics.columns, 'vector')} of {counted(statistics.n, 'entry')}"
    )


def _side_information_warning(task: Task, statistics: Statistics, target: Target, side: list[Sealed]) -> str:
    bits = 8.0 * sum(record.length for record in side) / statistics.grid.entries
    return (
        f"{task.where}: {counted(statistics.columns, 'vector')} of only {counted(statistics.n, 'entry')}; norms and "
        f"means take {bits:.2g} bits an entry of the {target.rate:g} asked for (try the other --axis, or --no-center)"
    )
