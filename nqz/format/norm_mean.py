"""The payloads of NORM, MEAN and GAIN: sequences of integers, one a column."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.format import integers
from nqz.ground.errors import CorruptError
from nqz.stages import center, norms

_LEAST = struct.Struct("<i")


def pack_norms(codes: NDArray[np.int32], step: int = 1) -> bytes:
    """Payload of NORM: the least code, and a sequence that is 0 for columns without energy."""
    least, offsets = norms.to_offsets(codes, step)
    return _LEAST.pack(least) + integers.pack(offsets)


def unpack_norms(payload: bytes, columns: int, where: str, step: int = 1) -> NDArray[np.int32]:
    """Norm codes, which differ by multiples of `step`; CorruptError at `where` if the payload is malformed."""
    try:
        if len(payload) < _LEAST.size:
            raise ValueError("the record ends too early")
        (least,) = _LEAST.unpack_from(payload)
        offsets, rest = integers.unpack(payload[_LEAST.size :], columns)
        _check_end(rest)
        return norms.from_offsets(least, offsets, step)
    except ValueError as error:
        raise CorruptError(f"{where}: {error}") from None


def pack_means(shift: NDArray[np.uint8], q: NDArray[Any]) -> bytes:
    """Payload of MEAN: two sequences."""
    return integers.pack(shift.astype(np.int32)) + integers.pack(q)


def unpack_means(payload: bytes, columns: int, where: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Inverse of `pack_means`: (shift, q); CorruptError at `where` if the payload is malformed.

    q is int32 where all of its values are, int64 otherwise.
    """
    try:
        shift, rest = integers.unpack(payload, columns)
        if shift.min(initial=0) < 0 or shift.max(initial=0) > center.EXACT:
            raise ValueError("the shift of a mean is out of range")
        narrow_shift = shift.astype(np.uint8)
        del shift
        q, rest = integers.unpack(rest, columns)
        _check_end(rest)
    except ValueError as error:
        raise CorruptError(f"{where}: {error}") from None
    narrow = q.min(initial=0) >= -(1 << 31) and q.max(initial=0) < 1 << 31
    return narrow_shift, q.astype(np.int32) if narrow else q


def pack_gains(gains: NDArray[np.int64]) -> bytes:
    """Payload of GAIN: a sequence."""
    return integers.pack(gains)


def unpack_gains(payload: bytes, columns: int, where: str) -> NDArray[np.int64]:
    """Gains of the kept columns of a panel; CorruptError at `where` if the payload is malformed."""
    try:
        gains, rest = integers.unpack(payload, columns)
        _check_end(rest)
    except ValueError as error:
        raise CorruptError(f"{where}: {error}") from None
    return gains


def _check_end(rest: bytes) -> None:
    if rest:
        raise ValueError(f"{len(rest)} bytes are left over")
