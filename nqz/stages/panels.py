"""How the columns of a tensor become streams and chunks: part of the format, derived by both sides from the norms.

Consecutive columns of 2²⁴ entries (at least one column) make a panel. Within a panel the kept columns are ordered by class
(stably), concatenated to a stream, and the stream is cut into chunks of 2²⁰ entries; no chunk crosses a panel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nqz.stages.lattices import Lattice

PANEL_ENTRIES = 1 << 24
CHUNK_ENTRIES = 1 << 20
_AT_ONCE = 4  # panels that are worked on at a time


@dataclass(frozen=True)
class Chunk:
    """A piece of a panel's stream: entries start … start + count - 1; `number` counts through the tensor."""

    number: int
    start: int
    count: int

    @property
    def lanes(self) -> int:
        """Lanes that its entries are dealt out to: 32, fewer for small chunks."""
        return lanes_of(self.count)


def lanes_of(count: int) -> int:
    """Lanes of a chunk of `count` entries."""
    lanes = 1
    while lanes < 32 and count >= 4096 * lanes:
        lanes *= 2
    return lanes


def padded(lattice: Lattice, count: int, lanes: int) -> int:
    """Entries of a chunk rounded up to whole groups on all lanes."""
    unit = lattice.group * lanes
    return (count + unit - 1) // unit * unit


class Recent:
    """What was worked out for the panels that are being worked on."""

    def __init__(self) -> None:
        self._held: dict[int, Any] = {}

    def of(self, first: int, work: Callable[[], Any]) -> Any:
        """What `work` gives for the panel that begins with column `first`."""
        found = self._held.get(first)
        if found is None:
            found = work()
            # threads may replace each other's, which costs nothing but time
            self._held = dict([*list(self._held.items())[1 - _AT_ONCE :], (first, found)])
        return found


class _Orders:
    """The orders of the columns of panels, as they are needed."""

    def __init__(self, classes, kept):
        self._classes, self._kept = classes, kept
        self._recent = Recent()

    def of(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """The columns kept, and the place of every column."""

        def work():
            alive = np.flatnonzero(self._kept[first:last])
            # classes are small, and 16 bits are sorted in linear time
            order = alive[np.argsort(self._classes[first:last][alive].astype(np.int16), kind="stable")]
            place = np.full(last - first, -1)
            place[order] = np.arange(len(order))
            return order, place

        return self._recent.of(first, work)


@dataclass(frozen=True, eq=False)
class Panel:
    """Columns first … last - 1, of which `kept` are in the stream, `m` entries each."""

    first: int
    last: int
    kept: int
    m: int
    chunks: tuple[Chunk, ...]
    _orders: _Orders

    @property
    def order(self) -> np.ndarray:
        """The kept columns (relative to first) in the order of the stream."""
        return self._orders.of(self.first, self.last)[0]

    @property
    def place(self) -> np.ndarray:
        """Row of the stream of each column, -1 for dropped ones."""
        return self._orders.of(self.first, self.last)[1]

    def columns_of(self, chunk: Chunk) -> np.ndarray:
        """The columns (relative to first) that a chunk has entries of, in the order of the stream."""
        return self.order[chunk.start // self.m : (chunk.start + chunk.count - 1) // self.m + 1]


def panel_columns(n: int) -> int:
    """Columns a panel for columns of n entries."""
    return max(1, PANEL_ENTRIES // n)


def panels(n: int, m: int, classes: np.ndarray, kept: np.ndarray) -> list[Panel]:
    """Cut a tensor into panels and chunks.

    Parameters
    ----------
    n : int
        Length of a column.
    m : int
        Kept coordinates of each column.
    classes : ndarray of int, or Lazy, of shape (a,)
    kept : ndarray of bool, or Lazy, of shape (a,)
    """
    out, number, width, orders = [], 0, panel_columns(n), _Orders(classes, kept)
    for first in range(0, len(classes), width):
        last = min(first + width, len(classes))
        alive = int(np.count_nonzero(kept[first:last]))
        entries = alive * m
        starts = range(0, entries, CHUNK_ENTRIES)
        chunks = tuple(Chunk(number + i, s, min(CHUNK_ENTRIES, entries - s)) for i, s in enumerate(starts))
        number += len(chunks)
        out.append(Panel(first, last, alive, m, chunks, orders))
    return out


def chunk_counts(n: int, m: int, columns: int, kept: int) -> list[tuple[int, int]]:
    """Sizes of the chunks and how many there are of each, where the kept columns are spread evenly over the panels.

    Parameters
    ----------
    n : int
        Length of a column.
    m : int
        Kept coordinates of each column.
    columns, kept : int
        Number of columns, and of kept ones.
    """
    width = panel_columns(n)
    whole, last = divmod(columns, width)
    sizes = []
    for number, share in ((whole, width), (1 if last else 0, last)):
        full, rest = divmod(kept * share // columns * m, CHUNK_ENTRIES) if number else (0, 0)
        sizes += [(CHUNK_ENTRIES, number * full)] * (full > 0) + [(rest, number)] * (rest > 0)
    return sizes
