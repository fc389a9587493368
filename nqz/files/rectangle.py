"""A rectangle of an array that is read by slices, as a file: of Zarr, of HDF5, of Dask, and all that are like them.

What is asked of a file comes in runs of bytes, whatever the chunks of the array; so all of it is copied to a temporary
file first, block by block of whole chunks, and every chunk is decoded once.
"""

from __future__ import annotations

import io
import math
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.files.access import FileAccess, temporary_access
from nqz.files.contract import SourceTensor
from nqz.files.npy import unsupported_dtype
from nqz.ground.dtypes import from_numpy
from nqz.ground.errors import InputError, NqzError, UnsupportedError

_BLOCK = 32 << 20
"""Bytes of a block, where a chunk is not larger."""

_PICKLED = 1 << 20
"""Bytes of an array that is passed on: where it takes more, it has its entries with it."""


def is_sliceable(array: Any) -> bool:
    """Whether it has a shape, a type of NumPy, and slices."""
    if not hasattr(array, "shape") or not hasattr(array, "__getitem__"):
        return False
    return isinstance(getattr(array, "dtype", None), np.dtype)


def sliceable_tensor(array: Any, name: str) -> SourceTensor:
    """An array that is read by slices, as a tensor.

    Raises
    ------
    UnsupportedError
        It has not two dimensions, or a type that is not known.
    """
    shape = tuple(map(int, array.shape))
    known = from_numpy(array.dtype)
    if known is None:
        raise UnsupportedError(f"{name}: {unsupported_dtype(array.dtype)}")
    if len(shape) != 2:
        raise UnsupportedError(f"{name}: has {len(shape)} dimensions; a matrix of two is needed")
    own = np.dtype(array.dtype).newbyteorder("=")
    access = Rectangle(array, name, range(shape[0]), range(shape[1]))
    order = from_numpy(own)
    assert order is not None
    return SourceTensor(access, "", shape, known[0], byte_order=order[1], fortran_order=False, offset=0)


class Rectangle:
    """The bytes of some rows and columns of an array, in C order and native byte order.

    Parameters
    ----------
    array : object
        With `shape` and `dtype`, whose slices NumPy takes.
    name : str
        For messages.
    rows, columns : range
    """

    identity = None

    def __init__(self, array: Any, name: str, rows: range, columns: range) -> None:
        self.array, self.name, self.rows, self.columns = array, name, rows, columns
        self._copy: FileAccess | None = None
        self._passable: bool | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it by the array, which must say where it is rather than what is in it."""
        if self._passable is None:
            self._passable = not isinstance(self.array, np.ndarray) and _is_short(self.array)
        if not self._passable:
            raise TypeError(f"{self.name}: cannot be passed to another process")
        return Rectangle, (self.array, self.name, self.rows, self.columns)

    def cut(self, rows: range, columns: range) -> Rectangle:
        """Some of its rows and columns."""
        down, across = self.rows[rows.start : rows.stop], self.columns[columns.start : columns.stop]
        return Rectangle(self.array, self.name, down, across)

    def check(self) -> None:
        """Nothing tells whether an array has changed."""

    def view(self, offset: int, nbytes: int) -> memoryview | None:
        """Nothing is in memory."""
        return None

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`."""
        with self._lock:
            if self._copy is None:
                self._copy = self._copied()
        self._copy.pread_into(buffer, offset)

    def let_go(self) -> None:
        """Give up the copy; if it is read again, another is made."""
        with self._lock:
            if self._copy is not None:
                self._copy.close()
                self._copy = None

    close = let_go

    def _copied(self) -> FileAccess:
        copy, size = temporary_access(self.name), self.array.dtype.itemsize
        width = len(self.columns)
        try:
            for rows, columns in self._blocks():
                block = self._block(rows, columns)
                at = (rows.start - self.rows.start) * width + columns.start - self.columns.start
                if len(columns) == width:
                    copy.pwrite(block.reshape(-1).view(np.uint8), at * size)
                    continue
                for row in block:
                    copy.pwrite(row.view(np.uint8), at * size)
                    at += width
        except BaseException:
            copy.close()
            raise
        return copy

    def _block(self, rows: range, columns: range) -> NDArray[Any]:
        try:
            found = np.asarray(self.array[rows.start : rows.stop, columns.start : columns.stop])
        except (NqzError, MemoryError):
            raise
        except Exception as error:  # of the other package
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"{self.name}: cannot read {_place(rows, columns)}: {said}") from error
        if found.shape != (len(rows), len(columns)) or found.dtype != self.array.dtype:
            raise InputError(
                f"{self.name}: {_place(rows, columns)} are {found.dtype} of shape {found.shape}, not "
                f"{self.array.dtype} of shape {(len(rows), len(columns))}"
            )
        return np.ascontiguousarray(found, found.dtype.newbyteorder("="))

    def _blocks(self) -> Iterator[tuple[range, range]]:
        """Blocks of whole chunks, but for the edges: as many side by side as there is room for, and then below."""
        high, wide = _chunk(self.array)
        entries = max(1, _BLOCK // self.array.dtype.itemsize)
        wide *= max(1, min(entries // (high * wide), math.ceil(len(self.columns) / wide) + 1))
        if wide >= len(self.columns):
            high *= max(1, entries // (high * len(self.columns)))
        for rows in _cuts(self.rows, high):
            for columns in _cuts(self.columns, wide):
                yield rows, columns


@contextmanager
def let_go(tensor: SourceTensor) -> Iterator[None]:
    """After a block, give up what was copied of an array to read the tensor."""
    try:
        yield
    finally:
        if hasattr(tensor.access, "let_go"):
            tensor.access.let_go()


def _cuts(whole: range, step: int) -> Iterator[range]:
    """A range cut at multiples of a step."""
    start = whole.start
    while start < whole.stop:
        stop = min((start // step + 1) * step, whole.stop)
        yield range(start, stop)
        start = stop


def _chunk(array: Any) -> tuple[int, int]:
    """Rows and columns that are stored together, as far as an array tells."""
    for name in ("shards", "chunks"):
        found = getattr(array, name, None)
        if isinstance(found, tuple) and len(found) == 2 and all(isinstance(n, int) and n > 0 for n in found):
            return found[0], found[1]
    return 1, 1


def _place(rows: range, columns: range) -> str:
    return f"rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}"


class _Counted(io.RawIOBase):
    """Takes so many bytes, and drops them."""

    def __init__(self) -> None:
        self.left = _PICKLED

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        nbytes = memoryview(data).nbytes
        self.left -= nbytes
        if self.left < 0:
            raise OverflowError
        return nbytes


def _is_short(value: Any) -> bool:
    """Whether a value can be pickled, into few bytes."""
    try:
        pickle.Pickler(_Counted(), pickle.HIGHEST_PROTOCOL).dump(value)
    except Exception:
        return False
    return True
