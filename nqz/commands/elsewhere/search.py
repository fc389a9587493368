"""Searches by workers elsewhere: each meets some blocks of a corpus, and tells the best vectors of each query.

What a block has to say does not depend on other blocks, and of equals the lower index goes first: the best of all are
the best of those of each. How sure that is follows from all of them, and so it is told by who asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.commands.elsewhere.multiply import Place, address_of, cut_to
from nqz.commands.factors import Factor
from nqz.commands.held import Held
from nqz.ground.errors import UsageError
from nqz.ground.fleet import Fleet
from nqz.ground.recent import Recent
from nqz.ground.threads import Workers
from nqz.product.best import Best
from nqz.product.corpus import Corpus, Ints, Seen
from nqz.product.integers import Integers
from nqz.product.likeness import Between
from nqz.product.operand import Operand, Watch
from nqz.product.search import Search
from nqz.product.vectors import Floats, Vectors

_POINTS, _CANDIDATES = 1 << 21, 1 << 18
"""Points of queries that go with a job, and candidates that come back."""

_BLOCKS = 4
"""Blocks of a corpus that one job meets, at most."""

_SHARE = 4
"""Jobs for each worker, where there are blocks for as many."""

_KEPT = 2  # corpora that a thread of a worker keeps open


class Job(NamedTuple):
    """Some queries for some blocks of a corpus; `token` tells those that a worker has open.

    `limit` are scores that are beaten already.
    """

    token: str
    corpus: Place
    blocks: tuple[int, int]
    between: Between
    points: Integers
    columns: Floats
    limit: Floats
    kept: int


class Met(NamedTuple):
    """The best vectors that a job met, counted within their corpus, and what it saw."""

    query: NDArray[np.int32]
    vector: Ints
    score: Floats
    excess: Floats
    seen: Seen
    norms: dict[int, float]


class SearchElsewhere(Search):
    """A search whose corpora are met by the workers of an executor.

    Parameters
    ----------
    corpora : sequence of Operand
    queries : sequence of Operand
    metric : str
    k : int
    pool : Workers
    watch : Watch, optional
    factors : sequence of Factor
        The corpora as they were opened.
    fleet : Fleet

    Raises
    ------
    UsageError
        One cannot be opened elsewhere.
    """

    def __init__(
        self, corpora: Sequence[Operand], queries: Sequence[Operand], metric: str, k: int, pool: Workers,
        watch: Watch | None, factors: Sequence[Factor], fleet: Fleet,
    ):  # fmt: skip
        super().__init__(corpora, queries, metric, k, pool, watch)
        self._watch, self._fleet, self._token = watch, fleet, os.urandom(8).hex()
        self._addresses = [_address(factor, side) for factor, side in zip(factors, corpora, strict=True)]
        blocks = sum(len(side.blocks) for side in corpora)
        self._alone = blocks <= 1
        self._width = min(_BLOCKS, max(1, blocks // (_SHARE * fleet.workers)))

    def _together(self) -> int:
        """See `Search`."""
        if self._alone:
            return super()._together()
        most = max(like.queries.m for like in self.likeness)
        return max(1, min(_POINTS // max(1, most), _CANDIDATES // max(1, self.kept)))

    def _met(self, queries: slice, best: Best) -> tuple[list[Vectors], list[Seen]]:
        """See `Search`."""
        if self._alone:
            return super()._met(queries, best)
        asked, every, places = list[Vectors](), list[Seen](), list[tuple[int, int, int]]()

        def jobs() -> Iterator[tuple[Job, int]]:
            for number, like in enumerate(self.likeness):
                points, known = self._asked(number, queries)
                asked.append(known)
                every.append(Seen())
                own = f"{self._token} {number}", self._addresses[number]
                columns, between = like.columns(known), like.between
                count = len(like.corpus.blocks)
                for first in range(0, count, self._width):
                    blocks = first, min(first + self._width, count)
                    places.append((number, *blocks))
                    job = Job(*own, blocks, between, points, columns, best.limit, best.kept)
                    yield job, self._fleet.threads

        for place, found in enumerate(self._fleet.map(meet_job, jobs())):
            number, first, last = places[place]
            best.add(found.query, found.vector + self.starts[number], found.score, found.excess)
            every[number].add(found.seen)
            self.corpora[number].norms.update(found.norms)
            if self._watch is not None:
                blocks = self.likeness[number].corpus.blocks[first:last]
                self._watch.tell((blocks[-1][1] - blocks[0][0]) * self.likeness[number].corpus.m)
        return asked, every


def _address(factor: Any, operand: Operand) -> Place:
    if isinstance(factor, Held):
        raise UsageError(
            f"{factor.where}: is in memory, where the workers of an executor do not see it; give its file"
        )
    found = address_of(factor, operand)
    assert not isinstance(found, Operand)
    return found


# what workers do


def _close(kept: tuple[Operand, list[Any]]) -> None:
    for access in kept[1]:
        access.close()


_recent = Recent[tuple[Operand, list[Any]]](_KEPT, _close)


def _opened(token: str, corpus: Place) -> Operand:
    """The corpus of a job, which a thread keeps open for the next."""
    operand, accesses = _recent.get(token, corpus.operand)
    for access in accesses:
        access.check()
    return operand


def meet_job(job: Job, threads: int) -> Met:
    """The best of some blocks for each query."""
    operand = cut_to(_opened(job.token, job.corpus), *job.blocks)
    pool, seen = Workers(threads), Seen()
    best = Best(len(job.limit), job.kept)
    best.limit = job.limit
    try:
        corpus = Corpus(operand, job.between, pool)
        for near in corpus.near(job.points, job.columns, lambda: best.limit, seen, job.kept):
            best.add(near.query, near.vector, near.score, near.excess)
        return Met(*best.taken(), seen, corpus.norms)
    finally:
        pool.close()
