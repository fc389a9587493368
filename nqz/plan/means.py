"""How finely means are kept: known before anything else is planned, so that the size of side information is, too."""

from __future__ import annotations

import numpy as np

from nqz.plan.side import least_digits
from nqz.plan.task import Target, Task
from nqz.stages import norms
from nqz.stages.center import MOST_DIGITS, Digits
from nqz.stages.norms import Histogram
from nqz.stages.statistics import Statistics


def mean_digits(task: Task, target: Target, statistics: Statistics) -> Digits | None:
    """Additional binary digits of the means, see `least_digits`, and more for loud columns; None without centering.

    A mean gets as many digits more as its column gets bits, by reverse water-filling, beyond the rate.
    """
    if not statistics.center:
        return None
    least, rate = least_digits(task, statistics.n, statistics.histogram, target), target.digits
    if task.allocate != "matrix" or "matrix" not in task.coding.allocations:
        return Digits(least)
    reference = _water_level(statistics.histogram, rate) + norms.DOUBLING * rate
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
