"""Rows of small integers times a few vectors of small integers, both ways, exactly."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require

LARGEST = 1 << 14
"""Entries of vectors and of weights are within plus or minus this."""


def row_products(rows: Array, most: int, vectors: Array, out: Array) -> None:
    """Write the inner products of rows with a few vectors, modulo 2⁶⁴.

    Parameters
    ----------
    rows : numpy.ndarray
        int8 or int16 [w, m]; entries of a row contiguous.
    most : int
        Entries of rows are within plus or minus this, 2¹⁵ at most; nobody checks it in a native kernel.
    vectors : numpy.ndarray
        int16 [b, m], entries within ±2¹⁴.
    out : numpy.ndarray
        int64 [w, b], written.
    """
    _check(rows, most, vectors)
    check({"vectors int16 [b, m]": vectors, "out int64 [w, b]": out}, w=len(rows), m=rows.shape[1])
    out[...] = rows.astype(np.int64) @ vectors.astype(np.int64).T


def row_sums(rows: Array, most: int, weights: Array, out: Array) -> None:
    """Write the sums of rows times a few vectors of weights, modulo 2⁶⁴.

    Parameters
    ----------
    rows, most
        As for `row_products`.
    weights : numpy.ndarray
        int16 [b, w], entries within ±2¹⁴.
    out : numpy.ndarray
        int64 [b, m], written.
    """
    _check(rows, most, weights)
    check({"weights int16 [b, w]": weights, "out int64 [b, m]": out}, w=len(rows), m=rows.shape[1])
    out[...] = weights.astype(np.int64) @ rows.astype(np.int64)


def _check(rows: Array, most: int, factors: Array) -> None:
    require(0 <= most <= 1 << 15, "most must be 0 to 2^15")
    require(not (np.abs(rows.astype(np.int64)) > most).any(), "an entry of rows is beyond most")
    require(rows.dtype in (np.int8, np.int16), "rows must be int8 or int16")
    contiguous = rows.size == 0 or rows.shape[1] < 2 or rows.strides[1] == rows.itemsize
    require(contiguous, "entries of a row must be contiguous")
    require(not (np.abs(factors.astype(np.int64)) > LARGEST).any(), "an entry is beyond 2^14")
