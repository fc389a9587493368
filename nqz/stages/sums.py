"""From the sums of columns to their norms and means: what the box "statistics" computes.

Sums run over d = x - first, first the column's first entry, so that a large mean does no harm; constant columns have
energy exactly 0. Columns of extreme magnitude are summed in units of a power of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import pieces, total_of
from nqz.stages import norms
from nqz.stages.grid import Grid
from nqz.stages.panels import panel_columns

Energy = tuple[float, int]
"""An energy as mantissa in [0.5, 1) and exponent of two; (0.0, 0) for nothing."""

State = npt.NDArray[np.float64]
"""Of shape (4, w), for w columns: first entry, Σ and Σ of squares of the differences from it, largest magnitude."""

_LARGE, _SMALL = 1e120, 1e-120  # beyond, squares may overflow or vanish
_NOTHING = -(1 << 40)  # exponent of no energy


@dataclass(frozen=True, eq=False)
class Sums:
    """Columns of which some entries may be missing, or that belong to a block of which some columns are.

    Attributes
    ----------
    first : int
        The first of those whose first entries are there.
    state : ndarray, shape (4, w)
        What is known of them.
    late : tuple of ndarray of shape (4, k)
        Sums of later entries of the k columns before `first`, to be added in order.
    """

    first: int
    state: State
    late: tuple[State, ...] = ()


@dataclass(frozen=True, eq=False)
class KnownColumns:
    """Columns in whole blocks, all of whose entries have been seen.

    Attributes
    ----------
    first : int
    codes : ndarray of int32, shape (w,)
        Norm codes.
    mean : ndarray of float64, shape (w,), or None
        None once they are rounded, and for a matrix that is not centered.
    totals : tuple of Energy
        Of the blocks.
    energy, exponent : ndarray of float64 and int32
        Energies of those columns that are in the first panel, in units of 4 ** exponent.
    """

    first: int
    codes: npt.NDArray[np.int32]
    mean: npt.NDArray[np.float64] | None
    totals: tuple[Energy, ...]
    energy: npt.NDArray[np.float64]
    exponent: npt.NDArray[np.int32]


def finish(
    grid: Grid, centered: bool, first: int, state: State, exponent: npt.NDArray[np.int32] | None
) -> KnownColumns:
    """What is known of the columns of a block from their sums, in units of 2 ** exponent."""
    exponent = np.zeros(state.shape[1], np.int32) if exponent is None else exponent
    mean, energy = _results(state, exponent, grid.n) if centered else (None, state[2].copy())
    near = max(0, panel_columns(grid.n) - first)
    return KnownColumns(
        first,
        norms.encode(energy, exponent),
        mean,
        (total_energy(energy, exponent),),
        energy[:near].copy(),
        exponent[:near].copy(),
    )


def add_later(state: State, later: State) -> None:
    """Add sums of later entries of the same columns to a state."""
    state[1:3] += later[1:3]
    np.maximum(state[3], later[3], out=state[3])


def rescaled(state: State) -> npt.NDArray[np.int32] | None:
    """Exponents with which the sums must be taken anew, None where the sums are safe."""
    largest = state[3]
    if not any(
        ((x > _LARGE) | ((x > 0) & (x < _SMALL))).any()
        for x in map(largest.__getitem__, pieces(len(largest)))
    ):
        return None
    _, exponent = np.frexp(largest)
    return np.where(largest > 0, exponent, 0).astype(np.int32)


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


def total_energy(energy: npt.NDArray[np.float64], exponent: npt.NDArray[np.int32]) -> Energy:
    """Sum of the columns' energies, in units of 4 ** exponent."""
    parts = pieces(len(energy))
    top = max((int(_split(energy[c], exponent[c])[1].max()) for c in parts), default=_NOTHING)
    if top == _NOTHING:
        return 0.0, 0

    def shifted(chosen: slice) -> npt.NDArray[np.float64]:
        mantissa, power = _split(energy[chosen], exponent[chosen])
        return np.ldexp(mantissa, np.clip(power - top, -1100, 0).astype(np.int32))

    value, extra = np.frexp(total_of(map(shifted, parts)))
    return float(value), top + int(extra)


def add_energies(a: Energy, b: Energy) -> Energy:
    """Sum of two energies."""
    if a[0] == 0.0 or b[0] == 0.0:
        return b if a[0] == 0.0 else a
    top = max(a[1], b[1])
    value, extra = np.frexp(sum(float(np.ldexp(x, max(power - top, -1100))) for x, power in (a, b)))
    return float(value), top + int(extra)


def _split(
    energy: npt.NDArray[np.float64], exponent: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Mantissas, 0 where there is no energy, and exponents of two, very low there."""
    mantissa, power = np.frexp(energy)
    positive = energy > 0
    return (
        np.where(positive, mantissa, 0.0),
        np.where(positive, power.astype(np.int64) + 2 * exponent, _NOTHING),
    )
