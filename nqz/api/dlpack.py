"""Arrays that are offered by DLPack, bfloat16 and float8 among them, which NumPy does not take."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.api.memory import array_at, pointer_in
from nqz.ground.errors import UnsupportedError

_IN_MEMORY = (1, 3, 11)
"""Devices whose memory is that of this process: CPU, and memory pinned for CUDA or ROCm."""

_DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 13: "CUDA managed", 14: "oneAPI"}
_KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}
_EXTENDED = {
    (4, 16): "bfloat16",
    (10, 8): "float8_e4m3fn",
    (11, 8): "float8_e4m3fnuz",
    (12, 8): "float8_e5m2",
    (13, 8): "float8_e5m2fnuz",
    (14, 8): "float8_e8m0fnu",
}
"""Types that NumPy lacks, by code and bits."""


class Device(ctypes.Structure):
    """DLDevice."""

    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class Type(ctypes.Structure):
    """DLDataType."""

    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class Tensor(ctypes.Structure):
    """DLTensor, with which a DLManagedTensor begins."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", Device),
        ("ndim", ctypes.c_int32),
        ("dtype", Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def from_dlpack(value: Any, name: str) -> tuple[npt.NDArray[Any], str | None]:
    """The array that an object offers, and the canonical name of its type where NumPy has none.

    Raises
    ------
    UnsupportedError
        It is on a device, or its type is not known.
    """
    device = int(value.__dlpack_device__()[0])
    if device not in _IN_MEMORY:
        where = _DEVICES.get(device, f"another device (of type {device} in DLPack)")
        raise UnsupportedError(f"{name}: is in memory of {where}; move it to the CPU first")
    # the capsule is not taken over: it releases the memory when it is no longer used itself
    capsule = value.__dlpack__()
    tensor = Tensor.from_address(pointer_in(capsule, "dltensor"))
    code, bits, lanes = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
    extended = _EXTENDED.get((code, bits))
    if lanes != 1 or bits % 8 or (extended is None and code not in _KINDS):
        raise UnsupportedError(f"{name}: entries of type {code} in DLPack, {bits} bits, are not supported")
    dtype = np.dtype(f"{'u' if extended else _KINDS[code]}{bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = (
        tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
        if tensor.strides
        else None
    )
    address = (tensor.data or 0) + tensor.byte_offset
    return array_at(address, shape, dtype, strides, (capsule, value)), extended
