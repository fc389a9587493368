"""Energies of the centered columns: rounded to 1/256 octave, the side information that everything else derives from.

A norm code c stands for the energy ‖ā‖² = 2 ** (c / 256); `ZERO` for a column without energy. Codes are integers with an
unbounded exponent, so that columns of 1e±300 need no special care.
"""

from __future__ import annotations

import numpy as np

from .arithmetic import exp2, round_log2

STEPS = 256
"""Steps an octave of energy."""

ZERO = -(1 << 31)
"""Code of a column whose energy is zero."""

_LIMIT = 1 << 21


def encode(energy: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """Norm codes of energies.

    Parameters
    ----------
    energy : ndarray of float64, shape (a,)
        Energy of every column in units of 4 ** exponent.
    exponent : ndarray of int, shape (a,)

    Returns
    -------
    ndarray of int64, shape (a,)
    """
    positive = energy > 0
    codes = round_log2(np.where(positive, energy, 1.0), STEPS) + 2 * STEPS * exponent.astype(np.int64)
    return np.where(positive, codes, ZERO)


def energy(codes: np.ndarray, reference: int = 0) -> np.ndarray:
    """Energies in units of 2 ** (reference / 256): float64, zero for `ZERO`."""
    shifted = np.where(codes == ZERO, 0, codes - reference)
    return np.where(codes == ZERO, 0.0, exp2(shifted * 16))


def reference(codes: np.ndarray) -> int:
    """A code that all energies can be taken relative to without overflow: the loudest column's."""
    return max(0 if len(codes) == 0 else int(codes.max()), -_LIMIT)


def to_offsets(codes: np.ndarray) -> tuple[int, np.ndarray]:
    """Serialize norm codes as the least of them and code - least + 1 for every column, 0 for `ZERO`; int64."""
    alive = codes[codes != ZERO]
    least = int(alive.min()) if alive.size else 0
    return least, np.where(codes == ZERO, 0, codes - least + 1)


def from_offsets(least: int, offsets: np.ndarray) -> np.ndarray:
    """Inverse of `to_offsets`; ValueError for codes out of range."""
    if abs(least) > _LIMIT or offsets.min(initial=0) < 0 or offsets.max(initial=0) > _LIMIT - least + 1:
        raise ValueError("norm code out of range")
    return np.where(offsets == 0, ZERO, offsets + (least - 1))
