"""A file of matrices being rebuilt: its header at once, then its data in any order, then what follows from the data."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nqz.files.access import Access
from nqz.files.contract import Parts, TensorSpec
from nqz.files.cutout import cutout
from nqz.files.formats import FORMATS
from nqz.files.layout import vector_layout
from nqz.files.vectors import VectorWriter
from nqz.ground.dtypes import default_byte_order, is_matrix_dtype
from nqz.ground.errors import UsageError


class MatrixSink:
    """Lays out a file and writes its header; the data follows, in any order, and `finish` after that.

    Parameters
    ----------
    access : FileAccess or MemoryAccess
        Where to write, from offset 0.
    kind : str
        A key of `FORMATS`.
    specs : sequence of TensorSpec
    metadata : dict of str, optional
        Strings to go with the tensors, where the format has a place for them.

    Attributes
    ----------
    total_bytes : int
        Size of the complete file.

    Raises
    ------
    UnsupportedError
        If the format cannot hold a tensor.
    UsageError
        If there is no such kind, or it cannot hold so many tensors, or two of one name.
    DiskFullError, OutputError
        If the file cannot be written.
    """

    def __init__(
        self, access: Access, kind: str, specs: Sequence[TensorSpec], metadata: dict[str, str] | None = None
    ) -> None:
        self._access = access
        self._specs = [replace(spec, byte_order=_byte_order(spec)) for spec in specs]
        self._lock = threading.Lock()
        if kind not in FORMATS:
            raise UsageError(f"unknown kind of file {kind!r}")
        self._layout = FORMATS[kind].lay_out(self._specs, metadata)
        self.total_bytes = self._layout.size
        access.reserve(self.total_bytes)
        self._write(self._layout.parts)

    def vectors(self, index: int, axis: int, part: int | None = None) -> VectorWriter:
        """Return a writer of the vectors along `axis` of tensor number `index`, or of a slice along its first axis."""
        spec, offset = self._specs[index], self._layout.offsets[index]
        if part is not None:
            if spec.fortran_order or not 0 <= part < spec.shape[0]:
                raise UsageError(f"tensor {spec.name!r} has no slice {part} that is contiguous")
            offset += spec.nbytes // spec.shape[0] * part
            spec = replace(spec, shape=spec.shape[1:])
        if not is_matrix_dtype(spec.dtype):
            raise UsageError(f"tensor {spec.name!r} of dtype {spec.dtype} has no vectors")
        layout = vector_layout(tuple(spec.shape), axis, spec.fortran_order)
        return VectorWriter(self._access, offset, layout, spec.dtype, spec.byte_order, self._lock)

    def rectangle(self, index: int, axis: int, coordinates: range, vectors: range) -> VectorWriter:
        """Return a writer of some coordinates of some vectors along `axis` of tensor `index`, of two dimensions."""
        spec = self._specs[index]
        access, offset, shape = cutout(
            self._access, self._layout.offsets[index], spec.shape, spec.dtype, spec.fortran_order, axis,
            coordinates, vectors,
        )  # fmt: skip
        layout = vector_layout(shape, axis, spec.fortran_order)
        return VectorWriter(access, offset, layout, spec.dtype, spec.byte_order, self._lock)

    def write_bytes(self, index: int, offset: int, data: Any) -> None:
        """Write raw data of tensor number `index`, from byte `offset` of its data on."""
        spec = self._specs[index]
        if not 0 <= offset <= spec.nbytes - memoryview(data).nbytes:
            raise UsageError(f"tensor {spec.name!r}: bytes beyond its {spec.nbytes}")
        self._access.pwrite(data, self._layout.offsets[index] + offset)

    def finish(self) -> None:
        """Write what the file has besides its data, and cannot have before all of it is written."""
        self._write(self._layout.closing(self._access))

    def _write(self, parts: Parts) -> None:
        for offset, data in parts:
            self._access.pwrite(data, offset)


def _byte_order(spec: TensorSpec) -> str:
    """Return the byte order in effect: ``"|"`` for, and only for, types of one byte."""
    if default_byte_order(spec.dtype) == "|":
        return "|"
    return ">" if spec.byte_order == ">" else "<"
