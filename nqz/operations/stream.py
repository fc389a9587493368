"""A panel of a source to the stream of rotated columns that its chunks are cut from."""

from __future__ import annotations

import numpy as np

from nqz.codec.encoder import Encoder
from nqz.codec.panels import Panel
from nqz.matrices.layout import VECTOR_MAJOR
from nqz.operations.threads import Workers

_STEP = 1 << 19  # entries that one thread takes at a time


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
