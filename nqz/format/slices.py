"""Tensors that a container holds slice by slice: each index of the first axis is a matrix of its own."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from nqz.format.tensors import Slice, TensorInfo
from nqz.ground.dtypes import data_bytes, is_dtype
from nqz.ground.errors import CorruptError
from nqz.ground.sources import MAX_EXTENT, MAX_RANK

LEAST_RANK = 2
"""Dimensions of a slice at least."""


class Whole(NamedTuple):
    """A tensor of the source as a container holds it.

    Attributes
    ----------
    name : str
    shape : tuple of int
    members : range
        Numbers in the manifest: of the tensor itself, or of its slices.
    sliced : bool
    """

    name: str
    shape: tuple[int, ...]
    members: range
    sliced: bool


def unpack_slice(parameters: Any, where: str) -> tuple[Slice, Any]:
    """Which slice a matrix is, and its own parameters, from those in the file.

    Raises
    ------
    CorruptError
        They are not in the form of §3.1 of the format.
    """
    if not (isinstance(parameters, list) and len(parameters) == 3):
        raise CorruptError(f"{where}: parameters of a slice are a list of three values")
    index, count, own = parameters
    if not (type(index) is int and type(count) is int and 0 <= index < count <= MAX_EXTENT):
        raise CorruptError(f"{where}: slice {reprlib.repr(index)} of {reprlib.repr(count)}")
    return Slice(index, count), own


def check_slice(info: TensorInfo, where: str) -> None:
    """Raise CorruptError where a slice does not fit what it is a slice of; its neighbors are not looked at."""
    assert info.slice is not None
    if not info.name.endswith(info.slice.suffix):
        raise CorruptError(
            f"{where}: slice {info.slice.number} has the name {reprlib.repr(info.name)}, "
            f"which does not end with {info.slice.suffix}"
        )
    if not LEAST_RANK <= len(info.shape) < MAX_RANK or info.order != "C":
        raise CorruptError(f"{where}: a slice of {len(info.shape)} dimensions in order {info.order}")
    if is_dtype(info.dtype) and data_bytes((info.slice.slices, *info.shape), info.dtype) > MAX_EXTENT:
        raise CorruptError(f"{where}: a tensor of more bytes than a file can have")


def check_runs(tensors: Sequence[TensorInfo], where: str) -> None:
    """Check that the slices of each tensor follow one another, and that all are there and alike.

    Raises
    ------
    CorruptError
        One is missing, or at another place, or the tensor has the name of another one.
    """
    missing: TensorInfo | None = None  # the slice after which others must follow
    names: set[str] | None = None
    for number, info in enumerate(tensors):
        if missing is not None:
            before = missing
            assert before.slice is not None
            after = Slice(before.slice.number + 1, before.slice.slices)
            alike = info.slice == after and info.shape == before.shape and info[3:6] == before[3:6]
            if not alike or info.whole_name != before.whole_name:
                raise CorruptError(
                    f"{where}: tensor {number}: slice {after.number} of {reprlib.repr(before.whole_name)} must be "
                    "here, and like the one before it"
                )
        elif info.slice is not None:
            if info.slice.number != 0:
                raise CorruptError(
                    f"{where}: tensor {number}: slice {info.slice.number} without those before it"
                )
            if names is None:
                names = {one.name for one in tensors}
            if info.whole_name in names:
                raise CorruptError(f"{where}: two tensors have the name {reprlib.repr(info.whole_name)}")
            names.add(info.whole_name)
        last = info.slice is None or info.slice.number + 1 == info.slice.slices
        missing = None if last else info
    if missing is not None:
        raise CorruptError(f"{where}: slices of {reprlib.repr(missing.whole_name)} are missing")


def whole_from(info: TensorInfo, number: int) -> Whole:
    """The tensor of which an item of the manifest is all, or the first slice."""
    if info.slice is None:
        return Whole(info.name, info.shape, range(number, number + 1), False)
    count = info.slice.slices
    return Whole(info.whole_name, (count, *info.shape), range(number, number + count), True)


def wholes(tensors: Sequence[TensorInfo]) -> list[Whole]:
    """The tensors of the source, in order."""
    return [
        whole_from(info, number)
        for number, info in enumerate(tensors)
        if info.slice is None or info.slice.number == 0
    ]
