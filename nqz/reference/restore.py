"""restore: rotate points back, scale them, add the means, and transpose (docs/format.md, sections 11 to 13)."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require
from nqz.reference.center_rotate import places
from nqz.reference.rotate import rotate


def restore(
    points: Array,
    signs: Array,
    scale: Array,
    mean: Array,
    out: Array,
    place: Array | None = None,
) -> None:
    """Write out[:, j] = u[place[j]] * scale[j] + mean[j], u the points rotated back in float32.

    Products and sums are rounded in float64; the output saturates.

    Parameters
    ----------
    points : numpy.ndarray
        int32 [k, n], overwritten.
    signs : numpy.ndarray
        uint64 [2, ceil(n / 64)], as `rotate` takes them.
    scale, mean : numpy.ndarray
        float64 [w].
    out : numpy.ndarray
        float32 or float64 [n, w], any strides, written.
    place : numpy.ndarray, optional
        int64 [w], row of each column, negative for those that are their mean alone, none twice; by default j.
    """
    check({"points int32 [k, n]": points, "scale float64 [w]": scale, "mean float64 [w]": mean})
    n, width = points.shape[1], scale.size
    require(out.shape == (n, width), "out must be [n, w]")
    require(out.dtype in (np.float32, np.float64), "out must be float32 or float64")
    place = places(place, width, len(points))
    kept = place >= 0
    u = points[place[kept]].astype(np.float32)
    rotate(u, signs, True)
    y = np.repeat(mean[None], n, axis=0)
    with np.errstate(all="ignore"):
        y[:, kept] = u.T.astype(np.float64) * scale[kept] + mean[kept]
    largest = float(np.finfo(out.dtype).max)
    out[...] = np.clip(y, -largest, largest)
