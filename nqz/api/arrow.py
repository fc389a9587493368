"""Arrays that are offered by the C data interface of Arrow: numbers, and lists of fixed size of these."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.api.memory import array_at, pointer_in
from nqz.ground.errors import UnsupportedError

_FORMATS = {
    b"c": "i1", b"C": "u1", b"s": "i2", b"S": "u2", b"i": "i4", b"I": "u4", b"l": "i8", b"L": "u8",
    b"e": "f2", b"f": "f4", b"g": "f8",
}  # fmt: skip
_LIST = b"+w:"


class Schema(ctypes.Structure):
    """ArrowSchema."""


class Array(ctypes.Structure):
    """ArrowArray."""


Schema._fields_ = (
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
)
Array._fields_ = (
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
)


def from_arrow(value: Any, name: str) -> npt.NDArray[Any]:
    """The array that an object offers; lists of fixed size are the rows of a matrix.

    Raises
    ------
    UnsupportedError
        Entries are missing, or it is of another type.
    """
    schema_capsule, array_capsule = value.__arrow_c_array__()
    schema = Schema.from_address(pointer_in(schema_capsule, "arrow_schema"))
    array = Array.from_address(pointer_in(array_capsule, "arrow_array"))
    shape: tuple[int, ...] = (array.length,)
    first, count = array.offset, array.length
    while True:
        text = schema.format or b""
        if schema.dictionary or not (text in _FORMATS or text.startswith(_LIST)):
            raise UnsupportedError(
                f"{name}: Arrow data of format {text.decode(errors='replace')!r}; numbers, or lists of fixed size of "
                "numbers, are needed"
            )
        _refuse_missing(array, first, count, name)
        if text in _FORMATS:
            break
        size = int(text[len(_LIST) :])
        schema, array = schema.children[0].contents, array.children[0].contents
        first, count = first * size + array.offset, count * size
        shape += (size,)
    dtype = np.dtype(_FORMATS[text])
    address = (array.buffers[1] or 0) + first * dtype.itemsize
    return array_at(address, shape, dtype, None, (array_capsule, value))


def _refuse_missing(array: Array, first: int, count: int, name: str) -> None:
    """Raise `UnsupportedError` if one of some entries is null."""
    if array.null_count == 0 or not array.buffers[0] or not count:
        return
    length = -(-(first + count) // 8)
    bits = array_at(array.buffers[0], (length,), np.dtype("u1"), None, array)
    if not np.unpackbits(bits, count=first + count, bitorder="little")[first:].all():
        raise UnsupportedError(f"{name}: entries are missing (null); fill them first")
