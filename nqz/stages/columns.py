"""One number a column, worked out where it is asked for: matrices may have millions of short columns."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from nqz.ground.arithmetic import pieces
from nqz.stages import norms

_SMALL = 1024


class Lazy:
    """An array of one number a column that is not kept; indexed as an array, and converted to one by `np.asarray`.

    Parameters
    ----------
    count : int
    work : callable
        work(columns) gives the numbers of some columns: a slice, or an array of indices.
    """

    def __init__(self, count: int, work: Callable[[Any], np.ndarray]):
        self._count, self._work = count, work

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, columns: Any) -> np.ndarray:
        return self._work(columns)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        parts = pieces(self._count)
        if len(parts) < 2:
            return np.asarray(self._work(slice(None)), dtype)
        first = self._work(parts[0])
        out = np.empty(self._count, first.dtype if dtype is None else dtype)
        out[parts[0]] = first
        for chosen in parts[1:]:
            out[chosen] = self._work(chosen)
        return out


class Columns:
    """Columns by their norm codes, from which nearly everything about them follows.

    Parameters
    ----------
    codes : ndarray of int32, shape (a,)
        Norm codes.

    Attributes
    ----------
    distinct, counts : ndarray of int64
        The different codes, ascending, and how many columns have each.
    """

    def __init__(self, codes: np.ndarray):
        self.codes = codes
        self.distinct, self.counts, _ = norms.tally(codes)
        alive = self.distinct[self.distinct != norms.ZERO]
        self._floor = np.int32(alive[0] - 1 if len(alive) else -1)
        span = int(alive[-1]) - int(self._floor) if len(alive) else 0
        # a table of all codes in between, if it is not longer than the columns are many
        self._span = span if span < max(len(codes), _SMALL) else None

    def of(self, function: Callable[[np.ndarray], np.ndarray]) -> Lazy:
        """What `function`, which works entry by entry, makes of the codes (int64) of the columns."""
        codes, floor = self.codes, self._floor
        if self._span is None:
            return Lazy(len(codes), lambda columns: function(codes[columns].astype(np.int64)))
        table = None

        def look_up(columns):
            nonlocal table
            if table is None:
                table = function(self._between)
            return table[np.maximum(codes[columns], floor) - floor]

        return Lazy(len(codes), look_up)

    @cached_property
    def _between(self) -> np.ndarray:
        between = np.arange(int(self._floor), int(self._floor) + self._span + 1)
        between[0] = norms.ZERO
        return between
