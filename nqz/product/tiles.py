"""Blocks of columns of a product's sides, decoded when they are needed, and the tiles that their product is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from nqz import kernels
from nqz.product.integers import Integers, entry_size, load
from nqz.product.operand import Operand

HELD = 1 << 26
"""Bytes of decoded points to hold of each side."""

_TILE = 1024
"""Rows and columns of a product that one thread computes at a time."""


class Tile(NamedTuple):
    """Rows `rows` of block `a` times rows `columns` of block `b`, which begin at rows `first_a` and `first_b`."""

    a: Integers
    b: Integers
    first_a: int
    first_b: int
    rows: slice
    columns: slice


class Blocks:
    """The blocks of an operand.

    Parameters
    ----------
    operand : Operand
    meet : ndarray of int, optional
        The coordinates to keep; all by default.
    run : callable
        As `map`, perhaps in several threads.

    Attributes
    ----------
    widths : list of int
        Number of columns in each block.
    edges : ndarray of int
        Where each block begins, counted in columns.
    fits : bool
        Whether all of it may be held.
    """

    def __init__(self, operand: Operand, meet: np.ndarray | None, run: Callable):
        self.operand, self._meet, self._run = operand, meet, run
        self._held: dict[int, Integers] = {}
        self._bytes = 0
        self.widths = [last - first for first, last in operand.blocks]
        self._begin()

    def _begin(self) -> None:
        self.edges = np.concatenate([[0], np.cumsum(self.widths)]).astype(int)
        self.sizes = [w * self._entry(i) if w else 0 for i, w in enumerate(self.widths)]
        self.fits = sum(self.sizes) <= HELD

    def _entry(self, index: int) -> int:
        """Bytes that a column of a block takes, about."""
        spread = self.operand.spread(*self.operand.blocks[index])
        return self.operand.m * entry_size(spread)

    def __getitem__(self, index: int) -> Integers:
        found = self._held.get(index)
        if found is None:
            found = self._load(index)
            if self._bytes + found.nbytes <= HELD:
                self._held[index] = found
                self._bytes += found.nbytes
        return found

    def _load(self, index: int) -> Integers:
        first, last = self.operand.blocks[index]
        stream, spread = self.operand.stream(first, last), self.operand.spread(first, last)
        return load(stream, last - first, self.operand.m, self._meet, spread, self._run)

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

    def forget(self) -> None:
        """Give up what is held."""
        self._held.clear()
        self._bytes = 0


class Sample(Blocks):
    """Some of the columns of an operand; taken from `whole`, which is only held where all of it fits."""

    def __init__(self, whole: Blocks, chosen: np.ndarray):
        self._whole = whole
        self.operand = whole.operand
        self._held, self._bytes = {}, 0
        edges = [first for first, _ in self.operand.blocks] + [self.operand.columns]
        self._chosen = np.split(chosen, np.searchsorted(chosen, edges[1:-1]))
        self.widths = [len(c) for c in self._chosen]
        self._begin()

    def _load(self, index: int) -> Integers:
        whole = self._whole[index] if self._whole.fits else self._whole._load(index)
        return whole.chosen(self._chosen[index] - self.operand.blocks[index][0])


def tiles(left: Blocks, right: Blocks) -> Iterator[Tile]:
    """The product of all blocks of two sides in pieces, in an order that depends on the operands alone."""
    for group in left.groups():
        held: dict[int, Integers] = {}
        for index_b, count in enumerate(right.sizes):
            if not count:
                continue
            b = right[index_b]
            for index_a in group:
                if index_a not in held:
                    held[index_a] = left[index_a]
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
