"""A part set made: every part measured, one plan for all, then each coded to a container by itself.

Both are done by workers, if there are any, who are told where a part is and write its container themselves: what comes
back is how many columns there are of each norm code, and then the size and digest of a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

from nqz._version import __version__
from nqz.commands.code import code, probe
from nqz.commands.contents import manifest, task_of
from nqz.commands.encode_matrix import assemble, vectors_of
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.options import EncodeOptions
from nqz.commands.panel_records import NoiseSums, side_records
from nqz.commands.sets.plan import PartMeasured, PartPlan, Together, plan_parts
from nqz.commands.sets.source import Piece
from nqz.commands.treatment import MATRIX, Treatment
from nqz.files.access import Access
from nqz.files.contract import Source, SourceTensor
from nqz.files.cutout import cut_out
from nqz.files.npy import NPY
from nqz.files.output import Output
from nqz.files.places import exists, remove
from nqz.files.rectangle import let_go
from nqz.format.part_set import PartEntry, PartSet, common, is_part_name, settings
from nqz.format.reader import ContainerReader
from nqz.format.writer import ContainerWriter
from nqz.ground import digests
from nqz.ground.arithmetic import pieces, total
from nqz.ground.errors import InputError, UsageError
from nqz.ground.threads import Workers
from nqz.ground.urls import base as name_of
from nqz.ground.urls import folder_of, is_url, joined
from nqz.models.architecture import Layer
from nqz.plan.means import mean_digits
from nqz.plan.search import base, calibrated, header, measured
from nqz.plan.side import rounding
from nqz.plan.task import Target, Task
from nqz.stages.norms import Rounding, loudest
from nqz.stages.panels import panel_columns
from nqz.stages.parameters import Parameters

_CONTAINER = 512
"""Bytes of a container of one matrix beside its norms, means and chunks, about."""


class PartJob(NamedTuple):
    """A part to be measured or coded, and how."""

    tensor: SourceTensor
    task: Task
    target: Target
    options: EncodeOptions


_REFUSED = {
    "max_bytes": "every part is coded once, so that a size is aimed at, and not promised; give a rate or an error",
    "rules": "is for files of several tensors, and a part set is of one matrix",
    "across": "is for files of several tensors, and a part set is of one matrix",
}
"""Options of an encoding that a part set does not have, and why."""


def check_options(options: EncodeOptions) -> None:
    """Raise UsageError for options that make no sense, or that a part set does not have."""
    usual = EncodeOptions()
    for name, why in _REFUSED.items():
        if getattr(options, name) != getattr(usual, name):
            raise UsageError(f"--{name.replace('_', '-')}: {why}")
    options.check()


def create_set(
    rows: list[list[Piece]],
    to: str,
    options: EncodeOptions,
    axis: int,
    pool: Workers,
    publish: Callable[[PartSet], object],
    old: PartSet | None = None,
) -> PartSet:
    """Measure parts, plan, and code each to a container beside the manifest.

    Parameters
    ----------
    rows : list of list of Piece
    to : str
        Path of the manifest.
    options : EncodeOptions
        But for the axis.
    axis : int
        Along which the vectors lie.
    pool : Workers
    publish : callable
        Called with the manifest once all parts are there, to write it.
    old : PartSet, optional
        The one that is replaced, whose parts stay: other sets may have them.
    """
    check_options(options)
    options = replace(options, axis=axis, config=None, tensors=())  # what workers need to know
    flat = [piece for row in rows for piece in row]
    _check_name(to, flat[-1])
    source = Source(NPY.kind, name_of(to), [flat[0].tensor], None, cast(Access, flat[0].tensor.access))
    task = replace(task_of(source, flat[0].tensor, options), center=options.center is not False)
    entries = sum(piece.tensor.entries for piece in flat)
    target = Target(options.rate or 0.0, options.error, None, 0)
    together, content = Together(), digests.begun()
    known = []  # the content digests of all parts
    for found in _each(pool, measure_part, (_job(piece, task, target, options) for piece in flat), flat):
        together.add(found)
        known.append(found.digest)
        content.update(found.digest)

    def try_panel(length: int, parameters: Parameters, rounding: Rounding) -> tuple[int, ...]:
        first = next(piece for piece in flat if _length(piece, axis) == length)
        tensor = first.tensor
        vectors = range(min(tensor.shape[1 - axis], panel_columns(length)))
        panel = replace(first, tensor=cut_out(tensor, axis, range(length), vectors))
        job = (*_job(panel, task, target, options), parameters, rounding)
        return next(iter(_each(pool, probe_part, iter([job]), [panel])))

    plans = plan_parts(together, task, target, try_panel)
    content.update(repr((__version__, options, axis, entries, sorted(plans))).encode())
    stem = f"{name_of(to).removesuffix('.nqzset')}-{content.digest().hex()[:8]}"
    names = [f"{stem}-{piece.k}-{piece.j}.nqz" for piece in flat]
    folder = folder_of(to if is_url(to) else os.path.abspath(to))
    kept = set() if old is None else {part.file for part in old.parts}
    if not is_url(folder):  # what was there may be parts of other sets
        kept.update(name for name in names if exists(joined(folder, name)))
    try:
        jobs = (
            (
                *_job(piece, task, target, options),
                digest,
                plans[_length(piece, axis)],
                joined(folder, name),
            )
            for piece, name, digest in zip(flat, names, known, strict=True)
        )
        parts = tuple(
            PartEntry(name, *found)
            for name, found in zip(names, _each(pool, code_part, jobs, flat), strict=True)
        )
        made = PartSet(
            axis, flat[0].tensor.dtype,
            tuple(row[0].tensor.shape[axis] for row in rows),
            tuple(piece.tensor.shape[1 - axis] for piece in rows[0]),
            common(settings(plan.parameters) for plan in plans.values()),
            parts,
        )  # fmt: skip
        publish(made)
    except BaseException:
        try:
            if pool.fleet is not None:  # who is writing a part still would do so after it is removed
                pool.fleet.settle()
        finally:
            for name in set(names) - kept:
                remove(joined(folder, name))
        raise
    return made


def _check_name(to: str, last: Piece) -> None:
    """Raise UsageError if a manifest cannot have parts that are called after it."""
    name = f"{name_of(to).removesuffix('.nqzset')}-{'0' * 8}-{last.k}-{last.j}.nqz"
    if not is_part_name(name):
        raise UsageError(
            f"{to}: its parts would be called as {name[:60]!r} …, which is no name for the file of a part; choose one "
            "that is shorter, and has no control characters and no backslashes"
        )


def _job(piece: Piece, task: Task, target: Target, options: EncodeOptions) -> PartJob:
    own = replace(task, name=f"part {piece.k},{piece.j}", where=piece.where)
    return PartJob(piece.tensor, own, target, options)


def _length(piece: Piece, axis: int) -> int:
    return int(piece.tensor.shape[axis])


def _each(
    pool: Workers, function: Callable[..., Any], jobs: Iterator[Any], flat: Sequence[Piece]
) -> Iterator[Any]:
    """What a function makes of jobs, here or by workers elsewhere; in order."""
    if pool.fleet is None:
        return (function(*job, pool.threads) for job in jobs)
    for piece in flat:
        if not piece.tensor.vectors(0).has_address:
            raise UsageError(
                f"{piece.where}: the workers of an executor read it by its path, which no pipe, no array in memory "
                "and no packed archive has; give a file that all of them can read, or an array that is passed on "
                "without its entries, as one of Zarr in a store"
            )
    threads = pool.fleet.threads
    return pool.fleet.map(function, ((*job, threads) for job in jobs))


# what workers do


@contextmanager
def _at_work(tensor: SourceTensor, threads: int) -> Iterator[Workers]:
    """Threads for a part; after that, nothing is kept of them, or of what was copied to read it."""
    pool = Workers(threads)
    try:
        with let_go(tensor):
            yield pool
    finally:
        pool.close()


def measure_part(
    tensor: SourceTensor, task: Task, target: Target, options: EncodeOptions, threads: int
) -> PartMeasured:
    """Norm codes of the columns of a part, counted, and how much comes beside its chunks."""
    with _at_work(tensor, threads) as pool:
        view = vectors_of(tensor, task)
        statistics = measure(view, task.center is not False, task.where, pool=pool)
        plain = statistics.histogram
        rounded = statistics.rounded(rounding(task, view.length, plain))
        matrix = MeasuredMatrix(view, rounded, task.where, pool)
        digits, nbytes = mean_digits(task, target, rounded), _CONTAINER
        width = panel_columns(view.length)
        for panel in pieces(view.count, width):
            records = side_records(matrix.kept_means(panel, digits), rounded.rounding.step)
            nbytes += sum(len(record.data) + 2 for record in records)
        near = total(statistics.near[statistics.near > 0.0])
        return PartMeasured(view.length, view.count, plain, statistics.digest, nbytes, near)


def probe_part(
    tensor: SourceTensor, task: Task, target: Target, options: EncodeOptions, parameters: Parameters,
    rounding: Rounding, threads: int,
) -> tuple[int, ...]:  # fmt: skip
    """Code the first panel of a part for nothing but what is measured meanwhile: see `probe`."""
    with _at_work(tensor, threads) as pool:
        view = vectors_of(tensor, task)
        statistics = measure(view, task.center is not False, task.where, pool=pool).rounded(rounding)
        parameters = replace(parameters, columns=view.count)
        return probe(MeasuredMatrix(view, statistics, task.where, pool), pool, parameters)


def code_part(
    tensor: SourceTensor,
    task: Task,
    target: Target,
    options: EncodeOptions,
    known: bytes,
    planned: PartPlan,
    path: str,
    threads: int,
) -> tuple[int, str]:
    """Write the container of a part; its bytes, and its digest.

    Raises
    ------
    InputError
        It has not the content digest that it had when it was planned for: arrays do not tell that they have changed.
    """
    with _at_work(tensor, threads) as pool:
        view = vectors_of(tensor, task)
        statistics = measure(view, task.center is not False, task.where, pool=pool)
        if statistics.digest != known:
            raise InputError(f"{task.where}: seems to have changed while being read")
        statistics = statistics.rounded(planned.rounding)
        matrix = MeasuredMatrix(view, statistics, task.where, pool)
        chosen = planned.of(base(task, statistics, target))
        final = calibrated(chosen, statistics, partial(probe, matrix, pool))
        found = matrix.coded(final.parameters)
        noise = NoiseSums(loudest(found.histogram.codes))
        source = Source(NPY.kind, task.where, [tensor], None, cast(Access, tensor.access))
        with Output(path, force=True) as output:
            described = manifest(
                source, [Treatment(tensor, MATRIX, Layer(task.axis, ""), options.coding)], options.metadata
            )
            writer = ContainerWriter(output.access, described)
            writer.begin(0)
            assemble(writer, code(found, final.parameters, pool=pool, noise=noise))
            writer.parameters = header(task, statistics, measured(final, noise.sums)).values()
            size = writer.finish()
            digest = ContainerReader(output.access, path).digest
            output.commit(size)
        return size, digest.hex()
