"""Sequences of integers, one a column, as side information: each in the form that takes the fewest bytes."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from nqz.format import tokens
from nqz.format.exct import zstd_pack, zstd_unpack
from nqz.ground.arithmetic import pieces

_STORED, _ZSTD, _TOKENS = range(3)
_LEVEL = 12  # higher ones are slow, and only equal or periodic integers are for zstd anyway
_SAMPLE = 1 << 15  # integers by which to tell whether zstd is of use
_SIZE = struct.Struct("<I")


def pack(values: NDArray[np.signedinteger]) -> bytes:
    """Serialize integers of 64 bits: one byte for the form, then byte planes, plain or as a zstd frame, or tokens."""
    extremes = int(values.min(initial=0)), int(values.max(initial=0))
    width = max(1, (max(value << 1 ^ value >> 63 for value in extremes).bit_length() + 7) // 8)
    table = np.empty((width, len(values)), np.uint8)
    for chosen in pieces(len(values)):
        part = values[chosen].astype(np.int64)
        zigzag = ((part << 1) ^ (part >> 63)).astype("<i8")
        table[:, chosen] = zigzag.view(np.uint8).reshape(-1, 8)[:, :width].T
    sample = zstd_pack(table[:, :_SAMPLE].tobytes(), _LEVEL)
    planes = table.tobytes()
    del table
    forms = [bytes([_STORED, width]) + planes, bytes([_TOKENS]) + tokens.pack(values)]
    if len(values) <= _SAMPLE or len(sample) * len(values) <= len(forms[1]) * _SAMPLE:
        packed = sample if len(values) <= _SAMPLE else zstd_pack(planes, _LEVEL)
        forms.insert(1, bytes([_ZSTD, width]) + _SIZE.pack(len(packed)) + packed)
    return min(forms, key=len)


def unpack(data: bytes, count: int, where: str) -> tuple[NDArray[np.int64], bytes]:
    """Inverse of `pack`.

    Parameters
    ----------
    data : bytes
        May go on beyond the sequence.
    count : int
    where : str
        File, record and offset, for messages.

    Returns
    -------
    values : ndarray of int64, shape (count,)
    rest : bytes
        What follows the sequence.

    Raises
    ------
    ValueError, CorruptError
        Malformed.
    """
    form, data = data[:1], data[1:]
    if form == bytes([_TOKENS]):
        values, size = tokens.unpack(data, count)
        return values, data[size:]
    if form not in (bytes([_STORED]), bytes([_ZSTD])):
        raise ValueError("the form of the integers is unknown")
    if not data or not 1 <= data[0] <= 8:
        raise ValueError("the width of the integers is invalid")
    width, data = data[0], data[1:]
    if form == bytes([_STORED]):
        raw, data = data[: width * count], data[width * count :]
    else:
        if len(data) < _SIZE.size or len(data) - _SIZE.size < _SIZE.unpack_from(data)[0]:
            raise ValueError("the record ends too early")
        end = _SIZE.size + _SIZE.unpack_from(data)[0]
        raw, data = zstd_unpack(data[_SIZE.size : end], width * count, where), data[end:]
    if len(raw) != width * count:
        raise ValueError(f"{len(raw)} bytes where {width * count} are needed")
    planes, values = np.frombuffer(raw, np.uint8).reshape(width, count), np.empty(count, np.int64)
    for chosen in pieces(count):
        table = np.zeros((chosen.stop - chosen.start, 8), np.uint8)
        table[:, :width] = planes[:, chosen].T
        zigzag = table.reshape(-1).view("<u8")
        values[chosen] = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    return values, data
