"""From the sums of columns to their norms and means: what the box "statistics" computes.

Sums run over d = x - first, first the column's first entry, so that a large mean does no harm; constant columns have
energy exactly 0. Columns of extreme magnitude are summed in units of a power of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import pieces
from nqz.stages import norms

State = npt.NDArray[np.float64]
"""Of shape (4, w), for w columns: first entry, Σ and Σ of squares of the differences from it, largest magnitude."""

_LARGE, _SMALL = 1e120, 1e-120  # beyond, squares may overflow or vanish


@dataclass(frozen=True, eq=False)
class Found:
    """Norm codes and means of columns.

    Attributes
    ----------
    codes : ndarray of int32, shape (w,)
        Norm codes.
    mean : ndarray of float64, shape (w,), or None
        None for a matrix that is not centered.
    """

    codes: npt.NDArray[np.int32]
    mean: npt.NDArray[np.float64] | None

    @classmethod
    def joined(cls, parts: list[Found]) -> Found:
        """Columns that follow one another, in one."""
        if len(parts) == 1:
            return parts[0]
        means = [part.mean for part in parts if part.mean is not None]
        codes = np.concatenate([np.zeros(0, np.int32), *(part.codes for part in parts)])
        return cls(codes, np.concatenate(means) if means else None)

    def chosen(self, columns: slice | npt.NDArray[Any]) -> Found:
        """Some of them."""
        return Found(self.codes[columns], None if self.mean is None else self.mean[columns])

    def rounded(self, rounding: norms.Rounding) -> Found:
        """The same with rounded norm codes."""
        return self if rounding.step == 1 else Found(rounding.of(self.codes), self.mean)

    def means(self) -> npt.NDArray[np.float64]:
        """Means, zero if the matrix is not centered."""
        return np.zeros(len(self.codes)) if self.mean is None else self.mean


def finish(
    state: State, exponent: npt.NDArray[np.int32] | None, n: int, centered: bool, near: int
) -> tuple[Found, npt.NDArray[np.float64]]:
    """What follows from the sums of columns of n entries, in units of 2 ** exponent.

    Returns
    -------
    found : Found
    energy : ndarray of float64
        Of the first `near` columns, relative to what their norm codes stand for; 0 of a column without energy.
    """
    exponent = np.zeros(state.shape[1], np.int32) if exponent is None else exponent
    mean, energy = _results(state, exponent, n) if centered else (None, state[2])
    codes = norms.encode(energy, exponent)
    return Found(codes, mean), _relative(energy[:near], exponent[:near], codes[:near])


def _relative(
    energy: npt.NDArray[np.float64], exponent: npt.NDArray[np.int32], codes: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    octave, within = np.divmod(codes.astype(np.int64), norms.STEPS)
    loud = codes != norms.ZERO
    shift = np.where(loud, 2 * exponent.astype(np.int64) - octave, 0).astype(np.int32)
    return np.where(loud, np.ldexp(energy, shift) / norms.energy(np.where(loud, within, 0)), 0.0)


def add_later(state: State, later: State) -> None:
    """Add sums of later entries of the same columns to a state."""
    state[1:3] += later[1:3]
    np.maximum(state[3], later[3], out=state[3])


def rescaled(state: State) -> npt.NDArray[np.int32] | None:
    """Exponents with which the sums of columns must be taken anew, 0 where they are safe; None if all are."""
    largest, found = state[3], None
    for chosen in pieces(len(largest)):
        x = largest[chosen]
        extreme = (x > _LARGE) | ((x > 0) & (x < _SMALL))
        if extreme.any():
            found = np.zeros(len(largest), np.int32) if found is None else found
            found[chosen] = np.where(extreme, np.frexp(x)[1], 0)
    return found


def _results(
    state: State, exponent: npt.NDArray[np.int32], n: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means, and energies about them in units of 4 ** exponent."""
    count = state.shape[1]
    mean, energy = np.empty(count), np.empty(count)
    for chosen in pieces(count):
        first, linear, square, _ = state[:, chosen]
        np.maximum(square - linear * (linear / n), square / (n + 1.0), out=energy[chosen])
        np.ldexp(first + linear / n, exponent[chosen], out=mean[chosen])
    return mean, energy
