"""rANS: interleaved range coders with 12-bit frequencies, 32-bit states and 16-bit renormalization.

Lane l has a state of its own; all share one stream of words. Symbol i is coded on lane i % L. The encoder
runs backwards, so that the decoder runs forwards.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference.arrays import Array, check, require
from nqz.reference.layout import check_lanes

LOW = 1 << 16


def encode_steps(starts: list[int], sizes: list[int], lanes: int) -> tuple[Array, Array]:
    """Code the intervals [start, start + size) of [0, 4096), given in decoder order."""
    state = [LOW] * lanes
    emitted = []
    for i in range(len(starts) - 1, -1, -1):
        x, size = state[i % lanes], sizes[i]
        if x >= size << 20:
            emitted.append(x & 0xFFFF)
            x >>= 16
        state[i % lanes] = (x // size << 12) + x % size + starts[i]
    return np.array(state, dtype=np.uint32), np.array(emitted[::-1], dtype=np.uint16)


class Decoder:
    """Interleaved decoder: `step` decodes one interval on one lane, `finish` checks the end."""

    def __init__(self, states: Array, words: Array, lanes: int) -> None:
        if len(states) != lanes or (states < LOW).any():
            raise CorruptStream("a coder state is out of range")
        self.state = [int(x) for x in states]
        self.words = words.tolist()
        self.position = 0

    def step(self, lane: int, cum: list[int]) -> int:
        """Decode one symbol of the cumulative frequencies `cum` on `lane`."""
        x = self.state[lane]
        slot = x & 4095
        symbol = bisect_right(cum, slot) - 1
        x = (cum[symbol + 1] - cum[symbol]) * (x >> 12) + slot - cum[symbol]
        if x < LOW:
            if self.position == len(self.words):
                raise CorruptStream("the coded words end too early")
            x = x << 16 | self.words[self.position]
            self.position += 1
        self.state[lane] = x
        return symbol

    def finish(self) -> None:
        """Raise CorruptStream unless every word is used and every state is back where the encoder began."""
        if self.position != len(self.words):
            raise CorruptStream("coded words are left over")
        if any(x != LOW for x in self.state):
            raise CorruptStream("a coder state does not end where it began")


def check_cumulative(cum: Array) -> None:
    """Raise ValueError unless `cum` goes from 0 to 4096 and never falls."""
    right = cum.ndim == 1 and cum.dtype == np.uint16 and 2 <= cum.size <= 257
    require(right, "cum must be uint16 [2 to 257]")
    right = cum[0] == 0 and cum[-1] == 4096 and np.diff(cum.astype(np.int64)).min() >= 0
    require(right, "cum is not a table of 12-bit frequencies")


def rans_encode(symbols: Array, cum: Array, lanes: int) -> tuple[Array, Array]:
    """Code symbols with one table.

    Parameters
    ----------
    symbols : numpy.ndarray
        uint8 [n], each of a frequency above zero.
    cum : numpy.ndarray
        uint16 [s + 1], cumulative 12-bit frequencies from 0 to 4096.
    lanes : int
        1, 2, 4, 8, 16 or 32.

    Returns
    -------
    states : numpy.ndarray
        uint32 [lanes].
    words : numpy.ndarray
        uint16, in decoder order.
    """
    check_lanes(lanes)
    check_cumulative(cum)
    check({"symbols uint8 [n]": symbols})
    wide = cum.astype(np.int64)
    size = np.append(np.diff(wide), np.zeros(256, dtype=np.int64))[symbols]
    require(bool((size > 0).all()), "a symbol has no frequency in the table")
    return encode_steps(wide[symbols].tolist(), size.tolist(), lanes)


def rans_decode(count: int, cum: Array, lanes: int, states: Array, words: Array) -> Array:
    """Decode `count` symbols that `rans_encode` coded with the same table and lanes.

    Returns
    -------
    numpy.ndarray
        uint8 [count].

    Raises
    ------
    CorruptStream
        If the words or states are not what the encoder writes.
    """
    check_lanes(lanes)
    check_cumulative(cum)
    require(count >= 0, "count must not be negative")
    decoder = Decoder(states, words, lanes)
    table = cum.tolist()
    out = np.array([decoder.step(i % lanes, table) for i in range(count)], dtype=np.uint8)
    decoder.finish()
    return out
