"""Which entries of a product are near the top of their column: what a search keeps of a tile."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require


def select(raw: Array, a: Array, b: Array, limit: Array, row: Array, column: Array, score: Array) -> int:
    """Find the entries whose score, with what it may be off by, is above the limit of their column.

    The score of entry (i, j) is raw_ij a₀ᵢ b₀ⱼ + (a₁ᵢ b₁ⱼ + a₂ᵢ), and it may be off by a₃ᵢ b₂ⱼ.

    Parameters
    ----------
    raw : numpy.ndarray
        int32 or float64 [r, c], the exact products of points.
    a, b : numpy.ndarray
        float64 [4, r] and [3, c]: worth of an integer, mean, offset (of rows alone), reach.
    limit : numpy.ndarray
        float64 [c].
    row, column : numpy.ndarray
        int32 [space], written: where the entries are, row after row, as far as there is space.
    score : numpy.ndarray
        float64 [space], written: their scores.

    Returns
    -------
    int
        How many there are, which may be more than there is space for.
    """
    require(raw.dtype in (np.int32, np.float64), "raw must be int32 or float64")
    check(
        {"a float64 [4, r]": a, "b float64 [3, c]": b, "limit float64 [c]": limit},
        r=raw.shape[0], c=raw.shape[1],
    )  # fmt: skip
    check({"row int32 [space]": row, "column int32 [space]": column, "score float64 [space]": score})
    with np.errstate(all="ignore"):
        found = raw.astype(np.float64) * a[0][:, None] * b[0] + (a[1][:, None] * b[1] + a[2][:, None])
        near = found + a[3][:, None] * b[2] if (b[2] != 0.0).any() else found
        i, j = np.nonzero(near > limit)
    kept = min(len(i), len(row))
    row[:kept], column[:kept], score[:kept] = i[:kept], j[:kept], found[i[:kept], j[:kept]]
    return len(i)
