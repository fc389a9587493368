"""The best vectors of each query so far, of scores that come in any number of pieces; ties go to the lower index."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.product.vectors import Floats

Ints = NDArray[np.int64]

_PENDING = 1 << 16
"""So many scores wait before they are sorted in, or as many as are kept."""


class Best:
    """The `kept` best vectors of each of some queries; vectors must come in the order of their index.

    Parameters
    ----------
    queries : int
    kept : int

    Attributes
    ----------
    limit : ndarray of float64, shape (queries,)
        Scores count that are above.
    """

    def __init__(self, queries: int, kept: int):
        self.kept = kept
        self.limit = np.full(queries, -np.inf)
        self._query, self._index = np.zeros(0, np.int32), np.zeros(0, np.int64)
        self._score, self._excess = np.zeros(0), np.zeros(0)
        self._pending: list[tuple[Any, ...]] = []
        self._waiting = 0
        self._open = True  # some limit is not known yet, without which all count

    def add(self, query: NDArray[np.int32], index: Ints, score: Floats, excess: Floats) -> None:
        """Let vectors take part: their queries, indices, scores, and a number of theirs that is kept with them."""
        if not len(query):
            return
        self._pending.append((query, index, score, excess))
        self._waiting += len(query)
        enough = self.kept * len(self.limit)
        if self._waiting >= enough if self._open else self._waiting > max(_PENDING, enough):
            self.settle()

    def settle(self) -> None:
        """Sort in what waits."""
        if not self._pending:
            return
        parts = zip((self._query, self._index, self._score, self._excess), *self._pending, strict=True)
        query, index, score, excess = (np.concatenate(part) for part in parts)
        self._pending, self._waiting = [], 0
        order = np.lexsort((index, -score, query))
        sorted_query = query[order]
        first = np.searchsorted(sorted_query, np.arange(len(self.limit)))
        rank = np.arange(len(order)) - first[sorted_query]
        order = order[rank < self.kept]
        self._query, self._index, self._score, self._excess = (
            x[order] for x in (query, index, score, excess)
        )
        last = rank == self.kept - 1
        limit = self.limit.copy()  # threads read the old one
        limit[sorted_query[last]] = self._score[rank[rank < self.kept] == self.kept - 1]
        self.limit, self._open = limit, bool((limit == -np.inf).any())

    def taken(self) -> tuple[NDArray[np.int32], Ints, Floats, Floats]:
        """Queries, indices, scores and kept numbers of those that are the best so far."""
        self.settle()
        return self._query, self._index, self._score, self._excess

    def found(self) -> tuple[Ints, Floats, Floats]:
        """Indices, scores and kept numbers, best first, shape (queries, at most `kept`).

        All queries must have met the same number of vectors.
        """
        self.settle()
        shape = len(self.limit), len(self._query) // max(1, len(self.limit))
        return self._index.reshape(shape), self._score.reshape(shape), self._excess.reshape(shape)
