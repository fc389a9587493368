"""The best of many vectors for each query: products tile by tile, of which only the candidates are kept.

Memory: the points of a block of the corpus and of a block of queries (`tiles.HELD` of each), a tile for every thread,
and `_KEPT` candidates in all, whatever the size of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import pieces
from nqz.ground.threads import Workers
from nqz.product.best import Best, Ints
from nqz.product.certain import certain
from nqz.product.integers import Integers, multiply, result_type
from nqz.product.likeness import Frame, Likeness
from nqz.product.operand import Operand, Watch
from nqz.product.tiles import Blocks
from nqz.product.vectors import Floats, Vectors
from nqz.stages import project

_TILE = 1 << 20
_SIDE = 1024
_SPACE = 1 << 14
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


class Near(NamedTuple):
    """Pairs of a query and a vector whose scores may be above a limit; vectors are counted within their corpus."""

    query: NDArray[np.int32]
    vector: Ints
    score: Floats
    excess: Floats

    def at(self, chosen: NDArray[np.bool_]) -> Near:
        """Some of them."""
        return Near(self.query[chosen], self.vector[chosen], self.score[chosen], self.excess[chosen])


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
    """

    def __init__(
        self, corpora: Sequence[Operand], queries: Sequence[Operand], metric: str, k: int, pool: Workers,
        watch: Watch | None = None,
    ):  # fmt: skip
        self.frame = Frame.around(metric, corpora, queries)
        self.likeness = [Likeness(self.frame, a, b) for a, b in zip(corpora, queries, strict=True)]
        self.starts = np.concatenate([[0], np.cumsum([a.columns for a in corpora])]).astype(np.int64)
        self._pool = pool
        self._blocks = [
            [Blocks(x, _meet(x, like), pool, watch) for x in (like.corpus, like.queries)]
            for like in self.likeness
        ]
        self._norms: list[dict[int, float]] = [{} for _ in corpora]
        coded = sum(_coded(a) for a in corpora)
        self.hits = min(k, coded)
        self._kept = min(self.hits + max(_BESIDE, self.hits), coded)
        self._others = float(coded - self._kept)

    def batches(self) -> Iterator[slice]:
        """Queries that are at work together."""
        width = max(1, _KEPT // max(1, self._kept))
        for first, last in self.likeness[0].queries.blocks:
            for start in range(first, last, width):
                yield slice(start, min(start + width, last))

    def best(self, queries: slice) -> Found:
        """The best of all corpora for some queries, one of `batches`."""
        best, count = Best(queries.stop - queries.start, self._kept), queries.stop - queries.start
        asked: list[Vectors] = []
        most, least = np.zeros(count), np.full(count, -np.inf)
        for number, like in enumerate(self.likeness):
            seen = _Seen()
            points, known = self._asked(number, queries)
            asked.append(known)
            columns = like.columns(known)
            for near in self._near(number, points, columns, lambda: best.limit, seen, best.kept):
                best.add(near.query, near.vector + self.starts[number], near.score, near.excess)
            most = np.maximum(most, seen.deviation(like, known))
            least = np.maximum(least, seen.bound(like, known))
        index, score, excess = best.found()
        own, told = (self._deviations(asked, index, score, excess, t) for t in (False, True))
        sure = certain(score, own, self.hits, self._others, most, least)
        hits = self.hits
        return Found(
            queries, asked[0], index[:, :hits], score[:, :hits], told[:, :hits], own[:, :hits], np.minimum(sure, hits)
        )  # fmt: skip

    def doubtful(
        self, number: int, queries: slice, limit: Callable[[], Floats], z: float
    ) -> Iterator[tuple[Near, Floats]]:
        """Pairs whose scores may be above a limit of each query, by z standard deviations, and these; tile by tile."""
        like = self.likeness[number]
        points, known = self._asked(number, queries)
        for near in self._near(number, points, like.columns(known, z), limit, _Seen(), None, z):
            x = self._some(number, near.vector, near.excess)
            score = near.score - 0.5 * z * x.spread if self.frame.metric == "l2" else near.score
            sigma = like.deviations(x, known.at(near.query), score, told=False)
            kept = ~(score + z * sigma <= limit()[near.query])
            yield near._replace(score=score).at(kept), sigma[kept]

    def _asked(self, number: int, queries: slice) -> tuple[Integers, Vectors]:
        """Points of queries as a corpus takes them, and what is known of them."""
        like, blocks = self.likeness[number], self._blocks[number][1]
        place = next(i for i, (_, last) in enumerate(like.queries.blocks) if queries.start < last)
        first = like.queries.blocks[place][0]
        points = blocks.load(place).chosen(np.arange(queries.start - first, queries.stop - first))
        known = Vectors.of(
            like.queries, queries, self.frame.right, like.kappa, points.energies(), slopes=False
        )
        return points, known

    def _near(
        self, number: int, points: Integers, columns: Floats, limit: Callable[[], Floats], seen: _Seen,
        kept: int | None, z: float = 0.0,
    ) -> Iterator[Near]:  # fmt: skip
        """Candidates of a corpus, in the order of its vectors but for those of a tile."""
        like, blocks = self.likeness[number], self._blocks[number][0]
        for place, (first, last) in enumerate(like.corpus.blocks):
            pieces = blocks.pieces(place)
            energies = np.concatenate([held.energies() for _, held in pieces])
            x = self._vectors(number, slice(first, last), points=energies)
            rows = like.rows(x, z)
            seen.look(x, rows[3])
            for start, held in pieces:
                these = rows[:, start : start + len(held.rows)]
                job = partial(_candidates, held, points, these, columns, limit, kept, self._pool)
                for row, query, score in self._run(job, _tiles(len(held.rows), len(points.rows))):
                    yield Near(query, row + (first + start), score, x.excess[row + start])

    def _vectors(self, number: int, block: slice, points: Floats) -> Vectors:
        """A block of a corpus."""
        like = self.likeness[number]
        place, seen = (block.start, like.kappa), like.corpus.norm_variances
        if place not in seen:
            x = Vectors.of(like.corpus, block, self.frame.left, like.kappa, points)
            seen[place] = x.norm_variance(like.corpus)
        known = self._norms[number][block.start] = seen[place]
        norm = np.full(block.stop - block.start, known)
        return Vectors.of(like.corpus, block, self.frame.left, like.kappa, points, norm=norm)

    def _some(self, number: int, columns: Ints, excess: Floats) -> Vectors:
        """Some vectors of a corpus that were met before."""
        like, found = self.likeness[number], self._norms[number]
        order = np.argsort(columns, kind="stable")
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        columns = columns[order]
        starts = np.array([first for first, _ in like.corpus.blocks])
        norms = np.array([found.get(first, 0.0) for first, _ in like.corpus.blocks])
        norm = norms[np.searchsorted(starts, columns, side="right") - 1]
        return Vectors.of(
            like.corpus, columns, self.frame.left, like.kappa, excess=excess[order], norm=norm
        ).at(back)

    @property
    def _run(self) -> Callable[..., Iterator[Any]]:
        """How products are computed side by side: BLAS has threads of its own."""
        return self._pool.map if kernels.fast_product() else map

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
            x = self._some(number, flat[chosen] - self.starts[number], more[chosen])
            out[chosen] = like.deviations(x, asked[number].at(query[chosen]), scores[chosen], told)
        return out.reshape(index.shape)


@dataclass
class _Seen:
    """What there is among the vectors of a corpus: the greatest deviation of scores, and those without one."""

    reach: float = 0.0
    spread: float = 0.0
    unknown: int = 0
    size: float = 0.0
    mean: float = 0.0

    def look(self, x: Vectors, reach: Floats) -> None:
        """Look at some of them."""
        self.reach = max(self.reach, float(reach[x.coded].max(initial=0.0)))
        self.spread = max(self.spread, float(x.spread[x.coded].max(initial=0.0)))
        self.unknown += int((~x.coded).sum())
        self.size = max(self.size, float(x.size[~x.coded].max(initial=0.0)))
        self.mean = max(self.mean, float(np.abs(x.mean[~x.coded]).max(initial=0.0)))

    def deviation(self, like: Likeness, q: Vectors) -> Floats:
        """The greatest standard deviation of a score, for each query."""
        if like.frame.metric == "cosine":
            return np.full(len(q), self.reach)
        return self.reach * q.norm + (0.5 * self.spread if like.frame.metric == "l2" else 0.0)

    def bound(self, like: Likeness, q: Vectors) -> Floats:
        """No vector that is not coded has a higher score."""
        if not self.unknown:
            return np.full(len(q), -np.inf)
        if like.frame.metric == "cosine":
            return np.ones(len(q))
        return np.sqrt(like.above * self.size * q.energy) + q.n * self.mean * np.abs(q.mean)


def _meet(x: Operand, like: Likeness) -> NDArray[np.int64] | None:
    """The coordinates of a side that both keep, None for all."""
    shared = min(like.corpus.m, like.queries.m)
    return project.meet(x.rotation_seed, x.side.n, x.m, shared)


def _coded(x: Operand) -> int:
    """How many columns have points, or need none."""
    histogram = x.side.histogram
    return int(histogram.counts[np.isfinite(x.noise(histogram.codes))].sum())


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of a block, in the order of its rows."""
    wide = min(columns, _SIDE)
    high = min(max(_SIDE, _TILE // max(1, wide)), 8 * _SIDE)
    for r in pieces(rows, high):
        for c in pieces(columns, wide):
            yield r, c


def _candidates(
    a: Integers, b: Integers, rows: Floats, columns: Floats, limit: Callable[[], Floats], kept: int | None,
    pool: Workers, tile: tuple[slice, slice],
) -> tuple[Ints, NDArray[np.int32], Floats]:  # fmt: skip
    """Rows, columns and scores of what is above the limits in a tile, or of the `kept` best of each column of it."""
    r, c = tile
    raw = pool.local.array("raw products", (r.stop - r.start, c.stop - c.start), result_type(a, b))
    multiply(a, b, r, c, raw)
    left, right, least = (np.ascontiguousarray(x) for x in (rows[:, r], columns[:, c], limit()[c]))
    space = max(_SPACE, raw.size // 16)
    while True:
        row, column = (pool.local.array(name, (space,), np.int32) for name in ("rows", "columns"))
        score = pool.local.array("scores", (space,), np.float64)
        count = kernels.select(raw, left, right, least, row, column, score)
        if count <= space:
            break
        if kept is not None and len(raw) > kept:  # not even the tile's own best need more
            found = raw * left[0][:, None] * right[0] + (left[1][:, None] * right[1] + left[2][:, None])
            last = np.partition(found, len(raw) - kept, axis=0)[len(raw) - kept]
            least = np.maximum(least, np.nextafter(last, -np.inf))
            kept = None
        else:
            space = count
    return row[:count].astype(np.int64) + r.start, column[:count] + np.int32(c.start), score[:count].copy()
