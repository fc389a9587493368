"""The box "center": column means, and how finely they are kept.

What rounding a mean leaves in a column enters a product as n · (mean of the partner) · (residual), so the step
shrinks with the rate and with the mean itself. Columns that share the lattice scale have the same absolute noise: the
mean of a loud one is kept with as many more digits as it is louder. A mean is q · 2 ** (base - shift), base derived
from the norm code; where that would need more than 53 bits, and for constant columns, q holds the bits of the float64
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.ground.arithmetic import pieces
from nqz.stages import norms

PerColumn = int | npt.NDArray[np.int64]
"""One for all columns, or one each."""

EXACT = 255
"""Value of `shift` that marks a mean kept as a float64."""

LEAST_DIGITS = -8
"""The fewest additional digits of means: below zero they are coarser than what the guard digits make of them."""

MOST_DIGITS = 17
"""Additional digits from which on loudness adds no more: noise is as small only where a column has all its bits."""

GUARD = 3
"""Binary digits of means beyond the additional ones: steps at 0 of these are at most σ / (8 √n)."""


class Digits(NamedTuple):
    """Additional binary digits of means, by the norm codes of their columns.

    Attributes
    ----------
    least : int
        Of all of them.
    reference : int or None
        Norm code from which on a column has one more for each time that its norm doubles, up to MOST_DIGITS; None if
        all are alike.
    """

    least: int
    reference: int | None = None

    def of(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Those of columns."""
        if self.reference is None:
            return np.full(len(codes), self.least, np.int64)
        louder = (np.asarray(codes, np.int64) - self.reference) // norms.DOUBLING
        return self.least + np.clip(louder, 0, max(0, MOST_DIGITS - self.least))


def center(
    block: npt.NDArray[Any],
    bfloat16: bool,
    mean: npt.NDArray[np.float64],
    exponent: npt.NDArray[np.int32],
    out: npt.NDArray[np.float32],
    place: npt.NDArray[np.int64] | None = None,
) -> None:
    """Center rows of columns, and divide them by a power of two, without rotating them.

    Parameters
    ----------
    block : ndarray, shape (rows, w)
        Entries as they are stored in the source, any strides; bfloat16 as uint16.
    mean : ndarray, shape (w,)
    exponent : ndarray, shape (w,)
        A column is divided by 2 ** exponent.
    out : ndarray, shape (kept columns, rows)
        Written; rows of any stride.
    place : ndarray, shape (w,), optional
        Row of each column in `out`; those with a negative one are passed over.
    """
    kernels.center_rotate(block, bfloat16, mean, exponent, out, place)


@dataclass(frozen=True, eq=False)
class Means:
    """The means of a matrix as they are kept: five bytes a column, or nine where steps are very many.

    Attributes
    ----------
    codes : ndarray of int32, shape (a,)
        Norm codes of the centered columns.
    n : int
        Length of a column.
    digits : Digits or None
        None where the matrix is not centered, and all means are zero.
    shift : ndarray of uint8, shape (a,)
    q : ndarray of int32 or int64, shape (a,)
        See `restore`; both are empty where the matrix is not centered.
    """

    codes: npt.NDArray[Any]
    n: int
    digits: Digits | None
    shift: npt.NDArray[np.uint8]
    q: npt.NDArray[Any]

    @classmethod
    def none(cls, codes: npt.NDArray[Any], n: int) -> Means:
        """Those of a matrix that is not centered."""
        return cls(codes, n, None, np.zeros(0, np.uint8), np.zeros(0, np.int32))

    @classmethod
    def rounded(
        cls, mean: npt.NDArray[np.float64] | None, codes: npt.NDArray[Any], n: int, digits: Digits | None
    ) -> Means:
        """Means as they are kept, with so many digits; None for a matrix that is not centered."""
        if mean is None or digits is None:
            return cls.none(codes, n)
        shift, q = np.empty(len(mean), np.uint8), np.empty(len(mean), np.int32)
        wide: npt.NDArray[np.int64] | None = None
        for chosen in pieces(len(mean)):
            found = codes[chosen]
            shift[chosen], exact = quantize(mean[chosen], found, n, digits.of(found))
            if wide is None and not -(1 << 31) <= exact.min() <= exact.max() < 1 << 31:
                wide = q.astype(np.int64)
            (q if wide is None else wide)[chosen] = exact
        return cls(codes, n, digits, shift, q if wide is None else wide)

    def at(self, columns: slice | npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The stored means of columns."""
        codes = self.codes[columns]
        mean = np.zeros(len(codes))
        if self.digits is not None:
            shift, q = self.shift[columns], self.q[columns]
            for c in pieces(len(codes)):
                mean[c] = restore(shift[c], q[c], codes[c], self.n, self.digits.of(codes[c]))
        return mean

    def steps(self, columns: slice | npt.NDArray[Any], exponent: int = 0) -> npt.NDArray[np.float64]:
        """Steps to which they were rounded, in units of 2 ** exponent; 0 where a mean is exact."""
        codes = self.codes[columns]
        if self.digits is None:
            return np.zeros(len(codes))
        return step(self.shift[columns], codes, self.n, self.digits.of(codes), exponent)


def base_exponent(codes: npt.NDArray[Any], n: int, digits: PerColumn) -> npt.NDArray[Any]:
    """Exponent of the step for |mean| ≤ σ: at most σ / (8 √n) · 2 ** -digits, from integers alone."""
    return (codes // norms.DOUBLING) - (n - 1).bit_length() - GUARD - digits


def quantize(
    mean: npt.NDArray[np.float64], codes: npt.NDArray[Any], n: int, digits: PerColumn
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Round means to their steps.

    Parameters
    ----------
    mean : ndarray of float64, shape (a,)
    codes : ndarray of int64, shape (a,)
        Norm codes of the centered columns.
    n : int
        Length of a column.
    digits : int or ndarray of int64, shape (a,)
        Additional binary digits.

    Returns
    -------
    shift : ndarray of uint8
    q : ndarray of int64
        From which `restore` makes the means that the decoder will see, and that the encoder must center with.
    """
    shifts, q = np.empty(len(mean), np.uint8), np.empty(len(mean), np.int64)
    every = np.broadcast_to(digits, len(mean))
    for c in pieces(len(mean)):
        shifts[c], q[c] = _quantize(mean[c], codes[c].astype(np.int64), n, every[c])
    return shifts, q


def _quantize(
    mean: npt.NDArray[np.float64], codes: npt.NDArray[np.int64], n: int, digits: PerColumn
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    _, exponent = np.frexp(mean)
    sigma = (codes // norms.DOUBLING) - (n.bit_length() + 1) // 2
    shift = np.maximum(0, exponent.astype(np.int64) - sigma)
    step = base_exponent(codes, n, digits) - shift
    exact = (codes == norms.ZERO) | (exponent - step > 52) | (shift >= EXACT) | (step < -1074)
    safe = np.where(exact, 0, step).astype(np.int32)
    # two halves: 2 ** -step may exceed the largest float64 although the quotient does not
    quotient = np.ldexp(np.ldexp(np.where(exact, 0.0, mean), -(safe // 2)), -(safe - safe // 2))
    q = np.rint(quotient).astype(np.int64)
    q = np.where(exact, mean.view(np.int64), q)
    shift = np.where(exact & ~((codes == norms.ZERO) & (q == 0)), EXACT, shift)
    shift = np.where((codes == norms.ZERO) & (q == 0), 0, shift)
    shift = np.where(q == 0, 0, shift).astype(np.uint8)
    return shift, q


def step(
    shift: npt.NDArray[Any], codes: npt.NDArray[Any], n: int, digits: PerColumn, exponent: int = 0
) -> npt.NDArray[Any]:
    """Steps of the stored means in units of 2 ** exponent, 0 where a mean is kept exactly."""
    codes = np.asarray(codes, np.int64)
    exact = (shift == EXACT) | (codes == norms.ZERO)
    power = np.where(exact, 0, base_exponent(codes, n, digits) - shift.astype(np.int64) - exponent)
    return np.where(exact, 0.0, np.ldexp(1.0, np.clip(power, -1074, 1023).astype(np.int32)))


def restore(
    shift: npt.NDArray[np.uint8], q: npt.NDArray[Any], codes: npt.NDArray[Any], n: int, digits: PerColumn
) -> npt.NDArray[np.float64]:
    """The stored means, float64 of shape (a,)."""
    q, codes = np.asarray(q, np.int64), np.asarray(codes, np.int64)
    exact = shift == EXACT
    zero = codes == norms.ZERO
    power = np.where(exact | zero, 0, base_exponent(codes, n, digits) - shift.astype(np.int64)).astype(
        np.int32
    )
    value = np.ldexp(
        np.ldexp(np.where(exact | zero, 0, q).astype(np.float64), power // 2), power - power // 2
    )
    return np.where(exact, q.view(np.float64), value)
