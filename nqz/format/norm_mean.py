"""The payloads of NORM and MEAN: sequences of integers, one a column, each in the form that takes the fewest bytes."""

from __future__ import annotations

import struct

import numpy as np

from nqz.format import integers as sequences
from nqz.format.exct import zstd_pack, zstd_unpack
from nqz.ground.arithmetic import pieces
from nqz.ground.errors import CorruptError
from nqz.stages import center, norms

_STORED, _ZSTD, _TOKENS = range(3)
_LEVEL = 12  # higher ones are slow, and only equal or periodic integers are for zstd anyway
_SAMPLE = 1 << 15  # integers by which to tell whether zstd is of use
_LEAST = struct.Struct("<i")
_SIZE = struct.Struct("<I")


def pack_norms(codes: np.ndarray) -> bytes:
    """Payload of NORM: the least code, and a sequence that is 0 for columns without energy."""
    least, offsets = norms.to_offsets(codes)
    return _LEAST.pack(least) + _pack(offsets)


def unpack_norms(payload: bytes, columns: int, where: str) -> np.ndarray:
    """Norm codes, int32; CorruptError at `where` if the payload is malformed."""
    try:
        if len(payload) < _LEAST.size:
            raise ValueError("the record ends too early")
        (least,) = _LEAST.unpack_from(payload)
        offsets, rest = _unpack(payload[_LEAST.size :], columns, where)
        _check_end(rest)
        return norms.from_offsets(least, offsets)
    except ValueError as error:
        raise CorruptError(f"{where}: {error}") from None


def pack_means(shift: np.ndarray, q: np.ndarray) -> bytes:
    """Payload of MEAN: two sequences."""
    return _pack(shift.astype(np.int32)) + _pack(q)


def unpack_means(payload: bytes, columns: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `pack_means`: (shift, q); CorruptError at `where` if the payload is malformed."""
    try:
        shift, rest = _unpack(payload, columns, where)
        if shift.min(initial=0) < 0 or shift.max(initial=0) > center.EXACT:
            raise ValueError("the shift of a mean is out of range")
        shift = shift.astype(np.uint8)
        q, rest = _unpack(rest, columns, where)
        _check_end(rest)
    except ValueError as error:
        raise CorruptError(f"{where}: {error}") from None
    narrow = -(1 << 31) <= q.min(initial=0) and q.max(initial=0) < 1 << 31
    return shift, q.astype(np.int32) if narrow else q


def _check_end(rest: bytes) -> None:
    if rest:
        raise ValueError(f"{len(rest)} bytes are left over")


def _pack(values: np.ndarray) -> bytes:
    """A sequence: one byte for its form, then byte planes as they are or as a zstd frame, or tokens."""
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
    forms = [bytes([_STORED, width]) + planes, bytes([_TOKENS]) + sequences.pack(values)]
    if len(values) <= _SAMPLE or len(sample) * len(values) <= len(forms[1]) * _SAMPLE:
        packed = sample if len(values) <= _SAMPLE else zstd_pack(planes, _LEVEL)
        forms.insert(1, bytes([_ZSTD, width]) + _SIZE.pack(len(packed)) + packed)
    return min(forms, key=len)


def _unpack(data: bytes, count: int, where: str) -> tuple[np.ndarray, bytes]:
    """Values of a sequence, int64, and what follows it."""
    form, data = data[:1], data[1:]
    if form == bytes([_TOKENS]):
        values, size = sequences.unpack(data, count)
        return values, data[size:]
    if form not in (bytes([_STORED]), bytes([_ZSTD])):
        raise ValueError("the form of the integers is unknown")
    if not data or not 1 <= data[0] <= 8:
        raise ValueError("the width of the integers is invalid")
    width, data = data[0], data[1:]
    if form == bytes([_STORED]):
        planes, data = data[: width * count], data[width * count :]
    else:
        if len(data) < _SIZE.size or len(data) - _SIZE.size < _SIZE.unpack_from(data)[0]:
            raise ValueError("the record ends too early")
        end = _SIZE.size + _SIZE.unpack_from(data)[0]
        planes, data = zstd_unpack(data[_SIZE.size : end], width * count, where), data[end:]
    if len(planes) != width * count:
        raise ValueError(f"{len(planes)} bytes where {width * count} are needed")
    planes, values = np.frombuffer(planes, np.uint8).reshape(width, count), np.empty(count, np.int64)
    for chosen in pieces(count):
        table = np.zeros((chosen.stop - chosen.start, 8), np.uint8)
        table[:, :width] = planes[:, chosen].T
        zigzag = table.reshape(-1).view("<u8")
        values[chosen] = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    return values, data
