"""Exact hits: the vectors whose error bars leave them in doubt are read from what a corpus was made from.

A vector that is not read has a score above that of the last hit with a probability of `risk` over the number of all
vectors, at most; so one is missed with that of `risk`, for each query.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nqz.commands.factors import Factor, Plain
from nqz.commands.original import Original, as_floats, exact, half_square, refuse_other
from nqz.ground.threads import Workers
from nqz.product.best import Best
from nqz.product.corpus import Near
from nqz.product.normal import quantile
from nqz.product.search import Found, Search

_OFF = 10.0
"""An exact score so many standard deviations from its estimate is one of another vector."""

_FEW = 8.0
"""Of so few coordinates twice as many: errors of sums of a few are farther from normal."""

_SLACK = 2.0**-40
"""What rounding of scores to float64 may add to that, relative to norms."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Reranked:
    """Exact hits of a search, batch by batch.

    Parameters
    ----------
    search : Search
    files : sequence of (Plain, Factor)
        What each corpus was made from.
    queries : Plain
    k : int
    risk : float
    """

    def __init__(
        self, search: Search, files: Sequence[tuple[Plain, Factor]], queries: Plain, k: int, risk: float
    ):
        self._search, self._queries = search, queries.view
        self._originals = [Original(plain, corpus) for plain, corpus in files]
        self._all = int(search.starts[-1])
        self._k = min(k, self._all)
        self._z = quantile(risk / max(1, self._all))

    @property
    def read(self) -> int:
        """How many different vectors were read."""
        return sum(original.read for original in self._originals)

    def of(self, found: Found, pool: Workers) -> tuple[Ints, Floats, Floats, Ints]:
        """Indices, scores, their standard deviations, 0, and how many are certain."""
        search, frame, batch = self._search, self._search.frame, found.queries
        asked = as_floats(self._queries, batch.start, batch.stop)
        half = half_square(frame, asked)
        best = Best(len(asked), self._k)
        hits = found.vector.shape[1]
        query = np.repeat(np.arange(len(asked), dtype=np.int32), hits)
        met = np.sort(query * np.int64(self._all) + found.vector.reshape(-1))
        owner = np.searchsorted(search.starts, found.vector.reshape(-1), side="right") - 1
        for number in range(len(self._originals)):
            chosen = owner == number
            pairs = Near(
                query[chosen], found.vector.reshape(-1)[chosen] - search.starts[number],
                found.score.reshape(-1)[chosen], np.zeros(int(chosen.sum())),
            )  # fmt: skip
            self._take(best, number, pairs, found.own.reshape(-1)[chosen], asked, half, pool)
        best.settle()

        def limit() -> Floats:
            return np.nextafter(best.limit + half, -np.inf)

        for number in range(len(self._originals)):
            for near, sigma in search.doubtful(number, batch, limit, self._z):
                key = near.query * np.int64(self._all) + near.vector + search.starts[number]
                new = ~_among(met, key)
                self._take(best, number, near.at(new), sigma[new], asked, half, pool)
                best.settle()
        index, score, _ = best.found()
        told = frame.told(score + half[:, None], 2.0 * half[:, None])
        return index, told, np.zeros(score.shape), np.full(len(index), self._k, np.int64)

    def _take(
        self, best: Best, number: int, near: Near, sigma: Floats, asked: Floats, half: Floats, pool: Workers
    ) -> None:
        """Read vectors, and let them take part with their exact scores."""
        original, start = self._originals[number], self._search.starts[number]
        frame, like = self._search.frame, self._search.likeness[number]
        most = _OFF * (1.0 + _FEW / min(like.corpus.m, like.queries.m))
        original.note(near.vector)

        def scores(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
            vectors, index = _distinct(near.vector[places])
            return places, exact(frame, original.rows(vectors)[index], asked[near.query[places]])

        for places, score in pool.map(scores, original.groups(near.vector)):
            query, index = near.query[places], near.vector[places]
            off = np.abs(score + half[query] - near.score[places])
            slack = _SLACK * (1.0 + np.abs(near.score[places]) + half[query])
            wrong = np.flatnonzero(off - slack > most * sigma[places])
            if len(wrong):
                raise refuse_other(
                    original, int(index[wrong[0]]), float(off[wrong[0]] / sigma[places][wrong[0]])
                )
            best.add(query, index + start, score, np.zeros(len(score)))


def _distinct(ascending: Ints) -> tuple[Ints, Ints]:
    """The different ones of ascending numbers, and which of them each is."""
    new = np.diff(ascending, prepend=ascending[:1] - 1) != 0
    return ascending[new], np.cumsum(new) - 1


def _among(ordered: Ints, keys: Ints) -> NDArray[np.bool_]:
    """Which keys are among some ordered ones."""
    if not len(ordered):
        return np.zeros(len(keys), np.bool_)
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[place] == keys
    return found
