"""Rings of the trellis coding: how columns are put on them, and what is known of the code that suits a rate."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nqz import kernels

_LEAST, _TOGETHER, _LANES, _PADDING = 512, 64, 32, 256


@lru_cache(maxsize=64)
def ring_columns(n: int) -> int:
    """How many columns of length n share a ring: so many that little of it is left empty."""
    best, least = 1, 1 << 62
    for several in range(1, _TOGETHER + 1):
        entries = several * n
        if entries < _LEAST and several < _TOGETHER:
            continue
        empty = -entries % _LANES
        if empty * _PADDING <= entries:
            return several
        if least == 1 << 62 or empty * best < least * several:  # in proportion to the entries
            best, least = several, empty
    return best


@dataclass(frozen=True, eq=False)
class Rings:
    """The rings of a chunk.

    Attributes
    ----------
    lengths : ndarray of int64
        Entries of each.
    half_bits : ndarray of int32
        What an entry of each takes.
    bytes : int
        Of all of them.
    """

    lengths: npt.NDArray[np.int64]
    half_bits: npt.NDArray[np.int32]
    bytes: int

    @classmethod
    def of(cls, columns: npt.NDArray[np.int32], n: int) -> Rings:
        """Columns of length n that take so many half bits an entry, neighbors that take as many on shared rings."""
        return _rings(columns.astype(np.int32).tobytes(), n)  # most chunks are like others


@lru_cache(maxsize=64)
def _rings(half_bits_of_columns: bytes, n: int) -> Rings:
    columns = np.frombuffer(half_bits_of_columns, np.int32)
    together = ring_columns(n)
    if together == 1:
        several, half_bits = np.ones(len(columns), np.int64), columns
    else:
        begins = np.flatnonzero(np.diff(columns, prepend=-1))
        counts = np.diff(begins, append=len(columns))
        rings = -(-counts // together)
        half_bits = np.repeat(columns[begins], rings)
        several = np.full(len(half_bits), together, np.int64)
        several[np.cumsum(rings) - 1] = counts - (rings - 1) * together
    lengths = several * n
    pairs = Counter(zip(lengths.tolist(), half_bits.tolist(), strict=True))
    size = sum(number * kernels.ring_bytes(*pair) for pair, number in pairs.items())
    return Rings(lengths, half_bits, size)


class Constants(NamedTuple):
    """What is known of the code for a rate.

    Attributes
    ----------
    noise : float
        Relative noise d of an entry.
    unit : float
        What a step of its values is worth, in standard deviations of a column, where slopes are as they mostly are.
    """

    noise: float
    unit: float


@lru_cache(maxsize=64)
def constants(half_bits: int, window: int) -> Constants:
    """Of the code of so many half bits an entry, with a window, 0 for the usual one."""
    form = kernels.ring_form(half_bits, window)
    return Constants(form.distortion / (1.0 - form.distortion), 1.0 / form.gain)
