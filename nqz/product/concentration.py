"""Whether many entries of a product hold its energy, or few: fourth moments of the entries of a sample."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import total
from nqz.product.groups import Part
from nqz.product.paired import Paired
from nqz.stages.estimate import excess_noise

_SIDE = 256
"""Rows and columns of a sample."""

_UNSURE = 2.0
"""Standard deviations of noise that a fourth moment is to be above what it is without."""


class Concentration(NamedTuple):
    """Moments of the entries of a product, columns of both sides scaled to one length; noise taken off.

    Attributes
    ----------
    kurtosis : float
        Mean fourth power of entries, beside the square of their mean square; 3 of many that add up by chance.
    seen : float
        The same as far as noise lets it be seen, of unrelated matrices, without entries [i, i] of square products.
    quartic : float
        Sum of fourth powers of cosines beside that of their squares, [i, i] included.
    pairs : float
        Share of the squares that entries [i, i] have, where these are told apart.
    """

    kurtosis: float = 3.0
    seen: float = 3.0
    quartic: float = 0.0
    pairs: float = 0.0

    @classmethod
    def of(
        cls, raw: dict[tuple[int, int], NDArray[Any]], a: Part, b: Part, n: int, kappa: float, paired: Paired | None,
        apart: bool = False,
    ) -> Concentration:  # fmt: skip
        """Of raw products; `apart` if entries [i, i] are not as others."""
        rows = 1 + max(i + len(block) for (i, _), block in raw.items()) // _SIDE
        columns = 1 + max(j + block.shape[1] for (_, j), block in raw.items()) // _SIDE
        sums, count, entries = np.zeros(2), 0.0, 0.0
        told, unsure, others = np.zeros(2), 0.0, 0
        for (i, j), block in raw.items():
            part, at = block[::rows, ::columns].astype(np.float64), i + np.arange(0, len(block), rows)
            beside = j + np.arange(0, block.shape[1], columns)
            left, right = _scaled(a, at), _scaled(b, beside)
            counted = (left[0] > 0.0)[:, None] & (right[0] > 0.0)[None, :]
            if paired is not None:
                counted &= at[:, None] != beside[None, :]
            square = np.square(part * left[0][:, None] * right[0][None, :])[counted] * n
            noise = ((1.0 + left[1])[:, None] * (1.0 + right[1])[None, :])[counted] / kappa - 1.0
            sums += _moments(square, noise)
            other = (at[:, None] != beside[None, :])[counted] if apart else slice(None)
            told += _moments(square[other], noise[other])
            unsure += total(np.square(np.square(1.0 + noise[other])))
            others += square[other].size
            count, entries = count + square.size, entries + part.size
        if count == 0.0:
            return cls()
        mean, fourth = (max(float(x), 0.0) / count for x in sums)
        kurtosis = max(fourth / (mean * mean), 3.0) if mean > 0.0 else 3.0
        # the fourth power of a normal variable has the variance 96
        energy, each = (told - [0.0, _UNSURE * math.sqrt(96.0 * unsure)]) / max(others, 1)
        seen = max(each / max(energy, 1.0) ** 2, 3.0)
        whole = sum(block.size for block in raw.values()) * count / entries
        squares, fourths, own = mean * whole, fourth * whole, 0.0
        if paired is not None and len(paired.power):
            square = paired.energy / paired.power * n
            found = _moments(
                square, square - paired.estimates(n, excess_noise(a.groups.noise, b.groups.noise, kappa))
            )
            own = max(float(found[0]), 0.0)
            squares, fourths = squares + own, fourths + max(float(found[1]), 0.0)
        if squares <= 0.0:
            return cls(kurtosis, seen)
        return cls(kurtosis, seen, min(fourths / squares / n, 1.0), own / squares)


def _scaled(part: Part, columns: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What makes a column one of length 1, and its noise; 0 where it does not count."""
    side = part.groups.side
    codes = part.codes(slice(int(columns[0]), int(columns[-1]) + 1))[columns - columns[0]]
    counted = part.groups.number[side.histogram.index(codes)] >= 0
    energy = part.energies(codes)
    unit = np.divide(part.units(codes), np.sqrt(energy), out=np.zeros(len(codes)), where=counted)
    return unit, np.where(counted, side.noise_at(codes), 0.0)


def _moments(square: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of squares and fourth powers without their noise, which is normal."""
    signal = square - noise
    return np.array([total(signal), total(square * square - 6.0 * noise * signal - 3.0 * noise * noise)])
