"""Into how few directions the columns of a product point, and how well its energy is known for it.

Noise of different entries is alike where columns are: those of a row share the noise of one column, and where κ < 1 all
share one draw of coordinates. So the energy of the unbiased estimate is a mean over fewer numbers than there are
entries: docs/theory.md, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import total
from nqz.product.operand import Operand
from nqz.product.tiles import Raw

COLUMNS = 64
"""So many columns of a side show in how many directions all point."""

_ALL_NOISE = 2.0**40
"""Columns of so much relative noise show nothing of where they point."""

_MEAN, _LEFT, _NONE = 0.798, 0.55, 2.6
"""The mean of a normal variable that is known not to be negative, from its value: at 0, below, and where it is that."""

_CHANCE = 0.5
"""About so many deviations are found, mostly, where there is nothing, of what is above 0."""


class Directions(NamedTuple):
    """How columns of one side lie to each other, in the mean over pairs.

    Attributes
    ----------
    square : float
        Square of the cosine.
    points : float
        The same of their unbiased estimates, noise included.
    triple : float
        Product of the three cosines of three columns.
    """

    square: float
    points: float
    triple: float = 0.0

    @classmethod
    def unrelated(cls, noise: float, n: int, kappa: float) -> Directions:
        """Of columns of relative noise `noise` that point anywhere."""
        return cls(1.0 / n, (1.0 + noise) ** 2 / kappa / n)

    @classmethod
    def of(
        cls, operand: Operand, chosen: NDArray[Any], raw: Raw, kappa: float, shift: int = 0
    ) -> Directions | None:
        """From products of the points of some columns of an operand with themselves; None if fewer than two count.

        Points have been divided by 2 ** `shift`.
        """
        n, codes = operand.side.n, operand.codes(chosen)
        noise, size = operand.noise(codes), operand.sizes(codes)
        counted = (noise < _ALL_NOISE) & (size > 0.0)
        if np.count_nonzero(counted) < 2:
            return None
        cosines = np.zeros((len(codes), len(codes)))
        for (i, j), block in raw.items():
            cosines[i : i + len(block), j : j + block.shape[1]] = block
        unit = np.ldexp(operand.units(codes)[counted] / size[counted], shift)
        cosines = cosines[np.ix_(counted, counted)] * unit[:, None] * unit[None, :] / kappa
        np.fill_diagonal(cosines, 0.0)
        square = np.square(cosines)
        spread = 1.0 + noise[counted]
        pairs = len(unit) * (len(unit) - 1.0)
        points = total(square.ravel()) / pairs
        own = (total(spread) ** 2 - total(spread * spread)) / pairs / kappa - 1.0
        found = (points - own / n) / (1.0 + (1.0 - kappa) / kappa / n)
        twice = np.add.accumulate(cosines[:, :, None] * cosines[None, :, :], axis=1)[:, -1]
        triple = total((twice * cosines).ravel()) / pairs / max(1.0, len(unit) - 2.0)
        return cls(min(max(found, 1.0 / n), 1.0), points, triple)

    @property
    def common(self) -> float:
        """The cosine that all columns have, as far as all lie in one direction."""
        return min(max(self.triple / self.square, 0.0), 1.0)


def energy_variance(
    energy: NDArray[np.float64], sides: Sequence[Directions],
    columns: tuple[NDArray[np.float64], NDArray[np.float64]], noise: tuple[NDArray[np.float64], NDArray[np.float64]],
    kappa: float,
) -> NDArray[np.float64]:  # fmt: skip
    """Variance of the measured energy of a product, in units of P.

    Parameters
    ----------
    energy : ndarray of float64
        What it is.
    sides : sequence of Directions
    columns : tuple of ndarray of float64
        How many columns of both sides it is of.
    noise : tuple of ndarray of float64
        Their relative noise.
    kappa : float
    """
    draw = (1.0 - kappa) / kappa
    nu = (1.0 + noise[0]) * (1.0 + noise[1]) / kappa - 1.0
    found = draw * (draw + 2.0 * energy) * sides[0].square * sides[1].square
    for own, other in ((0, 1), (1, 0)):
        seen = (1.0 + noise[own]) / kappa - 1.0 + energy
        shared = seen * seen * sides[other].points - energy * energy * sides[other].square
        found = found + np.maximum(shared, 0.0) / columns[own]
    known: NDArray[np.float64] = 2.0 * (found + nu * (nu + 2.0 * energy) / (columns[0] * columns[1]))
    return known


def not_negative(
    energy: NDArray[np.float64], deviation: NDArray[np.float64], sparse: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """The mean of what has been measured with a standard deviation and is not below 0.

    With `sparse` up to 1 the more of them are known to be nothing at all: what is found is theirs, by chance.
    """
    z = np.divide(energy, deviation, out=np.full_like(energy, _NONE), where=deviation > 0.0)
    near = np.clip(1.0 - z / _NONE, 0.0, 1.0)
    below = _MEAN / (1.0 - _LEFT * np.minimum(z, 0.0))
    found = np.where(z < 0.0, below, z + _MEAN * np.square(near))
    found += sparse * (np.maximum(z - _CHANCE * near, 0.0) - found)
    return np.where(deviation > 0.0, found * deviation, np.maximum(energy, 0.0))
