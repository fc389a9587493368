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


def pack(codes: np.ndarray) -> tuple[bytes, bytes]:
    """Serialize norm codes as (prefix, body): the prefix holds the width in bytes and the least code.

    The body is byte planes, least significant first, of code - least + 1 (0 for `ZERO`).
    """
    alive = codes[codes != ZERO]
    least = int(alive.min()) if alive.size else 0
    offsets = np.where(codes == ZERO, 0, codes - least + 1).astype("<u4")
    width = max(1, (int(offsets.max(initial=0)).bit_length() + 7) // 8)
    planes = offsets.view(np.uint8).reshape(-1, 4)[:, :width]
    return bytes([width]) + least.to_bytes(4, "little", signed=True), planes.T.tobytes()


PREFIX = 5
"""Length of the prefix in bytes."""


def body_size(prefix: bytes, columns: int) -> int:
    """Length of the body that belongs to a prefix; ValueError for an invalid prefix."""
    if len(prefix) != PREFIX or not 1 <= prefix[0] <= 4:
        raise ValueError("invalid width of the norm codes")
    if abs(int.from_bytes(prefix[1:], "little", signed=True)) > _LIMIT:
        raise ValueError("norm code out of range")
    return prefix[0] * columns


def unpack(prefix: bytes, body: bytes, columns: int) -> np.ndarray:
    """Inverse of `pack`; ValueError for codes out of range."""
    width, least = prefix[0], int.from_bytes(prefix[1:], "little", signed=True)
    planes = np.zeros((columns, 4), np.uint8)
    planes[:, :width] = np.frombuffer(body, np.uint8).reshape(width, columns).T
    offsets = planes.reshape(-1).view("<u4").astype(np.int64)
    codes = np.where(offsets == 0, ZERO, offsets + least - 1)
    if codes.max(initial=0) > _LIMIT:
        raise ValueError("norm code out of range")
    return codes
