"""Order statistics of more numbers than are to be held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_SIGN = np.uint64(1 << 63)
_BITS = 16
_FEW = 1 << 22
"""Numbers that are held and sorted."""


def ranked(
    parts: Callable[[], Iterable[NDArray[np.float64]]], count: int, ranks: Sequence[int]
) -> list[float]:
    """The numbers of given ranks, exactly.

    While there are too many to hold that may be these, all are counted by the next bits of theirs.

    Parameters
    ----------
    parts : callable
        Gives all numbers, array by array; called up to four times.
    count : int
        How many they are.
    ranks : sequence of int
        0 for the least.
    """
    # of each: its bits from `known` on, and its rank among the numbers that have the same
    known, found, sizes = 64, [(0, rank) for rank in ranks], {0: count}
    while known and sum(sizes.values()) > _FEW:
        known -= _BITS
        counts = _counts(parts, sizes, known)
        last = {prefix: np.cumsum(number) for prefix, number in counts.items()}
        sizes, before, found = {}, found, []
        for prefix, rank in before:
            digit = int(np.searchsorted(last[prefix], rank, side="right"))
            size = int(counts[prefix][digit])
            found.append((prefix << _BITS | digit, rank - int(last[prefix][digit]) + size))
            sizes[prefix << _BITS | digit] = size
    if not known:
        return [_number(prefix) for prefix, _ in found]
    held: dict[int, list[NDArray[np.uint64]]] = {prefix: [] for prefix in sizes}
    for keys in map(_keys, parts()):
        for prefix, taken in held.items():
            taken.append(_same(keys, prefix, known))
    ordered = {prefix: np.sort(np.concatenate(taken)) for prefix, taken in held.items()}
    return [_number(int(ordered[prefix][rank])) for prefix, rank in found]


def _counts(
    parts: Callable[[], Iterable[NDArray[np.float64]]], prefixes: Iterable[int], known: int
) -> dict[int, NDArray[np.int64]]:
    """How many numbers with each prefix go on in each way, up to the bit `known`."""
    counts = {prefix: np.zeros(1 << _BITS, np.int64) for prefix in prefixes}
    for keys in map(_keys, parts()):
        for prefix, count in counts.items():
            digits = _same(keys, prefix, known + _BITS) >> np.uint64(known) & np.uint64((1 << _BITS) - 1)
            count += np.bincount(digits.astype(np.int64), minlength=1 << _BITS)  # noqa: PLW2901
    return counts


def _same(keys: NDArray[np.uint64], prefix: int, known: int) -> NDArray[np.uint64]:
    return keys if known == 64 else keys[keys >> np.uint64(known) == np.uint64(prefix)]


def _keys(x: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Integers in the order of the numbers."""
    bits = (x + 0.0).view(np.uint64)  # of the two zeros one
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _number(key: int) -> float:
    bits = np.uint64(key)
    return float((bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float64))
