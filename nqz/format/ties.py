"""Tensors that a container holds once under several names: an item of the manifest says which one it equals."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from nqz.format.tensors import TensorInfo
from nqz.ground.errors import CorruptError


def unpack_tie(parameters: Any, where: str) -> int:
    """The number of the tensor that one equals, from the parameters in the file.

    Raises
    ------
    CorruptError
        They are not in the form of §3.3 of the format.
    """
    if type(parameters) is not int or parameters < 0:
        raise CorruptError(f"{where}: equals tensor {reprlib.repr(parameters)}, which is no number of one")
    return parameters


def resolved(tensors: Sequence[TensorInfo], where: str) -> tuple[TensorInfo, ...]:
    """The tensors, those that equal an earlier one with its codec and parameters.

    Raises
    ------
    CorruptError
        One equals a tensor that does not come before it, is unlike it, or is not held as a whole by itself.
    """
    if all(info.same_as is None for info in tensors):
        return tuple(tensors)
    found = list(tensors)
    for number, info in enumerate(found):
        if info.same_as is None:
            continue
        at = f"{where}: tensor {number}"
        if info.same_as >= number:
            raise CorruptError(f"{at}: equals tensor {info.same_as}, which is not before it")
        target = found[info.same_as]
        if target.same_as is not None or target.slice is not None:
            what = "a slice" if target.slice is not None else "held with another itself"
            raise CorruptError(f"{at}: equals tensor {info.same_as}, which is {what}")
        if target[2:6] != info[2:6]:
            raise CorruptError(
                f"{at}: equals tensor {info.same_as}, which is of another shape, dtype or order"
            )
        found[number] = info._replace(codec=target.codec, parameters=target.parameters)
    return tuple(found)
