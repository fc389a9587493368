"""The vectors of a corpus as a search meets them: block by block, of which the candidates are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import pieces
from nqz.ground.threads import Workers
from nqz.product.integers import Integers, multiply, result_type
from nqz.product.likeness import Between, Likeness
from nqz.product.operand import Operand, Watch
from nqz.product.tiles import Blocks
from nqz.product.vectors import Floats, Vectors
from nqz.stages import project

Ints = NDArray[np.int64]

_TILE = 1 << 20
_SIDE = 1024
_SPACE = 1 << 14


class Near(NamedTuple):
    """Pairs of a query and a vector whose scores may be above a limit; vectors are counted within their corpus."""

    query: NDArray[np.int32]
    vector: Ints
    score: Floats
    excess: Floats

    def at(self, chosen: NDArray[np.bool_]) -> Near:
        """Some of them."""
        return Near(self.query[chosen], self.vector[chosen], self.score[chosen], self.excess[chosen])


class Corpus:
    """The vectors of one corpus.

    Parameters
    ----------
    operand : Operand
    between : Between
        What there is between it and the queries.
    pool : Workers
    watch : Watch, optional
        Told of the points that are read.

    Attributes
    ----------
    norms : dict
        Relative variances of the energies that norms stand for in the blocks that were met, by their first vectors.
    """

    def __init__(self, operand: Operand, between: Between, pool: Workers, watch: Watch | None = None):
        self.operand, self.between, self._pool = operand, between, pool
        self._blocks = Blocks(operand, meet(operand, between.shared), pool, watch)
        self.norms: dict[int, float] = {}

    def near(
        self, points: Integers, columns: Floats, limit: Callable[[], Floats], seen: Seen, kept: int | None,
        z: float = 0.0,
    ) -> Iterator[Near]:  # fmt: skip
        """Candidates, in the order of the vectors but for those of a tile."""
        for place, (first, last) in enumerate(self.operand.blocks):
            pieces = self._blocks.pieces(place)
            energies = np.concatenate([held.energies() for _, held in pieces])
            x = self._vectors(slice(first, last), points=energies)
            rows = self.between.rows(x, z)
            seen.look(x, rows[3])
            for start, held in pieces:
                these = rows[:, start : start + len(held.rows)]
                job = partial(_candidates, held, points, these, columns, limit, kept, self._pool)
                for row, query, score in self._run(job, _tiles(len(held.rows), len(points.rows))):
                    yield Near(query, row + (first + start), score, x.excess[row + start])

    def _vectors(self, block: slice, points: Floats) -> Vectors:
        """A block."""
        kappa, left = self.between.kappa, self.between.frame.left
        place, seen = (block.start, kappa), self.operand.norm_variances
        if place not in seen:
            x = Vectors.of(self.operand, block, left, kappa, points)
            seen[place] = x.norm_variance(self.operand)
        known = self.norms[block.start] = seen[place]
        norm = np.full(block.stop - block.start, known)
        return Vectors.of(self.operand, block, left, kappa, points, norm=norm)

    def some(self, columns: Ints, excess: Floats) -> Vectors:
        """Some vectors that were met before."""
        order = np.argsort(columns, kind="stable")
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        columns = columns[order]
        starts = np.array([first for first, _ in self.operand.blocks])
        norms = np.array([self.norms.get(first, 0.0) for first, _ in self.operand.blocks])
        norm = norms[np.searchsorted(starts, columns, side="right") - 1]
        kappa, left = self.between.kappa, self.between.frame.left
        return Vectors.of(self.operand, columns, left, kappa, excess=excess[order], norm=norm).at(back)

    @property
    def _run(self) -> Callable[..., Iterator[Any]]:
        """How products are computed side by side: BLAS has threads of its own."""
        return self._pool.map if kernels.fast_product() else map


@dataclass
class Seen:
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

    def add(self, other: Seen) -> None:
        """Add what was seen of others of the same corpus."""
        self.reach, self.spread = max(self.reach, other.reach), max(self.spread, other.spread)
        self.unknown += other.unknown
        self.size, self.mean = max(self.size, other.size), max(self.mean, other.mean)

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


def meet(x: Operand, shared: int) -> NDArray[np.int64] | None:
    """The coordinates of a side that both keep, None for all."""
    return project.meet(x.rotation_seed, x.side.n, x.m, shared)


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
