"""A matrix in parts as one side of a product: its columns run through all parts that follow one another along them.

Every part is rotated by itself, and so is the whole: by a rotation that acts on each part alone. With one lattice scale
the points of all parts count alike, and the raw products of parts add up, as integers; where every part of a column
has a scale of its own, they are scaled first. The norm of a column is that of all of its parts together; its noise is
theirs, in the mean over columns of one norm code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.commands.factors import PlainOperand
from nqz.commands.rotated import exact_power, grid_units
from nqz.commands.sets.spectrum import Spectrum
from nqz.ground.arithmetic import pieces, total
from nqz.ground.cached import cached_property
from nqz.ground.errors import NqzError
from nqz.ground.threads import Workers
from nqz.product.operand import Columns, Operand
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.dependence import NONE, Dependence, averaged
from nqz.stages.estimate import Side
from nqz.stages.norms import Histogram
from nqz.stages.panels import panel_columns
from nqz.stages.scale import exponents

_LOST = 1.0
"""Relative noise of a part of a column that is not coded where others are: what is left out is as much as it has."""


_LITTLE = 0.01
"""What share of the energy the means of parts may have without being told apart from what is coded."""


class SetOperand(Operand):
    """A matrix in parts as an operand.

    Parameters
    ----------
    name : str
    parts : sequence of sequence of Operand
        Those with the first coordinates first, in the order of their columns; all compressed, or none.
    decoded : bool
        Whether energies are those of whole columns around their means, rather than of parts around theirs, and noise is
        that of what columns decode to: coordinates that were dropped are noise.

    Attributes
    ----------
    alike : bool
        Whether a unit of raw points is worth the same in all parts and columns.
    spectrum : Spectrum
        Where along the contracted axis there is how much of the energy, and of the noise.
    alone : SetOperand
        The same without a partner, see `beside`.
    panels : list of tuple
        First column and the one behind the last of those that are decoded together, or nearly so, in all parts.
    """

    def __init__(self, name: str, parts: Sequence[Sequence[Operand]], decoded: bool = False):
        self.parts = [list(row) for row in parts]
        first = self.parts[0]
        self._edges = [0, *accumulate(part.columns for part in first)]
        self.lengths = [row[0].side.n for row in self.parts]
        n, m = sum(self.lengths), sum(row[0].m for row in self.parts)
        every = [part for row in self.parts for part in row]
        self._n, columns = n, self._edges[-1]
        exponent = max(part.exponent for part in every)
        if decoded:
            exponent = max(exponent, *(self._apart(c)[1] for c in pieces(columns)))
        self._codes = np.empty(columns, np.int32)
        spread = np.empty(columns)  # energy times relative noise
        self.spectrum, between = Spectrum.none(self.lengths), 0.0
        for j, (low, high) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
            for c in pieces(high - low):
                own = slice(low + c.start, low + c.stop)
                kept = m / n if decoded else 1.0
                energy, spread[own], shares = _together([row[j] for row in self.parts], c, exponent, kept)
                if decoded:
                    means = self._between(own, exponent)
                    energy += sum(means)
                    between += sum(total(one) for one in means)
                    shares = replace(shares, energy=shares.energy + np.array([total(one) for one in means]))
                self.spectrum = self.spectrum.joined(shares)
                self._codes[own] = norms.encode(energy, np.full(len(energy), exponent))
        dependence = _dependence(every)
        side = _side(self._codes, spread, exponent, n, 1.0 if decoded else m / n, dependence)
        if dependence is not None and between > _LITTLE * total(self.spectrum.energy):
            share = 1.0 - between / total(self.spectrum.energy)
            side = replace(side, dependence=_diluted(dependence, side.mean_noise(), share))
        # parts of so many columns are stored together at most
        blocks = [(low, high) for low, high in zip(self._edges, self._edges[1:], strict=False)]
        super().__init__(name, side, m, first[0].rotation_seed, exponent, blocks)
        self._power = exact_power(n) if isinstance(every[0], PlainOperand) else None
        self._unit, self.alike = _unit(every, exponent) if self._power is None else (0.0, False)
        self.alone = self
        width = panel_columns(max(self.lengths))
        self.panels = [
            (low, min(low + width, end)) for first, end in blocks for low in range(first, end, width)
        ]

    def beside(self, partner: SetOperand) -> SetOperand:
        """The same as estimators see it in products with a partner: noise counts where that has its energy."""
        kept, more = self.spectrum.beside(partner.spectrum, min(self.side.kappa, partner.side.kappa))
        found = copy(self)
        found.side = replace(self.side, noise=np.maximum(kept * (1.0 + more * self.side.noise) - 1.0, 0.0))
        return found

    @cached_property
    def within(self) -> float:
        """What share of the energy of whole columns around their means is that of parts around theirs."""
        own, apart = total(self.spectrum.energy), 0.0
        with np.errstate(over="ignore"):
            for c in pieces(self.columns):
                apart += total(np.square(np.ldexp(self._apart(c)[0], -self.exponent)))
        return own / (own + apart) if own > 0.0 else 1.0

    def _between(self, columns: slice, exponent: int) -> list[NDArray[np.float64]]:
        """Energies that the means of the parts of columns have around those of all, of each part, in 4 ** exponent."""
        means = [np.ldexp(self.part_means(k, columns), -exponent) for k in range(len(self.parts))]
        whole = sum(length / self._n * mean for length, mean in zip(self.lengths, means, strict=True))
        return [length * np.square(mean - whole) for length, mean in zip(self.lengths, means, strict=True)]

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
        """See `Operand`: what points of parts are brought to; the same for all, or a power of two near the norm."""
        if self._power is not None:
            return grid_units(codes, self.exponent, self._power)
        coded = np.isfinite(self.side.noise_at(codes)) & (codes != norms.ZERO)
        unit = self._unit if self.alike else np.ldexp(1.0, exponents(codes) - self.exponent)
        return np.where(coded, unit, 0.0)

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
            out[place] = np.ldexp(part.worths(own, part.codes(own)), part.exponent - self.exponent)
        unit = self.units(self.codes(columns))
        return np.divide(out, unit, where=unit > 0.0, out=np.zeros(len(out)))

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """Points are read from the parts: see `nqz.commands.sets.product`."""
        raise NqzError("internal error: points of a part set are those of its parts")


def paired(a: SetOperand, b: SetOperand) -> tuple[SetOperand, SetOperand]:
    """Both sides of a product beside each other; they may be one and the same."""
    one = a.beside(b)
    return one, one if b is a else b.beside(a)


def _together(
    parts: Sequence[Operand], columns: slice, exponent: int, kappa: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], Spectrum]:
    """Energies of columns, from those of their parts; the same times noise, infinite where no part is coded; sums.

    Where not all coordinates were kept, but a share `kappa`, the others are noise.
    """
    count = columns.stop - columns.start
    sums = np.zeros((3, len(parts)))
    energy, noisy, coded = np.zeros(count), np.zeros(count), np.zeros(count, np.bool_)
    for k, part in enumerate(parts):
        codes = part.codes(columns)
        noise = part.side.noise_at(codes)
        kept = np.isfinite(noise)
        own = norms.energy(codes, norms.DOUBLING * exponent)
        energy += own
        off = own * np.where(kept, (1.0 + noise) / kappa - 1.0, _LOST)
        noisy += off
        sums[:, k] = total(own), total(off), total(np.where(kept, 0.0, own))
        coded |= kept & (codes != norms.ZERO)
    lengths = np.array([float(part.side.n) for part in parts])
    return energy, np.where(coded, noisy, np.inf), Spectrum(lengths, *sums)


def _side(
    codes: NDArray[np.int32], spread: NDArray[np.float64], exponent: int, n: int, kappa: float,
    dependence: Callable[[], Dependence] | None,
) -> Side:  # fmt: skip
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
    return Side(histogram, noise, n, kappa, dependence)


def _dependence(every: Sequence[Operand]) -> Callable[[], Dependence] | None:
    """What the noise of all parts together has to do with the data: in the mean what that of each has."""
    if all(part.side.dependence is None for part in every):
        return None

    @cache
    def found() -> Dependence:
        energies = [part.side.histogram.energy() for part in every]
        most = max(exponent for _, exponent in energies)
        weights = [math.ldexp(mantissa, exponent - most) for mantissa, exponent in energies]
        return averaged([(weight, *_own(part.side)) for weight, part in zip(weights, every, strict=True)])

    return found


def _diluted(dependence: Callable[[], Dependence], noise: float, share: float) -> Callable[[], Dependence]:
    """The same where only a share of the energy is of what is coded, and the rest of the means of parts.

    Noise has nothing to do with these. What products owe to them is not known: none at no means, all at half of it.
    """
    weight = max(2.0 * share - 1.0, 0.0)

    @cache
    def found() -> Dependence:
        own = dependence().of_noise(noise)
        along, alike, bent = (weight * x for x in (own.along, own.alike, own.bent))
        return replace(own, along=along, alike=alike, bent=bent, across=False)

    return found


def _own(side: Side) -> tuple[Dependence, float]:
    """What the noise of a part has to do with its data, and its relative noise."""
    return NONE if side.dependence is None else side.dependence(), side.mean_noise()


def _unit(parts: Sequence[Operand], exponent: int) -> tuple[float, bool]:
    """The least that a unit of points is worth, and whether all are worth that."""
    if any(part.gains(slice(0, 0)) is not None for part in parts):
        return 1.0, False
    least, most = np.inf, 0.0
    for part in parts:
        codes = part.side.histogram.codes
        units = np.ldexp(part.units(codes), part.exponent - exponent)
        units = units[np.isfinite(part.side.noise) & (units > 0.0)]
        if len(units):
            least, most = min(least, float(units.min())), max(most, float(units.max()))
    return (1.0, True) if most == 0.0 else (least, least == most)
