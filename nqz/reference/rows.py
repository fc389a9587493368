"""Rows of small integers times a few vectors of small integers, both ways, exactly."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require

LARGEST = 1 << 14
"""Entries of vectors and of weights are within plus or minus this."""


def row_products(rows: Array, vectors: Array, out: Array) -> None:
    """Write the inner products of rows with a few vectors, modulo 2⁶⁴.

    Parameters
    ----------
    rows : numpy.ndarray
        int8 or int16 [w, m]; entries of a row contiguous.
    vectors : numpy.ndarray
        int16 [b, m], entries within ±2¹⁴.
    out : numpy.ndarray
        int64 [w, b], written.
    """
    _check(rows, vectors)
    check({"vectors int16 [b, m]": vectors, "out int64 [w, b]": out}, w=len(rows), m=rows.shape[1])
    out[...] = rows.astype(np.int64) @ vectors.astype(np.int64).T


def row_sums(rows: Array, weights: Array, out: Array) -> None:
    """Write the sums of rows times a few vectors of weights, modulo 2⁶⁴.

    Parameters
    ----------
    rows : numpy.ndarray
        int8 or int16 [w, m]; entries of a row contiguous.
    weights : numpy.ndarray
        int16 [b, w], entries within ±2¹⁴.
    out : numpy.ndarray
        int64 [b, m], written.
    """
    _check(rows, weights)
    check({"weights int16 [b, w]": weights, "out int64 [b, m]": out}, w=len(rows), m=rows.shape[1])
    out[...] = weights.astype(np.int64) @ rows.astype(np.int64)


def _check(rows: Array, factors: Array) -> None:
    require(rows.dtype in (np.int8, np.int16), "rows must be int8 or int16")
    contiguous = rows.size == 0 or rows.shape[1] < 2 or rows.strides[1] == rows.itemsize
    require(contiguous, "entries of a row must be contiguous")
    require(not (np.abs(factors.astype(np.int64)) > LARGEST).any(), "an entry is beyond 2^14")
