"""What is common otherwise, to compare a curve with: rounding to nearest, to int4 and int8 with a scale a column.

And bfloat16, an entry by itself. The rounding is really done, and its error measured, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.curve.exact_product import ExactProduct, Factor, Uncoded

_SCALE_BITS = 32
_BLOCK = 1 << 20
_PIECE = 1 << 18


@dataclass(frozen=True)
class Yardstick:
    """A way to round the entries of columns.

    Attributes
    ----------
    name : str
    bits : int
        Of an entry.
    scaled : bool
        Whether a column has a scale, a float32: entries are integers up to its largest magnitude.
    """

    name: str
    bits: int
    scaled: bool

    def coded_bytes(self, n: int, columns: int) -> int:
        """Bytes of columns of n entries."""
        return (n * columns * self.bits + 7) // 8 + (_SCALE_BITS // 8 * columns if self.scaled else 0)

    def scale(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scales of columns, shape (n, w)."""
        if not self.scaled:
            return np.ones(block.shape[1])
        largest = np.maximum(block.max(axis=0), -block.min(axis=0))
        scale: NDArray[np.float64] = (largest / self._top).astype(np.float32).astype(np.float64)
        scale[scale == 0.0] = 1.0
        return scale

    @property
    def _top(self) -> int:
        return int((1 << (self.bits - 1)) - 1)

    def rounded(self, rows: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """What becomes of some rows of columns."""
        if not self.scaled:
            mantissa, exponent = np.frexp(rows)
            found: NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(mantissa, 8)), exponent - 8)
            return found
        found = np.rint(rows / scale)
        np.clip(found, -self._top, self._top, out=found)
        found *= scale
        return found


YARDSTICKS = (
    Yardstick("int4, round to nearest", 4, True),
    Yardstick("int8, round to nearest", 8, True),
    Yardstick("bfloat16", 16, False),
)


class Rounded:
    """One side of a product, rounded.

    Parameters
    ----------
    factor : Factor
    yardstick : Yardstick
    """

    def __init__(self, factor: Factor, yardstick: Yardstick):
        self._factor, self._yardstick = factor, yardstick

    def read(self, first: int, last: int) -> NDArray[np.float64]:
        """Columns, with their means."""
        block = self._factor.raw(first, last)
        scale = self._yardstick.scale(block)
        for rows in _pieces(block):
            rows[...] = self._yardstick.rounded(rows, scale)
        return block


class Moments(NamedTuple):
    """What the errors e of columns x add up to: Σ‖x̄‖², Σ⟨x̄, ē⟩, Σ‖ē‖², and with the means Σm², Σmδ, Σδ²."""

    energy: float
    along: float
    noise: float
    mean: float
    mean_along: float
    mean_noise: float

    def exact(self) -> Moments:
        """Those of the same columns without errors."""
        return self._replace(along=0.0, noise=0.0, mean_along=0.0, mean_noise=0.0)


def moments(factor: Factor, yardstick: Yardstick, progress: Callable[[float], object]) -> Moments:
    """Round all columns of a matrix and measure the errors."""
    n, count = factor.view.length, factor.view.count
    step, sums = max(1, _BLOCK // n), np.zeros(6)
    for first in range(0, count, step):
        last = min(first + step, count)
        block, mean = factor.raw(first, last), factor.scaled_means(first, last)
        scale = yardstick.scale(block)
        energy, along, square, shift = np.zeros((4, last - first))
        for rows in _pieces(block):
            error = yardstick.rounded(rows, scale)
            error -= rows
            np.subtract(rows, mean, out=rows)
            energy += np.einsum("ij,ij->j", rows, rows)
            along += np.einsum("ij,ij->j", rows, error)
            square += np.einsum("ij,ij->j", error, error)
            shift += error.sum(axis=0)
        shift /= n
        square -= n * shift * shift
        sums += [energy.sum(), along.sum(), square.sum(), mean @ mean, mean @ shift, shift @ shift]
        progress((last - first) / count)
    return Moments(*sums.tolist())


def _pieces(block: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Some rows at a time, to be worked on in little memory."""
    rows = max(1, _PIECE // block.shape[1])
    return (block[first : first + rows] for first in range(0, len(block), rows))


def reconstruction(found: Moments, n: int) -> float:
    """‖A - Â‖² / ‖Ā‖²."""
    return (found.noise + n * found.mean_noise) / found.energy


def unrelated_error(a: Moments, b: Moments, n: int) -> float:
    """The mean of ‖AᵀB - ÂᵀB̂‖² over all rotations of the centered columns, relative to ‖Ā‖²‖B̄‖²/n.

    The columns of both sides, with their errors, are unrelated then, but for their means.
    """
    centered = _pairs((a.energy, a.along, a.noise), (b.energy, b.along, b.noise)) / n
    means = _pairs((a.mean, a.mean_along, a.mean_noise), (b.mean, b.mean_along, b.mean_noise))
    return (centered + n * n * means) / (a.energy * b.energy / n)


def _pairs(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    """Σ(xy - (x + e)(y + f))² of Σx², Σxe, Σe² and Σy², Σyf, Σf², without the cancellation."""
    (x, xe, e), (y, yf, f) = a, b
    return e * y + x * f + e * f + 2.0 * (xe * yf + e * yf + xe * f)


def rounding_errors(
    a: Factor, others: Sequence[Factor], truth: ExactProduct | None, yardstick: Yardstick,
    progress: Callable[[float], object], exact: bool = False,
) -> tuple[float, float]:  # fmt: skip
    """The errors of a matrix, and of its product with another, both rounded.

    Parameters
    ----------
    a : Factor
        Of some energy.
    others : sequence of Factor
        Its partner, if it is not an unrelated matrix with the same columns.
    truth : ExactProduct, optional
        The product with the partner.
    yardstick : Yardstick
    progress : callable
        Called with shares of the work.
    exact : bool
        Whether the partner is not rounded.

    Returns
    -------
    reconstruction, product : float
    """
    n = a.view.length
    found = moments(a, yardstick, (lambda share: progress(0.2 * share)) if truth is not None else progress)
    if truth is None:
        error = unrelated_error(found, found.exact() if exact else found, n)
    else:
        partner = Uncoded(others[0]) if exact else Rounded(others[0], yardstick)
        error = truth.error_of(Rounded(a, yardstick), partner, lambda share: progress(0.8 * share))
    return reconstruction(found, n), error if math.isfinite(error) else math.inf
