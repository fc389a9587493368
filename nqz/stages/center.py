"""The box "center": column means, and how finely they are kept.

What rounding a mean leaves in a column enters a product as n · (mean of the partner) · (residual), so the step shrinks with
the rate and with the mean itself. A mean is q · 2 ** (base - shift), base derived from the norm code; where that would need
more than 53 bits, and for constant columns, q holds the bits of the float64 itself.
"""

from __future__ import annotations

import numpy as np

from nqz.ground.arithmetic import pieces
from nqz.stages import norms
from nqz.stages.columns import Lazy

EXACT = 255
"""Value of `shift` that marks a mean kept as a float64."""

_GUARD = 3


def base_exponent(codes: np.ndarray, n: int, digits: int) -> np.ndarray:
    """Exponent of the step for |mean| ≤ σ: at most σ / (8 √n) · 2 ** -digits, from integers alone."""
    return (codes >> 9) - (n - 1).bit_length() - _GUARD - digits


def quantize(mean: np.ndarray, codes: np.ndarray, n: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Round means to their steps.

    Parameters
    ----------
    mean : ndarray of float64, shape (a,)
    codes : ndarray of int64, shape (a,)
        Norm codes of the centered columns.
    n : int
        Length of a column.
    digits : int
        Additional binary digits: the rate, rounded up.

    Returns
    -------
    shift : ndarray of uint8
    q : ndarray of int64
        From which `restore` makes the means that the decoder will see, and that the encoder must center with.
    """
    shifts, q = np.empty(len(mean), np.uint8), np.empty(len(mean), np.int64)
    for c in pieces(len(mean)):
        shifts[c], q[c] = _quantize(mean[c], codes[c].astype(np.int64), n, digits)
    return shifts, q


def _quantize(mean: np.ndarray, codes: np.ndarray, n: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    _, exponent = np.frexp(mean)
    sigma = (codes >> 9) - (n.bit_length() + 1) // 2
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


class Steps:
    """The means of a matrix as they are kept: five bytes a column, or nine where steps are very many.

    Attributes
    ----------
    shift : ndarray of uint8, shape (a,)
    q : ndarray of int32 or int64, shape (a,)
    """

    def __init__(self, shift: np.ndarray, q: np.ndarray):
        self.shift, self.q = shift, q

    @classmethod
    def none(cls, columns: int) -> Steps:
        """Those of means that are all zero, to be set by `put`."""
        return cls(np.zeros(columns, np.uint8), np.zeros(columns, np.int32))

    def put(self, columns: slice, shift: np.ndarray, q: np.ndarray) -> None:
        """Set those of some columns; q int64."""
        if len(q) and not -(1 << 31) <= q.min() <= q.max() < 1 << 31:
            self.q = self.q.astype(np.int64, copy=False)
        self.shift[columns], self.q[columns] = shift, q

    def means(self, codes: np.ndarray, n: int, digits: int) -> Lazy:
        """The stored means, float64 of shape (a,)."""
        return Lazy(len(codes), lambda c: restore(self.shift[c], self.q[c], codes[c], n, digits))


def step(shift: np.ndarray, codes: np.ndarray, n: int, digits: int, exponent: int = 0) -> np.ndarray:
    """Steps of the stored means in units of 2 ** exponent, 0 where a mean is kept exactly."""
    codes = np.asarray(codes, np.int64)
    exact = (shift == EXACT) | (codes == norms.ZERO)
    power = np.where(exact, 0, base_exponent(codes, n, digits) - shift.astype(np.int64) - exponent)
    return np.where(exact, 0.0, np.ldexp(1.0, np.clip(power, -1074, 1023).astype(np.int32)))


def restore(shift: np.ndarray, q: np.ndarray, codes: np.ndarray, n: int, digits: int) -> np.ndarray:
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
