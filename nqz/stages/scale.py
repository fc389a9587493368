"""The box "scale": the lattice scale Δ on its grid, and what follows from Δ and the norms for every column.

A delta code d stands for Δ = 2 ** (d / 4096). With allocation "matrix" it is one absolute scale for all columns, but
for those that are more than so many octaves of energy above it: these have scales of their own, in proportion to their
norms. 30 octaves are as much as points of 32 bits hold; with fewer, bits are left for other columns. With "column" the
scale of a column is 2 ** ((d + 8 c) / 4096), c its norm code, so in proportion to its norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import GRID, exp2, round_log2
from nqz.ground.units import FIXED_POINT
from nqz.stages import norms
from nqz.stages.lattices import Lattice

CLASSES = 8
"""Coder classes an octave of variance: a sixteenth of an octave of standard deviation."""

ENERGY_STEP = GRID // norms.STEPS
"""Steps of the grid in a step of a norm code, which is one of energy; of a norm it is half as many."""

OCTAVES = 30
"""A column's energy per entry may be up to 2 ** 30 Δ², or twice that: 32-bit fixed point has room for its peaks."""

_MAX_RATIO = 64 * GRID  # within float64, and far above OCTAVES
_MAX_SHIFT = 119 * GRID  # FIXED_POINT times as much is within float32


@dataclass(frozen=True)
class Scaling:
    """What Δ and the norm codes say about each column; arrays of shape (a,).

    Attributes
    ----------
    log_ratio : ndarray of int64
        GRID · log2(‖ā‖² / Δ²), 0 where `silent`.
    noise : ndarray of float64
        d = D Δ² / e, the relative noise (infinite for dropped columns).
    classes : ndarray of int64
        Class of the coder: round(8 log2 σ²), σ² = e/Δ² + D in fine units.
    kept : ndarray of bool
        False for dropped columns: those without energy, and those below the lowest class.
    """

    log_ratio: np.ndarray
    noise: np.ndarray
    classes: np.ndarray
    kept: np.ndarray


def column_delta(codes: np.ndarray, n: int, delta: int, allocate: str, octaves: int = OCTAVES) -> np.ndarray:
    """Delta code of every column of length n: with allocation "matrix" that of all, unless it is too fine for one."""
    if allocate == "column":
        return delta + ENERGY_STEP // 2 * np.where(codes == norms.ZERO, 0, codes)
    return np.maximum(delta, np.where(codes == norms.ZERO, delta, finest_delta(codes, n, octaves)))


def finest_delta(codes: np.ndarray, n: int, octaves: int = OCTAVES) -> np.ndarray:
    """The least delta code for columns of these norm codes."""
    return (ENERGY_STEP * np.asarray(codes, np.int64) - GRID * (n.bit_length() - 1 + octaves)) // 2


def ratio(log_ratio: np.ndarray, n: int) -> np.ndarray:
    """Energy per entry e / Δ²."""
    return exp2(np.minimum(log_ratio, _MAX_RATIO)) / n


def scaling(
    codes: np.ndarray,
    n: int,
    lattice: Lattice,
    delta: int,
    allocate: str,
    lowest_class: int,
    octaves: int = OCTAVES,
) -> Scaling:
    """Derive the `Scaling` of columns of length n from their norm codes and the delta code."""
    codes = np.asarray(codes, np.int64)
    silent = codes == norms.ZERO
    log_ratio = np.where(
        silent, 0, ENERGY_STEP * codes - 2 * column_delta(codes, n, delta, allocate, octaves)
    )
    x = np.where(silent, 0.0, ratio(log_ratio, n))
    variance = (x + lattice.second_moment) * (lattice.fine * lattice.fine)
    classes = round_log2(variance, CLASSES)
    kept = ~silent & (classes >= lowest_class)
    noise = np.full(len(codes), np.inf)
    noise[kept] = lattice.second_moment / np.maximum(x[kept], 1e-300)
    return Scaling(log_ratio, noise, classes, kept)


@dataclass(frozen=True, eq=False)
class NormScaling:
    """What a matrix's parameters say about the columns of each norm code: its `Scaling`, without what planning needs.

    Attributes
    ----------
    histogram : Histogram
        The norm codes of the matrix, in whose order the arrays are.
    kept : ndarray of bool
        False for columns that are not coded.
    classes : ndarray of int16
        Classes of the coder.
    noise : ndarray of float64
        Relative noise d, infinite where not kept.
    """

    histogram: norms.Histogram
    kept: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.int16]
    noise: npt.NDArray[np.float64]

    @property
    def used(self) -> npt.NDArray[np.int16]:
        """Classes of the kept columns, each at least once."""
        return self.classes[self.kept]


def exponents(codes: np.ndarray) -> np.ndarray:
    """Power of two by which each column is divided before the rotation: its norm then lies in [1, 2)."""
    return np.where(codes == norms.ZERO, 0, codes // norms.DOUBLING).astype(np.int32)


def forward(codes: np.ndarray, n: int, delta: int, allocate: str, octaves: int = OCTAVES) -> np.ndarray:
    """Factors from rotated columns (divided by 2 ** exponent) to fixed point, float32 of shape (a,)."""
    shift = GRID * exponents(codes).astype(np.int64) - column_delta(codes, n, delta, allocate, octaves)
    return (exp2(np.clip(shift, -_MAX_SHIFT, _MAX_SHIFT)) * FIXED_POINT).astype(np.float32)


def backward(
    codes: np.ndarray,
    n: int,
    delta: int,
    allocate: str,
    lattice: Lattice,
    exponent: int | np.ndarray = 0,
    octaves: int = OCTAVES,
) -> np.ndarray:
    """Factors Δ / fine from fine units back to the data, in units of 2 ** exponent; 0 for columns without energy."""
    # divided before it is a power of two: Δ alone may be beyond float64
    scales = column_delta(codes, n, delta, allocate, octaves)
    found = exp2(scales - GRID * (exponent + lattice.fine.bit_length() - 1))
    return np.where(codes == norms.ZERO, 0.0, found)
