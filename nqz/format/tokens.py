"""Form 1 of a sequence of integers: tokens by rANS, the rest of each value raw.

A value is taken relative to a center. Of the difference some low bits, as many for all, are raw; what is above them,
v, has the token |v| below 8, otherwise 8 + 4 (L - 4) + t, with L the bit length of |v| and t its two bits below the
first. The L - 3 bits further below, and the sign of v ≠ 0, are raw too. So a smooth distribution of any width costs
about its entropy, and no table is longer than 252 frequencies.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import pieces
from nqz.stages.codings.tables import TOTAL

_EXACT = 8
_TOKENS = 252
_SAMPLE = 1 << 16  # integers from which the center and the low bits are chosen
_SPREAD = 3  # bit length of the median |v| that low bits are cut off for
_HEAD = 7


def _bit_length(magnitude: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Bit lengths of uint64, exactly."""
    high = (magnitude >> np.uint64(32)).astype(np.uint32)
    low = (magnitude & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    _, exponent = np.frexp(np.where(high > 0, high, low).astype(np.float64))
    length: NDArray[np.int32] = exponent + np.where(high > 0, 32, 0)
    return length


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


_REST = _rest(np.arange(256)) + 1
"""Bits beside the common low ones that follow each token: those of `_rest`, and a sign."""


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
    values : ndarray of int64 or int32, not empty

    Returns
    -------
    bytes
        Number of low bits, least and greatest token (a byte each), coder state (32 bits); as varints the center
        (zigzag), the number of words, and the frequency of every token between the two; words; raw bits.
    """
    sample = values[:: -(-len(values) // _SAMPLE)].astype(np.int64)
    middle = len(sample) // 2
    center = int(np.partition(sample, middle)[middle])
    sample -= np.int64(center)  # wraps around, and back
    distance = np.abs(sample).view(np.uint64)
    distance.partition(middle)
    low = max(0, int(distance[middle]).bit_length() - _SPREAD)
    token, bits = np.empty(len(values), np.uint8), _Bits()
    for chosen in pieces(len(values)):
        token[chosen], raw, width = _split(values[chosen].astype(np.int64) - np.int64(center), low)
        bits.append(raw, width)
    least, greatest = int(token.min()), int(token.max())
    token -= np.uint8(least)
    frequency = _frequencies(_counts(token))
    states, words = kernels.rans_encode(token, _cumulative(frequency), 1)
    head = bytes([low, least, greatest]) + struct.pack("<I", states[0])
    numbers = [center << 1 ^ center >> 63, len(words), *frequency.tolist()]
    return b"".join([head, *map(_varint, numbers), words.astype("<u2").tobytes(), *bits.finish()])


def _counts(token: np.ndarray) -> np.ndarray:
    """How often each token occurs, up to the greatest."""
    counts = np.zeros(_TOKENS, np.int64)
    for chosen in pieces(len(token)):
        counts += np.bincount(token[chosen], minlength=_TOKENS)
    return counts[: int(np.flatnonzero(counts)[-1]) + 1]


class _Bits:
    """Numbers of varying width, one after the other, least significant bit first."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._word, self._used = np.uint64(0), 0  # bits of the last word, which is not full

    def append(self, raw: np.ndarray, width: np.ndarray) -> None:
        """Append numbers below 2 ** width, at most 63 bits each."""
        end = np.cumsum(width) + self._used
        first = end - width
        word, offset = first >> 6, (first & 63).astype(np.uint64)
        words = np.zeros(int(end[-1] >> 6) + 2, np.uint64)
        words[0] = self._word
        # numbers that begin in one word; only the last of them may reach into the next
        start = np.flatnonzero(np.diff(word, prepend=-1))
        words[word[start]] |= np.bitwise_or.reduceat(raw << offset, start)
        words[word[start] + 1] |= np.bitwise_or.reduceat(
            raw >> np.uint64(1) >> (np.uint64(63) - offset), start
        )
        full = int(end[-1] >> 6)
        self._parts.append(words[:full].astype("<u8").tobytes())
        self._word, self._used = words[full], int(end[-1] & 63)

    def finish(self) -> list[bytes]:
        """All bytes, the last one padded with zeros."""
        return [*self._parts, int(self._word).to_bytes(8, "little")[: (self._used + 7) // 8]]


def _taken(data: bytes, at: int, first: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Numbers of `width` bits, at most 63, that begin at bits `first` of the bytes from `at` on; uint64."""
    begin, end = int(first[0]) >> 6, (int(first[-1] + width[-1]) >> 6) + 2
    held = data[at + 8 * begin : at + 8 * end]
    words = np.frombuffer(held + bytes(8 * (end - begin) - len(held)), "<u8").astype(np.uint64)
    word, offset = (first >> 6) - begin, (first & 63).astype(np.uint64)
    raw: NDArray[np.uint64] = words[word] >> offset | words[word + 1] << np.uint64(1) << (
        np.uint64(63) - offset
    )
    raw &= (np.uint64(1) << width.astype(np.uint64)) - np.uint64(1)
    return raw


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
    width_of = _REST + low
    width_of[0] -= 1  # 0 has no sign
    total = sum(int(width_of[token[chosen]].sum()) for chosen in pieces(count))
    size = (total + 7) // 8
    if len(data) - at < size:
        raise ValueError("the integers end in their raw bits")
    if total % 8 and data[at + size - 1] >> total % 8:
        raise ValueError("the padding of the integers is not zero")
    center = np.int64(zigzag >> 1 ^ -(zigzag & 1))
    one, shift = np.uint64(1), np.uint64(low)
    values, before = np.empty(count, np.int64), 0
    for chosen in pieces(count):
        t = token[chosen]
        rest, width = (_REST[t] - 1).astype(np.uint64), width_of[t]
        end = np.cumsum(width) + before
        raw = _taken(data, at, end - width, width)
        before = int(end[-1])
        magnitude = np.where(t < _EXACT, t, 4 + (t & 3)).astype(np.uint64) << rest
        magnitude |= raw >> shift & ((one << rest) - one)
        negative = (t > 0) & (raw >> (rest + shift) & one > 0)
        high = np.where(negative, ~magnitude + one, magnitude)
        values[chosen] = (high << shift | raw & ((one << shift) - one)).view(np.int64) + center
    return values, at + size


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
