"""Rebuilding the columns of a panel from its points, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nqz.ground.dtypes import cast_saturating
from nqz.ground.threads import Workers
from nqz.matrix.panels import CodedPanel
from nqz.stages.center import Means
from nqz.stages.decoder import rebuild
from nqz.stages.parameters import Parameters

STEP = 1 << 19
"""Entries that one thread rebuilds at a time."""

_HUGE = float(np.finfo(np.float64).max) / 2.0
_MOST_POINTS = 2.0**40
"""More than a rotated point is."""

Points: TypeAlias = "npt.NDArray[np.int32]"
Block: TypeAlias = "npt.NDArray[Any] | None"


@dataclass(frozen=True, eq=False)
class Builder:
    """Rebuilds columns of a panel, `width` at a time; see `Matrix.blocks` and `Matrix.some`.

    Attributes
    ----------
    parameters : Parameters
    panel : CodedPanel
    means : Means
        Its own.
    gains : ndarray of float64, or None
        Its own, too.
    scale : ndarray of float64
        What points are multiplied by, by norm code, beside gains.
    dtype : str
    work : callable or None
    width : int
    pool : Workers
    chosen, place : ndarray, optional
        Which columns of the panel, and in which rows of the points they are; by default all of them.
    """

    parameters: Parameters
    panel: CodedPanel
    means: Means
    gains: npt.NDArray[np.float64] | None
    scale: npt.NDArray[np.float64]
    dtype: str
    work: Callable[[int, npt.NDArray[Any]], Any] | None
    width: int
    pool: Workers
    chosen: npt.NDArray[Any] | None = None
    place: npt.NDArray[Any] | None = None

    def piece(self, points: Points, block: Block, first: int) -> Any:
        """Rebuild columns from number `first` on, in the panel's block or in memory of the thread; work on them."""
        panel = self.panel.panel
        count = panel.width if self.chosen is None else len(self.chosen)
        columns = slice(first, min(first + self.width, count))
        found = self._rebuilt(points, columns, None if block is None else block[:, columns])
        start = panel.first if self.chosen is None else 0
        return None if self.work is None else self.work(start + first, found)

    def _rebuilt(self, points: Points, columns: slice, target: Block) -> npt.NDArray[Any]:
        panel, out = self.panel, target
        chosen = columns if self.chosen is None else self.chosen[columns]
        place = panel.opened.place[columns] if self.place is None else self.place[columns]
        scale, mean = panel.histogram.look_up(self.scale, panel.codes[chosen]), self.means.at(chosen)
        if self.gains is not None:
            scale = np.minimum(scale * self.gains[chosen], np.finfo(np.float64).max)
        # of each column by itself: what it becomes does not depend on those beside it
        huge = np.maximum(scale, np.abs(mean) / _MOST_POINTS) > _HUGE / _MOST_POINTS
        some = bool(huge.any())
        # narrower types are rounded once, from float64
        if out is None or some or self.dtype not in ("float32", "float64"):
            shape = columns.stop - columns.start, self.parameters.n
            out = self.pool.local.array("rebuilt", shape, np.float64).T
        if some:  # the parts of a sum may be beyond float64 where the sum is not
            scale, mean = np.where(huge, scale / 2.0, scale), np.where(huge, mean / 2.0, mean)
        rebuild(self.parameters, points, place, scale, mean, out)
        if some:
            found = np.clip(out[:, huge], -_HUGE, _HUGE)
            out[:, huge] = found * 2.0
        if target is None or out is target:
            return out
        step = max(1, STEP // max(1, out.shape[1]))
        for first in range(0, len(out), step):
            target[first : first + step] = cast_saturating(out[first : first + step], self.dtype)
        return target
