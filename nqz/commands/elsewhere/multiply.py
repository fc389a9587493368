"""Products by workers elsewhere: each computes rectangles of the result from the columns that these take.

What is exact is the same wherever it is computed, and every entry is scaled by itself: the result does not depend on
how it is cut, or on who computes what. θ comes from raw products of the same sample as on one machine; they are what
comes back for it, and its points are decoded by workers, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nqz.commands.elsewhere.address import Address, check_address
from nqz.commands.factors import Coded, CodedOperand, Plain
from nqz.commands.rectangles import begins, cut_sample, rectangles, room, shares
from nqz.files.parked import Descriptors
from nqz.ground.fleet import Fleet
from nqz.ground.recent import Recent
from nqz.ground.threads import Workers
from nqz.matrix import open_matrix
from nqz.product.deviation import Deviations, Found, InfiniteError, Put
from nqz.product.few import few_products
from nqz.product.operand import Operand, Watch
from nqz.product.product import Measured, NotFiniteError, Product
from nqz.product.risk import Local
from nqz.product.tiles import Blocks, Lately, Raw, Sample

_CUTS = 4
"""Parts of a large side that a few vectors are multiplied with."""

_KEPT = 2  # products that a thread of a worker keeps open


class CodedPlace(NamedTuple):
    """Where a coded side of a product, or a part of one, is found, and which tensor of its file it is."""

    address: Address
    tensor: int
    means_needed: bool = False

    def operand(self, descriptors: Descriptors | None = None) -> tuple[Operand, list[Any]]:
        """The side, open, and what its file is read from; see `Address.open`."""
        reader, access = self.address.open(descriptors)
        return CodedOperand(open_matrix(reader, self.tensor), self.means_needed), [access]


class Place(Protocol):
    """Where a side is found, and how it is opened there."""

    def operand(self) -> tuple[Operand, list[Any]]:
        """The side, open, and what has to be asked whether it has changed."""


class Sides(NamedTuple):
    """What a worker needs to know of a product; `token` tells those that it has open."""

    token: str
    a: Place | Operand
    b: Place | Operand
    estimator: str
    same: bool


class Failed(NamedTuple):
    """An entry that does not fit its type: where, whether float64 would hold it, and whether it is an error bar."""

    row: int
    column: int
    wide: bool
    sigma: bool


Answer = tuple[NDArray[Any], NDArray[Any] | None, Found | None] | Failed
"""A rectangle, its standard deviations if they are wanted, and what there is to tell of these."""


@dataclass(frozen=True)
class ProductElsewhere(Product):
    """A product of large sides, computed by the workers of an executor."""

    fleet: Fleet | None = None
    sides: Sides | None = None

    @classmethod
    def of(cls, product: Product, factors: tuple[Any, Any], fleet: Fleet) -> Product:
        """The same product; itself if no side has more than one block.

        Raises
        ------
        UsageError
            A side cannot be opened elsewhere.
        """
        operands = product.a, product.b
        found = [address_of(factor, one) for factor, one in zip(factors, operands, strict=True)]
        if max(len(one.blocks) for one in operands) <= 1:
            return product
        sides = Sides(os.urandom(8).hex(), found[0], found[1], product.estimator, product.same)
        return cls(*operands, product.estimator, product.same, fleet, sides)

    def _jobs(self, function: Callable[..., Any], jobs: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
        assert self.fleet is not None and self.sides is not None
        threads = self.fleet.threads
        return self.fleet.map(function, ((self.sides, *job, threads) for job in jobs))

    def few_raw(self, pool: Workers, watch: Watch | None = None) -> Raw | None:
        """See `Product`."""
        turned = self.a.columns < self.b.columns
        large = self.b if turned else self.a
        if self.same or few_products(*self._small(turned), turned, pool, None) is None:
            return None
        found: Raw = {}
        for part in self._jobs(few_job, ((turned, *cut) for cut in _cuts(len(large.blocks)))):
            if part is None:
                return None
            found.update(part)
        return dict(sorted(found.items()))

    def _small(self, turned: bool) -> tuple[Operand, Operand]:
        """The small side, and the large one without its columns: what tells whether the small one is of few."""
        small, large = (self.a, self.b) if turned else (self.b, self.a)
        return small, cut_to(large, 0, 0)

    def _all_raw(self, left: Blocks, right: Blocks, pool: Workers) -> Raw:
        if any(isinstance(side, Sample) and side.coarse for side in (left, right)):
            return super()._all_raw(left, right, pool)
        assert self.fleet is not None
        found: Raw = {}
        rows, columns = _chosen(left), _chosen(right)
        edges = begins(rows, self.a.blocks), begins(columns, self.b.blocks)
        blocks = len(edges[0]), len(edges[1])
        down, across, _ = cut_sample((len(rows), len(columns)), blocks, 1, self.fleet.workers, blocks)
        places = [
            (i, j) for i in shares(len(rows), edges[0], down) for j in shares(len(columns), edges[1], across)
        ]
        jobs = ((rows[i], columns[j]) for i, j in places)
        for (i, j), part in zip(places, self._jobs(raw_job, jobs), strict=True):
            found.update({(i.start + row, j.start + column): raw for (row, column), raw in part.items()})
        return dict(sorted(found.items()))

    def tiles(
        self, measured: Measured, dtype: str, put: Put, pool: Workers, deviations: Deviations | None = None
    ) -> Iterator[tuple[float, Any]]:
        """See `Product`."""
        if measured.raw is not None or measured.sides is None:
            yield from super().tiles(measured, dtype, put, pool, deviations)
            return
        local = None if deviations is None else deviations.local
        whole = self.a.columns * self.b.columns
        assert self.fleet is not None
        size, blocks = (self.a.columns, self.b.columns), (self.a.blocks, self.b.blocks)
        places = list(rectangles(*size, room(self.a.side.n, dtype), blocks, self.fleet.workers))
        jobs = ((measured.theta, dtype, local, *place) for place in places)
        for (rows, columns), found in zip(places, self._jobs(rectangle_job, jobs), strict=True):
            tile = taken(found, rows, columns, deviations)
            yield tile.size / whole, put(rows.start, columns.start, tile)


def address_of(factor: Any, operand: Operand) -> Place | Operand:
    """How a side is found elsewhere: a coded one by its files, a plain one with what was measured of it.

    Raises
    ------
    UsageError
        It has no path.
    """
    if not isinstance(factor, (Coded, Plain)):
        found: Place = factor.address(operand)
        return found
    if isinstance(factor, Coded):
        return CodedPlace(Address.of(factor.matrix.reader), factor.matrix.index, not operand.apart)
    check_address(factor.tensor.access, factor.where)
    return operand


def cut_to(operand: Operand, first: int, last: int) -> Operand:
    """An operand with some of its blocks only."""
    import copy

    found = copy.copy(operand)
    found.blocks = operand.blocks[first:last]
    return found


def _cuts(count: int) -> list[tuple[int, int]]:
    """Ranges of so many blocks, a few."""
    edges = [count * part // _CUTS for part in range(_CUTS + 1)]
    return [(i, j) for i, j in pairwise(edges) if i < j]


def _chosen(side: Blocks) -> NDArray[np.int64]:
    """The columns of a side that are meant."""
    return side.chosen if isinstance(side, Sample) else np.arange(side.operand.columns)


def taken(found: Answer, rows: slice, columns: slice, deviations: Deviations | None) -> NDArray[Any]:
    """The rectangle of an answer, whose standard deviations are put.

    Raises
    ------
    NotFiniteError, InfiniteError
        There is none.
    """
    if isinstance(found, Failed):
        kind = InfiniteError if found.sigma else NotFiniteError
        raise kind(found.row, found.column, found.wide)
    tile, bars, told = found
    if deviations is not None and bars is not None and told is not None:
        deviations.take(rows.start, columns.start, bars, told)
    return tile


# what workers do


class _Open(NamedTuple):
    product: Product
    blocks: tuple[Blocks, Blocks]
    accesses: list[Any]
    pool: Workers

    def close(self) -> None:
        self.pool.close()
        for access in self.accesses:
            access.close()


_recent = Recent[_Open](_KEPT, _Open.close)


def _opened(sides: Sides, threads: int) -> _Open:
    """The product of a job, which a thread keeps open for the next."""

    def made() -> _Open:
        pairs = [(side, []) if isinstance(side, Operand) else side.operand() for side in (sides.a, sides.b)]
        product, pool = Product(pairs[0][0], pairs[1][0], sides.estimator, sides.same), Workers(threads)
        accesses = [access for _, own in pairs for access in own]
        return _Open(product, product.blocks(Lately, pool), accesses, pool)

    found = _recent.get(sides.token, made)
    for access in found.accesses:
        access.check()
    return found


def few_job(sides: Sides, turned: bool, first: int, last: int, threads: int) -> Raw | None:
    """Raw products of a few vectors with some blocks of the large side."""
    found = _opened(sides, threads)
    a, b = found.product.a, found.product.b
    small, large = (a, b) if turned else (b, a)
    return few_products(small, cut_to(large, first, last), turned, found.pool, None)


def raw_job(sides: Sides, rows: NDArray[np.int64], columns: NDArray[np.int64], threads: int) -> Raw:
    """Raw products of some columns of both sides."""
    found = _opened(sides, threads)
    return found.product.raw_of(found.blocks, rows, columns, found.pool)


def rectangle_job(
    sides: Sides, theta: float, dtype: str, local: Local | None, rows: slice, columns: slice, threads: int
) -> Answer:
    """Some rows and columns of a product, and of its standard deviations."""
    found = _opened(sides, threads)

    def tile(deviations: Deviations | None) -> NDArray[Any]:
        return found.product.rectangle(found.blocks, theta, rows, columns, dtype, found.pool, deviations)

    return answered(found.product, theta, dtype, local, rows, columns, tile)


def answered(
    product: Product, theta: float, dtype: str, local: Local | None, rows: slice, columns: slice,
    work: Callable[[Deviations | None], NDArray[Any]],
) -> Answer:  # fmt: skip
    """What comes back of a rectangle: `work` computes it, and gives its pieces to what computes their deviations."""
    deviations, bars = None, None
    if local is not None:
        out = bars = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype)

        def put(i: int, j: int, tile: NDArray[Any]) -> None:
            i, j = i - rows.start, j - columns.start
            out[i : i + len(tile), j : j + tile.shape[1]] = tile

        deviations = Deviations(product.a, product.b, product.estimator, theta, local, product.same, put)
    try:
        tile = work(deviations)
    except (NotFiniteError, InfiniteError) as error:
        return Failed(error.row, error.column, error.wide, isinstance(error, InfiniteError))
    return tile, bars, None if deviations is None else replace(deviations.found)
