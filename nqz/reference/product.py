"""The product: points narrowed to operands, exact inner products, and estimates from them."""

from __future__ import annotations

from itertools import pairwise

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


def fast_product() -> bool:
    """Tell whether `integer_product` is at least as fast as a good BLAS in float32."""
    return False


def integer_product(a: Array, b: Array, out: Array) -> None:
    """Write the inner products of the rows of `a` and `b` to `out`, modulo 2³²: exact where they fit.

    Parameters
    ----------
    a, b : numpy.ndarray
        int8 or int16, [wa, m] and [wb, m]; entries of a row contiguous.
    out : numpy.ndarray
        int32 [wa, wb], written; entries of a row contiguous.
    """
    for rows in (a, b):
        require(rows.dtype in (np.int8, np.int16), "rows must be int8 or int16")
        contiguous = rows.size == 0 or rows.shape[1] < 2 or rows.strides[1] == rows.itemsize
        require(contiguous, "entries of a row must be contiguous")
    require(a.shape[1] == b.shape[1], "rows of different lengths")
    check({"out int32 [wa, wb]": out}, wa=len(a), wb=len(b))
    out[...] = (a.astype(np.int64) @ b.astype(np.int64).T).astype(np.int32)


def estimate(
    raw: Array,
    unit_a: Array,
    unit_b: Array,
    spread_a: Array,
    spread_b: Array,
    mean_a: Array,
    mean_b: Array,
    share: float,
    theta: float,
    factor: float,
    length: float,
    exponent: int,
    out: Array,
) -> int:
    """Estimate products from exact ones: α_ij raw_ij u_i v_j 2^exponent, and the product of the means.

    With ν_ij = spread_a[i] spread_b[j] share - 1 the factor is unit_a[i] unit_b[j] factor / (θ + ν_ij). Symmetric in
    the two sides, so that a matrix times itself comes out symmetric.

    Parameters
    ----------
    raw : numpy.ndarray
        int32 or float64 [r, c].
    unit_a, spread_a, mean_a : numpy.ndarray
        float64 [r].
    unit_b, spread_b, mean_b : numpy.ndarray
        float64 [c].
    share, theta, factor, length : float
    exponent : int
        -2044 to 2044.
    out : numpy.ndarray
        float32 or float64 [r, c], contiguous, written.

    Returns
    -------
    int
        -1, or the row-major position of the first result that is not finite.
    """
    require(raw.dtype in (np.int32, np.float64), "raw must be int32 or float64")
    require(out.shape == raw.shape, "out must be [r, c]")
    require(-2044 <= exponent <= 2044, "exponent is out of range")
    half = exponent if -1022 <= exponent <= 1023 else int(exponent / 2)
    with np.errstate(all="ignore"):
        nu = spread_a[:, None] * spread_b[None, :] * share - 1.0
        scale = unit_a[:, None] * unit_b[None, :] * factor / (theta + nu)
        product = raw.astype(np.float64) * scale * np.ldexp(1.0, half) * np.ldexp(1.0, exponent - half)
        out[...] = product + length * (mean_a[:, None] * mean_b[None, :])
    finite = np.isfinite(out)
    return -1 if finite.all() else int(np.argmin(finite.reshape(-1)))


def group_energies(
    raw: Array,
    order: Array,
    edges: Array,
    unit: Array,
    skips: bool,
    diagonal: int,
    out: Array,
) -> None:
    """Sum the squares of unit[i] raw[i, j] over groups of rows, row after row in the given order.

    Parameters
    ----------
    raw : numpy.ndarray
        int32 or float64 [r, c].
    order : numpy.ndarray
        int64: rows, group after group.
    edges : numpy.ndarray
        int64 [g + 1]: where the groups begin in `order`.
    unit : numpy.ndarray
        float64 [r].
    skips : bool
        Whether entries [i, i - diagonal] do not count.
    diagonal : int
    out : numpy.ndarray
        float64 [g, c], written.
    """
    require(raw.dtype in (np.int32, np.float64), "raw must be int32 or float64")
    out[...] = 0.0
    for g, (first, last) in enumerate(pairwise(edges)):
        for i in order[first:last]:
            x = raw[i] * unit[i]
            if skips and diagonal <= i < diagonal + len(x):
                x[i - diagonal] = 0.0
            out[g] += x * x
