"""Points as operands of products: narrowed to rows, their energies, and products with a few vectors at once."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require

_MAX_START = 1 << 62


def narrow(points: Array, start: int, place: Array, out: Array) -> int:
    """Copy the points of a chunk to rows of `out`; return how many did not fit and were clipped.

    Parameters
    ----------
    points : numpy.ndarray
        int32 [N]: entries start … start + N - 1 of a stream of rows of m entries.
    start : int
    place : numpy.ndarray
        int64 [rows of the stream]: the row of `out` of each.
    out : numpy.ndarray
        int8, int16 or int32 [w, m], contiguous, written.
    """
    require(out.dtype in (np.int8, np.int16, np.int32), "rows must be int8, int16 or int32")
    count, m = len(points), out.shape[1]
    require(0 <= start <= _MAX_START, "start must be at least 0")
    if count == 0:
        return 0
    require(m >= 1 and (start + count - 1) // m < len(place), "the chunk reaches past the last row of place")
    rows = place[start // m : (start + count - 1) // m + 1]
    require(((rows >= 0) & (rows < len(out))).all(), "place names a row that does not exist")
    info = np.iinfo(out.dtype)
    clipped = np.clip(points, info.min, info.max)
    done = 0
    for row in rows:
        first = (start + done) % m
        length = min(m - first, count - done)
        out[row, first : first + length] = clipped[done : done + length]
        done += length
    return int((clipped != points).sum())


def row_energies(rows: Array, out: Array) -> None:
    """Write the sums of squares of rows of int8 or int16, [w, m], to `out`, int64 [w]."""
    require(rows.dtype in (np.int8, np.int16), "rows must be int8 or int16")
    check({"out int64 [w]": out}, w=len(rows))
    for i, row in enumerate(rows):
        out[i] = np.square(row.astype(np.int64)).sum()


def point_products(points: Array, start: int, vectors: Array, out: Array) -> int:
    """Multiply the pieces of rows in a chunk with a few vectors, modulo 2⁶⁴.

    Parameters
    ----------
    points : numpy.ndarray
        int32 [N], not empty: entries start … start + N - 1 of a stream of rows of m entries.
    start : int
    vectors : numpy.ndarray
        int32 [b, m].
    out : numpy.ndarray
        int64 [rows that the chunk touches, b], written.

    Returns
    -------
    int
        The largest magnitude of a point.
    """
    few, m = vectors.shape
    count = len(points)
    require(0 <= start <= _MAX_START, "start must be at least 0")
    require(m >= 1 and count >= 1, "points and vectors must not be empty")
    touched = (start + count - 1) // m - start // m + 1
    check({"out int64 [rows, b]": out}, rows=touched, b=few)
    y, x, done = points.astype(np.int64), vectors.astype(np.int64), 0
    for row in range(touched):
        first = (start + done) % m
        length = min(m - first, count - done)
        out[row] = (x[:, first : first + length] * y[done : done + length]).sum(axis=1)
        done += length
    return int(np.abs(y).max())
