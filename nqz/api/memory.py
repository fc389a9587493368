"""Memory of other packages as arrays of NumPy."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def pointer_in(capsule: Any, name: str) -> int:
    """Address in a capsule of a name; `TypeError` if it is of another."""
    if type(capsule).__name__ != "PyCapsule" or _name(capsule) != name.encode():
        raise TypeError(f"a capsule {name!r} is needed")
    return int(_pointer(capsule, name.encode()))


class _Lent:
    """Memory with its owner, in the way that NumPy asks for it."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__, self._owner = interface, owner


def array_at(
    address: int, shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] | None, owner: Any
) -> npt.NDArray[Any]:
    """A read-only array on memory that `owner` keeps; strides in bytes, None for C order."""
    if 0 in shape:
        return np.empty(shape, dtype)
    interface = {
        "version": 3,
        "shape": shape,
        "typestr": dtype.str,
        "data": (address, True),
        "strides": strides,
    }
    found: npt.NDArray[Any] = np.asarray(_Lent(interface, owner))
    return found
