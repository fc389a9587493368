"""Order statistics of more numbers than are to be held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_SIGN = np.uint64(1 << 63)
_FEW = 1 << 20
_DIGITS = (48, 32, 16, 0)  # shifts of 16 bits each, the first ones first


def ranked(parts: Callable[[], Iterable[NDArray[np.float64]]], ranks: Sequence[int]) -> list[float]:
    """The numbers of given ranks, exactly. Of more than a few all are counted only, by digit after digit.

    Parameters
    ----------
    parts : callable
        Gives all numbers, array by array; called up to five times.
    ranks : sequence of int
        0 for the least.
    """
    few = _few(parts())
    if few is not None:
        few.sort()
        return [float(few[rank]) for rank in ranks]
    # the leading bits of each, and its rank among the numbers that have the same
    found = [(0, rank) for rank in ranks]
    for shift in _DIGITS:
        counts = {prefix: np.zeros(1 << 16, np.int64) for prefix, _ in found}
        for part in parts():
            keys = _keys(part)
            for prefix, count in counts.items():
                same = (
                    keys if shift == _DIGITS[0] else keys[keys >> np.uint64(shift + 16) == np.uint64(prefix)]
                )
                digits = (same >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64)
                np.add(count, np.bincount(digits, minlength=1 << 16), out=count)
        found = [_next(prefix, rank, counts[prefix]) for prefix, rank in found]
    return [_number(prefix) for prefix, _ in found]


def _few(parts: Iterable[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """All numbers in one array, None if there are too many."""
    held, count = [np.zeros(0)], 0
    for part in parts:
        held.append(part + 0.0)  # of the two zeros one
        count += len(part)
        if count > _FEW:
            return None
    return np.concatenate(held)


def _next(prefix: int, rank: int, counts: NDArray[np.int64]) -> tuple[int, int]:
    last = np.cumsum(counts)
    digit = int(np.searchsorted(last, rank, side="right"))
    return prefix << 16 | digit, rank - int(last[digit] - counts[digit])


def _keys(x: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Integers in the order of the numbers."""
    bits = (x + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _number(key: int) -> float:
    bits = np.uint64(key)
    return float((bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float64))
