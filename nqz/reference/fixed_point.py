"""Fixed point: entries times their scales, in which lattice points are searched (docs/format.md, section 13)."""

from __future__ import annotations

import numpy as np

from nqz.ground.units import FIXED_POINT
from nqz.reference.arrays import Array, Ints, check

UNIT = FIXED_POINT
LIMIT = np.float32(2**29)


def fixed_point(v: Array, positions: int, limit: np.float32 = LIMIT) -> Ints:
    """Return float32 values rounded, limited to ±`limit`, and filled up with zeros; not-a-number becomes -`limit`."""
    t = np.zeros(positions, dtype=np.int64)
    t[: v.size] = np.rint(np.minimum(np.where(v > -limit, v, -limit), limit))
    return t


def scaled(u: Array, *factors: Array) -> Array:
    """Return float32 entries times factors, one after the other."""
    with np.errstate(all="ignore"):
        for factor in factors:
            u = u * factor
    return u


def round_scaled(u: Array, scale: Array, out: Array) -> None:
    """Write out[j, i] = round(u[j, i] · scale[j]), limited to ±2^30.

    Parameters
    ----------
    u : numpy.ndarray
        float32 [w, n].
    scale : numpy.ndarray
        float32 [w].
    out : numpy.ndarray
        int32 [w, n], written.
    """
    check({"u float32 [w, n]": u, "scale float32 [w]": scale, "out int32 [w, n]": out})
    v = scaled(u, scale[:, None])
    out[...] = fixed_point(v.reshape(-1), v.size, np.float32(2**30)).reshape(u.shape)
