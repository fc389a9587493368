"""Products of matrices in parts by workers elsewhere: whole rectangles, scaled, or raw products of some parts.

Where there are more rectangles than workers, each is computed by one of them, who sends what it comes to. Where they
are few, the parts of the contracted axis are shared out, and raw products added up by who asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.commands.elsewhere.multiply import Answer, CodedPlace, answered, taken
from nqz.commands.rectangles import begins, cut_sample, shares
from nqz.commands.sets.operand import SetOperand, paired
from nqz.commands.sets.product import SetProduct, Wanted
from nqz.commands.sets.raw import Decoded, Sum, exact, narrow, raw_sum
from nqz.files.parked import Descriptors
from nqz.ground.fleet import Fleet
from nqz.ground.recent import Recent
from nqz.ground.threads import Workers
from nqz.product.deviation import Deviations, Put
from nqz.product.operand import Operand
from nqz.product.product import Measured
from nqz.product.risk import Local

_OPEN = 2  # products that a thread of a worker keeps open


class SetAddress(NamedTuple):
    """Where a matrix in parts is; of parts that are not compressed, what was measured of them."""

    name: str
    parts: tuple[tuple[CodedPlace | Operand, ...], ...]

    def open(self) -> tuple[list[list[Operand]], list[Any]]:
        """Its parts, and what has to be asked whether it has changed."""
        descriptors, accesses = Descriptors(), list[Any]()

        def operand(part: CodedPlace | Operand) -> Operand:
            if isinstance(part, Operand):
                return part
            found, own = part.operand(descriptors)
            accesses.extend(own)
            return found

        return [list(map(operand, row)) for row in self.parts], accesses


class SetSides(NamedTuple):
    """What a worker needs to know of a product; `token` tells those that it has open."""

    token: str
    a: SetAddress
    b: SetAddress


@dataclass(frozen=True)
class SetProductElsewhere(SetProduct):
    """A product of matrices in parts, computed by the workers of an executor."""

    fleet: Fleet | None = None
    sides: SetSides | None = None

    def tiles(
        self, measured: Measured, dtype: str, put: Put, pool: Workers, deviations: Deviations | None = None
    ) -> Iterator[tuple[float, Any]]:
        """See `Product`."""
        assert self.fleet is not None
        places = self.places(dtype, self.fleet.workers)
        if measured.raw is not None or self._several(len(places)) > 1:
            yield from super().tiles(measured, dtype, put, pool, deviations)
            return
        local = None if deviations is None else deviations.local
        own = self.sides, self.estimator, self.same, measured.theta, dtype, local
        jobs = ((*own, *place, self.fleet.threads) for place in places)
        whole = self.a.columns * self.b.columns
        for (rows, columns), found in zip(places, self.fleet.map(rectangle_job, jobs), strict=True):
            tile = taken(found, rows, columns, deviations)
            yield tile.size / whole, put(rows.start, columns.start, tile)

    @property
    def _alike(self) -> bool:
        """Whether raw products of parts are integers, which anybody may add up."""
        return self.a.alike and self.b.alike

    def _several(self, places: int) -> int:
        """Into how many ranges parts are cut for so many rectangles."""
        assert self.fleet is not None
        return min(len(self.a.lengths), -(-2 * self.fleet.workers // max(1, places))) if self._alike else 1

    def _sums(self, wanted: Sequence[Wanted], pool: Workers) -> Iterator[Sum]:
        """See `SetProduct`: all of them are under way at a time."""
        assert self.fleet is not None
        cut = [self._cut(one) for one in wanted]
        found = self.fleet.map(sum_job, (job for jobs in cut for _, _, job in jobs))
        for (_, rows, columns), jobs in zip(wanted, cut, strict=True):
            # most sums fit what they come in, which is half as long
            out: Sum = np.zeros((len(rows), len(columns)), np.int32 if self._alike else np.float64)
            shared = len({(i.start, j.start) for i, j, _ in jobs}) < len(jobs)
            for i, j, _ in jobs:
                part = next(found)
                if out.dtype == np.int32 and (shared or part.dtype != np.int32):
                    out = out.astype(np.int64)
                out[i, j] += part
            yield exact(out)

    def _cut(self, wanted: Wanted) -> list[tuple[slice, slice, tuple[Any, ...]]]:
        """Jobs for some raw products, and which of these they are of."""
        assert self.fleet is not None
        sides, rows, columns = wanted
        parts = len(self.a.lengths) if self._alike else 1
        size, edges = (
            (len(rows), len(columns)),
            (begins(rows, sides[0].panels), begins(columns, sides[1].panels)),
        )
        down, across, several = cut_sample(
            size, (len(edges[0]), len(edges[1])), parts, self.fleet.workers, size
        )
        return [
            (i, j, self._job(sides, rows[i], columns[j], part))
            for i in shares(size[0], edges[0], down)
            for j in shares(size[1], edges[1], across)
            for part in self._ranges(several)
        ]

    def _ranges(self, several: int) -> list[range]:
        count = len(self.a.lengths)
        return [range(*ends) for ends in pairwise(count * part // several for part in range(several + 1))]

    def _job(
        self,
        sides: tuple[SetOperand, SetOperand],
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        parts: range,
    ) -> tuple[Any, ...]:
        assert self.fleet is not None
        return self.sides, tuple(side is self.a for side in sides), rows, columns, parts, self.fleet.threads

    def _rectangles(
        self, measured: Measured, dtype: str, pool: Workers
    ) -> Iterator[tuple[slice, slice, Sum]]:
        """See `SetProduct`: the sums of all parts, some by each worker."""
        if measured.raw is not None:
            yield from super()._rectangles(measured, dtype, pool)
            return
        assert self.fleet is not None
        places = self.places(dtype, self.fleet.workers)
        ranges = self._ranges(self._several(len(places)))
        every = np.arange(self.a.columns), np.arange(self.b.columns)
        jobs = (
            self._job((self.a, self.b), every[0][i], every[1][j], part) for i, j in places for part in ranges
        )
        found = self.fleet.map(sum_job, jobs)
        for i, j in places:
            out = next(found)
            for _ in ranges[1:]:
                out = np.add(out, next(found), dtype=np.int64 if self._alike else np.float64)
            yield i, j, out


# what workers do


class _Open(NamedTuple):
    a: SetOperand
    b: SetOperand
    accesses: list[Any]
    decoded: Decoded
    pool: Workers

    def close(self) -> None:
        self.pool.close()
        for access in self.accesses:
            access.close()


_recent = Recent[_Open](_OPEN, _Open.close)


def sum_job(
    sides: SetSides, turns: tuple[bool, bool], rows: NDArray[np.int64], columns: NDArray[np.int64], parts: range,
    threads: int,
) -> Sum:  # fmt: skip
    """Raw products of some columns, added up over some parts, on a worker; `turns` tells which sides are the first."""
    found = _at(sides, threads)
    first, second = (found.a if turn else found.b for turn in turns)
    return narrow(raw_sum((first, second), rows, columns, parts, found.decoded, found.pool))


def rectangle_job(
    sides: SetSides, estimator: str, same: bool, theta: float, dtype: str, local: Local | None,
    rows: slice, columns: slice, threads: int,
) -> Answer:  # fmt: skip
    """Some rows and columns of a product, and of its standard deviations."""
    found = _at(sides, threads)
    product, pool = SetProduct(found.a, found.b, estimator, same, found.decoded), found.pool

    def tile(deviations: Deviations | None) -> NDArray[Any]:
        raw = product.raw(rows, columns, pool)
        return product.scaled(theta, rows, columns, raw, dtype, pool, deviations)

    return answered(product, theta, dtype, local, rows, columns, tile)


def _at(sides: SetSides, threads: int) -> _Open:
    """The sides of a product, which a thread keeps open for the next job."""

    def made() -> _Open:
        a, accesses = _opened(sides.a)
        b, others = (a, []) if sides.b == sides.a else _opened(sides.b)
        return _Open(*paired(a, b), accesses + others, Decoded(), Workers(threads))

    found = _recent.get(sides.token, made)
    for access in found.accesses:
        access.check()
    return found


def _opened(side: SetAddress) -> tuple[SetOperand, list[Any]]:
    """A side, open, and its files."""
    parts, accesses = side.open()
    return SetOperand(side.name, parts), accesses
