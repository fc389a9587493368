"""Numbers of eight bits: four types of float8, their values, and the nearest of them to a number."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16  # numbers that are converted at a time


class Float8(NamedTuple):
    """A sign bit, an exponent e and a mantissa m, as in IEEE 754: m is the last bits, e what is between.

    Attributes
    ----------
    mantissa : int
        Bits of m.
    bias : int
        A number with e > 0 is (1 + m / 2 ** mantissa) * 2 ** (e - bias); with e = 0 it is m / 2 ** mantissa *
        2 ** (1 - bias).
    last : int
        Code of the largest finite number. Those above are not finite.
    infinity : int or None
        Code of infinity; None where there is none.
    unsigned : bool
        Zero has no sign: code 0x80 is the only NaN.
    """

    mantissa: int
    bias: int
    last: int
    infinity: int | None = None
    unsigned: bool = False

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(self.magnitudes()[self.last])

    @property
    def least(self) -> int:
        """Exponent of the smallest number above zero."""
        return 1 - self.bias - self.mantissa

    def magnitudes(self) -> NDArray[np.float64]:
        """Absolute values by the last seven bits, as if all were finite."""
        code = np.arange(128)
        e, m = code >> self.mantissa, code & ((1 << self.mantissa) - 1)
        significand = np.where(e > 0, m + (1 << self.mantissa), m)
        return np.asarray(np.ldexp(significand.astype(np.float64), np.maximum(e, 1) - 1 + self.least))


FLOAT8 = {
    "float8_e4m3fn": Float8(3, 7, 0x7E),
    "float8_e5m2": Float8(2, 15, 0x7B, 0x7C),
    "float8_e4m3fnuz": Float8(3, 8, 0x7F, unsigned=True),
    "float8_e5m2fnuz": Float8(2, 16, 0x7F, unsigned=True),
}
"""The types that matrices may have. float8_e8m0fnu is none of them: its powers of two scale other numbers."""


@cache
def values(name: str) -> NDArray[np.float16]:
    """Values of the 256 codes of a type. All are float16 numbers."""
    kind = FLOAT8[name]
    half = np.where(np.arange(128) <= kind.last, kind.magnitudes(), np.nan)
    if kind.infinity is not None:
        half[kind.infinity] = np.inf
    found = np.concatenate([half, -half]).astype(np.float16)
    if kind.unsigned:
        found[0x80] = np.nan
    found.flags.writeable = False
    return found


def widen(codes: NDArray[np.uint8], name: str, out: NDArray[np.float16]) -> None:
    """Write the values of codes to an array, both one-dimensional; the codes may be its own last bytes."""
    table = values(name)
    for first in range(0, len(codes), _BLOCK):
        # what is written ends before what is left to be read, and indices are copied
        np.take(table, codes[first : first + _BLOCK], out=out[first : first + _BLOCK], mode="clip")


def nearest(array: NDArray[np.float64], name: str) -> NDArray[np.uint8]:
    """Codes of the nearest finite numbers, ties to even, of numbers that are not beyond the largest; NaN stays NaN."""
    kind = FLOAT8[name]
    bits = array.view(np.uint64)
    negative = (bits >> np.uint64(63)).astype(np.uint8) << np.uint8(7)
    size = np.abs(array)
    # The bits of a float64 as those of the type with as many more bits of mantissa; then these are rounded away.
    more = np.uint64(52 - kind.mantissa)
    found = size.view(np.uint64) - np.uint64((1023 - kind.bias) << 52)
    found += np.uint64((1 << (51 - kind.mantissa)) - 1) + (found >> more & np.uint64(1))
    found >>= more
    # Below, a sum is rounded where the last bit of the type is.
    tiny = size < np.ldexp(1.0, 1 - kind.bias)
    ruler = np.ldexp(1.0, kind.least + 52)
    np.subtract((size + ruler).view(np.uint64), np.float64(ruler).view(np.uint64), out=found, where=tiny)
    codes: NDArray[Any] = found.astype(np.uint8) | negative
    if kind.unsigned:
        codes[codes == 0x80] = 0
    nan = np.isnan(array)
    if nan.any():
        codes[nan] = 0x80 if kind.unsigned else 0x7F
    return codes
