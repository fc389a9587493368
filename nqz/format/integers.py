"""Sequences of integers as side information, each in the form that takes the fewest bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nqz.format import tokens
from nqz.ground.arithmetic import pieces

_STORED, _TOKENS = range(2)


def pack(values: NDArray[np.signedinteger]) -> bytes:
    """Serialize integers of 64 bits: one byte for the form, then byte planes, or tokens."""
    extremes = int(values.min(initial=0)), int(values.max(initial=0))
    width = max(1, (max(value << 1 ^ value >> 63 for value in extremes).bit_length() + 7) // 8)
    if len(values):
        short = bytes([_TOKENS]) + tokens.pack(values)
        if len(short) < 2 + width * len(values):
            return short
    table = np.empty((width, len(values)), np.uint8)
    for chosen in pieces(len(values)):
        part = values[chosen].astype(np.int64)
        zigzag = ((part << 1) ^ (part >> 63)).astype("<i8")
        table[:, chosen] = zigzag.view(np.uint8).reshape(-1, 8)[:, :width].T
    return bytes([_STORED, width]) + table.tobytes()


def unpack(data: bytes, count: int) -> tuple[NDArray[np.int64], bytes]:
    """Inverse of `pack`.

    Parameters
    ----------
    data : bytes
        May go on beyond the sequence.
    count : int

    Returns
    -------
    values : ndarray of int64, shape (count,)
    rest : bytes
        What follows the sequence.

    Raises
    ------
    ValueError
        Malformed.
    """
    form, data = data[:1], data[1:]
    if form == bytes([_TOKENS]) and count:
        values, size = tokens.unpack(data, count)
        return values, data[size:]
    if form != bytes([_STORED]):
        raise ValueError("the form of the integers is unknown")
    if not data or not 1 <= data[0] <= 8:
        raise ValueError("the width of the integers is invalid")
    width, data = data[0], data[1:]
    if len(data) < width * count:
        raise ValueError(f"{len(data)} bytes where {width * count} are needed")
    planes, values = (
        np.frombuffer(data, np.uint8, width * count).reshape(width, count),
        np.empty(count, np.int64),
    )
    for chosen in pieces(count):
        table = np.zeros((chosen.stop - chosen.start, 8), np.uint8)
        table[:, :width] = planes[:, chosen].T
        zigzag = table.reshape(-1).view("<u8")
        values[chosen] = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    return values, data[width * count :]
