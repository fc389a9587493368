"""How the columns of a tensor become streams and chunks: part of the format, derived by both sides from the norms.

Consecutive columns of 2²⁴ entries, at most 2²⁰ of them and at least one, make a panel. Within a panel the kept columns
are ordered by class (stably), concatenated to a stream, and the stream is cut into chunks of 2²⁰ entries; no chunk
crosses a panel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.stages.chunks import Chunk, cut
from nqz.stages.codings import Coder
from nqz.stages.parameters import Parameters
from nqz.stages.scale import NormScaling

PANEL_ENTRIES = 1 << 24
_COLUMNS = 1 << 20  # of a panel, at most


CodesOf = Callable[[int, int], npt.NDArray[Any]]
"""Gives the norm codes of a range of columns."""


@dataclass(frozen=True)
class Panel:
    """Columns first … last - 1, of which `kept` are in the stream, `m` entries each."""

    first: int
    last: int
    kept: int
    m: int
    chunks: tuple[Chunk, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.last - self.first

    def rows_of(self, chunk: Chunk) -> slice:
        """The rows of the stream that a chunk has entries of."""
        return slice(chunk.start // self.m, (chunk.start + chunk.count - 1) // self.m + 1)


@dataclass(frozen=True, eq=False)
class OpenPanel:
    """A panel, and the order of its columns in its stream.

    Attributes
    ----------
    panel : Panel
    order : ndarray of int64, shape (kept,)
        The kept columns, relative to the panel's first, in the order of the stream.
    place : ndarray of int64, shape (width,)
        Row of the stream of each column, -1 for dropped ones.
    coded : ndarray of int32, shape (kept,)
        What the coder has to know of the kept columns, in the order of the stream.
    """

    panel: Panel
    order: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    coded: npt.NDArray[np.int32]

    def columns_of(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """The columns that a chunk has entries of, in the order of the stream."""
        return self.order[self.panel.rows_of(chunk)]


def panel_columns(n: int) -> int:
    """Columns a panel for columns of n entries."""
    return max(1, min(_COLUMNS, PANEL_ENTRIES // n))


def panels(parameters: Parameters, scaling: NormScaling, codes: CodesOf) -> Iterator[Panel]:
    """Cut a tensor into panels and chunks, panel by panel.

    Parameters
    ----------
    parameters : Parameters
    scaling : NormScaling
    codes : callable
        codes(first, last) gives the norm codes of the columns of a panel; called where it may have dropped ones.
    """
    p, number = parameters, 0
    width, all_kept = panel_columns(p.n), bool(scaling.kept.all())
    for first in range(0, p.columns, width):
        last = min(first + width, p.columns)
        kept = last - first
        if not all_kept:
            kept = int(np.count_nonzero(scaling.histogram.look_up(scaling.kept, codes(first, last))))
        found = cut_panel(p, first, last, kept, number)
        number += len(found.chunks)
        yield found


def cut_panel(parameters: Parameters, first: int, last: int, kept: int, number: int) -> Panel:
    """Cut the stream of `kept` of the columns first … last - 1 into chunks, of which the first has this number."""
    sizes = parameters.coding.cut(parameters, kept)
    starts = accumulate(sizes, initial=0)
    chunks = tuple(Chunk(number + i, *found) for i, found in enumerate(zip(starts, sizes, strict=False)))
    return Panel(first, last, kept, parameters.m, chunks)


def open_panel(panel: Panel, codes: npt.NDArray[Any], scaling: NormScaling, coder: Coder) -> OpenPanel:
    """Put the columns of a panel in order, by their classes; `codes` are their norm codes."""
    index = scaling.histogram.index(codes)
    classes = scaling.classes[index]
    if panel.kept == panel.width:
        columns = np.argsort(classes, kind="stable")  # in linear time for 16 bits
    else:
        alive = np.flatnonzero(scaling.kept[index])
        columns = alive[np.argsort(classes[alive], kind="stable")]
    place = np.full(panel.width, -1)
    place[columns] = np.arange(len(columns))
    return OpenPanel(panel, columns, place, coder.columns(classes[columns]))


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
    sizes: list[tuple[int, int]] = []
    for number, share in ((whole, width), (1, last)):
        found = Counter(cut(kept * share // columns * m)) if number and share else Counter()
        sizes += ((size, number * several) for size, several in found.items())
    return sizes
