"""Sequences of integers, one a column, as side information: tokens by rANS, the rest of each value raw.

A value is taken relative to a center. Of the difference some low bits, as many for all, are raw; what is above them, v, has the
token |v| below 8, otherwise 8 + 4 (L - 4) + t, with L the bit length of |v| and t its two bits below the first. The L - 3 bits
further below, and the sign of v ≠ 0, are raw too. So a smooth distribution of any width costs about its entropy, and no table
is longer than 252 frequencies.
"""

from __future__ import annotations

import struct

import numpy as np

from .. import kernels
from .entropy import TOTAL

_EXACT = 8
_TOKENS = 252
_SPREAD = 3  # bit length of the median |v| that low bits are cut off for
_HEAD = 7


def _bit_length(magnitude: np.ndarray) -> np.ndarray:
    """Bit lengths of uint64, exactly."""
    high = (magnitude >> np.uint64(32)).astype(np.uint32)
    low = (magnitude & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    _, exponent = np.frexp(np.where(high > 0, high, low).astype(np.float64))
    return exponent + np.where(high > 0, 32, 0)


def _split(values: np.ndarray, low: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (uint8), raw bits (uint64) and how many there are."""
    high = values >> low
    magnitude = np.abs(high).view(np.uint64)  # of -2 ** 63 too
    rest = np.maximum(_bit_length(magnitude) - 3, 0).astype(np.uint64)
    token = np.where(magnitude < _EXACT, magnitude, 4 * rest + (magnitude >> rest)).astype(np.uint8)
    rest = np.where(magnitude < _EXACT, np.uint64(0), rest)
    one, shift = np.uint64(1), np.uint64(low)
    raw = values.view(np.uint64) & ((one << shift) - one)
    raw |= (magnitude & ((one << rest) - one)) << shift
    raw |= (high < 0).astype(np.uint64) << (rest + shift)
    return token, raw, low + (rest + (magnitude > 0)).astype(np.int64)


def _rest(token: np.ndarray) -> np.ndarray:
    """Number of low bits that follow each token."""
    return np.where(token < _EXACT, 0, (token.astype(np.int64) - 4) >> 2)


def _frequencies(counts: np.ndarray) -> np.ndarray:
    """12-bit frequencies near `counts`, 0 where that is 0; they sum to 4096."""
    frequency = np.where(counts > 0, np.maximum(1, counts * TOTAL // counts.sum()), 0)
    while (excess := int(frequency.sum()) - TOTAL) != 0:
        top = frequency.argmax()
        frequency[top] -= min(excess, int(frequency[top]) // 2)
    return frequency


def pack(values: np.ndarray) -> bytes:
    """Serialize integers.

    Parameters
    ----------
    values : ndarray of int64, not empty

    Returns
    -------
    bytes
        Number of low bits, least and greatest token (a byte each), coder state (32 bits); as varints the center (zigzag), the
        number of words, and the frequency of every token between the two; words; raw bits.
    """
    values = np.ascontiguousarray(values, np.int64)
    center = int(np.partition(values, len(values) // 2)[len(values) // 2])
    values = values - np.int64(center)  # wraps around, and back
    spread = np.partition(np.abs(values).view(np.uint64), len(values) // 2)[len(values) // 2]
    low = max(0, int(spread).bit_length() - _SPREAD)
    token, raw, width = _split(values, low)
    least, greatest = int(token.min()), int(token.max())
    frequency = _frequencies(np.bincount(token - least))
    states, words = kernels.rans_encode(token - np.uint8(least), _cumulative(frequency), 1)
    head = bytes([low, least, greatest]) + struct.pack("<I", states[0])
    numbers = [center << 1 ^ center >> 63, len(words), *frequency.tolist()]
    bits = np.zeros(int(width.sum()), np.uint8)
    first = np.cumsum(width) - width
    for b in range(int(width.max())):
        has = np.flatnonzero(width > b)
        bits[first[has] + b] = raw[has] >> np.uint64(b) & np.uint64(1)
    parts = [head, *map(_varint, numbers), words.astype("<u2").tobytes()]
    return b"".join(parts) + np.packbits(bits, bitorder="little").tobytes()


def unpack(data: bytes, count: int) -> tuple[np.ndarray, int]:
    """Inverse of `pack`.

    Parameters
    ----------
    data : bytes
        May go on beyond the integers.
    count : int

    Returns
    -------
    values : ndarray of int64, shape (count,)
    size : int
        Bytes taken from `data`.

    Raises
    ------
    ValueError
        Malformed.
    """
    if len(data) < _HEAD:
        raise ValueError("the integers end in their head")
    low, least, greatest = data[:3]
    if not least <= greatest < _TOKENS or low + int(_rest(np.array(greatest))) >= 64 - _SPREAD + 1:
        raise ValueError("the head of the integers is invalid")
    (state,) = struct.unpack_from("<I", data, 3)
    zigzag, at = _read_varint(data, _HEAD, 64)
    words, at = _read_varint(data, at, 32)
    frequency = np.empty(greatest - least + 1, np.int64)
    for i in range(len(frequency)):
        frequency[i], at = _read_varint(data, at, 13)
    if frequency.sum() != TOTAL:
        raise ValueError("the frequencies of the integers are invalid")
    if len(data) - at < 2 * words:
        raise ValueError("the integers end in their words")
    token = kernels.rans_decode(
        count, _cumulative(frequency), 1, np.array([state], np.uint32),
        np.frombuffer(data, "<u2", words, at).astype(np.uint16),
    ) + np.uint8(least)  # fmt: skip
    at += 2 * words
    rest = _rest(token)
    width = low + rest + (token > 0)
    total = int(width.sum())
    if len(data) - at < (total + 7) // 8:
        raise ValueError("the integers end in their raw bits")
    bits = np.unpackbits(np.frombuffer(data, np.uint8, (total + 7) // 8, at), bitorder="little")
    if bits[total:].any():
        raise ValueError("the padding of the integers is not zero")
    first = np.cumsum(width) - width
    raw = np.zeros(count, np.uint64)
    for b in range(int(width.max(initial=0))):
        has = np.flatnonzero(width > b)
        raw[has] |= bits[first[has] + b].astype(np.uint64) << np.uint64(b)
    one, shift, rest = np.uint64(1), np.uint64(low), rest.astype(np.uint64)
    magnitude = np.where(token < _EXACT, token, 4 + (token & 3)).astype(np.uint64) << rest
    magnitude |= raw >> shift & ((one << rest) - one)
    negative = (token > 0) & (raw >> (rest + shift) & one > 0)
    high = np.where(negative, ~magnitude + one, magnitude)
    values = (high << shift | raw & ((one << shift) - one)).view(np.int64)
    center = zigzag >> 1 ^ -(zigzag & 1)
    return values + np.int64(center), at + (total + 7) // 8


def _varint(value: int) -> bytes:
    """Seven bits a byte, least significant first; bit 7 is set in all but the last."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_varint(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """Number below 2 ** bits that begins at byte `at`, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("the integers end in a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift >= bits:
            raise ValueError("a number before the integers is too long")
    if value >> bits or (shift and byte == 0):
        raise ValueError("a number before the integers is out of range")
    return value, at


def _cumulative(frequency: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(frequency)]).astype(np.uint16)
