"""Blocks of a matrix in memory, for searches: where its points are, if they lie as a search takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.product.integers import SHIFT, Integers, Rest
from nqz.product.kept import Kept, KeptChunks, KeptPoints


def block(parts: Sequence[Kept], first: int, last: int, m: int) -> list[tuple[int, Integers]]:
    """The points of columns first … last - 1, from the parts that hold them: as they are, or put together."""
    found, at = list[tuple[int, Integers]](), first
    for part in parts:
        if not (isinstance(part, KeptPoints) and len(part.limbs) == 1 and _follows(part, at)):
            return [(0, _together(parts, first, last, m))]
        found.append((at - first, part.integers))
        at += len(part.columns)
    return found if at == last else [(0, _together(parts, first, last, m))]


def _follows(part: Kept, first: int) -> bool:
    """Whether a part is of all coordinates, and of columns from `first` on."""
    columns = part.columns
    whole = part.coordinates.start == 0 and part.coordinates.stop == part.m
    return whole and bool(columns[0] == first) and bool(columns[-1] == first + len(columns) - 1)


def _together(parts: Sequence[Kept], first: int, last: int, m: int) -> Integers:
    """The points of a block in one array, columns that are missing zero."""
    pieces = [(part, piece) for part in parts for piece in _pieces(part)]
    limbs = max((len(found) for _, (_, found, _) in pieces), default=1)
    wide = limbs > 1 or any(found[0].dtype == np.int16 for _, (_, found, _) in pieces)
    rows: NDArray[Any] = np.zeros((last - first, m), np.int16 if wide else np.int8)
    high: NDArray[Any] | None = None
    if limbs > 1:
        high = np.zeros((last - first, m), np.int16 if limbs == 2 else np.int32)
    rests = [np.zeros((3, 0), np.int64)]
    for part, (columns, found, rest) in pieces:
        places, across = columns - first, part.coordinates
        rows[places, across] = found[0]
        if high is not None and len(found) > 1:
            upper = found[1] if len(found) == 2 else found[1] + (found[2].astype(np.int32) << SHIFT)
            high[places, across] = upper
        if len(rest.row):
            rests.append(np.stack([places[rest.row], rest.coordinate + across.start, rest.value]))
    whole = np.concatenate(rests, axis=1)
    row, coordinate, value = whole[:, np.lexsort((whole[1], whole[0]))]
    return Integers(rows, Rest(row, coordinate, value), high)


_NO_REST = Rest(*(np.zeros(0, np.int64) for _ in range(3)))


def _pieces(part: Kept) -> Iterator[tuple[NDArray[np.int64], tuple[NDArray[Any], ...], Rest]]:
    """Columns of a part, their limbs, and what is beside these."""
    if isinstance(part, KeptPoints):
        yield part.columns, part.limbs, part.rest
        return
    assert isinstance(part, KeptChunks)
    first = 0
    for chunk, sections in zip(part.chunks, part.sections, strict=True):
        points: NDArray[Any] = np.empty(chunk.count, np.int8)
        part.coder.decode_chunk(chunk, part.known, sections, points)
        last = first + chunk.count // part.m
        yield part.columns[first:last], (points.reshape(-1, part.m),), _NO_REST
        first = last
