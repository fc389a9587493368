"""Dither: 4-bit levels from a counter-based integer generator (Section 3, "dither")."""

from __future__ import annotations

import numpy as np

from nqz.reference.layout import require

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_A = np.uint64(0xBF58476D1CE4E5B9)
MIX_B = np.uint64(0x94D049BB133111EB)


def mix64(x: np.ndarray) -> np.ndarray:
    """Return the SplitMix64 finalizer of uint64 words."""
    x = (x ^ (x >> np.uint64(30))) * MIX_A
    x = (x ^ (x >> np.uint64(27))) * MIX_B
    return x ^ (x >> np.uint64(31))


def words(key0: int, key1: int, first: int, count: int) -> np.ndarray:
    """Return `count` words of the keyed generator, from counter `first` on (it wraps at 2^64).

    Parameters
    ----------
    key0, key1, first : int
        Key and first counter, 64 bits each.
    count : int
        Number of words.

    Returns
    -------
    numpy.ndarray
        uint64 [count].
    """
    require(count >= 0, "count must not be negative")
    counter = np.arange(count, dtype=np.uint64) + np.uint64(first) + np.uint64(1)
    return mix64(np.uint64(key1) ^ mix64(counter * GOLDEN + np.uint64(key0)))


def levels(key0: int, key1: int, counter: int, count: int) -> np.ndarray:
    """Return the dither levels 0 to 15 of `count` positions, sixteen from each word.

    Returns
    -------
    numpy.ndarray
        uint8 [count].
    """
    require(count >= 0, "count must not be negative")
    w = words(key0, key1, counter, -(-count // 16))
    shifts = np.arange(0, 64, 4, dtype=np.uint64)
    return ((w[:, None] >> shifts) & np.uint64(15)).astype(np.uint8).reshape(-1)[:count]
