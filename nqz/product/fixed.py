"""Vectors of float64 as integers of a few limbs that fit int16: rounded once, then multiplied exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMB = 14
"""Binary digits of all limbs but the first, which goes a little farther."""

LARGEST = 127 * 128 + 63
"""The largest entry of the first limb."""

_SPAN = 800
"""Octaves of numbers that have an exponent in common."""

Exponents = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Vectors, each in units of a power of two of its own.

    Attributes
    ----------
    limbs : ndarray of int16, shape (limbs * vectors, length)
        The first limb of all vectors, then the next one.
    exponents : ndarray of int64, shape (vectors,)
        Of the units of the last limb.
    """

    limbs: NDArray[np.int16]
    exponents: Exponents

    @classmethod
    def of(cls, x: NDArray[np.float64], limbs: int) -> FixedPoint:
        """Round vectors, shape (vectors, length), to so many limbs: to 2 ** (13 - 14 limbs) of their peak or better."""
        below = LIMB * (limbs - 1)
        peak = np.abs(x).max(axis=1, initial=0.0)
        exponents = np.frexp(peak)[1].astype(np.int64) - LIMB * limbs
        exponents += np.ldexp(peak, -exponents - below) > LARGEST
        whole = np.rint(shifted(x, -exponents[:, np.newaxis])).astype(np.int64)
        found = np.empty((limbs, *x.shape), np.int16)
        for number in range(limbs - 1, 0, -1):
            low = ((whole + (1 << (LIMB - 1))) & ((1 << LIMB) - 1)) - (1 << (LIMB - 1))
            found[number] = low
            whole = (whole - low) >> LIMB
        found[0] = whole
        return cls(found.reshape(limbs * len(x), x.shape[1]), exponents)

    def whole(self, products: NDArray[np.int64]) -> NDArray[np.float64]:
        """Products with the vectors, in their units, from those with the limbs: the last axis is that of the limbs."""
        vectors = len(self.exponents)
        found = products[..., :vectors].astype(np.float64)
        for first in range(vectors, products.shape[-1], max(1, vectors)):
            found = found * float(1 << LIMB) + products[..., first : first + vectors]
        return found


def shifted(x: NDArray[np.float64], exponents: Exponents) -> NDArray[np.float64]:
    """Numbers times powers of two, rounded once where they leave the range of float64."""
    if exponents.min(initial=0) >= -1022 and exponents.max(initial=0) <= 1023:  # as fast as a product is
        return x * np.ldexp(1.0, exponents)
    found: NDArray[np.float64] = np.ldexp(x, exponents)
    return found


def normal(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], Exponents]:
    """Vectors divided by powers of two so that they are within ±1, and the exponents of these."""
    exponents = np.frexp(np.abs(x).max(axis=1, initial=0.0))[1].astype(np.int64)
    return shifted(x, -exponents[:, np.newaxis]), exponents


@dataclass(frozen=True, eq=False)
class Scale:
    """Numbers of any size: mantissa * 2 ** exponent.

    Attributes
    ----------
    mantissa : ndarray of float64
        Within ±1.
    exponent : ndarray of int64
        One for all, where they are within float64 beside the largest, else one each.
    """

    mantissa: NDArray[np.float64]
    exponent: Exponents

    @classmethod
    def of(cls, x: NDArray[np.float64], exponent: Any = 0) -> Scale:
        """Numbers times powers of two."""
        mantissa, own = np.frexp(x)
        exponents = own.astype(np.int64) + exponent
        used = exponents[mantissa != 0.0]
        top = used.max() if len(used) else np.int64(0)
        if len(used) and top - used.min() > _SPAN:
            return cls(mantissa, exponents)
        relative = np.where(mantissa != 0.0, exponents - top, 0)
        return cls(np.ldexp(mantissa, relative), np.array([top]))

    def times(self, x: NDArray[np.float64], exponents: Exponents) -> NDArray[np.float64]:
        """Rows of x, one for each number or for all, times these and 2 ** exponents, one for each column of x."""
        return shifted(x * self.mantissa[:, np.newaxis], self.exponent[:, np.newaxis] + exponents)

    def weighted(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], Exponents]:
        """Vectors within ±1 times these numbers, entry by entry, within ±1 again, and their exponents."""
        if len(self.exponent) == 1:
            return x * self.mantissa, np.full(len(x), self.exponent[0])
        mantissa, own = np.frexp(x * self.mantissa)
        exponents = np.where(mantissa != 0.0, own + self.exponent, -(1 << 40))
        top = exponents.max(axis=1, initial=-(1 << 40))
        return np.ldexp(mantissa, np.maximum(exponents - top[:, np.newaxis], -2000)), np.maximum(
            top, -(1 << 20)
        )

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return self.mantissa.nbytes + self.exponent.nbytes
