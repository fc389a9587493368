"""Error bars: the standard deviation of every entry of an estimate, from what its columns and its θ are known to be.

The noise of the points gives ν P, and c C²/n for related columns; factors α below 1 leave (1 - α)² C² out, for which
the mean over pairs of columns as loud stands; the rounding of means, of the norms where a diagonal comes from them, and
of the estimate itself adds to that. Entries of columns that are not coded have no standard deviation.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import pieces
from nqz.ground.threads import Workers
from nqz.product import diagonal
from nqz.product.groups import places
from nqz.product.operand import Operand, lifted
from nqz.product.risk import Local
from nqz.stages import norms
from nqz.stages.estimate import related_noise

Put = Callable[[int, int, NDArray[Any]], Any]

_ROOT_12 = math.sqrt(12.0)
_LN2 = 0.6931471805599453
_ROUNDING = {"float32": 2.0**-23 / _ROOT_12, "float64": 2.0 * 2.0**-52 / _ROOT_12}
"""Root mean square of the rounding to a type, relative to the power of two of a number. In float64 the estimate is
computed, too, which takes three more roundings."""


class InfiniteError(ValueError):
    """A standard deviation overflows; `wide` tells whether float64 would hold it."""

    def __init__(self, row: int, column: int, wide: bool):
        super().__init__(f"standard deviation of entry [{row}, {column}] overflows")
        self.row, self.column, self.wide = row, column, wide


@dataclass
class Found:
    """What there is to tell of the standard deviations of a product; it does not depend on the order of its pieces.

    Attributes
    ----------
    least, greatest : float
        Of those that are known; infinite and 0 where none is.
    unknown : int
        Entries without one.
    coarse : int
        Entries of which more than half of the variance is rounding to their type.
    """

    least: float = math.inf
    greatest: float = 0.0
    unknown: int = 0
    coarse: int = 0

    def add(self, other: Found) -> None:
        """Count other pieces."""
        self.least, self.greatest = min(self.least, other.least), max(self.greatest, other.greatest)
        self.unknown, self.coarse = self.unknown + other.unknown, self.coarse + other.coarse

    def count(self, tile: NDArray[Any], unknown: int, coarse: int) -> None:
        """Count a piece."""
        self.least = min(self.least, float(np.fmin.reduce(tile, axis=None, initial=np.inf)))
        self.greatest = max(self.greatest, float(np.fmax.reduce(tile, axis=None, initial=0.0)))
        self.unknown += unknown
        self.coarse += coarse


class Deviations:
    """Standard deviations of the entries of a product.

    Parameters
    ----------
    a, b : Operand
    estimator : {"auto", "mmse", "unbiased"}
    theta : float
        θ of `auto`.
    local : Local
        Energy of the product in units of P.
    same : bool
        Whether both are one tensor, and the diagonal comes from its norms.
    put : callable
        put(row, column, tile) is called for every piece, from several threads; the array is valid during the call
        only.

    Attributes
    ----------
    found : Found
        What there is to tell of the pieces so far.
    local : Local
    """

    def __init__(
        self, a: Operand, b: Operand, estimator: str, theta: float, local: Local, same: bool, put: Put
    ):
        self._a, self._b, self._same, self._put = a, b, same, put
        self.local = local
        self._shrink = {"unbiased": 0.0, "mmse": 1.0, "auto": 1.0 / theta}[estimator]
        self._kappa = min(a.side.kappa, b.side.kappa)
        self._related = related_noise(a.side, b.side)
        self._exponent = max(-2044, min(2044, a.exponent + b.exponent))
        self._lock = threading.Lock()
        self.found = Found()

    @property
    def needs_products(self) -> bool:
        """Whether they depend on the product itself, beside its rounding."""
        return self._related != 0.0 and self._shrink == 0.0

    def add(
        self, rows: slice, columns: slice, raw: NDArray[Any], estimates: NDArray[Any], pool: Workers,
        rounded: bool = True,
    ) -> None:  # fmt: skip
        """Compute a piece, and put it.

        Parameters
        ----------
        rows, columns : slice
        raw : ndarray of int32 or float64
            Exact products of points.
        estimates : ndarray of float32 or float64
        pool : Workers
        rounded : bool
            Whether the rounding of `estimates` to their type counts.

        Raises
        ------
        InfiniteError
            One does not fit the type of the estimates.
        """
        a, group_a = self._side(self._a, self.local.a, rows)
        b, group_b = self._side(self._b, self.local.b, columns)
        present = np.bincount(group_a) > 0
        theta = np.ascontiguousarray(self.local.table[np.flatnonzero(present)][:, group_b])
        group = (np.cumsum(present) - 1)[group_a].astype(np.int32)
        out = pool.local.array("deviations", raw.shape, estimates.dtype)
        rounding = _ROUNDING[estimates.dtype.name] if rounded else 0.0
        a[1], b[1], exponent = lifted(a[1], b[1], self._exponent)
        position, unknown, coarse = kernels.deviations(
            raw, a, b, group, theta, self._shrink, self._kappa, self._related, float(self._a.side.n), rounding,
            exponent, estimates, out,
        )  # fmt: skip
        first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
        if self._same and first < last:
            i = np.arange(first, last)
            place = i - rows.start, i - columns.start
            unknown -= int(np.isnan(out[place]).sum())
            out[place] = self._diagonal(slice(first, last), estimates[place], rounding)
            infinite = np.isinf(out)
            position = int(np.argmax(infinite)) if infinite.any() else -1
        if position >= 0:
            i, j = divmod(position, raw.shape[1])
            raise InfiniteError(rows.start + i, columns.start + j, estimates.dtype == np.float32)
        with self._lock:
            self.found.count(out, unknown, coarse)
        self._put(rows.start, columns.start, out)

    def take(self, row: int, column: int, tile: NDArray[Any], found: Found) -> None:
        """Put a piece that was computed elsewhere, with what there is to tell of it."""
        self.found.add(found)
        self._put(row, column, tile)

    def _side(
        self, operand: Operand, labels: NDArray[np.int64], columns: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """What `kernels.deviations` takes of columns, and their groups."""
        codes = operand.codes(columns)
        out = np.zeros((5, len(codes)))
        out[1], out[2] = operand.sizes(codes), operand.noise(codes)
        np.divide(operand.units(codes), out[1], out=out[0], where=out[1] > 0.0)
        out[3] = np.abs(operand.means(columns))
        with np.errstate(over="ignore"):
            step = np.ldexp(operand.mean_steps(columns), operand.exponent) * (operand.side.n / _ROOT_12)
        out[4] = np.minimum(step, np.finfo(np.float64).max)
        return out, places(labels, codes)

    def _diagonal(self, chosen: slice, estimates: NDArray[Any], rounding: float) -> NDArray[np.float64]:
        """Of entries of the diagonal: energies, and means that err with themselves."""
        side, _ = self._side(self._a, self.local.a, chosen)
        with np.errstate(over="ignore"):
            size = np.ldexp(side[1], self._a.exponent)
            parts = (
                size * (size * diagonal.deviations(self._a, self._a.codes(chosen), self._kappa)),
                2.0 * side[3] * side[4],
                rounding * np.abs(estimates.astype(np.float64)),
            )
            most = np.maximum(np.maximum(parts[0], parts[1]), parts[2])
            scale = np.where((most > 0.0) & np.isfinite(most), most, 1.0)
            return scale * np.sqrt(sum((part / scale) * (part / scale) for part in parts))

    def bound(self, dtype: str) -> float:
        """What no entry without a standard deviation is off by more than: ‖a‖‖b‖, and what was rounded."""
        a, b = _Most.of(self._a), _Most.of(self._b)
        n = self._a.side.n
        octaves = (norms.above(self._a.norm_step) + norms.above(self._b.norm_step)) / 2.0
        norms_off = math.exp(_LN2 * octaves)
        with np.errstate(over="ignore"):
            known = max(a.lost * b.norm, a.norm * b.lost) * norms_off
            centered = float(np.ldexp(known, self._exponent))
            means = n * (a.mean * b.step + b.mean * a.step) / 2.0
            rounded = 4.0 * _ROUNDING[dtype] * (n * a.mean * b.mean)
            return float(min(centered + means + rounded, np.finfo(np.float64).max))


class _Most(NamedTuple):
    """The largest of what the columns of an operand have; norms in units of 2 ** exponent.

    `lost` is the norm of the loudest that is not coded.
    """

    norm: float
    lost: float
    mean: float
    step: float

    @classmethod
    def of(cls, operand: Operand) -> _Most:
        codes = operand.side.histogram.codes
        size, lost = operand.sizes(codes), np.isinf(operand.noise(codes))
        mean = step = 0.0
        for first, last in operand.blocks:
            for c in pieces(last - first):
                columns = slice(first + c.start, first + c.stop)
                mean = max(mean, float(np.abs(operand.means(columns)).max(initial=0.0)))
                step = max(step, float(operand.mean_steps(columns).max(initial=0.0)))
        return cls(
            float(size.max(initial=0.0)), float(size[lost].max(initial=0.0)), mean,
            float(np.ldexp(step, operand.exponent)),
        )  # fmt: skip
