"""A side of a product whose columns come as they are in the matrix: centered, rotated and rounded to integers here."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import pieces
from nqz.ground.threads import Workers
from nqz.product.operand import Operand
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.estimate import Side
from nqz.stages.panels import panel_columns
from nqz.stages.project import project
from nqz.stages.scale import exponents
from nqz.stages.transforms import Transform

_GRID_BITS = 20
"""To 2 ** -20 of a column's standard deviation a matrix is rounded that is not compressed."""

_STEP = 1 << 18  # entries that are rotated at a time


class Block(NamedTuple):
    """Some columns: their entries, of shape (n, columns), whether these are bfloat16, their norm codes and means."""

    entries: NDArray[Any]
    bfloat16: bool
    codes: NDArray[np.int32]
    means: NDArray[np.float64]


class RotatedOperand(Operand):
    """Columns of which all coordinates are there, on a grid: their products are exact integers.

    Parameters
    ----------
    name : str
    side : Side
    transform : Transform
        That of its partner.
    rotation_seed : int
    power : int
        Columns of norm 1 to 2 are rounded to 2 ** -power.
    """

    def __init__(self, name: str, side: Side, transform: Transform, rotation_seed: int, power: int):
        codes, n = side.histogram, side.n
        blocks = [(block.start, block.stop) for block in pieces(codes.columns, panel_columns(n))]
        super().__init__(name, side, n, rotation_seed, norms.loudest(codes.codes) // norms.DOUBLING, blocks)
        self.transform, self._power = transform, power

    @abstractmethod
    def block(self, first: int, last: int, pool: Workers) -> Block:
        """Columns first … last - 1."""

    def units(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """See `Operand`."""
        return grid_units(codes, self.exponent, self._power)

    def rounding(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Relative noise that the grid makes."""
        sizes = self.sizes(codes)  # 0 beside vectors that are louder than doubles range over, too
        ratio = np.divide(self.units(codes), sizes, where=sizes > 0.0, out=np.zeros(len(codes)))
        return ratio * ratio * (self.side.n / 12.0)

    def rms(self, first: int, last: int) -> float:
        """Of all columns, which are scaled alike: those of a block need not be looked at for it."""
        return self.rms_of(self.side.histogram.codes)

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """See `Operand`."""
        n, seed = self.side.n, self.rotation_seed
        found, step = self.block(first, last, pool), max(1, _STEP // n)
        forward = np.ldexp(np.float32(1.0), self._power)

        def read(start: int) -> tuple[int, NDArray[np.int32]]:
            stop = min(start + step, last - first)
            u = np.empty((stop - start, n), np.float32)
            mean, exponent = found.means[start:stop], exponents(found.codes[start:stop])
            entries = found.entries[:, start:stop]
            self.transform.center_rotate(entries, found.bfloat16, mean, exponent, seed, u)
            points = pool.local.array("points", (u.size,), np.int32)
            factors = np.full(len(u), forward, np.float32)
            kernels.round_scaled(project(u, seed, n), factors, points.reshape(u.shape))
            return start * n, points

        return Stream(np.arange(last - first), range(0, last - first, step), read)


def exact_power(n: int) -> int:
    """A power of two that takes the standard deviation of columns of norm 1 to 2 ** 20 or a little more."""
    return _GRID_BITS + n.bit_length() // 2


def noisy_power(n: int, noise: float) -> int:
    """One that takes the standard deviation of noise, relative to that of the columns, to some dozens."""
    digits = 5 + max(0, (2 - int(np.frexp(max(noise, 2.0**-40))[1])) // 2)
    return min(_GRID_BITS, digits) + n.bit_length() // 2


def grid_units(codes: NDArray[Any], exponent: int, power: int) -> NDArray[np.float64]:
    """Worth of an integer in columns of these norm codes on a grid of 2 ** -power, in units of 2 ** exponent."""
    silent = codes == norms.ZERO
    octaves = np.where(silent, 0, exponents(codes) - exponent - power)
    return np.where(silent, 0.0, np.ldexp(1.0, octaves))
