"""Exact inner products of rows of small integers, modulo 2³²."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require


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
