"""What a container holds: its manifest, how its matrices are to be coded, and how large records make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nqz._version import __version__
from nqz.commands.options import EncodeOptions
from nqz.commands.treatment import MATRIX, Treatment
from nqz.files.contract import SourceTensor, Tensors
from nqz.format import tensors as form
from nqz.format.index import END_SIZE, pack_index
from nqz.format.manifest import Manifest, PartOfSet
from nqz.format.records import PREAMBLE_SIZE, framed, record_size
from nqz.format.tensors import Slice, TensorInfo
from nqz.plan.task import Task
from nqz.stages.codings import CODINGS
from nqz.stages.transforms import DEFAULT as TRANSFORM

Record = tuple[str, int]
"""Type of a record, and length of its payload."""


def task_of(source: Tensors, tensor: SourceTensor, options: EncodeOptions) -> Task:
    """How a matrix of a source is to be coded, by the options for it alone."""
    coding = CODINGS[options.coding]
    return Task(
        name=tensor.name,
        where=source.name + (f": tensor {tensor.name!r}" if tensor.name else ""),
        axis=0 if len(tensor.shape) == 1 else int(options.axis or 0),
        center=options.center,
        transform=TRANSFORM,
        lattice=options.chosen_lattice,
        coding=coding,
        allocate=options.allocate or coding.allocations[0],
        seed=options.seed,
        kappa=options.kappa,
        partner=options.partner,
        window=(options.window or 0) if coding.windows else None,
    )


def manifest(
    source: Tensors,
    chosen: Iterable[Treatment],
    metadata: Mapping[str, str] | None = None,
    part: PartOfSet | None = None,
) -> Manifest:
    """The manifest of a file of some tensors of a source, with its metadata and more, and its place in a set."""
    chosen = list(chosen)
    numbers = {one.name: number for number, one in enumerate(chosen)}
    same = [None if one.same_as is None else numbers[one.same_as] for one in chosen]
    infos = tuple(
        _info(one, one.kind if number is None else chosen[number].kind, number)
        for one, number in zip(chosen, same, strict=True)
    )
    whole = {**(source.metadata or {}), **metadata} if metadata else source.metadata
    return Manifest(source.kind.name, whole, infos, f"nqz {__version__}", part)


def _info(one: Treatment, kind: str, same_as: int | None) -> TensorInfo:
    tensor = one.tensor
    return TensorInfo(
        form.MATRIX if kind == MATRIX else form.EXACT,
        tensor.name,
        tuple(tensor.shape),
        tensor.dtype,
        "F" if tensor.fortran_order else "C",
        tensor.byte_order,
        slice=None if tensor.whole is None else Slice(tensor.index, tensor.whole.shape[0]),
        same_as=same_as,
    )


def container_size(described: Manifest, records: Sequence[Sequence[Record]]) -> int:
    """Bytes of a container with these records of each of its tensors."""
    every = [record for own in records for record in own]
    types, lengths = [kind for kind, _ in every], [length for _, length in every]
    index = pack_index(types, lengths, [0, *map(len, records)])
    return PREAMBLE_SIZE + sum(map(record_size, lengths)) + framed(described.size(), len(index)) + END_SIZE
