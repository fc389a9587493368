"""A part set decoded to the matrix that it was made from, each part to its place in one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nqz.commands.decode import DecodeOptions, decode_matrix, written_dtype
from nqz.commands.elsewhere.decode import Order, checked_elsewhere, rebuilt_elsewhere
from nqz.commands.sets.factor import check_parts
from nqz.files.contract import TensorSpec
from nqz.files.layout import VECTOR_MAJOR
from nqz.files.sink import MatrixSink
from nqz.ground.dtypes import data_bytes
from nqz.ground.errors import UnsupportedError, UsageError
from nqz.ground.sources import SOURCES
from nqz.ground.threads import Workers
from nqz.matrix import open_matrix
from nqz.models.collection import Collection


def spec_of(collection: Collection, options: DecodeOptions) -> TensorSpec:
    """The tensor that is written.

    Raises
    ------
    UsageError, UnsupportedError
        Tensors were asked for by name, of which there is none; or the kind of file does not hold the type.
    """
    grid, kind = collection.grid, SOURCES[options.kind or "npy"]
    assert grid is not None
    if options.tensors:
        raise UsageError(
            f"--tensor {options.tensors[0]}: {collection.name} is a part set, of one matrix without a name"
        )
    info = collection.contents[0].manifest.tensors[0]
    dtype = written_dtype(info, kind, options.dtype)
    if not kind.holds(dtype):
        raise UnsupportedError(
            f"{collection.name}: .{kind.name} has no {dtype}; choose --dtype float32, or write .safetensors"
        )
    fortran = kind.any_layout and info.order == "F"
    return TensorSpec("" if kind.alone else "array", grid.shape, dtype, fortran)


def bytes_of(collection: Collection, options: DecodeOptions) -> int:
    """Bytes of the matrix as it is written; CorruptError if its parts are not those of the manifest."""
    check_parts(collection)
    spec = spec_of(collection, options)
    return data_bytes(spec.shape, spec.dtype)


def decode_set(
    collection: Collection,
    access: Any,
    options: DecodeOptions,
    pool: Workers,
    progress: Callable[[Any, float], object] | None = None,
) -> int:
    """Rebuild a matrix from its parts; bytes of the file.

    Parameters
    ----------
    collection : Collection
        Of a part set.
    access : Access
        Where the file is written.
    options : DecodeOptions
    pool : Workers
        Whose fleet, if it has one, checks the files of the parts and rebuilds their columns.
    progress : callable, optional
        Called as progress(name of the part, bytes written).
    """
    grid = collection.grid
    assert grid is not None
    check_parts(collection)
    spec = spec_of(collection, options)
    sink = MatrixSink(access, options.kind or "npy", [spec])
    matrices = [open_matrix(part.content, 0) for part in collection.parts]
    writers = [sink.rectangle(0, grid.axis, *place) for place in grid.places()]
    if pool.fleet is None:
        for part, matrix, writer in zip(collection.parts, matrices, writers, strict=True):
            part.content.verify(None, pool.map)
            told = None if progress is None else (lambda size, name=part.name: progress(name, size))
            decode_matrix(matrix, writer, spec.dtype, options.estimator, pool, told)
    else:
        checked_elsewhere(matrices, pool.fleet)
        order: Order = "F" if writers[0].memory == VECTOR_MAJOR else "C"
        found = rebuilt_elsewhere(matrices, pool.fleet, options.estimator, spec.dtype, order)
        for number, first, block in found:
            writers[number].write(first, block)
            if progress is not None:
                progress(collection.parts[number].name, block.nbytes)
    sink.finish()
    return sink.total_bytes
