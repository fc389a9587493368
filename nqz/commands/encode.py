"""Encoding: a source of tensors to a container, or the parts of one thing to a container each.

`encode_matrix` does a single matrix; this module chooses the tensors, and the rate where a number of bytes is asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nqz._version import __version__
from nqz.commands.encode_matrix import assemble, encode_matrix
from nqz.commands.options import EncodeOptions
from nqz.commands.select import select_parts
from nqz.files.contract import SourceTensor, Tensors
from nqz.files.source import refuse_non_float
from nqz.format.exct import exact_pieces
from nqz.format.manifest import EXACT, MATRIX, Manifest, TensorInfo
from nqz.format.records import framed, seal
from nqz.format.writer import ContainerWriter, Draft
from nqz.ground.errors import UsageError
from nqz.ground.sources import SourceKind
from nqz.ground.threads import SMALL, Workers
from nqz.ground.wording import counted
from nqz.plan.search import lower_rate, rate_within
from nqz.plan.task import MIN_RATE, Target, Task
from nqz.stages.codings import CODINGS
from nqz.stages.transforms import DEFAULT as TRANSFORM

Progress = Callable[[str, float], object]
Report = dict[str, Any]

_TRIES = 6
_FREE_BYTES = 448  # come on top of the rate below a million entries
_SMALL = 10**6


def encode(
    source: Tensors, access: Any, options: EncodeOptions, pool: Workers, progress: Progress | None = None
) -> Report:
    """Encode the tensors of a source; see `encode_parts`, of which it is the only part."""
    return encode_parts([source], [access], options, pool, progress)


def encode_parts(
    sources: Sequence[Tensors],
    accesses: Sequence[Any],
    options: EncodeOptions,
    pool: Workers,
    progress: Progress | None = None,
) -> Report:
    """Encode the parts of one thing, such as the files of a model, each to a container of its own.

    Parameters
    ----------
    sources : sequence of Tensors
        No two tensors of them have the same name.
    accesses : sequence
        Where the container of each is written.
    options : EncodeOptions
        A rate, an error or a number of bytes is that of all parts together.
    pool : Workers
    progress : callable, optional
        Called as progress(tensor name, bytes of input processed); of a matrix, each of the two passes counts for half
        of its bytes.

    Returns
    -------
    dict
        ``files``: bytes of each container; ``file_bytes``: of all; ``entries`` and ``bits`` of the matrices;
        ``matrices`` and ``exact``: how many of each; ``warnings``: list of str.

    Raises
    ------
    UsageError
        An option makes no sense, or nothing fits into the bytes allowed.
    UnsupportedError
        A tensor is not of finite floating-point numbers.
    """
    options.check()
    chosen = select_parts(
        [[t.name for t in source.tensors] for source in sources], options.tensors, where_of(sources)
    )
    for source in sources:
        refuse_non_float(source)
    parts = [
        _Part(source, access, [source.tensors[i] for i in indices])
        for source, access, indices in zip(sources, accesses, chosen, strict=True)
    ]
    run = _Run(parts, options, pool, progress or (lambda name, size: None))
    return (
        run.encode() if options.max_bytes is None else _within(run, options.max_bytes - options.other_bytes)
    )


def where_of(sources: Sequence[Tensors]) -> str:
    """What messages call all parts together."""
    more = len(sources) - 1
    return sources[0].name + (f" and {counted(more, 'more file')}" if more else "")


@dataclass(frozen=True)
class _Part:
    """A source, where its container is written, and the tensors that are taken."""

    source: Tensors
    access: Any
    chosen: list[SourceTensor]


@dataclass(frozen=True)
class _Run:
    """What is encoded how, and to where."""

    parts: list[_Part]
    options: EncodeOptions
    pool: Workers
    progress: Progress

    def encode(self) -> Report:
        """Write the files."""
        report: Report = {"files": [], "entries": 0, "bits": 0.0, "matrices": 0, "exact": 0, "warnings": []}
        for part in self.parts:
            for key, value in self.encode_part(part).items():
                report[key] += value
        report["file_bytes"] = sum(report["files"])
        return report

    def encode_part(self, part: _Part) -> Report:
        """Write a file, and return what it adds to the report."""
        source, chosen = part.source, part.chosen
        writer = ContainerWriter(part.access, manifest(source, chosen, self.options.metadata))
        report: Report = {"entries": 0, "bits": 0.0, "matrices": 0, "exact": 0, "warnings": []}
        small = [tensor.entries <= SMALL for tensor in chosen]
        each = self.pool.each(partial(self.tensor, part, writer), range(len(chosen)), small.__getitem__)
        for index, (draft, found) in enumerate(each):
            if draft is not None:
                writer.begin(index)
                writer.parameters = draft.parameters
                assemble(writer, draft.records)
            for key, value in found.items():
                report[key] += value
        size = writer.finish()
        if source.kind.alone:
            report["bits"] = 8.0 * size
        return {**report, "files": [size]}

    def tensor(
        self, part: _Part, file: ContainerWriter, index: int, pool: Workers
    ) -> tuple[Draft | None, Report]:
        """Write the records of a tensor, or keep them if others are worked on; and what it adds to the report."""
        source, tensor, draft, options = part.source, part.chosen[index], None, self.options
        if pool is self.pool:
            file.begin(index)
        else:
            draft = Draft()  # its place in the file follows from the tensors before it
        writer = file if draft is None else draft
        if file.manifest.tensors[index].kind == "exact":
            pieces = exact_pieces(self._counted(tensor), each=pool.map)
            assemble(writer, (seal("EXCT", piece) for piece in pieces))
            return draft, {"exact": 1}
        warnings = encode_matrix(
            tensor, task_of(source, tensor, options), target_of(tensor, options), writer,
            file if source.kind.alone else None, pool,
            lambda share: self.progress(tensor.name, share * tensor.nbytes),
            lambda size: None if draft is not None else part.access.require(file.size + size),
        )  # fmt: skip
        bits = 8.0 * writer.tensor_bytes()
        return draft, {"matrices": 1, "entries": tensor.entries, "bits": bits, "warnings": warnings}

    def _counted(self, tensor: SourceTensor) -> Iterator[memoryview]:
        for piece in tensor.pieces():
            yield piece
            self.progress(tensor.name, len(piece))


def task_of(source: Tensors, tensor: SourceTensor, options: EncodeOptions) -> Task:
    """How a matrix of a source is to be coded."""
    coding = CODINGS[options.coding]
    return Task(
        name=tensor.name,
        where=source.name + (f": tensor {tensor.name!r}" if tensor.name else ""),
        axis=0 if len(tensor.shape) == 1 else options.axis,
        center=options.center,
        transform=TRANSFORM,
        lattice=options.chosen_lattice,
        coding=coding,
        allocate=options.allocate or coding.allocations[0],
        seed=options.seed,
        kappa=options.kappa,
    )


def target_of(tensor: SourceTensor, options: EncodeOptions) -> Target:
    """What it may take, or must reach."""
    free = 0 if tensor.entries >= _SMALL or options.strict else _FREE_BYTES
    return Target(0.0 if options.rate is None else options.rate, options.error, options.max_bytes, free)


def _within(run: _Run, wanted: int) -> Report:
    """Encode at the highest rate, common to all matrices, with which the file fits into so many bytes."""
    infos = [(t, tensor_info(t, part.source.kind)) for part in run.parts for t in part.chosen]
    entries = sum(info.entries for _, info in infos if info.kind == "matrix")
    exact = sum(
        framed(len(piece))
        for tensor, info in infos
        if info.kind == "exact"
        for piece in exact_pieces(tensor.pieces(), each=run.pool.map)
    )
    rate = rate_within(wanted, exact, entries)
    for _ in range(_TRIES):
        if entries and rate < MIN_RATE:
            break
        report = replace(run, options=replace(run.options, rate=rate, strict=True)).encode()
        excess = report["file_bytes"] - wanted
        if excess <= 0:
            return report
        if not entries:
            break
        rate = lower_rate(rate, report["bits"], excess, entries)
    where = where_of([part.source for part in run.parts])
    raise UsageError(
        f"{where}: does not fit into {counted(wanted, 'byte')}, even at {MIN_RATE} bits per entry"
    )


def manifest(
    source: Tensors, chosen: list[SourceTensor], metadata: Mapping[str, str] | None = None
) -> Manifest:
    """The manifest of a file of some tensors of a source, with its metadata and more."""
    infos = tuple(tensor_info(tensor, source.kind) for tensor in chosen)
    whole = {**(source.metadata or {}), **metadata} if metadata else source.metadata
    return Manifest(source.kind.name, whole, infos, f"nqz {__version__}")


def tensor_info(tensor: SourceTensor, kind: SourceKind) -> TensorInfo:
    """The entry of the manifest for a tensor of a source: whether it becomes a coded matrix, or is carried exactly."""
    return TensorInfo(
        MATRIX if kind.is_matrix(tensor.shape, tensor.dtype) else EXACT,
        tensor.name,
        tuple(tensor.shape),
        tensor.dtype,
        "F" if tensor.fortran_order else "C",
        tensor.byte_order,
    )
