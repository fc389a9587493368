"""How the columns of a tensor become streams and chunks: part of the format, derived by both sides from the norms.

Consecutive columns of 2²⁴ entries (at least one column) make a panel. Within a panel the kept columns are ordered by class
(stably), concatenated to a stream, and the stream is cut into chunks of 2²⁰ entries; no chunk crosses a panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

PANEL_ENTRIES = 1 << 24
CHUNK_ENTRIES = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """A piece of a panel's stream: entries start … start + count - 1; `number` counts through the tensor."""

    number: int
    start: int
    count: int


@dataclass(frozen=True)
class Panel:
    """Columns first … last - 1; `order` lists the kept ones (relative to first) in the order of the stream."""

    first: int
    last: int
    order: np.ndarray
    chunks: tuple[Chunk, ...]

    @cached_property
    def place(self) -> np.ndarray:
        """Row of the stream of each column, -1 for dropped ones."""
        place = np.full(self.last - self.first, -1)
        place[self.order] = np.arange(len(self.order))
        return place


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
    classes : ndarray of int, shape (a,)
    kept : ndarray of bool, shape (a,)
    """
    out, number, width = [], 0, panel_columns(n)
    for first in range(0, len(classes), width):
        last = min(first + width, len(classes))
        alive = np.flatnonzero(kept[first:last])
        order = alive[np.argsort(classes[first:last][alive], kind="stable")]
        entries = len(order) * m
        starts = range(0, entries, CHUNK_ENTRIES)
        chunks = tuple(Chunk(number + i, s, min(CHUNK_ENTRIES, entries - s)) for i, s in enumerate(starts))
        number += len(chunks)
        out.append(Panel(first, last, order, chunks))
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
