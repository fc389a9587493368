"""The best of many vectors for each query: products tile by tile, of which only the candidates are kept.

Memory: the points of a block of the corpus and of a block of queries (`tiles.HELD` of each), a tile for every thread,
and `_KEPT` candidates in all, whatever the size of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nqz.ground.threads import Workers
from nqz.product.best import Best, Ints
from nqz.product.certain import certain
from nqz.product.corpus import Corpus, Near, Seen, meet
from nqz.product.integers import Integers
from nqz.product.likeness import Frame, Likeness
from nqz.product.operand import Operand, Watch
from nqz.product.tiles import Blocks
from nqz.product.vectors import Floats, Vectors

_KEPT = 1 << 21
"""Candidates of all queries that are at work together."""

_BESIDE = 54
"""So many vectors beside the hits are kept of each query, or as many as hits, to tell how certain these are."""


class Found(NamedTuple):
    """What a search found for some queries; scores are those of `Likeness`.

    Attributes
    ----------
    queries : slice
    asked : Vectors
        What is known of the queries.
    vector : ndarray of int64, shape (queries, hits)
        Counted over all corpora.
    score, sigma, own : ndarray of float64, shape (queries, hits)
        Standard deviations of what is told, and of scores beside those of the same query.
    certain : ndarray of int64, shape (queries,)
        How many of the first are surely among the true ones, jointly for a query.
    """

    queries: slice
    asked: Vectors
    vector: Ints
    score: Floats
    sigma: Floats
    own: Floats
    certain: Ints


class Search:
    """Vectors of corpora like those of queries.

    Parameters
    ----------
    corpora, queries : sequence of Operand
        The queries as each of the corpora takes them.
    metric : {"ip", "cosine", "l2"}
    k : int
    pool : Workers
    watch : Watch, optional
        Told of the points that are read.

    Attributes
    ----------
    corpora : list of Corpus
    hits, kept : int
        Of each query.
    """

    def __init__(
        self, corpora: Sequence[Operand], queries: Sequence[Operand], metric: str, k: int, pool: Workers,
        watch: Watch | None = None,
    ):  # fmt: skip
        self.frame = Frame.around(metric, corpora, queries)
        self.likeness = [Likeness(self.frame, a, b) for a, b in zip(corpora, queries, strict=True)]
        self.starts = np.concatenate([[0], np.cumsum([a.columns for a in corpora])]).astype(np.int64)
        self.corpora = [Corpus(like.corpus, like.between, pool, watch) for like in self.likeness]
        self._asked_blocks = [
            Blocks(like.queries, meet(like.queries, like.between.shared), pool, watch)
            for like in self.likeness
        ]
        coded = sum(_coded(a) for a in corpora)
        self.hits = min(k, coded)
        self.kept = min(self.hits + max(_BESIDE, self.hits), coded)
        self._others = float(coded - self.kept)

    def batches(self) -> Iterator[slice]:
        """Queries that are at work together."""
        width = self._together()
        for first, last in self.likeness[0].queries.blocks:
            for start in range(first, last, width):
                yield slice(start, min(start + width, last))

    def _together(self) -> int:
        """So many, at most."""
        return max(1, _KEPT // max(1, self.kept))

    def best(self, queries: slice) -> Found:
        """The best of all corpora for some queries, one of `batches`."""
        count = queries.stop - queries.start
        best = Best(count, self.kept)
        asked, every = self._met(queries, best)
        most, least = np.zeros(count), np.full(count, -np.inf)
        for like, seen, known in zip(self.likeness, every, asked, strict=True):
            most = np.maximum(most, seen.deviation(like, known))
            least = np.maximum(least, seen.bound(like, known))
        index, score, excess = best.found()
        own, told = (self._deviations(asked, index, score, excess, t) for t in (False, True))
        sure = certain(score, own, self.hits, self._others, most, least)
        hits = self.hits
        return Found(
            queries, asked[0], index[:, :hits], score[:, :hits], told[:, :hits], own[:, :hits], np.minimum(sure, hits)
        )  # fmt: skip

    def _met(self, queries: slice, best: Best) -> tuple[list[Vectors], list[Seen]]:
        """Let all vectors take part; what is known of the queries, and what was seen, of each corpus."""
        asked, every = list[Vectors](), list[Seen]()
        for number, (like, corpus) in enumerate(zip(self.likeness, self.corpora, strict=True)):
            points, known = self._asked(number, queries)
            seen = Seen()
            for near in corpus.near(points, like.columns(known), lambda: best.limit, seen, best.kept):
                best.add(near.query, near.vector + self.starts[number], near.score, near.excess)
            asked.append(known)
            every.append(seen)
        return asked, every

    def doubtful(
        self, number: int, queries: slice, limit: Callable[[], Floats], z: float
    ) -> Iterator[tuple[Near, Floats]]:
        """Pairs whose scores may be above a limit of each query, by z standard deviations, and these; tile by tile."""
        like, corpus = self.likeness[number], self.corpora[number]
        points, known = self._asked(number, queries)
        for near in corpus.near(points, like.columns(known, z), limit, Seen(), None, z):
            x = corpus.some(near.vector, near.excess)
            score = near.score - 0.5 * z * x.spread if self.frame.metric == "l2" else near.score
            sigma = like.deviations(x, known.at(near.query), score, told=False)
            kept = ~(score + z * sigma <= limit()[near.query])
            yield near._replace(score=score).at(kept), sigma[kept]

    def _asked(self, number: int, queries: slice) -> tuple[Integers, Vectors]:
        """Points of queries as a corpus takes them, and what is known of them."""
        like, blocks = self.likeness[number], self._asked_blocks[number]
        place = next(i for i, (_, last) in enumerate(like.queries.blocks) if queries.start < last)
        first = like.queries.blocks[place][0]
        points = blocks.load(place).chosen(np.arange(queries.start - first, queries.stop - first))
        known = Vectors.of(
            like.queries, queries, self.frame.right, like.kappa, points.energies(), slopes=False
        )
        return points, known

    def _deviations(
        self, asked: list[Vectors], index: Ints, score: Floats, excess: Floats, told: bool
    ) -> Floats:
        """Standard deviations of scores of vectors of all corpora, an array of them for each query."""
        query = np.repeat(np.arange(len(index)), index.shape[1])
        flat, scores, more = index.reshape(-1), score.reshape(-1), excess.reshape(-1)
        out = np.empty(len(flat))
        owner = np.searchsorted(self.starts, flat, side="right") - 1
        for number, like in enumerate(self.likeness):
            chosen = np.flatnonzero(owner == number)
            x = self.corpora[number].some(flat[chosen] - self.starts[number], more[chosen])
            out[chosen] = like.deviations(x, asked[number].at(query[chosen]), scores[chosen], told)
        return out.reshape(index.shape)


def _coded(x: Operand) -> int:
    """How many columns have points, or need none."""
    histogram = x.side.histogram
    return int(histogram.counts[np.isfinite(x.noise(histogram.codes))].sum())
