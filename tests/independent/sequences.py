"""Bit fields, a rANS coder of several lanes (section 15) and sequences of integers (section 10.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import I64, U64


class CorruptError(Exception):
    """The file is damaged, or breaks a rule of the format."""


class NewerFormatError(Exception):
    """The file uses something that this version of the format does not know."""


def require(condition: Any, reason: str) -> None:
    """Reject the file unless the condition holds."""
    if not condition:
        raise CorruptError(reason)


class Reader:
    """Takes fields from the front of a payload."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        require(0 <= size <= len(self.data) - self.at, "payload is too short")
        self.at += size
        return self.data[self.at - size : self.at]

    def integer(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def varint(self, limit: int) -> int:
        """Seven bits a byte, least significant first; the shortest form."""
        value = shift = 0
        while True:
            byte = self.integer(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            require(shift < limit, "varint is too long")
        require((byte or shift == 7) and value < 1 << limit, "varint is not the shortest, or too large")
        return value

    def words(self, count: int) -> I64:
        return np.frombuffer(self.take(2 * count), "<u2").astype(np.int64)

    def fields(self, widths: I64) -> U64:
        """Bit fields of these widths, bit 0 first, then zeros up to the next byte."""
        total = int(widths.sum())
        bits = np.unpackbits(np.frombuffer(self.take(-(-total // 8)), np.uint8), bitorder="little")
        require(not bits[total:].any(), "padding is not zero")
        starts = np.cumsum(widths) - widths
        values = np.zeros(widths.shape, np.uint64)
        for j in range(int(widths.max(initial=0))):
            wide = np.flatnonzero(widths > j)
            values[wide] |= bits[starts[wide] + j].astype(np.uint64) << np.uint64(j)
        return values

    def end(self) -> None:
        require(self.at == len(self.data), "payload is too long")


class Rans:
    """States in [2^16, 2^32), which take 16-bit words from a common stream, lane by lane (section 15)."""

    def __init__(self, states: I64, stream: I64) -> None:
        self.x, self.stream, self.at = states, stream, 0

    def advance(self, frequency: Any, offset: Any, lanes: Any = slice(None)) -> None:
        """Replace x by frequency * (x >> 12) + offset, where offset = slot - start, and renormalize."""
        x = frequency * (self.x[lanes] >> 12) + offset
        low = np.flatnonzero(x < 1 << 16)
        if low.size:
            require(self.at + low.size <= self.stream.size, "rANS words are missing")
            x[low] = x[low] << 16 | self.stream[self.at : self.at + low.size]
            self.at += low.size
        self.x[lanes] = x

    def end(self) -> None:
        require(self.at == self.stream.size, "rANS words are left over")
        require((self.x == 1 << 16).all(), "final rANS state is wrong")


def unzigzag(z: U64) -> I64:
    """0, -1, 1, -2, ... for 0, 1, 2, 3, ..."""
    return np.asarray((z >> np.uint64(1)) ^ (np.uint64(0) - (z & np.uint64(1)))).view(np.int64)


def sequence(reader: Reader, count: int) -> I64:
    """A sequence of `count` signed 64-bit integers (section 10.1)."""
    form = reader.integer(1)
    require(form == 0 or (form == 1 and count), "unknown form of sequence")
    if form == 0:
        width = reader.integer(1)
        require(1 <= width <= 8, "width of a sequence")
        planes = np.frombuffer(reader.take(width * count), np.uint8).reshape(width, count)
        z = np.zeros(count, np.uint64)
        for j in range(width):
            z |= planes[j].astype(np.uint64) << np.uint64(8 * j)
        return unzigzag(z)
    b, least, greatest = reader.integer(1), reader.integer(1), reader.integer(1)
    require(least <= greatest <= 251, "tokens of a sequence")
    require(b + max(0, (greatest - 4) // 4) <= 61, "low bits of a sequence")
    x = reader.integer(4)
    center = np.array([reader.varint(64)], np.uint64)
    word_count = reader.varint(32)
    frequencies = np.array([reader.varint(13) for _ in range(greatest - least + 1)], np.int64)
    require((frequencies <= 4096).all() and frequencies.sum() == 4096, "frequencies of a sequence")
    stream: list[int] = reader.words(word_count).tolist()
    starts: list[int] = (np.cumsum(frequencies) - frequencies).tolist()
    symbol_of: list[int] = np.repeat(np.arange(frequencies.size), frequencies).tolist()
    frequency_of: list[int] = frequencies.tolist()
    tokens, at = np.empty(count, np.int64), 0
    for i in range(count):
        symbol = symbol_of[x & 4095]
        tokens[i] = symbol
        x = frequency_of[symbol] * (x >> 12) + (x & 4095) - starts[symbol]
        if x < 1 << 16:
            require(at < word_count, "rANS words are missing")
            x = x << 16 | stream[at]
            at += 1
    require(at == word_count and x == 1 << 16, "end of a rANS lane")
    tokens += least
    more = np.where(tokens < 8, 0, (tokens - 4) // 4)  # L - 3 further bits
    signed = (tokens > 0).astype(np.int64)
    raw = reader.fields(np.stack([np.full(count, b), more, signed], axis=1).reshape(-1)).reshape(count, 3)
    top = (4 + (tokens & 3)).astype(np.uint64) << more.astype(np.uint64)
    size = np.where(tokens < 8, tokens.astype(np.uint64), top | raw[:, 1])
    v = np.where(raw[:, 2] == 1, np.uint64(0) - size, size)
    return ((v << np.uint64(b)) + raw[:, 0] + unzigzag(center).view(np.uint64)).view(np.int64)


def as_bits(data: bytes) -> NDArray[np.uint8]:
    """The bits of some bytes, bit 0 of each first."""
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
