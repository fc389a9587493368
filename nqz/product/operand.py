"""One side of a product: integers that are decoded chunk by chunk, and what they are worth column by column."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import GRID, exp2
from nqz.ground.threads import Workers
from nqz.product.integers import Integers
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.estimate import Side

Columns = slice | NDArray[Any]
"""Which columns: a range, or their numbers."""

_FAINT = 2.0**-900
"""Products of sizes below which `lifted` raises them."""
_LIFT, _FAR = 490, 2044
"""Octaves by which each side is raised at most, and the least exponent, negative."""


class Counts(NamedTuple):
    """By what the noise of vectors counts for more in scores than noise that is flat along them.

    Attributes
    ----------
    between : float
        Its energy, beside vectors of the other side.
    along, square : float
        The variances of what of it is along a vector, and of its energy.
    """

    between: float = 1.0
    along: float = 1.0
    square: float = 1.0


FLAT = Counts()


class Operand(ABC):
    """One side of a product. What is known of its columns is asked for by range: there may be millions of them.

    Parameters
    ----------
    name : str
        For messages.
    side : Side
        The columns as the estimators see them.
    m : int
        Kept coordinates.
    rotation_seed : int
    exponent : int
        A power of two near the norm of the loudest column, in whose units energies, units and steps are given.
    blocks : list of tuple of int
        Ranges of columns that are stored together.

    Attributes
    ----------
    norm_variances : dict
        What `Vectors.norm_variance` found of blocks, by their first columns and the share of coordinates that counted.
    counts : Counts
        How noise counts in scores.
    """

    counts = FLAT

    def __init__(
        self, name: str, side: Side, m: int, rotation_seed: int, exponent: int, blocks: list[tuple[int, int]]
    ):
        self.name, self.side, self.m, self.rotation_seed = name, side, m, rotation_seed
        self.exponent, self.blocks = exponent, blocks
        self.norm_variances: dict[tuple[int, float], float] = {}

    @abstractmethod
    def codes(self, columns: Columns) -> NDArray[Any]:
        """Norm codes of columns."""

    @abstractmethod
    def units(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Worth of an integer in columns of these norm codes, in units of 2 ** exponent; 0 for columns not coded."""

    @property
    def across(self) -> bool:
        """Whether nothing of the noise of a column is along it, see `Dependence`."""
        return self.side.dependence is not None and self.side.dependence().across

    @property
    def along(self) -> float:
        """What is along it nevertheless."""
        return 0.0 if self.side.dependence is None else self.side.dependence().along

    def gains(self, columns: Columns) -> NDArray[np.float64] | None:
        """Factors on the units of columns, which are near 1; None where units follow from norm codes alone."""
        return None

    def worths(self, columns: Columns, codes: NDArray[Any]) -> NDArray[np.float64]:
        """The units of columns, of these norm codes, times their gains."""
        gains = self.gains(columns)
        return self.units(codes) if gains is None else self.units(codes) * gains

    @abstractmethod
    def means(self, columns: Columns) -> NDArray[np.float64]:
        """Stored means."""

    @abstractmethod
    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """Steps to which the means were rounded, in units of 2 ** exponent; 0 for exact ones."""

    @property
    def apart(self) -> bool:
        """Whether the means are no part of the vectors that points stand for."""
        return True

    @property
    def most_point(self) -> int | None:
        """The largest magnitude of points, 127 at most, where the coding of the matrix says so; then it multiplies."""
        return None

    def least_noise(self) -> float:
        """Of the columns that are coded, the least relative noise."""
        noise = self.side.noise
        return float(noise[noise > 0.0].min(initial=1.0))

    @property
    def norm_step(self) -> float:
        """To how much of an octave energies were rounded; 0 for exact ones."""
        return 1.0 / norms.STEPS

    def noise(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Relative noise of columns of these norm codes, infinite where they are not coded, 0 where they are silent."""
        return np.where(codes == norms.ZERO, 0.0, self.side.noise_at(codes))

    def sizes(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Norms of centered columns of these norm codes, in units of 2 ** exponent."""
        silent = codes == norms.ZERO
        code = np.where(silent, 0, codes.astype(np.int64) - norms.DOUBLING * self.exponent)
        return np.where(silent, 0.0, exp2(code * (GRID // norms.DOUBLING)))

    @abstractmethod
    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """The points of the block of columns first … last - 1; the pool's threads read them, into its memory."""

    def in_memory(self, first: int, last: int) -> list[tuple[int, Integers]] | None:
        """The points of a block where they are in memory: rows that follow each other, and where they begin in it."""
        return None

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.side.histogram.columns

    def energies(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Energies of centered columns of these norm codes, in units of 4 ** exponent."""
        return norms.energy(codes, norms.DOUBLING * self.exponent)

    def rms(self, first: int, last: int) -> float:
        """Root mean square of the points of the loudest of the columns of a block, as the norms have it."""
        return 0.0 if self.most_point is not None else self.rms_of(self.codes(slice(first, last)))

    def rms_of(self, codes: NDArray[Any]) -> float:
        """The same of columns of these norm codes."""
        unit, noise = self.units(codes), self.side.noise_at(codes)
        coded = np.isfinite(noise) & (unit > 0)
        if not coded.any():
            return 0.0
        energy = self.energies(codes)[coded] * (1.0 + noise[coded]) / self.side.n
        with np.errstate(over="ignore"):
            return float(np.max(np.sqrt(energy) / unit[coded]))


def lifted(
    a: NDArray[np.float64], b: NDArray[np.float64], exponent: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Sizes of both sides that are multiplied, in units of 2 ** exponent, and the exponent.

    Beside vectors that are far louder, products of the quietest would be below float64: then all are multiplied by a
    power of two, and the exponent is less.
    """
    least = [float(np.min(side, where=side > 0.0, initial=1.0)) for side in (a, b)]
    octaves = min(_LIFT, (exponent + _FAR) // 2)
    if least[0] * least[1] >= _FAINT or octaves <= 0:
        return a, b, exponent
    up = math.ldexp(1.0, octaves)
    return a * up, b * up, exponent - 2 * octaves


class Watch:
    """Tells of the points of operands as they are first read: what share of all of them it was.

    Parameters
    ----------
    operands : sequence of Operand
    progress : callable
        Called as progress(share) from the threads that read, one at a time.
    """

    def __init__(self, operands: Sequence[Operand], progress: Callable[[float], Any]):
        self._operands, self._progress = operands, progress
        self._lock = threading.Lock()
        self._left = 1.0

    def tell(self, count: int) -> None:
        """So many points were read."""
        points = sum(x.side.coded_columns() * x.m for x in self._operands)
        with self._lock:
            share = min(self._left, count / points)
            if share > 0.0:
                self._left -= share
                self._progress(share)

    def over(self, stream: Stream) -> Stream:
        """The same stream, watched."""

        def told(
            read: Callable[[Any], tuple[int, NDArray[Any]]],
        ) -> Callable[[Any], tuple[int, NDArray[Any]]]:
            def telling(chunk: Any) -> tuple[int, NDArray[Any]]:
                start, found = read(chunk)
                self.tell(len(found))
                return start, found

            return telling

        def multiply(chunk: Any, vectors: NDArray[np.int16]) -> tuple[int, NDArray[np.int64]]:
            assert stream.multiply is not None
            start, found = stream.multiply(chunk, vectors)
            self.tell(len(found) * vectors.shape[1])
            return start, found

        return replace(
            stream,
            read=told(stream.read),
            read_bytes=None if stream.read_bytes is None else told(stream.read_bytes),
            multiply=None if stream.multiply is None else multiply,
        )
