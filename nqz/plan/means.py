"""How finely means are kept: known before anything else is planned, so that the size of side information is, too."""

from __future__ import annotations

import numpy as np

from nqz.plan.task import Target, Task
from nqz.stages import norms
from nqz.stages.center import MOST_DIGITS, Digits
from nqz.stages.norms import Histogram
from nqz.stages.statistics import Statistics


def mean_digits(task: Task, target: Target, statistics: Statistics) -> Digits | None:
    """Additional binary digits of the means: the rate, rounded up, and more for loud columns; None without centering.

    A mean gets as many digits as its column gets bits, by reverse water-filling, if these are more than the rate.
    """
    if not task.center:
        return None
    least = target.digits
    if task.allocate != "matrix" or "matrix" not in task.coding.allocations:
        return Digits(least)
    reference = _water_level(statistics.histogram, least) + norms.DOUBLING * least
    found = Digits(least, max(-norms.LIMIT, min(norms.LIMIT, reference)))
    loudest = norms.loudest(statistics.histogram.codes)
    return found if int(found.of(np.array([loudest]))[0]) > least else Digits(least)


def _water_level(histogram: Histogram, bits: int) -> int:
    """The least norm code at which columns take `bits` each on average, or fewer.

    A column takes a bit for every time that its norm is twice as high, up to MOST_DIGITS.
    """
    codes, counts = histogram.codes[histogram.codes != norms.ZERO], histogram.counts
    if not len(codes):
        return 0
    counts = counts[histogram.codes != norms.ZERO]
    most, budget = norms.DOUBLING * MOST_DIGITS, norms.DOUBLING * bits * histogram.columns
    low, high = int(codes[0]) - most, int(codes[-1])
    while low < high:
        level = (low + high) // 2
        if int((np.clip(codes - level, 0, most) * counts).sum()) <= budget:
            high = level
        else:
            low = level + 1
    return low
