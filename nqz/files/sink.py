"""A matrix file being rebuilt: its header at once, then its data in any order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nqz.files import npy, safetensors
from nqz.files.layout import vector_layout
from nqz.files.vectors import VectorWriter
from nqz.ground.dtypes import data_bytes, default_byte_order, is_matrix_dtype
from nqz.ground.errors import UnsupportedError, UsageError


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be written: `dtype` is a canonical name, `byte_order` is ``"<"``, ``">"`` or ``"|"``."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    fortran_order: bool = False
    byte_order: str = "<"


class MatrixSink:
    """Lays out a .npy or .safetensors file and writes its header; the data follows, in any order.

    Parameters
    ----------
    access : FileAccess or MemoryAccess
        Where to write, from offset 0.
    kind : str
        ``"npy"`` (exactly one tensor) or ``"safetensors"``.
    specs : sequence of TensorSpec
    metadata : dict of str, optional
        ``__metadata__`` of a .safetensors file.

    Attributes
    ----------
    total_bytes : int
        Size of the complete file.

    Raises
    ------
    UnsupportedError
        If the format cannot hold a tensor.
    DiskFullError, OutputError
        If the file cannot be written.
    """

    def __init__(
        self, access: Any, kind: str, specs: Sequence[TensorSpec], metadata: dict[str, str] | None = None
    ) -> None:
        self._access = access
        self._specs = list(specs)
        self._lock = threading.Lock()
        if kind == "npy":
            if len(self._specs) != 1:
                raise UsageError(f"a .npy file holds one array, not {len(self._specs)}; write .safetensors")
            spec = self._specs[0]
            header = npy.build_header(tuple(spec.shape), spec.dtype, _byte_order(spec), spec.fortran_order)
            self._offsets = [len(header)]
        elif kind == "safetensors":
            for spec in self._specs:
                if spec.byte_order == ">" or spec.fortran_order:
                    raise UnsupportedError(
                        f"tensor {spec.name!r}: .safetensors has neither big-endian nor Fortran-order data"
                    )
            triples = [(spec.name, spec.dtype, tuple(spec.shape)) for spec in self._specs]
            header, self._offsets = safetensors.build_header(triples, metadata)
        else:
            raise UsageError(f"unknown kind of file {kind!r}")
        data = sum(data_bytes(tuple(spec.shape), spec.dtype) for spec in self._specs)
        self.total_bytes = len(header) + data
        access.reserve(self.total_bytes)
        access.pwrite(header, 0)

    def vectors(self, index: int, axis: int) -> VectorWriter:
        """Return a writer of the vectors along `axis` of tensor number `index`."""
        spec = self._specs[index]
        if not is_matrix_dtype(spec.dtype):
            raise UsageError(f"tensor {spec.name!r} of dtype {spec.dtype} has no vectors")
        layout = vector_layout(tuple(spec.shape), axis, spec.fortran_order)
        order = _byte_order(spec)
        return VectorWriter(self._access, self._offsets[index], layout, spec.dtype, order, self._lock)

    def write_bytes(self, index: int, offset: int, data: Any) -> None:
        """Write raw data of tensor number `index`, from byte `offset` of its data on."""
        spec = self._specs[index]
        nbytes = data_bytes(tuple(spec.shape), spec.dtype)
        if not 0 <= offset <= nbytes - memoryview(data).nbytes:
            raise UsageError(f"tensor {spec.name!r}: bytes beyond its {nbytes}")
        self._access.pwrite(data, self._offsets[index] + offset)


def _byte_order(spec: TensorSpec) -> str:
    """Return the byte order in effect: ``"|"`` for, and only for, types of one byte."""
    if default_byte_order(spec.dtype) == "|":
        return "|"
    return ">" if spec.byte_order == ">" else "<"
