"""The decoder of Figure 1: from the integers that `Coder.decode_chunk` gives back to columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.stages.parameters import Parameters
from nqz.stages.project import embed


def rebuild(
    parameters: Parameters,
    points: npt.NDArray[np.int32],
    place: npt.NDArray[np.int64],
    scale: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    out: npt.NDArray[Any],
) -> None:
    """Rebuild columns from their points; a column that was dropped is its mean.

    Parameters
    ----------
    points : ndarray, shape (rows, m)
        Those of the columns are used up.
    place : ndarray, shape (w,)
        Row of each column in `points`, negative for a dropped one.
    scale : ndarray, shape (w,)
        What points of each column are multiplied by.
    mean : ndarray, shape (w,)
    out : ndarray of float32 or float64, shape (n, w)
        Written; any strides.
    """
    p = parameters
    if p.m < p.n:
        points = embed(points[place[place >= 0]], p.rotation_seed, p.n)
        place = np.where(place >= 0, np.cumsum(place >= 0) - 1, -1)
    p.transform.restore(points, p.rotation_seed, scale, mean, out, place)
