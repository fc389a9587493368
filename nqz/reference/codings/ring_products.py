"""Columns of rings times a few vectors, both ways, exactly; what a native kernel does without writing points."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require, within
from nqz.reference.codings.ring import RingCode, ring_decode

VECTOR_LIMIT = 127 * 128 + 63


def ring_products(
    code: RingCode, lengths: Array, bits2: Array, first: int, data: Array, vectors: Array, out: Array
) -> None:
    """Multiply the columns of rings with a few vectors, exactly.

    Parameters
    ----------
    code, lengths, bits2, first, data
        As for `ring_decode`; rings of whole columns.
    vectors : numpy.ndarray
        int16 [v, n], entries of -16319 to 16319: two digits to base 128, from -127 and from -64 on.
    out : numpy.ndarray
        int64 [columns, v], written: the inner products of the integers of each column with each vector.
    """
    few, n = vectors.shape
    columns = _columns(lengths, n)
    _check_digits(vectors, "vectors")
    check({"vectors int16 [v, n]": vectors, "out int64 [c, v]": out}, v=few, n=n, c=columns)
    out[...] = _decoded(code, lengths, bits2, first, data, n) @ vectors.astype(np.int64).T


def ring_sums(
    code: RingCode, lengths: Array, bits2: Array, first: int, data: Array, weights: Array, out: Array
) -> None:
    """Sum the columns of rings times a few vectors of weights, exactly.

    Parameters
    ----------
    code, lengths, bits2, first, data
        As for `ring_decode`; rings of whole columns.
    weights : numpy.ndarray
        int16 [v, columns], entries of -16319 to 16319.
    out : numpy.ndarray
        int64 [v, n], written: the sums of the integers of the columns, each times its weight.
    """
    few, n = out.shape
    columns = _columns(lengths, n)
    _check_digits(weights, "weights")
    check({"weights int16 [v, c]": weights, "out int64 [v, n]": out}, v=few, n=n, c=columns)
    out[...] = weights.astype(np.int64) @ _decoded(code, lengths, bits2, first, data, n)


def _columns(lengths: Array, n: int) -> int:
    require(n >= 1 and not (lengths % n).any(), "rings must have whole columns")
    return int(lengths.sum()) // n


def _check_digits(factors: Array, name: str) -> None:
    require(
        within(factors.reshape(-1), -VECTOR_LIMIT, VECTOR_LIMIT), f"{name} must be within -16319 to 16319"
    )


def _decoded(code: RingCode, lengths: Array, bits2: Array, first: int, data: Array, n: int) -> Array:
    """The columns of rings as rows, int64."""
    points = np.empty(int(lengths.sum()), np.int32)
    ring_decode(code, lengths, bits2, first, data, points)
    return points.reshape(-1, n).astype(np.int64)
