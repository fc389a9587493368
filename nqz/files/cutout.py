"""A rectangle of a matrix in a file, read and written as if it were a file by itself.

What is cut along the axis in which a file is stored has its bytes together; what is cut across has some bytes of every
row, which are read and written row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nqz.files.contract import SourceTensor
from nqz.files.layout import tensor_lines
from nqz.files.rectangle import Rectangle
from nqz.ground.dtypes import storage_dtype
from nqz.ground.errors import UnsupportedError


class Cutout:
    """Positioned access to some bytes of every row of a table in a file, as to a file of these.

    Parameters
    ----------
    access : Access
        The file.
    offset : int
        Where in it the first byte is.
    width : int
        Bytes of every row.
    stride : int
        Bytes from row to row.
    """

    def __init__(self, access: Any, offset: int, width: int, stride: int) -> None:
        self._access, self._offset, self._width, self._stride = access, offset, width, stride
        self.name, self.identity = access.name, getattr(access, "identity", None)

    def check(self) -> None:
        """See `FileAccess`."""
        self._access.check()

    def view(self, offset: int, nbytes: int) -> memoryview | None:
        """Bytes where they are, if they are together in memory."""
        row, begin = divmod(offset, self._width)
        if self._width != self._stride and begin + nbytes > self._width:
            return None
        found: memoryview | None = self._access.view(self._offset + row * self._stride + begin, nbytes)
        return found

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`; InputError if they cannot be read."""
        self._each(memoryview(buffer), offset, self._access.pread_into)

    def pwrite(self, data: Any, offset: int) -> None:
        """Write all of a contiguous buffer at `offset`; OutputError if it cannot be written."""
        self._each(memoryview(data), offset, self._access.pwrite)

    def _each(self, buffer: memoryview, offset: int, move: Callable[[Any, int], object]) -> None:
        """Move bytes row by row; those of whole rows that follow one another at once."""
        if not buffer.nbytes:
            return
        view, done = buffer.cast("B"), 0
        while done < len(view):
            row, begin = divmod(offset + done, self._width)
            left = len(view) - done
            count = left if self._width == self._stride else min(self._width - begin, left)
            move(view[done : done + count], self._offset + row * self._stride + begin)
            done += count


def cut_out(tensor: SourceTensor, axis: int, coordinates: range, vectors: range) -> SourceTensor:
    """Some coordinates of some vectors of a matrix of two dimensions, as a tensor by itself, without a name."""
    if isinstance(tensor.access, Rectangle):
        cut = (coordinates, vectors) if axis == 0 else (vectors, coordinates)
        return SourceTensor(
            tensor.access.cut(*cut), "", tuple(map(len, cut)), tensor.dtype, byte_order=tensor.byte_order,
            fortran_order=False, offset=0,
        )  # fmt: skip
    access, offset, shape = cutout(
        tensor.access,
        tensor.offset,
        tensor.shape,
        tensor.dtype,
        tensor.fortran_order,
        axis,
        coordinates,
        vectors,
    )
    return SourceTensor(
        access, "", shape, tensor.dtype, byte_order=tensor.byte_order, fortran_order=tensor.fortran_order,
        offset=offset,
    )  # fmt: skip


def as_table(tensor: SourceTensor, axis: int) -> SourceTensor:
    """The same data in two dimensions, as products take it: vectors along an axis, and the others together.

    Raises
    ------
    UnsupportedError
        It has more than two dimensions, in Fortran order.
    """
    shape = tensor.shape
    if len(shape) == 2:
        return tensor
    if len(shape) > 2 and tensor.fortran_order:
        raise UnsupportedError(
            f"tensor {tensor.name!r}: {len(shape)} dimensions in Fortran order cannot be cut as a part set is; give it "
            "in C order"
        )
    table = (shape[0], 1) if len(shape) == 1 else (shape[0], math.prod(shape[1:]))
    if len(shape) > 2 and axis == 0:
        table = math.prod(shape[:-1]), shape[-1]
    return SourceTensor(
        tensor.access, tensor.name, table, tensor.dtype, byte_order=tensor.byte_order, fortran_order=False,
        offset=tensor.offset,
    )  # fmt: skip


def cutout(
    access: Any, offset: int, shape: tuple[int, ...], dtype: str, fortran_order: bool, axis: int,
    coordinates: range, vectors: range,
) -> tuple[Cutout, int, tuple[int, ...]]:  # fmt: skip
    """Access to some coordinates of some vectors of a matrix, where in that they begin, and their shape."""
    cut = (coordinates, vectors) if axis == 0 else (vectors, coordinates)
    slow, fast, line = tensor_lines(cut, shape, fortran_order)
    size = storage_dtype(dtype).itemsize
    found = Cutout(access, offset + (slow.start * line + fast.start) * size, len(fast) * size, line * size)
    return found, 0, tuple(map(len, cut))


def evenly(length: int, parts: int) -> list[int]:
    """Lengths of so many parts of a whole, as equal as steps of 64 let them be where that makes parts of some size."""
    step = 64 if length >= 64 * parts else 1
    units = math.ceil(length / step)
    found = [(units * (i + 1) // parts - units * i // parts) * step for i in range(parts)]
    found[-1] -= sum(found) - length
    return found
