"""Decoding: a container to the matrices that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nqz.commands.joining import taken
from nqz.files.access import Access
from nqz.files.contract import TensorSpec
from nqz.files.layout import VECTOR_MAJOR
from nqz.files.sink import MatrixSink
from nqz.files.vectors import VectorWriter
from nqz.format.exct import decode_exact
from nqz.format.reader import ContainerReader
from nqz.format.slices import Whole
from nqz.format.tensors import TensorInfo
from nqz.ground.dtypes import data_bytes, is_matrix_dtype, storage_dtype, widen
from nqz.ground.errors import UnsupportedError, UsageError
from nqz.ground.sources import SOURCES, SourceKind
from nqz.ground.threads import SMALL, Workers
from nqz.ground.wording import counted
from nqz.matrix import Matrix, open_matrix
from nqz.stages.panels import Panel

Progress = Callable[[str, int], object]


@dataclass(frozen=True)
class DecodeOptions:
    """What the user asks of a decoding.

    Attributes
    ----------
    kind : str, optional
        Kind of the output, a key of `SOURCES`, by default that of the source.
    tensors : sequence of str
        Names or shell patterns of the tensors to take, or of slices; all by default.
    dtype : str, optional
        Type of the matrices in the output, by default the original one; see `written_dtype` for exact tensors.
    estimator : {"mmse", "unbiased"}
        The least mean square error, or the mean over dithers exactly the matrix.
    """

    kind: str | None = None
    tensors: Sequence[str] = ()
    dtype: str | None = None
    estimator: str = "mmse"


def decode(
    reader: ContainerReader,
    access: Access,
    options: DecodeOptions,
    pool: Workers,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Rebuild the tensors of a container.

    Parameters
    ----------
    reader : ContainerReader
    access : Access
        Where the file is written.
    options : DecodeOptions
    pool : Workers
        Whose fleet, if it has one, rebuilds matrices of several panels.
    progress : callable, optional
        Called as progress(tensor name, bytes of output written).

    Returns
    -------
    dict
        ``matrices``, ``exact``: how many of each, slices that are joined counted by themselves; ``bytes``: size of the
        output.
    """
    chosen = taken(reader.manifest.tensors, options.tensors, reader.name)
    return decode_together([(reader, chosen)], reader.name, access, options, pool, progress)


def decode_together(
    parts: Sequence[tuple[ContainerReader, list[Whole]]],
    where: str,
    access: Access,
    options: DecodeOptions,
    pool: Workers,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Rebuild tensors of several containers into one file; see `decode`.

    Parameters
    ----------
    parts : sequence of (ContainerReader, list of Whole)
        The tensors that are taken of each container.
    where : str
        What messages call all of them.
    """
    chosen = [(reader, whole) for reader, wholes in parts for whole in wholes]
    first = chosen[0][0] if chosen else parts[0][0]
    kind = SOURCES[options.kind or first.manifest.source]
    if kind.alone and len(chosen) != 1:
        raise UsageError(
            f"{where}: holds {counted(len(chosen), 'tensor')}; write .safetensors, "
            f"or choose one with --tensor for a .{kind.name}"
        )
    jobs = [(position, index) for position, (_, whole) in enumerate(chosen) for index in whole.members]
    for reader, wholes in parts:
        check_records(reader, wholes)
    specs = [
        _spec(whole, reader.manifest.tensors[whole.members[0]], kind, reader.manifest.kind, options.dtype)
        for reader, whole in chosen
    ]
    held = [reader.manifest.metadata for reader, wholes in parts if wholes] or [parts[0][0].manifest.metadata]
    sink = MatrixSink(access, kind.name, specs, _common(held) if kind.metadata else None)
    infos = [chosen[position][0].manifest.tensors[index] for position, index in jobs]

    def rebuild(number: int, inner: Workers) -> str:
        position, index = jobs[number]
        info, (reader, whole) = infos[number], chosen[position]
        if info.kind == "exact":
            offset, spec = 0, specs[position]
            for raw in decode_exact(reader, index, each=inner.map):
                piece = raw if spec.dtype == info.dtype else _widened(raw, info, spec)
                sink.write_bytes(position, offset, piece)
                offset += len(piece)
                if progress is not None:
                    progress(info.name, len(piece))
            return "exact"
        matrix = open_matrix(reader, index)
        axis = matrix.header.axis if len(info.shape) > 1 else 0
        writer = sink.vectors(position, axis, index - whole.members[0] if whole.sliced else None)
        report = None if progress is None else partial(progress, whole.name)
        decode_matrix(matrix, writer, specs[position].dtype, options.estimator, inner, report)
        return "matrices"

    report = {"matrices": 0, "exact": 0, "bytes": sink.total_bytes}
    small = [info.entries <= SMALL for info in infos]
    for what in pool.each(rebuild, range(len(jobs)), small.__getitem__):
        report[what] += 1
    sink.finish()
    return report


def _common(held: Sequence[dict[str, str] | None]) -> dict[str, str] | None:
    """The metadata in which several files agree."""
    first = held[0]
    if first is None or any(other is None for other in held):
        return None
    return {
        key: value for key, value in first.items() if all(o is not None and o.get(key) == value for o in held)
    }


def decoded_bytes(reader: ContainerReader, whole: Whole, options: DecodeOptions) -> int:
    """Bytes of the data of a tensor in the output."""
    info = reader.manifest.tensors[whole.members[0]]
    dtype = written_dtype(info, SOURCES[options.kind or reader.manifest.source], options.dtype)
    return info.nbytes * len(whole.members) if dtype == info.dtype else data_bytes(whole.shape, dtype)


def written_dtype(info: TensorInfo, kind: SourceKind, dtype: str | None) -> str:
    """Type of a tensor in the output.

    What is carried exactly keeps its own. Where a kind of file lacks that, as .npy lacks bfloat16, it takes the one
    that was asked for, if that has all its values.
    """
    if dtype is None or info.kind == "matrix":
        return dtype or info.dtype
    lacking = is_matrix_dtype(info.dtype) and not kind.holds(info.dtype)
    return dtype if lacking and dtype in _WIDE else info.dtype


_WIDE = ("float32", "float64")
"""Types that have all values of those that some kind of file lacks."""


def _widened(raw: bytes, info: TensorInfo, spec: TensorSpec) -> bytes:
    """A piece of an exact tensor, which ends with an entry, in the type of the output."""
    values = widen(np.frombuffer(raw, storage_dtype(info.dtype, info.byte_order)), info.dtype)
    return values.astype(storage_dtype(spec.dtype, spec.byte_order)).tobytes()


def check_records(reader: ContainerReader, tensors: Iterable[Whole]) -> None:
    """Check that a container has the records that the shapes of tensors call for, before memory or disk is taken.

    Raises
    ------
    CorruptError, NewerFormatError
        It does not, or the parameters of a matrix are invalid or those of a later release.
    """
    for index in (index for whole in tensors for index in whole.members):
        if reader.manifest.tensors[index].kind == "matrix":
            open_matrix(reader, index)
        else:
            reader.span(index)


def decode_matrix(
    matrix: Matrix,
    writer: VectorWriter,
    dtype: str,
    estimator: str,
    pool: Workers,
    progress: Callable[[int], object] | None,
) -> None:
    """Rebuild the columns of a matrix, and write them; `progress` is told of bytes."""
    order: Literal["C", "F"] = "F" if writer.memory == VECTOR_MAJOR else "C"
    if pool.fleet is not None and len(matrix.panels) > 1:
        from nqz.commands.elsewhere.decode import rebuilt_elsewhere

        for _, first, columns in rebuilt_elsewhere([matrix], pool.fleet, estimator, dtype, order):
            writer.write(first, columns)
            if progress is not None:
                progress(columns.nbytes)
        return
    buffers = cycle(f"rebuilt {number}" for number in range(min(2, pool.threads)))
    written = None

    def into(panel: Panel) -> npt.NDArray[Any]:
        return pool.buffers.array(next(buffers), (writer.length, panel.width), writer.dtype, order)

    # while one panel is written, the next one is rebuilt
    for panel, block, _ in matrix.blocks(pool, estimator, dtype, into):
        assert block is not None
        if written is not None:
            written.result()
        written = pool.aside(writer.write, panel.first, block)
        if progress is not None:
            progress(block.nbytes)
    if written is not None:
        written.result()


def _spec(
    whole: Whole, info: TensorInfo, kind: SourceKind, source: SourceKind, dtype: str | None
) -> TensorSpec:
    """The tensor to be written for one of a container, whose first matrix, or itself, is `info`."""
    name = whole.name
    if kind.alone:
        name = ""
    elif source.alone:
        name = name or "array"
    wanted = written_dtype(info, kind, dtype)
    if wanted == "bfloat16" and not info.nbytes and not kind.holds(wanted):
        wanted = "float32"  # nothing to convert
    if is_matrix_dtype(wanted) and not kind.holds(wanted):
        which = f"tensor {whole.name!r}" if whole.name else "the array"
        raise UnsupportedError(
            f"{which}: .{kind.name} has no {wanted}; choose --dtype float32, or write .safetensors"
        )
    same = kind.any_layout and source.any_layout
    if not same and info.kind == "exact" and (info.order == "F" or info.byte_order == ">"):
        raise UnsupportedError(
            f"tensor {info.name!r}: an exact Fortran-order or big-endian array stays .{source.name}"
        )
    order = info.order == "F" and same
    byte_order = info.byte_order if same and kind.holds(wanted) else "<"
    return TensorSpec(name, whole.shape, wanted, order, byte_order)
