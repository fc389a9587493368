"""center_rotate: subtract the means, scale, transpose and rotate (docs/format.md, sections 11 and 12)."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, Ints, check, require, widen
from nqz.reference.rotate import rotate
from nqz.reference.statistics import check_exponent


def center_rotate(
    block: Array,
    bfloat16: bool,
    mean: Array,
    exponent: Array,
    out: Array,
    place: Array | None = None,
    signs: Array | None = None,
) -> None:
    """Center, scale and transpose: out[place[j]] = (block[:, j] - mean[j]) / 2^exponent[j]; and rotate on request.

    Parameters
    ----------
    block : numpy.ndarray
        [n, w], float16, float32, float64, or bfloat16 as uint16; any strides.
    bfloat16 : bool
        Whether uint16 entries are bfloat16.
    mean : numpy.ndarray
        float64 [w].
    exponent : numpy.ndarray
        int32 [w], -1100 to 1100.
    out : numpy.ndarray
        float32 [k, n], contiguous along n, written.
    place : numpy.ndarray, optional
        int64 [w], row of each column, negative for those that are left out, none twice; by default j.
    signs : numpy.ndarray, optional
        uint64 [2, ceil(n / 64)], as `rotate` takes them: the columns are rotated too.
    """
    x = widen(block, bfloat16)
    n, width = x.shape
    check({"mean float64 [w]": mean, "exponent int32 [w]": exponent, "out float32 [k, n]": out}, n=n, w=width)
    check_exponent(exponent)
    require(n <= 1 or out.size == 0 or out.strides[1] == 4, "out must be float32 [k, n]")
    place = places(place, width, len(out))
    with np.errstate(all="ignore"):
        # Halved before the subtraction, so that it cannot overflow.
        half = x * 0.5 - mean * 0.5
        centered = np.ldexp(half, 1 - exponent[None, :]).astype(np.float32).T
    centered = np.ascontiguousarray(centered[place >= 0])
    if signs is not None:
        rotate(centered, signs, False)
    out[place[place >= 0]] = centered


def places(place: Array | None, width: int, rows: int) -> Ints:
    """Return the rows of the columns, checked."""
    if place is None:
        require(width == rows, "there must be as many rows as columns")
        return np.arange(width, dtype=np.int64)
    check({"place int64 [w]": place}, w=width)
    require(bool((place < rows).all()), "place names a row that does not exist")
    kept = place[place >= 0]
    require(len(set(kept.tolist())) == len(kept), "place names a row twice")
    return place
