"""Short vectors: their norms and means as finely as they are worth, and means not at all where they are not."""

from __future__ import annotations

from dataclasses import replace

from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.ground.threads import Workers
from nqz.plan.side import is_short, rounding, worth_centering
from nqz.plan.task import Target, Task
from nqz.stages.sums import Found

_RUNS, _RUN = 8, 512
"""Runs of neighbors, and their width, that tell of very many columns whether they are worth centering."""


def rounded(matrix: MeasuredMatrix, task: Task, target: Target, pool: Workers) -> MeasuredMatrix:
    """A matrix as it was measured, with norm codes as they are to be kept.

    It is measured again, without means, if these do not pay.
    """
    return with_rounding(matrix if pays(matrix, task, target) else without_means(matrix, pool), task, pool)


def pays(matrix: MeasuredMatrix, task: Task, target: Target) -> bool:
    """Whether a matrix stays as it was measured, centered if it is, for what it is to become."""
    n = matrix.statistics.n
    return not (is_short(task, n) and matrix.statistics.center) or worth_centering(
        task, n, _some(matrix), target
    )


def without_means(matrix: MeasuredMatrix, pool: Workers) -> MeasuredMatrix:
    """The matrix measured again, without means."""
    found = measure(matrix.view, False, matrix.where, pool=pool, hashed=False)
    statistics = replace(found, digests=matrix.statistics.digests)
    return MeasuredMatrix(matrix.view, statistics, matrix.where, pool)


def with_rounding(matrix: MeasuredMatrix, task: Task, pool: Workers) -> MeasuredMatrix:
    """The matrix with norm codes as they are to be kept."""
    statistics = matrix.statistics
    statistics = statistics.rounded(rounding(task, statistics.n, statistics.histogram))
    return MeasuredMatrix(matrix.view, statistics, matrix.where, pool)


def _some(matrix: MeasuredMatrix) -> Found:
    """Norms and means of columns, all of them where they are held."""
    held, count = matrix.statistics.held, matrix.statistics.columns
    if held is not None:
        return held
    starts = range(0, count, -(-count // _RUNS))
    return Found.joined([matrix.measured(at, min(at + _RUN, count)) for at in starts])
