"""Pack: runs of digits to base q in words of a fixed number of bits."""

from __future__ import annotations

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference.arrays import Array, check, require


def check_packing(q: int, per_word: int, bits: int) -> None:
    """Raise ValueError unless `per_word` digits to base q fit `bits` bits."""
    require(2 <= q <= 65536 and per_word >= 1 and 1 <= bits <= 63, "q, per_word or bits is out of range")
    require(per_word <= 63 and q**per_word <= 1 << bits, "the digits do not fit the word")


def to_bits(values: Array, width: int) -> Array:
    """Return uint8 bits [len(values), width] of uint64 values, lowest first."""
    bits: Array = values[:, None] >> np.arange(width, dtype=np.uint64) & np.uint64(1)
    return bits.astype(np.uint8)


def from_bits(bits: Array) -> Array:
    """Undo `to_bits`."""
    weights = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
    values: Array = (bits.astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64)
    return values


def pack_bits(bits: Array) -> Array:
    """Pack 0/1 values into bytes, lowest bit first; the last byte is filled with zeros."""
    return np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little")


def unpack_bits(data: Array, count: int, what: str) -> Array:
    """Return `count` bits of `data`; raise CorruptStream if its length is wrong or its padding not zero."""
    if data.size != -(-count // 8):
        raise CorruptStream(f"the {what} has the wrong length")
    bits = np.unpackbits(data, bitorder="little")
    if bits[count:].any():
        raise CorruptStream(f"the padding of the {what} is not zero")
    return bits[:count]


def pack_digits(digits: Array, q: int, per_word: int, bits: int) -> Array:
    """Pack digits: each run of `per_word` is a number to base q, first digit lowest, in `bits` bits.

    Parameters
    ----------
    digits : numpy.ndarray
        uint16 [n], each below q.
    q, per_word, bits : int
        Base, digits a word, bits a word (at most 63); q ** per_word <= 2 ** bits.

    Returns
    -------
    numpy.ndarray
        uint8, the words concatenated from the lowest bit on, filled up to a byte with zeros.
    """
    check_packing(q, per_word, bits)
    check({"digits uint16 [n]": digits})
    require(digits.size == 0 or int(digits.max()) < q, "a digit is not below q")
    runs = -(-digits.size // per_word)
    padded = np.zeros(runs * per_word, dtype=np.uint64)
    padded[: digits.size] = digits
    powers = np.array([q**i for i in range(per_word)], dtype=np.uint64)
    values = (padded.reshape(runs, per_word) * powers).sum(axis=1, dtype=np.uint64)
    return pack_bits(to_bits(values, bits))


def unpack_digits(data: Array, count: int, q: int, per_word: int, bits: int) -> Array:
    """Undo `pack_digits`.

    Returns
    -------
    numpy.ndarray
        uint16 [count].

    Raises
    ------
    CorruptStream
        If the length is wrong, a word is not below q ** per_word, or padding is not zero.
    """
    check_packing(q, per_word, bits)
    check({"data uint8 [n]": data})
    require(count >= 0, "count must not be negative")
    runs = -(-count // per_word)
    values = from_bits(unpack_bits(data, runs * bits, "digit stream").reshape(runs, bits))
    if runs and int(values.max()) >= q**per_word:
        raise CorruptStream("a word of digits is out of range")
    powers = np.array([q**i for i in range(per_word)], dtype=np.uint64)
    digits: Array = (values[:, None] // powers % np.uint64(q)).astype(np.uint16).reshape(-1)
    if digits[count:].any():
        raise CorruptStream("the padding of the digit stream is not zero")
    return digits[:count]
