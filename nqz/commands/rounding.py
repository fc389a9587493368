"""What the rounding of decoded entries to a type adds to their error: what is far from 0 has a coarse grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import total
from nqz.ground.float8 import FLOAT8, Float8
from nqz.matrix import Matrix
from nqz.stages import norms

# binary digits of a number, and the exponent of the smallest one
_TYPES = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}

_NARROW = 4.0  # standard deviations that entries lie within
_MOST = 400  # beyond, all entries are rounded to 0, or nearly
_SPREAD = 0.54  # mean square of 2 ** floor(log2 x) / x where log2 x is uniform

_POINTS = 32  # values that stand for the normal distribution of the entries of a column
_ROOT = math.sqrt(2.0)
_FAR = 8.0  # standard deviations that nothing lies beyond
_LEAST = 1e-300
_FINE = 256  # error relative to a step: points of a table from 0 to 1

Floats = npt.NDArray[np.float64]


def rounding_error(matrix: Matrix, dtype: str, among: npt.NDArray[np.bool_] | None = None) -> float:
    """Expected energy of the rounding of all decoded entries to a type, not float8, relative to ‖Ā‖².

    With `among`, that of columns of some of the norm codes of the histogram, relative to their energy.

    Raises
    ------
    CorruptError
        The means are damaged.
    """
    digits, least = _TYPES[dtype]
    histogram = matrix.histogram
    among = np.ones(len(histogram.codes), np.bool_) if among is None else among
    exponent = norms.loudest(histogram.codes[among]) // norms.DOUBLING
    whole = total(histogram.energies(norms.DOUBLING * exponent)[among])
    if whole <= 0.0:
        return 0.0
    n, energy = matrix.parameters.n, 0.0
    smallest = 4.0 ** min(least - exponent, _MOST)
    for panel in matrix.panels:
        with np.errstate(over="ignore"):  # of columns that are not among these
            codes, mean = panel.codes, np.abs(np.ldexp(panel.means.at(slice(None)), -exponent))
            variance = norms.energy(codes, norms.DOUBLING * exponent) / n
            far = mean > _NARROW * np.sqrt(variance)
            binade = np.ldexp(0.5, np.frexp(mean)[1])
            size = np.where(far, binade * binade, _SPREAD * (mean * mean + variance))
            step = np.maximum(size * 4.0 ** (1 - digits), smallest)
        counted = (codes != norms.ZERO) & histogram.look_up(among, codes)
        energy += float(np.where(counted, step, 0.0).sum()) * n / 12.0
    return min(energy / whole, 1.0)  # what is rounded to 0 is off by itself


def decoded_error(matrix: Matrix, dtype: str, estimator: str = "mmse") -> float:
    """Expected ‖A - Â‖² / ‖Ā‖² of a decoded matrix in a type.

    Raises
    ------
    CorruptError
        The means are damaged.
    """
    if dtype in FLOAT8:
        return _float8_error(matrix, dtype, estimator)
    return matrix.predicted_reconstruction(estimator) + rounding_error(matrix, dtype)


def joint_error(matrices: Sequence[Matrix], dtype: str, estimator: str = "mmse") -> float:
    """The same of several matrices together, such as the slices of a tensor; 0 for none."""
    energies = [matrix.histogram.energy() for matrix in matrices]
    most = max((exponent for _, exponent in energies), default=0)
    weights = [math.ldexp(mantissa, exponent - most) for mantissa, exponent in energies]
    errors = [decoded_error(matrix, dtype, estimator) for matrix in matrices]
    if len(errors) == 1:
        return errors[0]
    spent = math.fsum(weight * error for weight, error in zip(weights, errors, strict=True))
    return spent / whole if (whole := math.fsum(weights)) > 0.0 else 0.0


def _float8_error(matrix: Matrix, dtype: str, estimator: str) -> float:
    """The same where steps are so coarse that it matters where entries lie, and whether the original was rounded too.

    Entries that had the type before come back exactly where the error is well below a step.
    """
    side = matrix.side
    codes = side.histogram.codes
    exponent = norms.loudest(codes) // norms.DOUBLING
    whole = total(side.histogram.energies(norms.DOUBLING * exponent))
    if whole <= 0.0:
        return 0.0
    variance = norms.energy(codes, norms.DOUBLING * exponent) / side.n
    alive = np.isfinite(side.noise)
    kept = np.where(alive, side.kappa / (1.0 + side.noise), 1.0)
    before = np.where(alive, 1.0 - kept if estimator == "mmse" else 1.0 / kept - 1.0, 1.0) * variance
    after = np.where(alive, kept if estimator == "mmse" else 1.0 / kept, 0.0) * variance
    rounded = matrix.info.dtype in FLOAT8
    deviation = np.sqrt(variance if rounded else after)
    grid = _Grid(FLOAT8[dtype], FLOAT8[matrix.info.dtype] if rounded else None, exponent)
    energy = 0.0
    for panel in matrix.panels:
        mean = np.ldexp(panel.means.at(slice(None)), -exponent)
        error, width = (side.histogram.look_up(x, panel.codes) for x in (before, deviation))
        found = grid.beyond(mean, width) * _POINTS
        with np.errstate(all="ignore"):
            for point in _normal():
                found += grid.error(np.abs(mean + point * width), error)
        energy += float(np.where(panel.codes == norms.ZERO, 0.0, found).sum()) / _POINTS
    return energy * side.n / whole


class _Grid:
    """Steps between the numbers of a type, in units of 2 ** exponent.

    Parameters
    ----------
    kind : Float8
    original : Float8 or None
        The type that entries had before they were encoded.
    exponent : int
    """

    def __init__(self, kind: Float8, original: Float8 | None, exponent: int):
        self._kind, self._original, self._exponent = kind, original, exponent
        self._largest = math.ldexp(kind.largest, -exponent)

    def error(self, entry: Floats, error: Floats) -> Floats:
        """Expected square of the error at absolute values of entries, where it is `error` before they are rounded."""
        entry = np.minimum(entry, self._largest)
        step, smallest = self._steps(self._kind, entry)
        near = np.minimum(np.abs(entry - np.rint(entry / step) * step), step)
        found = error + np.where(entry < step, near * near, step * step / 12.0)
        if self._original is not None:
            finer = step / self._steps(self._original, entry)[0]
            on = _after_rounding(error, step, 0)
            # next to a power of two the step to 0 is half as large
            half = np.where(smallest, 0.0, 0.5**self._original.mantissa / 2.0)
            same = on + half * (_after_rounding(error, step / 2.0, 0) - on)
            found = np.where(finer == 2.0, (on + _after_rounding(error, step, 1)) / 2.0, found)
            found = np.where(finer <= 1.0, same, found)
        return found

    def beyond(self, mean: Floats, deviation: Floats) -> Floats:
        """Mean square of what the entries of columns have beyond the largest number: normally distributed ones."""
        if self._original is not None and self._original.largest <= self._kind.largest:
            return np.zeros(len(mean))
        unit = np.maximum(deviation, _LEAST)
        found: Floats = np.zeros(len(mean))
        for side in (mean, -mean):
            threshold = (self._largest - side) / unit
            found += np.where(
                threshold < -_FAR, 1.0 + threshold * threshold, np.interp(threshold, *_tails(), right=0.0)
            )
        return found * np.square(deviation)

    def _steps(self, kind: Float8, entry: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Steps of a type at entries, and where they are the smallest."""
        power, least = np.frexp(entry)[1] - 1 - kind.mantissa, kind.least - self._exponent
        return np.ldexp(1.0, np.clip(power, max(least, -_MOST), _MOST)), power <= least


def _after_rounding(error: Floats, step: Floats, halves: int) -> Floats:
    """Mean square error of multiples of a step, or of what is in the middle of two, once they are rounded to multiples.

    It is normally distributed before, with `error` as its mean square.
    """
    square = step * step
    ratio = np.sqrt(error / square)
    small = square * np.interp(ratio, *_table(halves))
    return np.where(ratio < 1.0, small, error + square / 12.0)


@cache
def _table(halves: int) -> tuple[Floats, Floats]:
    """Standard deviations from 0 to 1, and what the mean square is after rounding, of steps of 1."""
    ratio = np.linspace(0.0, 1.0, _FINE)
    whole = [0.5 * halves + k for k in range(9)]  # the errors that are possible
    squares = [b * b - a * a for a, b in pairwise(whole)]
    edges = [(a + b) / 2.0 for a, b in pairwise(whole)]
    tail = [
        whole[0] ** 2 + sum(x * math.erfc(e / (r * _ROOT)) for x, e in zip(squares, edges, strict=True))
        for r in (max(float(r), 1e-9) for r in ratio)
    ]
    return ratio, np.array(tail)


@cache
def _tails() -> tuple[Floats, Floats]:
    """Thresholds, and the mean square of what standard normal numbers have above them."""
    at = np.linspace(-_FAR, _FAR, 4 * _FINE + 1)
    density = np.exp(-at * at / 2.0) / math.sqrt(2.0 * math.pi)
    above = np.array([math.erfc(t / _ROOT) / 2.0 for t in at])
    return at, (1.0 + at * at) * above - at * density


@cache
def _normal() -> tuple[float, ...]:
    """Equally likely values of the standard normal distribution, of mean square 1."""
    found = [NormalDist().inv_cdf((i + 0.5) / _POINTS) for i in range(_POINTS)]
    size = math.sqrt(sum(x * x for x in found) / _POINTS)
    return tuple(x / size for x in found)
