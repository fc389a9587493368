"""Tensors that a container carries exactly, as the plain side of a product."""

from __future__ import annotations

import threading
from typing import Any

from nqz.files.access import FileAccess, temporary_access
from nqz.files.contract import SourceTensor
from nqz.format.exct import decode_exact
from nqz.format.reader import ContainerReader
from nqz.format.tensors import TensorInfo


class Carried:
    """The data of such a tensor, in a temporary file from the first read on, and so never in memory as a whole.

    Parameters
    ----------
    reader : ContainerReader
    index : int
        Number of the tensor.

    Attributes
    ----------
    name : str
        What messages call the file.
    """

    def __init__(self, reader: ContainerReader, index: int) -> None:
        self.name = reader.name
        self._reader, self._index = reader, index
        self._lock = threading.Lock()
        self._access: FileAccess | None = None

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`; `CorruptError` if they are damaged."""
        with self._lock:
            if self._access is None:
                self._access = self._spooled()
            access = self._access
        access.pread_into(buffer, offset)

    def view(self, offset: int, nbytes: int) -> None:
        """Return None: it is not in memory."""

    def close(self) -> None:
        """Drop the temporary file; another read makes it again."""
        with self._lock:
            access, self._access = self._access, None
        if access is not None:
            access.close()

    def _spooled(self) -> FileAccess:
        access = temporary_access(self._reader.name)
        try:
            position = 0
            for piece in decode_exact(self._reader, self._index):
                access.pwrite(piece, position)
                position += len(piece)
        except BaseException:
            access.close()
            raise
        return access


def may_multiply(reader: ContainerReader, info: TensorInfo) -> bool:
    """Whether a tensor that is carried exactly would have been a matrix to compress."""
    return info.kind == "exact" and reader.manifest.kind.is_matrix(info.shape, info.dtype)


def carried_tensor(reader: ContainerReader, index: int) -> tuple[SourceTensor, Carried]:
    """A tensor that is carried exactly, as one of a source; and what it is read from, to be closed after use."""
    info, data = reader.manifest.tensors[index], Carried(reader, index)
    tensor = SourceTensor(
        data,
        info.name,
        info.shape,
        info.dtype,
        byte_order=info.byte_order,
        fortran_order=info.order == "F",
        offset=0,
    )
    return tensor, data
