"""What is known of vectors beside their points, for scores: norms, means, noise, and what the points themselves tell.

The energy of the points says what rounding did along a vector: ‖û‖² = ‖u‖² (1 + 2s + …), with the s by which ⟨û, u⟩ is
off. So most of that part of the error, which is what near neighbors have most of, can be taken out again; and where a
stored norm is coarser than the points, these tell the norm. docs/theory.md, section 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import total
from nqz.product import diagonal
from nqz.product.operand import Columns, Operand

Floats = NDArray[np.float64]

_LN2 = 0.6931471805599453
_LEAST_ENERGY, _LEAST_NOISE = 2.0**-7, 2.0**-60
"""What points make of an energy is at least this share of what the norm says, or that of the noise if this is less."""

_MOST_SLOPE = 0.5

_FINE = 1.0 / 256.0
"""A step of norms, in octaves, that leaves nothing to be found out."""

_COARSE = 2.0
"""Standard deviations of rounded energies by which what is left of vectors may seem more than it is."""

_ENOUGH, _SURE = 64, 2.0
"""So many vectors tell a variance, with so many of its own standard deviations on top."""

_UNLIKE = 4.0
"""A vector whose excess is so many standard deviations is unlike the others."""


class Variances(NamedTuple):
    """Relative variances of what is known of vectors, and the weights that are best by them; an entry a vector.

    Attributes
    ----------
    kept : ndarray
        Of the energy of the kept coordinates, where some are left out.
    along : ndarray
        Of ⟨w, u⟩ / ‖u‖², the error along the vector.
    square : ndarray
        Of the energy of the noise.
    norm : ndarray
        Of the energy that the norm code stands for.
    slope, energy : ndarray
        How much of the excess of the points' energy, relative to the energy itself, is taken off the products, and how
        much of it is added to the energy.
    more : ndarray
        How many times as large the energy is as its norm has it.
    """

    kept: Floats
    along: Floats
    square: Floats
    norm: Floats
    slope: Floats
    energy: Floats
    more: Floats

    @classmethod
    def of(
        cls, operand: Operand, noise: Floats, kappa: float, slopes: bool, excess: Floats,
        norm: Floats | None = None,
    ) -> Variances:  # fmt: skip
        """Of columns of an operand with these relative noises and excesses; see `Vectors.of`."""
        n, none, known = operand.side.n, np.zeros(len(noise)), rounding(operand)
        most = np.full(len(noise), known)
        if operand.side.dependence is not None and not operand.across:
            return cls(
                none, none, none, most, none, none, np.ones(len(noise))
            )  # the noise is not independent of what is coded
        kept = np.full(len(noise), 2.0 * (1.0 - kappa) / (kappa * n))
        if operand.across:  # nothing of it is along the vector, but for rounding
            share = noise / (1.0 + noise)
            along, square = np.full(len(noise), operand.along / n), diagonal.ACROSS * share * share / n
        else:
            along, square = noise / (kappa * n), 2.0 * noise * noise / (kappa * n)
        along, square = along * operand.counts.along, square * operand.counts.square
        weight, norm = _norms(kept + 4.0 * along + square, excess, known, most if norm is None else norm)
        more = np.ones(len(noise))
        least = np.minimum(np.maximum(noise, _LEAST_NOISE), _LEAST_ENERGY)
        for _ in range(2):  # noise counts beside the energy itself, of which coarse norms know little
            whole = np.maximum(kept * more * more + 4.0 * along * more + square + weight, 1e-300)
            energy = weight / whole
            more = np.maximum(1.0 + energy * excess, least)
        slope = (kept * more + 2.0 * along) * more / whole if slopes and not operand.across else none
        return cls(kept, along / more, square / (more * more), norm / (more * more), slope, energy, more)

    @property
    def of_energy(self) -> Floats:
        """Of the energy that is made of norm and points."""
        known = self.kept + 4.0 * self.along + self.square
        found: Floats = np.square(self.energy) * known + np.square(1.0 - self.energy) * self.norm
        return found


def _norms(points: Floats, excess: Floats, known: float, others: Floats) -> tuple[Floats, Floats]:
    """Relative variances of the energies that norms stand for: those that weights are made for, and of what they err.

    `known` is that of the steps of norms, `others` what there is among many vectors. But a vector may be unlike them,
    which its points tell as far as their own variance lets them: below that its norm may be off by as much, and no
    excess is too large to be the norm's. One that is far beyond is none of the others.
    """
    unlike = np.square(excess) > _UNLIKE * _UNLIKE * (points + others)
    weight = np.where(unlike, known, np.minimum(np.maximum(others, points), known))
    return weight, np.minimum(np.maximum(weight, np.square(excess)), known)


def rounding(operand: Operand) -> float:
    """Relative variance of energies by the rounding of norms."""
    step = _LN2 * operand.norm_step
    return step * step / 12.0


@dataclass(frozen=True)
class Vectors:
    """Some vectors of a side; lengths are in units of a power of two.

    Attributes
    ----------
    n : int
        Entries of each.
    coded : ndarray of bool
        Not those too quiet to be coded.
    unit, mean, apart, step : ndarray
        Worth of an integer, by what is known of the error along the vector; mean; the same where it is no part of the
        vector that is coded, and 0 elsewhere; and the step to which it was rounded.
    size : ndarray
        Energy of the centered vector, as its norm has it.
    energy, square : ndarray
        The same as all that is known has it, and of the whole vector.
    noise : ndarray
        Energy of the noise, as it counts beside vectors of the other side.
    excess : ndarray
        By what share the energy of the points is larger than expected.
    variances : Variances
    """

    n: int
    coded: NDArray[np.bool_]
    unit: Floats
    mean: Floats
    apart: Floats
    step: Floats
    size: Floats
    energy: Floats
    square: Floats
    noise: Floats
    excess: Floats
    variances: Variances

    @classmethod
    def of(
        cls, operand: Operand, columns: Columns, exponent: int, kappa: float, points: Floats | None = None,
        excess: Floats | None = None, slopes: bool = True, norm: Floats | None = None,
    ) -> Vectors:  # fmt: skip
        """Columns of an operand.

        Parameters
        ----------
        operand : Operand
        columns : slice or ndarray of int
        exponent : int
            Lengths are in units of 2 ** exponent.
        kappa : float
            The share of coordinates that count.
        points : ndarray, optional
            Energies of their points.
        excess : ndarray, optional
            What came of these, where that is known already.
        slopes : bool
            Whether the error along the vector is taken out.
        norm : ndarray, optional
            Relative variances of the energies that norms stand for among many vectors; see `norm_variance`.
        """
        n, shift = operand.side.n, operand.exponent - exponent
        codes = operand.codes(columns)
        relative, unit, size = operand.noise(codes), operand.worths(columns, codes), operand.energies(codes)
        coded = np.isfinite(relative)
        relative = np.where(coded, relative, 0.0)
        if excess is None:
            excess, there = np.zeros(len(codes)), coded & (size > 0.0)
            if points is not None:
                np.divide(points * unit * unit, kappa * size, out=excess, where=there)
                if operand.across:  # noise is in proportion to what is coded
                    excess[there] = excess[there] / (1.0 + relative[there]) - 1.0
                else:
                    excess[there] -= 1.0 + relative[there]
        variances = Variances.of(operand, relative, kappa, slopes, excess, norm)
        size = np.ldexp(size, 2 * shift)
        energy = size * variances.more
        with np.errstate(over="ignore"):
            mean = np.ldexp(operand.means(columns), -exponent)
            step = np.ldexp(operand.mean_steps(columns), shift)
        slope = np.minimum(np.maximum(variances.slope * excess / variances.more, -_MOST_SLOPE), _MOST_SLOPE)
        unit = np.ldexp(unit, shift) * (1.0 - slope)
        apart = mean if operand.apart else np.zeros(len(mean))
        square = energy + n * (apart * apart)
        between = size * operand.counts.between
        noise = relative * between
        if operand.across:  # then energies of points tell how much there is of each: more where tables end
            seen = (1.0 + excess) * (1.0 + relative) - 1.0 - _COARSE * math.sqrt(rounding(operand))
            noise = np.where(coded, np.maximum(relative, seen), 0.0) * between
        return cls(n, coded, unit, mean, apart, step, size, energy, square, noise, excess, variances)

    def norm_variance(self, operand: Operand) -> float:
        """How far energies are from what norms stand for, by the energies of the points of these vectors.

        Where vectors hardly differ in length, coarse norms say more than their steps. What is found may be too large
        by chance, hardly ever too small.
        """
        v, known = self.variances, rounding(operand)
        chosen = self.coded & (self.size > 0.0)
        count = int(chosen.sum())
        nested = operand.side.dependence is not None and not operand.across
        if operand.norm_step <= _FINE or nested or count < _ENOUGH:
            return known
        seen = total(np.square(self.excess[chosen])) / count
        points = v.kept + 4.0 * v.along * v.more + v.square * np.square(v.more)  # beside what norms say
        noise = total(points[chosen]) / count
        return min(max(seen - noise, 0.0) + _SURE * seen * math.sqrt(2.0 / count), known)

    def __len__(self) -> int:
        return len(self.unit)

    def at(self, places: NDArray[Any]) -> Vectors:
        """Some of them."""
        arrays = {
            f.name: getattr(self, f.name)[places] for f in fields(self) if f.name not in ("n", "variances")
        }
        return replace(self, **arrays, variances=Variances(*(part[places] for part in self.variances)))

    @property
    def norm(self) -> Floats:
        """Norms of the whole vectors."""
        found: Floats = np.sqrt(self.square)
        return found

    @property
    def spread(self) -> Floats:
        """Standard deviations of `square`."""
        own = np.square(self.energy) * self.variances.of_energy
        found: Floats = np.sqrt(own + np.square(2.0 * self.n * self.apart * self.step) / 12.0)
        return found
