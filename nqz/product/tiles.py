"""Blocks of columns of a product's sides, decoded when they are needed, and the tiles that their product is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import pieces
from nqz.ground.cached import cached_property
from nqz.ground.threads import Workers
from nqz.product.integers import Integers, at, entry_size, joined, load, multiply, result_type
from nqz.product.operand import Operand, Watch

HELD = 1 << 26
"""Bytes of decoded points to hold of each side."""

_TILE = 1024
"""Rows and columns of a product that one thread computes at a time."""

_STRIPE = 1 << 19
"""Entries that one thread scales at a time."""

Raw = dict[tuple[int, int], NDArray[Any]]
"""Exact products of points, int32 or float64, by the numbers of the first row and column of their blocks."""

Piece = Callable[[], tuple[slice, slice, NDArray[Any]]]
"""Gives rows, columns and raw products of a part of the whole."""


class Tile(NamedTuple):
    """Rows `rows` of block `a` times rows `columns` of block `b`, which begin at rows `first_a` and `first_b`."""

    a: Integers
    b: Integers
    first_a: int
    first_b: int
    rows: slice
    columns: slice


class Blocks:
    """The blocks of an operand, decoded when they are asked for, and held while there is room.

    Parameters
    ----------
    operand : Operand
    meet : ndarray of int, optional
        The coordinates to keep; all by default.
    pool : Workers
    watch : Watch, optional
        Told of the points that are read.
    """

    def __init__(
        self, operand: Operand, meet: NDArray[np.int64] | None, pool: Workers, watch: Watch | None = None
    ):
        self.operand, self._meet, self._pool, self._watch = operand, meet, pool, watch
        self._held: dict[int, Integers] = {}
        self._bytes = 0

    @property
    def widths(self) -> list[int]:
        """Number of columns in each block."""
        return [last - first for first, last in self.operand.blocks]

    @cached_property
    def edges(self) -> NDArray[np.int64]:
        """Where each block begins, counted in columns."""
        return np.concatenate([[0], np.cumsum(self.widths)]).astype(np.int64)

    @cached_property
    def sizes(self) -> list[int]:
        """Bytes that each block takes, about."""
        return [
            width * self.operand.m * entry_size(self.operand.rms(*block)) if width else 0
            for width, block in zip(self.widths, self.operand.blocks, strict=True)
        ]

    @property
    def fits(self) -> bool:
        """Whether all of it may be held."""
        return sum(self.sizes) <= HELD

    def load(self, index: int) -> Integers:
        """A block, from memory or from the file."""
        found = self._held.get(index)
        if found is None:
            found = self.read(index)
            if self._bytes + found.nbytes <= HELD:
                self._held[index] = found
                self._bytes += found.nbytes
        return found

    def pieces(self, index: int) -> list[tuple[int, Integers]]:
        """A block as rows that follow each other, and where they begin in it."""
        found = self.operand.in_memory(*self.operand.blocks[index])
        if found is None:
            return [(0, self.load(index))]
        return found if self._meet is None else [(first, at(self._meet, one)) for first, one in found]

    def read(self, index: int) -> Integers:
        """A block from the file."""
        first, last = self.operand.blocks[index]
        held = self.operand.in_memory(first, last)
        if held is not None:
            whole = joined(held)
            return whole if self._meet is None else at(self._meet, whole)
        stream = self.operand.stream(first, last, self._pool)
        if self._watch is not None:
            stream = self._watch.over(stream)
        rms = self.operand.rms(first, last)
        return load(stream, last - first, self.operand.m, self._meet, rms, self._pool)

    def groups(self) -> Iterator[list[int]]:
        """Consecutive blocks that can be held at a time."""
        block: list[int] = []
        size = 0
        for index, nbytes in enumerate(self.sizes):
            if not nbytes:
                continue
            if block and size + nbytes > HELD:
                yield block
                self.forget()
                block, size = [], 0
            block.append(index)
            size += nbytes
        if block:
            yield block

    def some(self, count: int) -> Sample:
        """So many of the columns of the first block that has coded ones: it may have to be decoded once more."""
        coded = (block for block, size in zip(self.operand.blocks, self.sizes, strict=True) if size)
        first, last = next(coded, (0, 0))
        count = min(count, last - first)
        return Sample(self, first + np.arange(count) * (last - first) // max(1, count), coarse=True)

    def forget(self) -> None:
        """Give up what is held."""
        self._held.clear()
        self._bytes = 0


class Sample(Blocks):
    """Some of the columns of an operand; taken from `whole`, which is only held where all of it fits.

    With `coarse`, for those of one block, points are rounded to as many digits as a fast product of theirs can have,
    and divided by 2 ** `shift`.
    """

    def __init__(self, whole: Blocks, chosen: NDArray[np.int64], coarse: bool = False):
        super().__init__(whole.operand, None, whole._pool)
        edges = [first for first, _ in self.operand.blocks[1:]]
        self.chosen, self.shift = chosen, 0
        self.coarse = coarse
        self._whole, self._chosen = whole, np.split(chosen, np.searchsorted(chosen, edges))

    @property
    def widths(self) -> list[int]:
        """Number of columns of the sample in each block."""
        return [len(c) for c in self._chosen]

    def read(self, index: int) -> Integers:
        """The columns of the sample in a block."""
        whole = self._whole.load(index) if self._whole.fits else self._whole.read(index)
        found = whole.chosen(self._chosen[index] - self.operand.blocks[index][0])
        if self.coarse:
            found, self.shift = found.coarse()
        return found


def tiles(left: Blocks, right: Blocks) -> Iterator[Tile]:
    """The product of all blocks of two sides in pieces, in an order that depends on the operands alone."""
    for group in left.groups():
        held: dict[int, Integers] = {}
        for index_b, count in enumerate(right.sizes):
            if not count:
                continue
            b = right.load(index_b)
            for index_a in group:
                if index_a not in held:
                    held[index_a] = left.load(index_a)
                a = held[index_a]
                # a floating-point product has to convert its operands first, which wants larger pieces
                single = not kernels.fast_product() and a.bound * b.bound < 2.0**24
                step = 2 * _TILE if single else _TILE
                # short ones are made up for by the other side
                high, wide = (max(step, step * step // max(1, len(x.rows)) // 2) for x in (b, a))
                for i in range(0, len(a.rows), high):
                    for j in range(0, len(b.rows), wide):
                        rows, columns = (
                            slice(i, min(i + high, len(a.rows))),
                            slice(j, min(j + wide, len(b.rows))),
                        )
                        yield Tile(a, b, int(left.edges[index_a]), int(right.edges[index_b]), rows, columns)


def blank(rows: int, columns: int) -> Iterator[Piece]:
    """Pieces of nothing, in place of products that are not needed."""
    nothing = np.zeros((min(rows, _TILE), min(columns, _TILE)), np.int32)
    for i in pieces(rows, _TILE):
        for j in pieces(columns, _TILE):
            yield partial(_part, i, j, nothing[: i.stop - i.start, : j.stop - j.start])


def stripes(raw: Raw) -> Iterator[Piece]:
    """Pieces of the raw products."""
    for (i, j), block in raw.items():
        step = max(1, _STRIPE // max(1, block.shape[1]))
        for r in range(0, len(block), step):
            part = block[r : r + step]
            rows, columns = slice(i + r, i + r + len(part)), slice(j, j + part.shape[1])
            yield partial(_part, rows, columns, part)


def _part(rows: slice, columns: slice, raw: NDArray[Any]) -> tuple[slice, slice, NDArray[Any]]:
    return rows, columns, raw


def products(left: Blocks, right: Blocks, pool: Workers) -> Iterator[Piece]:
    """Pieces of the product of all blocks."""
    for tile in tiles(left, right):

        def piece(t: Any = tile) -> tuple[slice, slice, NDArray[Any]]:
            rows = slice(t.first_a + t.rows.start, t.first_a + t.rows.stop)
            columns = slice(t.first_b + t.columns.start, t.first_b + t.columns.stop)
            shape = rows.stop - rows.start, columns.stop - columns.start
            out = pool.local.array("raw products", shape, result_type(t.a, t.b))
            multiply(t.a, t.b, t.rows, t.columns, out)
            return rows, columns, out

        yield piece


class Lately(Blocks):
    """The blocks of an operand, of which those used last stay decoded: for pieces of a product in any order."""

    @property
    def fits(self) -> bool:
        """Whatever is asked for is held for a while."""
        return True

    def load(self, index: int) -> Integers:
        """A block, from memory or from the file."""
        found = self._held.pop(index, None)
        if found is None:
            found = self.read(index)
            self._bytes += found.nbytes
        self._held[index] = found  # the latest is the last
        while self._bytes > HELD and len(self._held) > 1:
            self._bytes -= self._held.pop(next(iter(self._held))).nbytes
        return found
