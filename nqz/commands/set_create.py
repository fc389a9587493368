"""A part set made: every part measured, one plan for all, then each coded to a container by itself.

Both are done by workers, if there are any, who are told where a part is and write its container themselves: what comes
back is how many columns there are of each norm code, and then the size and digest of a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from nqz.commands.code import code
from nqz.commands.contents import manifest, task_of
from nqz.commands.encode_matrix import assemble, vectors_of
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.options import EncodeOptions
from nqz.commands.panel_records import side_records
from nqz.commands.set_plan import PartMeasured, PartPlan, Together, plan_parts
from nqz.commands.treatment import MATRIX, Treatment
from nqz.files.access import Access
from nqz.files.contract import Source, SourceTensor
from nqz.files.cutout import cut_out, evenly
from nqz.files.npy import NPY
from nqz.files.output import Output
from nqz.files.places import remove
from nqz.files.rectangle import let_go
from nqz.format.part_set import PartEntry, PartSet
from nqz.format.reader import ContainerReader
from nqz.format.writer import ContainerWriter
from nqz.ground import digests
from nqz.ground.arithmetic import pieces
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import NqzError, OperandError, UnsupportedError, UsageError
from nqz.ground.threads import Workers
from nqz.ground.urls import base as name_of
from nqz.ground.urls import folder_of, is_url, joined
from nqz.models.architecture import Layer
from nqz.plan.means import mean_digits
from nqz.plan.search import base, header
from nqz.plan.side import rounding
from nqz.plan.task import Plan, Target, Task
from nqz.stages.panels import panel_columns

CONTRACTED, VECTORS = "contracted", "vectors"
"""The axes along which parts may follow one another."""

_USUAL = 1 << 30
"""Entries of a part, at most, where nobody says how many parts there are to be."""

_CONTAINER = 512
"""Bytes of a container of one matrix beside its norms, means and chunks, about."""


@dataclass(frozen=True)
class Piece:
    """What a part is made of: a rectangle of a matrix, whose numbers in the set are k and j."""

    tensor: SourceTensor
    where: str
    k: int
    j: int


class PartJob(NamedTuple):
    """A part to be measured or coded, and how."""

    tensor: SourceTensor
    task: Task
    target: Target
    options: EncodeOptions


def cut_source(
    tensor: SourceTensor, where: str, axis: int, parts: tuple[int, int] | None
) -> list[list[Piece]]:
    """A matrix cut into so many parts along the contracted axis and across it; across it by default.

    Raises
    ------
    UsageError, UnsupportedError
        It has not so many vectors, or entries of these; or it is no matrix of two dimensions.
    """
    _check_matrix(tensor, where)
    n, count = tensor.shape[axis], tensor.shape[1 - axis]
    if parts is None:
        parts = 1, min(count, -(-n * count // _USUAL))
    if not (1 <= parts[0] <= n and 1 <= parts[1] <= count):
        raise UsageError(
            f"--parts {parts[0]}x{parts[1]}: {where} has {count} vectors of {n} entries; from 1x1 to {n}x{count} are "
            "possible"
        )
    rows, columns = (_edges(evenly(whole, k)) for whole, k in zip((n, count), parts, strict=True))
    return [
        [
            Piece(cut_out(tensor, axis, rows[k], columns[j]), f"{where}: part {k},{j}", k, j)
            for j in range(parts[1])
        ]
        for k in range(parts[0])
    ]


def stack_sources(tensors: Sequence[tuple[SourceTensor, str]], axis: int, along: str) -> list[list[Piece]]:
    """Matrices of several files as the parts of one, which follow one another along the contracted axis or across it.

    Raises
    ------
    OperandError
        They do not fit together.
    """
    first, name = tensors[0]
    for tensor, where in tensors:
        _check_matrix(tensor, where)
        common = 1 - axis if along == CONTRACTED else axis
        if tensor.shape[common] != first.shape[common] or tensor.dtype != first.dtype:
            raise OperandError(
                f"{where}: {_shape(tensor)}, and {name} {_shape(first)}; stacked along the "
                f"{'contracted axis' if along == CONTRACTED else 'vectors'} both need the same type and as many "
                f"{'vectors' if along == CONTRACTED else 'entries of each'}"
            )
    whole = [cut_out(tensor, 0, range(tensor.shape[0]), range(tensor.shape[1])) for tensor, _ in tensors]
    if along == CONTRACTED:
        return [
            [Piece(one, where, k, 0)] for k, (one, (_, where)) in enumerate(zip(whole, tensors, strict=True))
        ]
    return [[Piece(one, where, 0, j) for j, (one, (_, where)) in enumerate(zip(whole, tensors, strict=True))]]


def _shape(tensor: SourceTensor) -> str:
    return f"is {'x'.join(map(str, tensor.shape))} {tensor.dtype}"


def _check_matrix(tensor: SourceTensor, where: str) -> None:
    if len(tensor.shape) != 2 or 0 in tensor.shape or not is_matrix_dtype(tensor.dtype):
        raise UnsupportedError(
            f"{where}: {_shape(tensor)}; a part set is made of matrices of two dimensions, of floating-point numbers"
        )

    if not NPY.kind.holds(tensor.dtype):
        raise UnsupportedError(
            f"{where}: entries of {tensor.dtype} are not supported in a part set; convert them to float32"
        )


def _edges(lengths: Sequence[int]) -> list[range]:
    found, at = [], 0
    for length in lengths:
        found.append(range(at, at + length))
        at += length
    return found


def check_options(options: EncodeOptions) -> None:
    """Raise UsageError for options that a part set does not have: its points are those of one lattice scale."""
    options.check()
    if options.max_bytes is not None:
        raise UsageError("a part set is made for a rate (-r) or an error (--error)")
    if options.coding != "entropy" or options.allocate not in (None, "matrix"):
        raise UsageError(
            "the parts of a set share one lattice scale: --coding entropy and --allocate matrix are needed"
        )


def create_set(
    rows: list[list[Piece]],
    to: str,
    options: EncodeOptions,
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
    pool : Workers
    publish : callable
        Called with the manifest once all parts are there, to write it.
    old : PartSet, optional
        The one that is replaced, whose parts stay: other sets may have them.
    """
    check_options(options)
    axis = int(options.axis or 0)
    flat = [piece for row in rows for piece in row]
    source = Source(NPY.kind, name_of(to), [flat[0].tensor], None, cast(Access, flat[0].tensor.access))
    task = replace(task_of(source, flat[0].tensor, options), center=options.center is not False)
    entries = sum(piece.tensor.entries for piece in flat)
    target = Target(options.rate or 0.0, options.error, None, 0)
    together, content = Together(), digests.begun()
    for found in _each(pool, measure_part, (_job(piece, task, target, options) for piece in flat), flat):
        together.add(found)
        content.update(found.digest)
    plans = plan_parts(together, task, target, _no_probe)
    content.update(repr((options, axis, entries, sorted(plans))).encode())
    stem = f"{name_of(to).removesuffix('.nqzset')}-{content.digest().hex()[:8]}"
    names = [f"{stem}-{piece.k}-{piece.j}.nqz" for piece in flat]
    folder = folder_of(to if is_url(to) else os.path.abspath(to))
    kept = set() if old is None else {part.file for part in old.parts}
    try:
        jobs = (
            (*_job(piece, task, target, options), plans[_length(piece, axis)], joined(folder, name))
            for piece, name in zip(flat, names, strict=True)
        )
        parts = tuple(
            PartEntry(name, *found)
            for name, found in zip(names, _each(pool, code_part, jobs, flat), strict=True)
        )
        p = next(iter(plans.values())).parameters
        made = PartSet(
            axis, flat[0].tensor.dtype,
            tuple(row[0].tensor.shape[axis] for row in rows),
            tuple(piece.tensor.shape[1 - axis] for piece in rows[0]),
            {
                "lattice": options.lattice_name, "delta": p.delta, "lowest_class": p.lowest_class,
                "seed": options.seed,
            },
            parts,
        )  # fmt: skip
        publish(made)
    except BaseException:
        for name in set(names) - kept:
            remove(joined(folder, name))
        raise
    return made


def _job(piece: Piece, task: Task, target: Target, options: EncodeOptions) -> PartJob:
    own = replace(task, name=f"part {piece.k},{piece.j}", where=piece.where)
    return PartJob(piece.tensor, own, target, options)


def _length(piece: Piece, axis: int) -> int:
    return int(piece.tensor.shape[axis])


def _no_probe(parameters: Any) -> tuple[int, ...]:
    raise NqzError("internal error: this coding is planned without being tried")


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
        return PartMeasured(view.length, view.count, plain, statistics.digest, nbytes)


def code_part(
    tensor: SourceTensor,
    task: Task,
    target: Target,
    options: EncodeOptions,
    planned: PartPlan,
    path: str,
    threads: int,
) -> tuple[int, str]:
    """Write the container of a part; its bytes, and its digest."""
    with _at_work(tensor, threads) as pool:
        view = vectors_of(tensor, task)
        statistics = measure(view, task.center is not False, task.where, pool=pool)
        statistics = statistics.rounded(planned.rounding)
        p = planned.of(base(task, statistics, target))
        source = Source(NPY.kind, task.where, [tensor], None, cast(Access, tensor.access))
        with Output(path, force=True) as output:
            described = manifest(source, [Treatment(tensor, MATRIX, Layer(task.axis, ""), options.coding)])
            writer = ContainerWriter(output.access, described)
            writer.begin(0)
            writer.parameters = header(task, statistics, Plan(p, planned.rate)).values()
            assemble(writer, code(MeasuredMatrix(view, statistics, task.where, pool), p, pool=pool))
            size = writer.finish()
            digest = ContainerReader(output.access, path).digest
            output.commit(size)
        return size, digest.hex()
