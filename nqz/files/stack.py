"""Tables of the same file layout beside or below each other, read as if they were one in a file by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nqz.files.access import has_address
from nqz.files.contract import SourceTensor
from nqz.files.rectangle import Rectangle
from nqz.ground.dtypes import storage_dtype


class Stack:
    """Positioned reads on some lines, of which each is made of some bytes of several accesses, one after the other.

    Parameters
    ----------
    pieces : sequence of (Access, int, int)
        What is read, where its first byte is, and how many of its bytes are in each line; they follow one another.
    """

    identity = None

    def __init__(self, pieces: Sequence[tuple[Any, int, int]]) -> None:
        self._pieces = list(pieces)
        self._line = sum(width for _, _, width in self._pieces)
        self.name = self._pieces[0][0].name

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it by the addresses of what it reads."""
        if not all(has_address(access) for access, _, _ in self._pieces):
            raise TypeError(f"{self.name}: cannot be passed to another process")
        return Stack, (self._pieces,)

    def check(self) -> None:
        """Raise InputError if something has changed since it was opened."""
        for access, _, _ in self._pieces:
            access.check()

    def let_go(self) -> None:
        """Give up what was copied to be read."""
        for access, _, _ in self._pieces:
            if isinstance(access, Rectangle):
                access.let_go()

    def view(self, offset: int, nbytes: int) -> memoryview | None:
        """Bytes where they are, if they are together in memory."""
        access, at, left = self._place(offset)
        found: memoryview | None = access.view(at, nbytes) if nbytes <= left else None
        return found

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`; InputError if they cannot be read."""
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view):
            access, at, left = self._place(offset + done)
            count = min(left, len(view) - done)
            access.pread_into(view[done : done + count], at)
            done += count

    def _place(self, offset: int) -> tuple[Any, int, int]:
        """What has the byte at an offset, where, and how many follow there."""
        line, rest = divmod(offset, self._line)
        for access, start, width in self._pieces:
            if rest < width:
                return access, start + line * width + rest, width - rest
            rest -= width
        raise AssertionError  # of a line something has each byte


def laid_out(tensors: Sequence[SourceTensor]) -> int:
    """Which of some tensors tells the order of the entries of all: a single row or column is in both."""
    return next((i for i, tensor in enumerate(tensors) if 1 not in tensor.shape), 0)


def stacked(tensors: Sequence[SourceTensor], axis: int) -> SourceTensor:
    """Tensors of two dimensions that follow one another along an axis, as one; they are laid out alike."""
    if len(tensors) == 1:
        return tensors[0]
    first = tensors[laid_out(tensors)]
    size, slow = storage_dtype(first.dtype).itemsize, 1 if first.fortran_order else 0
    shape = list(first.shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    pieces = [
        (t.access, t.offset, size * (math.prod(t.shape) if axis == slow else t.shape[axis])) for t in tensors
    ]
    return SourceTensor(
        Stack(pieces), "", tuple(shape), first.dtype, byte_order=first.byte_order, fortran_order=first.fortran_order,
        offset=0,
    )  # fmt: skip
