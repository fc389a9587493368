"""Matrices to be read: .npy and .safetensors files, pipes of them, and arrays in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nqz.files import npy, safetensors
from nqz.files.access import MemoryAccess, open_input
from nqz.files.vectors import VectorView
from nqz.ground.dtypes import data_bytes, default_byte_order, from_numpy, is_matrix_dtype
from nqz.ground.errors import CorruptError, UnsupportedError
from nqz.ground.sources import SOURCES, START_BYTES, SourceKind

_PIECE = 4 << 20


class SourceTensor:
    """One tensor of a source.

    Attributes
    ----------
    name : str
        Empty for the array of a .npy file.
    shape : tuple of int
    dtype : str
        Canonical name.
    byte_order : str
        ``"<"``, ``">"`` or ``"|"``.
    fortran_order : bool
    offset, nbytes : int
        Where its data lies in the source.
    """

    def __init__(
        self,
        access: Any,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        *,
        byte_order: str,
        fortran_order: bool,
        offset: int,
    ) -> None:
        self._access = access
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.byte_order = byte_order
        self.fortran_order = fortran_order
        self.offset = offset
        self.entries = math.prod(shape)
        self.nbytes = data_bytes(shape, dtype)

    def pieces(self, size: int = _PIECE) -> Iterator[memoryview]:
        """Iterate over the raw data in file order, in pieces of `size` bytes, the last one shorter."""
        for position in range(0, self.nbytes, size):
            piece = np.empty(min(size, self.nbytes - position), np.uint8)
            self._access.pread_into(piece, self.offset + position)
            yield memoryview(piece)

    def vectors(self, axis: int) -> VectorView:
        """Return the matrix as vectors along `axis` (0: columns, 1: rows).

        Raises
        ------
        UsageError
            If there is no such axis.
        UnsupportedError
            If the tensor has no dimension, no element, or is not of a type to compress.
        """
        if not is_matrix_dtype(self.dtype):
            raise UnsupportedError(f"tensor {self.name!r} of dtype {self.dtype} is not a matrix to compress")
        return VectorView(
            self._access,
            self.offset,
            self.shape,
            self.dtype,
            axis=axis,
            fortran_order=self.fortran_order,
            byte_order=self.byte_order,
        )


class Source:
    """A context manager for an open source.

    Attributes
    ----------
    kind : SourceKind
    name : str
        What messages call it.
    metadata : dict of str or None
        ``__metadata__`` of a .safetensors file.
    tensors : list of SourceTensor
        In the order of the header.
    identity : tuple of int or None
        Device and inode, if it is a regular file.
    """

    def __init__(
        self,
        access: Any,
        kind: SourceKind,
        name: str,
        tensors: list[SourceTensor],
        metadata: dict[str, str] | None = None,
    ) -> None:
        self._access = access
        self.kind = kind
        self.name = name
        self.tensors = tensors
        self.metadata = metadata
        self.identity: tuple[int, int] | None = access.identity

    def close(self) -> None:
        """Close the file."""
        self._access.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_source(source: Any) -> Source:
    """Open a .npy or .safetensors file, told apart by content.

    Parameters
    ----------
    source : str, path-like or binary file object
        ``"-"`` is standard input.

    Raises
    ------
    InputError
        If it cannot be opened or read.
    CorruptError
        If it is neither format, truncated, or damaged.
    UnsupportedError
        If it holds a data type that nqz does not know, or is an archive.
    """
    access = open_input(source)
    try:
        return read_source(access)
    except BaseException:
        access.close()
        raise


def read_source(access: Any) -> Source:
    """Read what an open input holds; the errors are those of `open_source`. The source takes over `access`."""
    name = access.name
    start = bytearray(min(START_BYTES, access.size))
    access.pread_into(start, 0)
    if SOURCES["npy"].has_mark(start):
        header = npy.read_header(access, name)
        tensor = SourceTensor(
            access,
            "",
            header.shape,
            header.dtype,
            byte_order=header.byte_order,
            fortran_order=header.fortran_order,
            offset=header.offset,
        )
        return Source(access, SOURCES["npy"], name, [tensor])
    if start.startswith(b"PK\x03\x04"):
        raise UnsupportedError(f"{name}: is a .npz or other zip archive; save each array as a .npy file")
    if SOURCES["safetensors"].has_mark(start):
        entries, metadata = safetensors.read_header(access, name)
        tensors = [
            SourceTensor(
                access,
                entry.name,
                entry.shape,
                entry.dtype,
                byte_order=default_byte_order(entry.dtype),
                fortran_order=False,
                offset=entry.begin,
            )
            for entry in entries
        ]
        return Source(access, SOURCES["safetensors"], name, tensors, metadata)
    if access.size == 0:
        raise CorruptError(f"{name}: is empty; a .npy or .safetensors file is expected")
    raise CorruptError(f"{name}: is neither a .npy nor a .safetensors file, or it is truncated")


def refuse_non_float(source: Source) -> None:
    """Raise `UnsupportedError`, naming the conversion to use, for a single array that is not of a type to compress.

    In a file of several tensors such a one is carried exactly.
    """
    if not source.kind.alone or is_matrix_dtype(source.tensors[0].dtype):
        return
    dtype = source.tensors[0].dtype
    if dtype.startswith("complex"):
        advice = "save its parts: numpy.save('re.npy', x.real), numpy.save('im.npy', x.imag)"
    else:
        # float32 holds integers of up to 24 bits exactly
        wide = dtype in ("int32", "int64", "uint32", "uint64")
        advice = f"convert it: numpy.save('x.npy', x.astype('{'float64' if wide else 'float32'}'))"
    raise UnsupportedError(f"{source.name}: dtype {dtype} cannot be compressed; {advice}")


def array_source(array: Any, name: str = "<array>") -> Source:
    """Return an array in memory as the source that `numpy.save` would make of it.

    The data is not copied, unless it is contiguous in neither order.

    Raises
    ------
    UnsupportedError
        If the data type is not supported, or the array is masked.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise UnsupportedError(f"{name}: is a masked array; fill it first with x.filled(value)")
    array = np.asarray(array)
    known = from_numpy(array.dtype)
    if known is None:
        raise UnsupportedError(f"{name}: {npy.unsupported_dtype(array.dtype)}")
    fortran_order = array.flags.f_contiguous and not array.flags.c_contiguous
    ordered = array.T if fortran_order else np.ascontiguousarray(array)
    access = MemoryAccess(ordered.reshape(-1).view(np.uint8), name)
    tensor = SourceTensor(
        access, "", array.shape, known[0], byte_order=known[1], fortran_order=fortran_order, offset=0
    )
    return Source(access, SOURCES["npy"], name, [tensor])
