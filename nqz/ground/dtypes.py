"""Canonical names of data types, their codes in .npy and .safetensors files, and casts between float types.

Arrays of bfloat16 and float8 are held in their storage types, uint16 and uint8, since NumPy has no such types of its
own.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.ground import float8
from nqz.ground.float8 import FLOAT8


class _DType(NamedTuple):
    bits: int
    safetensors: str | None
    numpy: str | None  # kind and item size as in a .npy header; None where NumPy has no such type


_TABLE = {
    "bool": _DType(8, "BOOL", "b1"),
    "int8": _DType(8, "I8", "i1"),
    "int16": _DType(16, "I16", "i2"),
    "int32": _DType(32, "I32", "i4"),
    "int64": _DType(64, "I64", "i8"),
    "uint8": _DType(8, "U8", "u1"),
    "uint16": _DType(16, "U16", "u2"),
    "uint32": _DType(32, "U32", "u4"),
    "uint64": _DType(64, "U64", "u8"),
    "float16": _DType(16, "F16", "f2"),
    "bfloat16": _DType(16, "BF16", None),
    "float32": _DType(32, "F32", "f4"),
    "float64": _DType(64, "F64", "f8"),
    "complex64": _DType(64, "C64", "c8"),
    "complex128": _DType(128, None, "c16"),
    "float8_e4m3fn": _DType(8, "F8_E4M3", None),
    "float8_e5m2": _DType(8, "F8_E5M2", None),
    "float8_e8m0fnu": _DType(8, "F8_E8M0", None),
    "float8_e4m3fnuz": _DType(8, "F8_E4M3FNUZ", None),
    "float8_e5m2fnuz": _DType(8, "F8_E5M2FNUZ", None),
    "float6_e2m3fn": _DType(6, "F6_E2M3", None),
    "float6_e3m2fn": _DType(6, "F6_E3M2", None),
    "float4_e2m1fn": _DType(4, "F4", None),
}
_BY_SAFETENSORS = {entry.safetensors: name for name, entry in _TABLE.items() if entry.safetensors}
_BY_NUMPY = {entry.numpy: name for name, entry in _TABLE.items() if entry.numpy}

MATRIX_DTYPES = ("float16", "bfloat16", "float32", "float64", *FLOAT8)
"""Types of what can be compressed."""

_LARGEST = {
    **{name: kind.largest for name, kind in FLOAT8.items()},
    "float16": 65504.0,
    "bfloat16": float(np.ldexp(255.0, 120)),
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
}


def is_dtype(name: str) -> bool:
    """Whether there is a type of this name."""
    return name in _TABLE


def is_matrix_dtype(name: str) -> bool:
    """Whether tensors of this type can be compressed; all others are carried exactly."""
    return name in MATRIX_DTYPES


def dtype_bits(name: str) -> int:
    """Return the number of bits of an entry, less than 8 where entries are packed."""
    return _TABLE[name].bits


def data_bytes(shape: tuple[int, ...], name: str) -> int:
    """Return the number of bytes of a tensor, in Python integers.

    Types of less than a byte are packed; the last byte may be partly used.
    """
    return (math.prod(shape) * _TABLE[name].bits + 7) // 8


def largest_finite(name: str) -> float:
    """Return the largest finite value of a matrix type."""
    return _LARGEST[name]


def default_byte_order(name: str) -> str:
    """Return ``"<"``, or ``"|"`` for types of a single byte or less."""
    return "|" if _TABLE[name].bits <= 8 else "<"


def from_safetensors(code: str) -> str | None:
    """Return the canonical name of a .safetensors dtype code, or None for an unknown one."""
    return _BY_SAFETENSORS.get(code)


def to_safetensors(name: str) -> str | None:
    """Return the .safetensors dtype code of a canonical name, or None where there is none."""
    return _TABLE[name].safetensors


def from_numpy(dtype: np.dtype[Any]) -> tuple[str, str] | None:
    """Return (canonical name, byte order) of a NumPy type, or None for one that nqz does not know.

    Types that the package ml_dtypes adds to NumPy (bfloat16, float8) are recognized by name.
    """
    order = {"=": "<" if sys.byteorder == "little" else ">"}.get(dtype.byteorder, dtype.byteorder)
    name = _BY_NUMPY.get(f"{dtype.kind}{dtype.itemsize}")
    if name is None and dtype.names is None and dtype.type is not np.void:
        entry = _TABLE.get(dtype.name)
        # Sub-byte types take a whole byte in NumPy, unlike in a file.
        name = dtype.name if entry is not None and entry.bits == 8 * dtype.itemsize else None
    if name is None:
        return None
    return name, "|" if dtype.itemsize == 1 else "<" if order == "|" else order


def numpy_name(name: str) -> str | None:
    """Return the name as one that NumPy knows, or None for a type that it has not."""
    return name if _TABLE[name].numpy else None


def to_npy_descr(name: str, byte_order: str) -> str | None:
    """Return the ``descr`` of a .npy header, or None where .npy has no such type."""
    entry = _TABLE[name]
    return None if entry.numpy is None else f"{byte_order}{entry.numpy}"


def storage_dtype(name: str, byte_order: str = "=") -> np.dtype[Any]:
    """Return the NumPy type that holds a matrix type: its own, uint16 for bfloat16, or uint8 for float8."""
    if name in FLOAT8:
        return np.dtype(np.uint8)
    return np.dtype(f"{byte_order}{'u2' if name == 'bfloat16' else _TABLE[name].numpy}")


def working_type(name: str) -> str:
    """Return the name of the type that entries of a matrix type are worked on in: float16 for float8, else its own."""
    return "float16" if name in FLOAT8 else name


def bfloat16_to_float32(array: NDArray[Any]) -> NDArray[Any]:
    """Return the float32 values of bfloat16 numbers stored as uint16; exact."""
    bits: NDArray[Any] = array.astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32)


def float32_to_bfloat16(array: NDArray[Any]) -> NDArray[Any]:
    """Round float32 values to the nearest bfloat16, ties to even; returns uint16.

    Values that round beyond the largest finite number become infinite, as IEEE 754 has it.
    """
    bits = np.asarray(array, dtype=np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded: NDArray[Any] = ((bits + (np.uint32(0x7FFF) + even)) >> np.uint32(16)).astype(np.uint16)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    if nan.any():
        # Rounding could carry a NaN into infinity; setting the quiet bit cannot.
        rounded = np.where(nan, (bits >> np.uint32(16)).astype(np.uint16) | np.uint16(0x40), rounded)
    return rounded


def widen(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the values of a block in storage type `name` as float32, or as float64 if they are float64.

    Exact; the array itself is returned where no conversion is needed.
    """
    if name == "bfloat16":
        return bfloat16_to_float32(array)
    if name in FLOAT8:
        array = float8.values(name)[array]
        name = "float16"
    return array.astype(np.float32) if name == "float16" else array


def cast_saturating(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Cast float32 or float64 values to a matrix type, ties to even, in its storage type.

    Values beyond the type (infinities too) become its largest finite value of the same sign. NaN stays NaN.
    """
    limit = _LARGEST[name]
    if name == "float64" or name in FLOAT8:
        array = array.astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        clipped: NDArray[Any] = np.clip(array, array.dtype.type(-limit), array.dtype.type(limit))
        if name in FLOAT8:
            return float8.nearest(clipped, name)
        if name != "bfloat16":
            return clipped.astype(storage_dtype(name), copy=False)
        if clipped.dtype == np.float64:
            clipped = _round_to_odd(clipped)
        return float32_to_bfloat16(clipped)


def _round_to_odd(array: NDArray[Any]) -> NDArray[Any]:
    """Return float64 values as float32, inexact ones with an odd last bit.

    Rounding to nearest twice can differ from rounding once; after rounding to odd it cannot.
    """
    nearest = array.astype(np.float32)
    back = nearest.astype(np.float64)
    bits = nearest.view(np.uint32)
    bits = bits - (np.abs(back) > np.abs(array))  # toward zero: one unit in the last place
    odd: NDArray[np.uint32] = (bits.astype(np.uint32) | (back != array)).astype(np.uint32)
    return odd.view(np.float32)
