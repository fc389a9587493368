"""How a product is cut into jobs: so that what one decodes serves the next, and little of it is decoded twice.

Points are decoded by blocks, and a worker keeps those that it decoded last. Jobs that follow one another are of the
same blocks, and where a job can be of whole ones, it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, product, zip_longest

import numpy as np
from numpy.typing import NDArray

from nqz.stages.panels import panel_columns

BYTES = 1 << 23
"""Of the product that one job computes, at most: larger answers of processes take several times as long to receive."""

_LONG = 4
"""Times as many of vectors so long that a rectangle is of several blocks, and decoded for itself."""

SAMPLED = 1 << 22
"""Raw products of a sample that one job computes, about, at most."""

_HIGH = 1 << 12
"""Rows of a rectangle, where there are columns enough."""

_MOST = 64
"""Shares that a side of a sample is cut into."""

_SENT = 2.0
"""To send 2 ** 24 raw products takes about as long as to decode so many blocks."""

Edges = Sequence[tuple[int, int]]


def room(n: int, dtype: str) -> int:
    """Entries of a rectangle of a product of vectors of n entries, at most."""
    entries = BYTES // np.dtype(dtype).itemsize
    return entries if panel_columns(n) >= _HIGH // 2 else _LONG * entries


def rectangles(
    rows: int, columns: int, entries: int, blocks: tuple[Edges, Edges] = ((), ()), workers: int = 1
) -> Iterator[tuple[slice, slice]]:
    """Rectangles that cover a product, by its size alone.

    Parameters
    ----------
    rows, columns : int
    entries : int
        Of a rectangle, at most.
    blocks : tuple of sequence of tuple, optional
        First row and the one behind the last of what is decoded together, all of them in order; the same of columns.
    workers : int
        So many are at it: each is given rectangles of blocks of its own, as far as they take what follows in turn.
    """
    high = max(1, min(rows, _HIGH, entries))
    wide = max(1, entries // high)
    high = max(high, min(rows, entries // max(1, min(columns, wide))))
    runs = product(_runs(rows, high, blocks[0]), _runs(columns, wide, blocks[1]))
    while together := [list(product(*run)) for run in islice(runs, workers)]:
        for turn in zip_longest(*together):
            yield from (one for one in turn if one is not None)


def _runs(count: int, step: int, blocks: Edges) -> list[list[slice]]:
    """A side in slices of up to so many: small blocks together, each large one a list of its shares."""
    found: list[list[slice]] = []
    for low, high in blocks or [(0, count)]:
        if high - low > step:
            width = -(-(high - low) // -(-(high - low) // step))
            found.append([slice(i, min(i + width, high)) for i in range(low, high, width)])
        elif found and len(found[-1]) == 1 and high - found[-1][0].start <= step:
            found[-1][0] = slice(found[-1][0].start, high)
        elif low < high:
            found.append([slice(low, high)])
    return found


def begins(chosen: NDArray[np.int64], blocks: Edges) -> NDArray[np.int64]:
    """Where among some ascending columns those of another block begin."""
    which = np.searchsorted([first for first, _ in blocks], chosen, side="right")
    return np.flatnonzero(np.diff(which, prepend=-1))


def shares(count: int, edges: NDArray[np.int64], number: int) -> list[slice]:
    """So many columns cut into so many shares, of whole blocks, which begin at `edges`, where these are enough."""
    cuts = np.arange(number + 1)
    at = (
        cuts * count // number
        if number > len(edges)
        else np.append(edges, count)[cuts * len(edges) // number]
    )
    return [slice(i, j) for i, j in pairwise(at.tolist()) if i < j]


def cut_sample(
    shape: tuple[int, int], blocks: tuple[int, int], parts: int, workers: int, most: tuple[int, int]
) -> tuple[int, int, int]:
    """Into how many shares both sides of a sample are cut, and its parts, to be done soonest by so many workers.

    Parameters
    ----------
    shape : tuple of int
        Columns of both sides.
    blocks : tuple of int
        Of both sides, in every part: a job decodes those that its columns are in.
    parts : int
        Of every column, whose raw products can be added up by who asks.
    workers : int
    most : tuple of int
        Into how many shares the sides may be cut.
    """
    found = []
    counts = [
        [1 << bit for bit in range(_MOST.bit_length()) if 1 << bit < limit] + [min(limit, _MOST)]
        for limit in most
    ]
    for down, across in product(*counts):
        cuts = down * across
        several = min(parts, -(-2 * workers // cuts))
        decoded = (max(1.0, blocks[0] / down) + max(1.0, blocks[1] / across)) * parts / several
        sent = several * shape[0] * shape[1] / (1 << 24) * _SENT
        large = shape[0] * shape[1] > cuts * SAMPLED
        rounds = -(-cuts * several // workers)
        found.append((large, rounds * decoded + sent, cuts, down, across, several))
    *_, down, across, several = min(found)
    return down, across, several
