"""Loud columns: few, and so far above the rest that the error of a whole product says nothing of the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nqz.stages import norms
from nqz.stages.estimate import Side
from nqz.stages.norms import Histogram
from nqz.stages.parameters import Parameters
from nqz.stages.partner import product_error

_LOUD = 10 * norms.STEPS
"""Norm codes above that of half of the columns: a thousand times their energy."""

_HIDDEN = 10.0

FEW = 8
"""Columns of which at most one is loud."""


def loud(histogram: Histogram) -> npt.NDArray[np.bool_] | None:
    """Which norm codes are those of loud columns; None if there are none, or too many to be an exception."""
    codes, counts = histogram.codes, histogram.counts
    alive = codes != norms.ZERO
    if not alive.any():
        return None
    several = np.cumsum(np.where(alive, counts, 0))
    median = int(codes[np.searchsorted(several, several[-1] / 2.0)])
    found: npt.NDArray[np.bool_] = codes > median + _LOUD
    return found if 0 < int(counts[found].sum()) * FEW <= several[-1] else None


def hidden(others: float, whole: float) -> bool:
    """Whether a whole says nothing of the others: their error is ten times larger, or what is left of them smaller."""
    return others * (1.0 - whole) >= _HIDDEN * whole * (1.0 - others)


class Others(NamedTuple):
    """What is said of a matrix that has loud columns.

    Attributes
    ----------
    loud, columns : int
        How many of its columns are.
    product : float
        Expected error of the product of the other ones with an unrelated partner that they are coded for.
    """

    loud: int
    columns: int
    product: float


def others(parameters: Parameters, side: Side) -> Others | None:
    """What is to be said of the columns of a matrix that are not loud; None if none are."""
    p, histogram = parameters, side.histogram
    found = loud(histogram)
    if found is None:
        return None
    product = product_error(side.among(~found), p.partner)
    return Others(int(histogram.counts[found].sum()), histogram.columns, product)
