"""From the columns of a source to the streams of rotated columns that chunks are cut from.

Where columns are contiguous in the source, those of a chunk are read, rotated and coded before the next
(`chunk_stream`): what is in the cache stays there. Otherwise a whole panel is read and rotated first (`fill_stream`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.files.layout import VECTOR_MAJOR
from nqz.files.vectors import VectorView
from nqz.ground.threads import Workers
from nqz.stages.chunks import Chunk
from nqz.stages.encoder import Encoder, SourcePanel
from nqz.stages.panels import Panel

_STEP = 1 << 19  # entries that one thread takes at a time
_LONG = (
    1 << 16
)  # entries of a column beyond which it is not rotated anew for each of the chunks that share it
_GAP = 1 << 15  # entries that are sooner read than passed over
# Columns passed over for each that is used, beyond which it is faster to read a panel, or to pick columns.
_SCATTERED = 2

Stream = npt.NDArray[np.float32]


def by_chunks(view: VectorView, encoder: Encoder, opened: SourcePanel) -> bool:
    """Whether `chunk_stream` is the way to the chunks of a panel."""
    n, panel = encoder.parameters.n, opened.panel
    if view.memory != VECTOR_MAJOR or n > _LONG:
        return False
    if view.in_place(panel.first, panel.last) is not None:
        return True
    # not where most of the panel would be read for every chunk
    read = sum(last - first for chunk in panel.chunks for first, last in _runs(opened.columns_of(chunk), n))
    return read <= _SCATTERED * panel.kept


def chunk_stream(
    view: VectorView, encoder: Encoder, opened: SourcePanel, chunk: Chunk, pool: Workers
) -> Stream:
    """Read, center, rotate and project the columns of a chunk, each contiguous in the source.

    Parameters
    ----------
    view : VectorView
    encoder : Encoder
    opened : SourcePanel
    chunk : Chunk
        One of the panel's.
    pool : Workers

    Returns
    -------
    ndarray of float32, shape (chunk.count,)
        The chunk's piece of the stream, valid until the thread's next one.
    """
    p = encoder.parameters
    wanted, panel = opened.columns_of(chunk), opened.panel
    first_row = chunk.start // p.m
    rows = pool.local.array("stream", (len(wanted), p.m), np.float32)
    for columns, block in _blocks(view, panel, wanted, pool):
        place = opened.place[columns] - first_row
        place[place >= len(wanted)] = -1
        encoder.center_rotate_project(opened, columns, block, view.bfloat16, place, rows)
    start = chunk.start - first_row * p.m
    return rows.reshape(-1)[start : start + chunk.count]


def _blocks(
    view: VectorView, panel: Panel, wanted: npt.NDArray[np.int64], pool: Workers
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
    """The wanted columns of a panel, and few others: their numbers in the panel, and their entries as stored."""
    n, whole = view.length, view.in_place(panel.first, panel.last)
    if whole is None:
        for first, last in _runs(wanted, n):
            buffer = pool.local.array("block", (n * (last - first),), view.dtype)
            yield np.arange(first, last), view.read(panel.first + first, panel.first + last, buffer)
    elif np.ptp(wanted) < _SCATTERED * len(wanted):
        first, last = int(wanted.min()), int(wanted.max()) + 1
        yield np.arange(first, last), whole[:, first:last]
    else:
        block = pool.local.array("block", (len(wanted), n), view.dtype)
        np.take(whole.T, wanted, axis=0, out=block, mode="clip")
        yield wanted, block.T


def _runs(columns: npt.NDArray[np.int64], n: int) -> list[tuple[int, int]]:
    """Ranges of columns of n entries that together have all of some columns, and few others in between."""
    most, gap, columns = max(1, _STEP // n), _GAP // n, np.sort(columns)
    begin = np.flatnonzero(np.diff(columns, prepend=columns[0] - gap - 2) > gap + 1)
    ends = columns[np.append(begin[1:], len(columns)) - 1] + 1
    return [
        (first, min(first + most, last))
        for start, last in zip(columns[begin].tolist(), ends.tolist(), strict=True)
        for first in range(start, last, most)
    ]


def fill_stream(
    view: VectorView, encoder: Encoder, opened: SourcePanel, stream: Stream, pool: Workers
) -> None:
    """Read a panel, center, rotate and project its columns.

    Parameters
    ----------
    view : VectorView
    encoder : Encoder
    opened : SourcePanel
    stream : ndarray of float32, shape (kept columns, m)
        Written.
    pool : Workers
    """
    p, panel = encoder.parameters, opened.panel
    block = view.in_place(panel.first, panel.last)
    if block is None and view.by_rows and p.m == p.n:
        step = max(1, _STEP // panel.width)
        _all(pool, partial(_center, view, encoder, opened, stream, pool, step), range(0, p.n, step))
        step = max(1, _STEP // p.n)
        _all(
            pool, lambda first: encoder.rotate_rows(stream[first : first + step]), range(0, len(stream), step)
        )
        return
    if block is None and view.memory != VECTOR_MAJOR:
        whole = pool.buffers.array("block", (p.n * panel.width,), view.dtype)
        block = view.read(panel.first, panel.last, whole)
    step = max(1, _STEP // p.n)
    _all(
        pool, partial(_rotate, view, encoder, opened, stream, pool, step, block), range(0, panel.width, step)
    )


def _rotate(
    view: VectorView, encoder: Encoder, opened: SourcePanel, stream: Stream, pool: Workers, step: int,
    block: npt.NDArray[Any] | None, first: int,
) -> None:  # fmt: skip
    """Columns from number `first` on, of the panel's `block` if it has been read."""
    panel, last = opened.panel, min(first + step, opened.panel.width)
    if block is not None:
        columns = block[:, first:last]
    else:
        buffer = pool.local.array("block", (view.length * (last - first),), view.dtype)
        columns = view.read(panel.first + first, panel.first + last, buffer)
    which = slice(first, last)
    encoder.center_rotate_project(opened, which, columns, view.bfloat16, opened.place[which], stream)


def _center(
    view: VectorView,
    encoder: Encoder,
    opened: SourcePanel,
    stream: Stream,
    pool: Workers,
    step: int,
    row: int,
) -> None:
    """Rows of a file in which they are contiguous: no more than a few are in memory at once."""
    panel, end = opened.panel, min(row + step, view.length)
    buffer = pool.local.array("block", ((end - row) * panel.width,), view.dtype)
    block = view.read(panel.first, panel.last, buffer, (row, end))
    encoder.center_rows(opened, block, view.bfloat16, row, stream)


def _all(pool: Workers, function: Any, items: range) -> None:
    for _ in pool.map(function, items):
        pass
