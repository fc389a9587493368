"""Dither: 4-bit levels from a counter-based generator (docs/theory.md, section 2).

The generator is a pair of SplitMix64 finalizers (Steele, Lea & Flood, Fast splittable pseudorandom number generators,
2014); docs/format.md, sections 12 and 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nqz.reference.arrays import Ints, require
from nqz.reference.layout import Place

Words = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_A = np.uint64(0xBF58476D1CE4E5B9)
MIX_B = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Key:
    """Key of the generator: two halves of 64 bits; ValueError for others."""

    key0: int
    key1: int

    def __post_init__(self) -> None:
        right = 0 <= self.key0 < 1 << 64 and 0 <= self.key1 < 1 << 64
        require(right, "the halves of a key must be 0 to 2^64 - 1")


def mix64(x: Words) -> Words:
    """Return the SplitMix64 finalizer of uint64 words."""
    x = (x ^ (x >> np.uint64(30))) * MIX_A
    x = (x ^ (x >> np.uint64(27))) * MIX_B
    mixed: Words = x ^ (x >> np.uint64(31))
    return mixed


def words(key: Key, first: int, count: int) -> Words:
    """Return `count` words of the generator, uint64, from counter `first` on (it wraps at 2^64)."""
    require(count >= 0, "count must not be negative")
    counter = np.arange(count, dtype=np.uint64) + np.uint64(first) + np.uint64(1)
    return mix64(np.uint64(key.key1) ^ mix64(counter * GOLDEN + np.uint64(key.key0)))


def levels(key: Key, counter: int, count: int) -> npt.NDArray[np.uint8]:
    """Return the dither levels 0 to 15 of `count` positions, uint8, sixteen from each word."""
    require(count >= 0, "count must not be negative")
    w = words(key, counter, -(-count // 16))
    shifts = np.arange(0, 64, 4, dtype=np.uint64)
    nibbles: Words = w[:, None] >> shifts & np.uint64(15)
    return nibbles.astype(np.uint8).reshape(-1)[:count]


def levels_of(place: Place, key: Key) -> Ints:
    """Return the dither levels of the positions of a chunk, int64."""
    return levels(key, place.counter, place.positions).astype(np.int64)
