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

from nqz.commands.factors import PlainOperand
from nqz.commands.rotated import exact_power, grid_units
from nqz.ground.arithmetic import pieces
from nqz.ground.errors import NqzError
from nqz.ground.threads import Workers
from nqz.product.operand import Columns, Operand
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.estimate import Side
from nqz.stages.norms import Histogram
from nqz.stages.panels import panel_columns

_LOST = 1.0
"""Relative noise of a part of a column that is not coded where others are: what is left out is as much as it has."""


class SetOperand(Operand):
    """A matrix in parts as an operand.

    Parameters
    ----------
    name : str
    parts : sequence of sequence of Operand
        Those with the first coordinates first, in the order of their columns; all compressed, or none.
    between : bool
        Whether energies are those of whole columns around their means, rather than of parts around theirs.

    Attributes
    ----------
    alike : bool
        Whether a unit of raw points is worth the same in all parts and columns.
    panels : list of tuple
        First column and the one behind the last of those that are decoded together, or nearly so, in all parts.
    """

    def __init__(self, name: str, parts: Sequence[Sequence[Operand]], between: bool = False):
        self.parts = [list(row) for row in parts]
        first = self.parts[0]
        self._edges = [0, *accumulate(part.columns for part in first)]
        self.lengths = [row[0].side.n for row in self.parts]
        n, m = sum(self.lengths), sum(row[0].m for row in self.parts)
        every = [part for row in self.parts for part in row]
        self._n, columns = n, self._edges[-1]
        exponent = max(part.exponent for part in every)
        if between:
            exponent = max(exponent, *(self._apart(c)[1] for c in pieces(columns)))
        self._codes = np.empty(columns, np.int32)
        spread = np.empty(columns)  # energy times relative noise
        for j, (low, high) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
            for c in pieces(high - low):
                own = slice(low + c.start, low + c.stop)
                energy, spread[own] = _together([row[j] for row in self.parts], c, exponent)
                if between:
                    energy += np.square(np.ldexp(self._apart(own)[0], -exponent))
                self._codes[own] = norms.encode(energy, np.full(len(energy), exponent))
        side = _side(self._codes, spread, exponent, n, m / n)
        # parts of so many columns are stored together at most
        blocks = [(low, high) for low, high in zip(self._edges, self._edges[1:], strict=False)]
        super().__init__(name, side, m, first[0].rotation_seed, exponent, blocks)
        self._power = exact_power(n) if isinstance(every[0], PlainOperand) else None
        self._unit, self.alike = _unit(every, exponent) if self._power is None else (0.0, False)
        width = panel_columns(max(self.lengths))
        self.panels = [
            (low, min(low + width, end)) for first, end in blocks for low in range(first, end, width)
        ]

    def _apart(self, columns: slice) -> tuple[NDArray[np.float64], int]:
        """Root of the energy that the means of the parts of columns have around those of all, and its exponent."""
        means = [self.part_means(k, columns) for k in range(len(self.parts))]
        whole = sum(length / self._n * mean for length, mean in zip(self.lengths, means, strict=True))
        peak = np.maximum.reduce([np.abs(mean - whole) for mean in means])
        scale = np.where(peak > 0.0, peak, 1.0)
        found = np.zeros(len(peak))
        for length, mean in zip(self.lengths, means, strict=True):
            found += length * np.square((mean - whole) / scale)
        root: NDArray[np.float64] = np.sqrt(found) * peak
        return root, int(np.frexp(root.max(initial=0.0))[1])

    def codes(self, columns: Columns) -> NDArray[Any]:
        """See `Operand`."""
        return self._codes[columns]

    def units(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """See `Operand`: what points of parts are brought to; of compressed parts the same for all."""
        if self._power is not None:
            return grid_units(codes, self.exponent, self._power)
        return np.where(np.isfinite(self.side.noise_at(codes)) & (codes != norms.ZERO), self._unit, 0.0)

    def means(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`: over all parts; a product has those of each."""
        return sum(length / self._n * self.part_means(k, columns) for k, length in enumerate(self.lengths))  # type: ignore[return-value]

    def part_means(self, k: int, columns: Columns) -> NDArray[np.float64]:
        """Stored means of some columns in the k-th part of them."""
        out = np.empty(len(self._numbers(columns)))
        for j, own, place in self.split(columns):
            out[place] = self.parts[k][j].means(own)
        return out

    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`: those of all parts together, whose errors add up by chance."""
        out = np.zeros(len(self._numbers(columns)))
        for k, length in enumerate(self.lengths):
            for j, own, place in self.split(columns):
                part = self.parts[k][j]
                out[place] += np.square(
                    length * np.ldexp(part.mean_steps(own), part.exponent - self.exponent)
                )
        return np.sqrt(out) / self._n

    @property
    def norm_step(self) -> float:
        """See `Operand`."""
        return max(row[0].norm_step for row in self.parts)

    def _numbers(self, columns: Columns) -> NDArray[np.int64]:
        return np.arange(self._edges[-1])[columns]

    def split(self, columns: Columns) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Columns by part: its number, which of its columns they are, and where in `columns` they stand; ascending."""
        numbers = self._numbers(columns)
        cuts = np.searchsorted(numbers, self._edges)
        for j, (low, high) in enumerate(zip(cuts.tolist(), cuts[1:].tolist(), strict=False)):
            if low < high:
                yield j, numbers[low:high] - self._edges[j], np.arange(low, high)

    def ratio(self, k: int, columns: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What points of the k-th part of columns are worth beside `units`; None where all are worth that."""
        if self.alike:
            return None
        out = np.empty(len(columns))
        for j, own, place in self.split(columns):
            part = self.parts[k][j]
            out[place] = np.ldexp(part.units(part.codes(own)), part.exponent - self.exponent)
        unit = self.units(self.codes(columns))
        return np.divide(out, unit, where=unit > 0.0, out=np.zeros(len(out)))

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """Points are read from the parts: see `nqz.commands.set_product`."""
        raise NqzError("internal error: points of a part set are those of its parts")


def _together(
    parts: Sequence[Operand], columns: slice, exponent: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energies of columns, from those of their parts, and the same times noise; infinite where no part is coded."""
    count = columns.stop - columns.start
    energy, noisy, coded = np.zeros(count), np.zeros(count), np.zeros(count, np.bool_)
    for part in parts:
        codes = part.codes(columns)
        noise = part.side.noise_at(codes)
        kept = np.isfinite(noise)
        own = norms.energy(codes, norms.DOUBLING * exponent)
        energy += own
        noisy += own * np.where(kept, noise, _LOST)
        coded |= kept & (codes != norms.ZERO)
    return energy, np.where(coded, noisy, np.inf)


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


def _unit(parts: Sequence[Operand], exponent: int) -> tuple[float, bool]:
    """The least that a unit of points is worth, and whether all are worth that."""
    least, most = np.inf, 0.0
    for part in parts:
        codes = part.side.histogram.codes
        units = np.ldexp(part.units(codes), part.exponent - exponent)
        units = units[np.isfinite(part.side.noise) & (units > 0.0)]
        if len(units):
            least, most = min(least, float(units.min())), max(most, float(units.max()))
    return (1.0, True) if most == 0.0 else (least, least == most)
