"""From the columns of a source to the streams of rotated columns that chunks are cut from.

Where columns are contiguous in the source, those of a chunk are read, rotated and coded before the next (`chunk_stream`):
what is in the cache stays there. Otherwise a whole panel is read and rotated first (`fill_stream`).
"""

from __future__ import annotations

import numpy as np

from nqz.codec.encoder import Encoder
from nqz.codec.panels import Chunk, Panel
from nqz.matrices.layout import VECTOR_MAJOR
from nqz.operations.threads import Workers

_STEP = 1 << 19  # entries that one thread takes at a time
_LONG = 1 << 16  # entries of a column beyond which it is not rotated anew for each of the chunks that share it
_GAP = 1 << 15  # entries that are sooner read than passed over


def by_chunks(view, encoder: Encoder) -> bool:
    """Whether `chunk_stream` is the way to the chunks of a matrix."""
    return view.memory == VECTOR_MAJOR and encoder.parameters.n <= _LONG


def chunk_stream(view, bfloat16: bool, encoder: Encoder, panel: Panel, chunk: Chunk, pool: Workers) -> np.ndarray:
    """Read, center, rotate and project the columns of a chunk, each contiguous in the source.

    Parameters
    ----------
    view : VectorView
    bfloat16 : bool
        Whether uint16 entries are bfloat16.
    encoder : Encoder
    panel : Panel
    chunk : Chunk
        One of the panel's.
    pool : Workers

    Returns
    -------
    ndarray of float32, shape (chunk.count,)
        The chunk's piece of the stream, valid until the thread's next one.
    """
    p = encoder.parameters
    columns = panel.columns_of(chunk)
    first_row = chunk.start // p.m
    rows = pool.local.array("stream", (len(columns), p.m), np.float32)
    block = view.in_place(panel.first, panel.last)
    if block is not None:
        first, last = int(columns.min()), int(columns.max()) + 1
        encoder.rotated(panel, block[:, first:last], bfloat16, first, rows, first_row)
    for first, last in _runs(np.sort(columns), max(1, _STEP // p.n), _GAP // p.n) if block is None else ():
        buffer = pool.local.array("block", (p.n * (last - first),), view.dtype)
        read = view.read(panel.first + first, panel.first + last, buffer)
        encoder.rotated(panel, read, bfloat16, first, rows, first_row)
    start = chunk.start - first_row * p.m
    return rows.reshape(-1)[start : start + chunk.count]


def _runs(columns: np.ndarray, most: int, gap: int) -> list[tuple[int, int]]:
    """Ranges of at most `most` columns that together have all of some ascending ones, with gaps of at most `gap`."""
    begin = np.flatnonzero(np.diff(columns, prepend=columns[0] - gap - 2) > gap + 1)
    ends = columns[np.append(begin[1:], len(columns)) - 1] + 1
    return [
        (first, min(first + most, last))
        for start, last in zip(columns[begin].tolist(), ends.tolist())
        for first in range(start, last, most)
    ]


def fill_stream(
    view, bfloat16: bool, encoder: Encoder, panel: Panel, stream: np.ndarray, pool: Workers
) -> None:
    """Read a panel, center, rotate and project its columns.

    Parameters
    ----------
    view : VectorView
    bfloat16 : bool
        Whether uint16 entries are bfloat16.
    encoder : Encoder
    panel : Panel
    stream : ndarray of float32, shape (kept columns, m)
        Written.
    pool : Workers
    """
    p = encoder.parameters
    width = panel.last - panel.first
    block = view.in_place(panel.first, panel.last)
    if block is None and view.by_rows and p.m == p.n:
        _by_rows(view, bfloat16, encoder, panel, stream, pool)
        return
    if block is None and view.memory != VECTOR_MAJOR:
        whole = pool.buffers.array("block", (p.n * width,), view.dtype)
        block = view.read(panel.first, panel.last, whole)
    step = max(1, _STEP // p.n)

    def rotate(first: int) -> None:
        last = min(first + step, width)
        if block is not None:
            columns = block[:, first:last]
        else:
            buffer = pool.local.array("block", (p.n * (last - first),), view.dtype)
            columns = view.read(panel.first + first, panel.first + last, buffer)
        encoder.rotated(panel, columns, bfloat16, first, stream)

    _each(pool, rotate, range(0, width, step))


def _by_rows(view, bfloat16, encoder, panel, stream, pool) -> None:
    """The same for a file in which rows are contiguous: no more of it than a few rows is in memory at once."""
    n, width = encoder.parameters.n, panel.last - panel.first
    step = max(1, _STEP // width)

    def center(row: int) -> None:
        end = min(row + step, n)
        buffer = pool.local.array("block", ((end - row) * width,), view.dtype)
        block = view.read(panel.first, panel.last, buffer, (row, end))
        encoder.centered(panel, block, bfloat16, 0, row, stream)

    _each(pool, center, range(0, n, step))
    step = max(1, _STEP // n)
    _each(pool, lambda first: encoder.turn(stream[first : first + step]), range(0, len(stream), step))


def _each(pool: Workers, function, items) -> None:
    for _ in pool.map(function, items):
        pass
