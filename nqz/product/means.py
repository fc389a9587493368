"""What products need of means: those that are not kept apart, from the points, and what rounding of others leaves.

With a = ā + m 1 and b, of which nothing is kept apart, ⟨a, b⟩ = ⟨ā, b⟩ + m ⟨1, b⟩. The last factor is n times the mean
of b; its estimate is the product of the points with the rotated vector of ones, unbiased like that with any other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import pieces, total_of
from nqz.ground.guard import Guard
from nqz.ground.threads import Workers
from nqz.product.operand import Columns, Operand
from nqz.stages.estimate import Side, related_noise
from nqz.stages.project import project
from nqz.stages.transforms import Transform

_BITS = 18
"""Binary digits behind the point of the rotated ones; fewer where columns are so long that sums would not fit."""

_HELD = 1 << 22
"""Columns whose means are kept for the next use."""


class PointMeans:
    """Means of the columns of an operand, block by block, and their standard deviations.

    Parameters
    ----------
    operand : Operand
    transform : Transform
    """

    def __init__(self, operand: Operand, transform: Transform) -> None:
        n, seed, m = operand.side.n, operand.rotation_seed, operand.m
        self._operand, self._kappa = operand, m / n
        self._digits = _BITS - max(0, (n - 1).bit_length() - 20)
        ones = np.ones((1, n), np.float32)
        transform.rotate(ones, seed)
        scale = np.full(1, np.ldexp(1.0, self._digits), np.float32)
        self._ones = np.empty((1, m), np.int32)
        kernels.round_scaled(project(ones, seed, m), scale, self._ones)
        self._held: OrderedDict[int, NDArray[np.float64]] = OrderedDict()
        self._guard = Guard()

    def at(self, columns: Columns) -> NDArray[np.float64]:
        """Estimated means of columns, ascending."""
        numbers = (
            np.arange(*columns.indices(self._operand.columns)) if isinstance(columns, slice) else columns
        )
        out = np.zeros(len(numbers))
        for first, last in self._operand.blocks:
            low, high = np.searchsorted(numbers, [first, last])
            if low < high:
                out[low:high] = self._block(first, last)[numbers[low:high] - first]
        return out

    def deviations(self, columns: Columns) -> NDArray[np.float64]:
        """Standard deviations of the estimates in columns, in units of 2 ** exponent.

        That of a column which is not coded is what its mean would be if it were unrelated to a constant. One that is
        near a constant itself is related to the ones as to any other vector.
        """
        operand, n = self._operand, self._operand.side.n
        codes = operand.codes(columns)
        noise, energy = operand.side.noise_at(codes), operand.energies(codes)
        known = np.isfinite(noise)
        share = np.where(known, (1.0 + np.where(known, noise, 0.0)) / self._kappa - 1.0, 1.0)
        related = related_noise(operand.side, Side.exact(operand.side.histogram, n))
        if related != 0.0:
            mean = np.ldexp(self.at(columns), -operand.exponent)
            cosine = np.divide(n * mean * mean, energy, out=np.zeros(len(codes)), where=energy > 0.0)
            share = np.maximum(share + related * np.minimum(cosine, 1.0), 0.0)
        found: NDArray[np.float64] = np.sqrt(share * energy) / n
        return found

    def _block(self, first: int, last: int) -> NDArray[np.float64]:
        with self._guard:
            found = self._held.pop(first, None)
            if found is None:
                found = self._estimated(first, last)
            self._held[first] = found  # the latest is the last
            while len(self._held) > 1 and sum(map(len, self._held.values())) > _HELD:
                self._held.popitem(last=False)
            return found

    def _estimated(self, first: int, last: int) -> NDArray[np.float64]:
        """Of the columns of a block. Sums of products of integers are exact: points are below 2 ** 25."""
        operand, m = self._operand, self._operand.m
        stream, sums = operand.stream(first, last, Workers(1)), np.zeros(last - first, np.int64)
        for chunk in stream.chunks:
            start, points = stream.read(chunk)
            low, high = start // m, (start + len(points) - 1) // m + 1
            part = np.empty((high - low, 1), np.int64)
            kernels.point_products(points, start, self._ones, part)
            sums[stream.order[low:high]] += part[:, 0]
        columns = slice(first, last)
        unit = operand.worths(columns, operand.codes(columns)) / (self._kappa * operand.side.n)
        with np.errstate(over="ignore"):
            found: NDArray[np.float64] = np.ldexp(sums * unit, operand.exponent - self._digits)
        return found


def rounding_error(rounded: Operand, other: Operand) -> tuple[float, float]:
    """Energy that products err by for rounded means of one side, and its relative variance.

    What is left of a mean is one draw, within a step s, for all products of its column: its square has the variance
    s⁴/180.
    """
    with np.errstate(over="ignore"):
        steps = _summed(lambda c: np.square(rounded.mean_steps(c)), rounded)
        if steps == 0.0:
            return 0.0, 0.0  # means of the other are not asked for in vain
        means = _summed(lambda c: np.square(np.ldexp(other.means(c), -other.exponent)), other)
        fourth = _summed(lambda c: np.square(np.square(rounded.mean_steps(c) / np.sqrt(steps))), rounded)
        return rounded.side.n**2 * steps * means / 12.0, 0.8 * fourth


def _summed(function: Callable[[slice], NDArray[np.float64]], operand: Operand) -> float:
    """Sum of what a function gives for columns, some at a time."""
    parts = (
        slice(first + c.start, first + c.stop) for first, last in operand.blocks for c in pieces(last - first)
    )
    return total_of(map(function, parts))
