"""A matrix in parts as one side of a product: its columns run through all parts that follow one another along them.

Every part is rotated by itself, and so is the whole: by a rotation that acts on each part alone. With one lattice scale
the points of all parts count alike, and the raw products of parts add up, as integers. The norm of a column is that of
all of its parts together; its noise is theirs, in the mean over columns of one norm code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import pieces
from nqz.ground.errors import NqzError
from nqz.ground.threads import Workers
from nqz.matrix import Matrix
from nqz.product.operand import Columns, Operand
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.estimate import Side
from nqz.stages.norms import Histogram

_LOST = 1.0
"""Relative noise of a part of a column that is not coded where others are: what is left out is as much as it has."""


class SetOperand(Operand):
    """A matrix in parts as an operand.

    Parameters
    ----------
    name : str
    parts : sequence of sequence of Matrix
        Those with the first coordinates first, in the order of their vectors.

    Attributes
    ----------
    unit : float
        What a unit of a raw point is worth, in units of 2 ** exponent.
    alike : bool
        Whether it is so in all parts and columns.
    """

    def __init__(self, name: str, parts: Sequence[Sequence[Matrix]]):
        self.parts = [list(row) for row in parts]
        first = self.parts[0]
        self._edges = [0, *accumulate(matrix.parameters.columns for matrix in first)]
        self.lengths = [row[0].parameters.n for row in self.parts]
        n, m = sum(self.lengths), sum(row[0].parameters.m for row in self.parts)
        every = [matrix for row in self.parts for matrix in row]
        loudest = max(norms.loudest(matrix.histogram.codes) for matrix in every)
        exponent = loudest // norms.DOUBLING
        columns = self._edges[-1]
        self._codes = np.empty(columns, np.int32)
        spread = np.empty(columns)  # energy times relative noise
        for j, (low, high) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
            for c in pieces(high - low):
                own = slice(low + c.start, low + c.stop)
                self._codes[own], spread[own] = _together([row[j] for row in self.parts], c, exponent)
        side = _side(self._codes, spread, exponent, n, m / n)
        # parts of so many columns are stored together at most
        blocks = [(low, high) for low, high in zip(self._edges, self._edges[1:], strict=False)]
        super().__init__(name, side, m, first[0].parameters.rotation_seed, exponent, blocks)
        self.unit, self.alike = _unit(every, exponent)

    def codes(self, columns: Columns) -> NDArray[Any]:
        """See `Operand`."""
        return self._codes[columns]

    def units(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """See `Operand`: the same for all, to which points of parts that have another are brought."""
        return np.where(np.isfinite(self.side.noise_at(codes)) & (codes != norms.ZERO), self.unit, 0.0)

    def means(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`: over all parts; a product has those of each."""
        n = self.side.n
        return sum(length / n * self.part_means(k, columns) for k, length in enumerate(self.lengths))  # type: ignore[return-value]

    def part_means(self, k: int, columns: Columns) -> NDArray[np.float64]:
        """Stored means of some columns in the k-th part of them."""
        out = np.empty(len(self._codes[columns]))
        for j, own, place in self.split(columns):
            out[place] = self.parts[k][j].means(own)
        return out

    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`: those of all parts together, whose errors add up by chance."""
        out = np.zeros(len(self._codes[columns]))
        for k, length in enumerate(self.lengths):
            for j, own, place in self.split(columns):
                out[place] += np.square(length * self.parts[k][j].mean_steps(own, self.exponent))
        return np.sqrt(out) / self.side.n

    @property
    def norm_step(self) -> float:
        """See `Operand`."""
        return max(row[0].parameters.norm_step for row in self.parts) / norms.STEPS

    def split(self, columns: Columns) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Columns by part: its number, which of its columns they are, and where in `columns` they stand; ascending."""
        numbers = np.arange(len(self._codes))[columns]
        cuts = np.searchsorted(numbers, self._edges)
        for j, (low, high) in enumerate(zip(cuts.tolist(), cuts[1:].tolist(), strict=False)):
            if low < high:
                yield j, numbers[low:high] - self._edges[j], np.arange(low, high)

    def ratio(self, k: int, columns: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What points of the k-th part of columns are worth beside `unit`; None where all are worth that."""
        if self.alike:
            return None
        out = np.empty(len(columns))
        for j, own, place in self.split(columns):
            matrix = self.parts[k][j]
            out[place] = matrix.units(matrix.codes(own), self.exponent) / self.unit
        return out

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """Points are read from the parts: see `nqz.commands.set_product`."""
        raise NqzError("internal error: points of a part set are those of its parts")


def _together(
    parts: Sequence[Matrix], columns: slice, exponent: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Norm codes of columns, from those of their parts, and energy times noise; infinite where no part is coded."""
    count = columns.stop - columns.start
    energy, noisy, coded = np.zeros(count), np.zeros(count), np.zeros(count, np.bool_)
    for matrix in parts:
        codes = matrix.codes(columns)
        noise = matrix.histogram.look_up(matrix.norm_scaling.noise, codes)
        kept = np.isfinite(noise)
        own = norms.energy(codes, norms.DOUBLING * exponent)
        energy += own
        noisy += own * np.where(kept, noise, _LOST)
        coded |= kept & (codes != norms.ZERO)
    found = norms.encode(energy, np.full(count, exponent))
    return found, np.where(coded, noisy, np.inf)


def _side(codes: NDArray[np.int32], spread: NDArray[np.float64], exponent: int, n: int, kappa: float) -> Side:
    """The columns as estimators see them."""
    histogram = Histogram.of(codes)
    index, coded = histogram.index(codes), np.isfinite(spread)
    size = len(histogram.codes)
    counts = np.bincount(index[coded], minlength=size)
    sums = np.bincount(index[coded], weights=spread[coded], minlength=size)
    energy = norms.energy(histogram.codes, norms.DOUBLING * exponent)
    noise = np.full(size, np.inf)
    some = (counts > 0) & (energy > 0.0)
    noise[some] = sums[some] / counts[some] / energy[some]
    return Side(histogram, noise, n, kappa)


def _unit(parts: Sequence[Matrix], exponent: int) -> tuple[float, bool]:
    """The least that a unit of points is worth, and whether all are worth that."""
    least, most = np.inf, 0.0
    for matrix in parts:
        codes = matrix.histogram.codes[matrix.norm_scaling.kept]
        if len(codes):
            units = matrix.parameters.coding.unit(matrix.parameters, codes, exponent)
            least, most = min(least, float(units.min())), max(most, float(units.max()))
    return (1.0, True) if most == 0.0 else (least, least == most)
