"""Rice codes of escapes: values outside the symbols -half to half - 1, by their distance from the edge.

A code is the sign (1 below -half), then the distance x as x >> b ones and a zero, then the b low bits of x; where
x >> b is 20 or more, 20 ones and x in 28 bits. All lowest bit first, without gaps.
"""

from __future__ import annotations

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference.arrays import Array
from nqz.reference.codings.pack import pack_bits, unpack_bits

LONGEST_RUN = 20
DISTANCE_BITS = 28


def encode_escapes(values: Array, half: Array, rice: Array) -> Array:
    """Code values outside [-half, half), each with the `half` and the parameter b of its own table; uint8."""
    bits: list[int] = []
    for value, edge, b in zip(values.tolist(), half.tolist(), rice.tolist(), strict=True):
        x = value - edge if value >= edge else -edge - 1 - value
        bits.append(int(value < 0))
        if x >> b < LONGEST_RUN:
            bits += [1] * (x >> b) + [0] + [x >> i & 1 for i in range(b)]
        else:
            bits += [1] * LONGEST_RUN + [x >> i & 1 for i in range(DISTANCE_BITS)]
    return pack_bits(np.array(bits, dtype=np.uint8))


class EscapeReader:
    """Reads what `encode_escapes` wrote, value by value."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.bits = np.unpackbits(data, bitorder="little").tolist()
        self.position = 0

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        if self.position + count > len(self.bits):
            raise CorruptStream("the escapes end too early")
        bits = self.bits[self.position : self.position + count]
        self.position += count
        return sum(bit << i for i, bit in enumerate(bits))

    def next(self, half: int, b: int) -> int:
        """Return the next value, coded with a table of this `half` and b."""
        negative = self.take(1)
        run = 0
        while run < LONGEST_RUN and self.take(1):
            run += 1
        if run < LONGEST_RUN:
            x = run << b | self.take(b)
        else:
            x = self.take(DISTANCE_BITS)
            if x >> b < LONGEST_RUN:
                raise CorruptStream("an escape is not in its shortest form")
        return -half - 1 - x if negative else half + x

    def finish(self) -> None:
        """Raise CorruptStream unless everything is read but for a padding of zeros."""
        if self.position <= len(self.bits) - 8:
            raise CorruptStream("escapes are left over")
        unpack_bits(self.data, self.position, "stream of escapes")
