"""The decoder of Figure 1: from the arrays of a chunk back to integers, and from these to columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.stages.codings import Coder
from nqz.stages.panels import Panel, arrange
from nqz.stages.parameters import Parameters
from nqz.stages.project import embed
from nqz.stages.scale import Scales


@dataclass(frozen=True, eq=False)
class OpenPanel:
    """A panel, and what decoding has to know of its columns.

    Attributes
    ----------
    panel : Panel
    order : ndarray of int64, shape (kept,)
        The kept columns, relative to the panel's first, in the order of the stream.
    place : ndarray of int64, shape (width,)
        Row of the stream of each column, -1 for dropped ones.
    coded : ndarray of int32, shape (kept,)
        What the coder has to know of the kept columns, in the order of the stream.
    """

    panel: Panel
    order: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    coded: npt.NDArray[np.int32]


def open_panel(panel: Panel, codes: npt.NDArray[np.int32], scales: Scales, coder: Coder) -> OpenPanel:
    """Prepare the decoding of a panel; `codes` are the norm codes of the whole tensor."""
    order = arrange(panel, codes, scales)
    return OpenPanel(panel, order.columns, order.place, coder.columns(order.classes))


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
