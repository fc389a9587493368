"""What a format of files of matrices is, and the values that it gives and takes.

A new format is a module with one object of a class derived from `Format`; a line in `nqz.files.formats.FORMATS`, where
it is looked up; and a line in `nqz.ground.sources.SOURCES`: what it can hold, under the name that containers record.
Everything else asks these two.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nqz.files.access import Access
from nqz.files.vectors import VectorView
from nqz.ground.cached import cached_property
from nqz.ground.dtypes import data_bytes, is_matrix_dtype
from nqz.ground.errors import UnsupportedError
from nqz.ground.sources import SourceKind

_PIECE = 4 << 20
_START, _COMPARED = 4 << 10, 1 << 20


class Readable(Protocol):
    """What the data of a tensor is read from, at any offset."""

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`."""

    def view(self, offset: int, nbytes: int) -> memoryview | None:
        """Return bytes where they are, if they are in memory."""


class SourceTensor:
    """One tensor of a source.

    Attributes
    ----------
    name : str
        Empty for a single array.
    shape : tuple of int
    dtype : str
        Canonical name.
    byte_order : str
        ``"<"``, ``">"`` or ``"|"``.
    fortran_order : bool
    offset, nbytes : int
        Where its data lies in what is read.
    quantized : str or None
        The type of its entries in the file, if they are decoded while they are read.
    whole : SourceTensor or None
        Of a slice along the first axis of a tensor, that tensor; `index` tells which slice.
    """

    def __init__(
        self,
        access: Readable,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        *,
        byte_order: str,
        fortran_order: bool,
        offset: int,
        quantized: str | None = None,
        whole: SourceTensor | None = None,
        index: int = 0,
    ) -> None:
        self._access = access
        self.whole, self.index = whole, index
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.byte_order = byte_order
        self.fortran_order = fortran_order
        self.offset = offset
        self.quantized = quantized
        self.entries = math.prod(shape)
        self.nbytes = data_bytes(shape, dtype)
        self._equal: dict[SourceTensor, bool] = {}

    @property
    def access(self) -> Readable:
        """What its data is read from."""
        return self._access

    @property
    def whole_name(self) -> str:
        """Its name, or that of the tensor that it is a slice of."""
        return self.name if self.whole is None else self.whole.name

    @property
    def has_slices(self) -> bool:
        """Whether each index of the first axis has a matrix of its own, contiguous."""
        return (
            is_matrix_dtype(self.dtype)
            and len(self.shape) > 2
            and 0 not in self.shape
            and not self.fortran_order
            and self.whole is None
        )

    def slices(self) -> list[SourceTensor]:
        """Return the slices along the first axis, each as a tensor: ``NAME[0]``, ``NAME[1]`` and so on.

        Raises
        ------
        UnsupportedError
            It has none: see `has_slices`.
        """
        if not self.has_slices:
            raise UnsupportedError(
                f"tensor {self.name!r} has no slices that are matrices: a type to compress, "
                "three dimensions and C order are needed"
            )
        size = self.nbytes // self.shape[0]
        return [
            SourceTensor(
                self._access,
                f"{self.name}[{index}]",
                self.shape[1:],
                self.dtype,
                byte_order=self.byte_order,
                fortran_order=False,
                offset=self.offset + index * size,
                quantized=self.quantized,
                whole=self,
                index=index,
            )
            for index in range(self.shape[0])
        ]

    def pieces(self, size: int = _PIECE) -> Iterator[memoryview]:
        """Iterate over the raw data in file order, in pieces of `size` bytes, the last one shorter."""
        for position in range(0, self.nbytes, size):
            piece = np.empty(min(size, self.nbytes - position), np.uint8)
            self._access.pread_into(piece, self.offset + position)
            yield piece.data

    def read(self, start: int, size: int) -> memoryview:
        """Read some of the raw data in file order."""
        piece = np.empty(size, np.uint8)
        self._access.pread_into(piece, self.offset + start)
        return piece.data

    @cached_property
    def start(self) -> bytes:
        """The first 4 KiB of the raw data."""
        return bytes(self.read(0, min(_START, self.nbytes)))

    def equals(self, other: SourceTensor) -> bool:
        """Whether the raw data of another tensor are the same bytes; they are compared once, piece by piece."""
        if other not in self._equal:
            self._equal[other] = self.nbytes == other.nbytes and all(
                bytes(ours) == bytes(theirs)
                for ours, theirs in zip(self.pieces(_COMPARED), other.pieces(_COMPARED), strict=True)
            )
        return self._equal[other]

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


def slice_called(tensors: Iterable[SourceTensor], name: str) -> SourceTensor | None:
    """The slice of one of some tensors that has a name such as ``NAME[3]``, as a tensor by itself; None for none."""
    whole, bracket, index = name.rpartition("[")
    for tensor in tensors if bracket else ():
        if tensor.name == whole and tensor.has_slices:
            for one in tensor.slices():
                if one.name == f"{whole}[{index}":
                    one.whole, one.index = None, 0
                    return one
    return None


class Tensors(Protocol):
    """What can be encoded: a `Source`, or what is like one in these."""

    @property
    def kind(self) -> SourceKind:
        """The kind of file."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def metadata(self) -> dict[str, str] | None:
        """Strings that go with it."""

    @property
    def tensors(self) -> list[SourceTensor]:
        """The tensors, in order."""


class Source:
    """A context manager for an open source.

    Parameters
    ----------
    accesses : Access
        All that it reads from, the file itself first; `close` closes them.

    Attributes
    ----------
    kind : SourceKind
    name : str
        What messages call it.
    metadata : dict of str or None
        Strings that the file carries beside its tensors.
    tensors : list of SourceTensor
        In the order of the file.
    identity : tuple of int or None
        Device and inode, if it is a regular file.
    """

    def __init__(
        self,
        kind: SourceKind,
        name: str,
        tensors: list[SourceTensor],
        metadata: dict[str, str] | None,
        *accesses: Access,
    ) -> None:
        self._accesses = accesses
        self.kind = kind
        self.name = name
        self.tensors = tensors
        self.metadata = metadata
        self.identity: tuple[int, int] | None = accesses[0].identity

    def close(self) -> None:
        """Close what it reads from."""
        for access in self._accesses:
            access.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be written: `dtype` is a canonical name, `byte_order` is ``"<"``, ``">"`` or ``"|"``."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    fortran_order: bool = False
    byte_order: str = "<"

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        return data_bytes(self.shape, self.dtype)


Parts = Iterable[tuple[int, bytes]]
"""Bytes to be written, each with its offset in the file."""


def _nothing(access: Access) -> Parts:
    return ()


@dataclass(frozen=True)
class FileLayout:
    """A file to be written, laid out before any of its data is known.

    Attributes
    ----------
    parts : iterable of (offset, bytes)
        All but the data of the tensors, as far as it is known now.
    offsets : sequence of int
        Where in the file the data of each tensor begins.
    size : int
        Bytes of the complete file.
    closing : callable
        What depends on the data: called with the file when all else is written, it gives what is left to write.
    """

    parts: Parts
    offsets: Sequence[int]
    size: int
    closing: Callable[[Access], Parts] = _nothing


class Reader(ABC):
    """A format of files of matrices that can be read.

    What every format guarantees:

    - A file is damaged until proven whole. `read` checks every size that a file states against the bytes present, in
      Python integers, before anything is allocated or written for it; every byte of a file has exactly one meaning, so
      that nothing follows, precedes or hides between what is read. Nothing in a file is ever executed.
    - Names of tensors do not repeat, and their order is that of the file.
    - Errors name the file first and then the tensor, and say what to do where something can be done.

    Attributes
    ----------
    kind : SourceKind
        The facts, of `nqz.ground.sources.SOURCES`, of what it holds, and is written as.
    """

    kind: SourceKind

    @property
    def name(self) -> str:
        """Its suffix, one of `nqz.ground.sources.READ`."""
        return self.kind.name

    @property
    def mark_at(self) -> int:
        """Bytes before its mark, which are a length."""
        return self.kind.mark_at

    def sniff(self, start: bytes | bytearray, size: int) -> bool:
        """Whether a file could be of this format, by its first `START_BYTES` bytes and its size.

        A format claims what is damaged or cut short, too: then `read` says what is wrong.
        """
        return self.kind.has_mark(start)

    @abstractmethod
    def read(self, access: Access, name: str) -> Source:
        """Read and check what describes the tensors; their data is read later, and need not be in memory.

        The source closes `access`, unless an exception leaves it with the caller.

        Raises
        ------
        CorruptError
            The file is damaged, truncated or too long, or makes no sense.
        UnsupportedError
            It is proper, but has something that nqz does not take.
        """


class Format(Reader):
    """A format that can be written, too.

    What it guarantees beside what a `Reader` does:

    - What `lay_out` cannot write as asked is refused, not changed. The same tensors and the same data give the same
      bytes, on every machine and with every version of the libraries. The data of the tensors may be written in any
      order, by any number of threads.
    - What is written can be read, and gives names, shapes, types, order and data again.
    """

    @abstractmethod
    def lay_out(self, specs: Sequence[TensorSpec], metadata: dict[str, str] | None) -> FileLayout:
        """Lay out a file of these tensors, in this order.

        Raises
        ------
        UnsupportedError
            The format cannot hold one of them; the message says which format can, or what to choose.
        UsageError
            It cannot hold so many, or two of one name.
        """
