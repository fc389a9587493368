"""The Leech lattice, in integer coordinates (the usual ones times √8).

A point λ of Z^24 has all coordinates ≡ m (mod 2) for m = 0 or 1, (λ_i - m) / 2 mod 2 is a codeword c of the
extended binary Golay code, and the coordinates sum up to 4 m (mod 8): λ_i = m + 2 c_i + 4 k_i with
Σ k_i ≡ m (mod 2).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SIZE = 24
CODE_BITS = 13  # the information bits of c, then m

# Generator of the Golay code: row i has bit i, no other of bits 0 to 11, and these bits 12 to 23. They are part
# of the format.
GENERATOR = (0x25F, 0x727, 0xB8B, 0x1F3, 0x5CD, 0xC75, 0x6B9, 0x96E, 0xAB6, 0xCDA, 0xF1C, 0xFE0)
CHECKS = np.array([[row >> j & 1 for j in range(12)] for row in GENERATOR])

_BATCH = 32  # blocks that are compared with all codewords at once


@lru_cache(maxsize=1)
def codewords() -> np.ndarray:
    """Return all codewords in the order of their information bits, int64 [4096, 24]."""
    information = np.arange(4096)[:, None] >> np.arange(12) & 1
    return np.concatenate([information, information @ CHECKS % 2], axis=1)


def residues(index: np.ndarray) -> np.ndarray:
    """Return m + 2 c_i of code indices (information bits of c, plus 4096 m), int64 [..., 24]."""
    return (index >> 12)[..., None] + 2 * codewords()[index & 4095]


def index_of(point: np.ndarray) -> np.ndarray:
    """Return the code indices of lattice points [..., 24]."""
    return (point[..., :12] >> 1 & 1) @ (1 << np.arange(12)) + 4096 * (point[..., 0] & 1)


def last_context(index: int, level: np.ndarray, y: np.ndarray) -> int:
    """Return Y mod 32 of the last entry of a block.

    Parameters
    ----------
    index : int
        Code index.
    level, y : numpy.ndarray
        int64 [24] and [23]: dither levels, and Y of the other entries.
    """
    parity = int(((y + level[:-1]) >> 4).sum()) + (index >> 12)
    return (16 * parity + 4 * int(residues(np.array(index))[-1]) - int(level[-1])) % 32


def nearest_point(x: np.ndarray, unit: np.ndarray | int) -> np.ndarray:
    """Return the lattice point nearest to each block of 24.

    Of several the one with the lowest m, then with the lowest information bits of c. Where the nearest
    coordinates of a residue have the wrong sum, the one that it costs least to move by 4 is moved, the first
    of several.

    Parameters
    ----------
    x : numpy.ndarray
        int64 [..., 24], fixed point.
    unit : int or numpy.ndarray
        Fixed-point steps in one lattice unit; broadcasts with `x`, and is the same for all of a block.

    Returns
    -------
    numpy.ndarray
        int64 [..., 24], lattice units.
    """
    flat = x.reshape(-1, SIZE)
    units = np.broadcast_to(unit, x.shape).reshape(-1, SIZE)[:, :1]
    out = np.empty_like(flat)
    for first in range(0, len(flat), _BATCH):
        batch = slice(first, first + _BATCH)
        out[batch] = _nearest(flat[batch], units[batch])
    return out.reshape(x.shape)


def _split(x: np.ndarray, unit: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a in [-2 unit, 2 unit) and q with x = unit · (m + 4 q) + a."""
    q = (x - unit * m + 2 * unit) // (4 * unit)
    return x - unit * (m + 4 * q), q


def _nearest(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
    distances = []
    for m in (0, 1):
        a, q = _split(x, unit, m)
        # A one as code bit costs 4 unit (unit - |a|) more than a zero; it lowers the nearest k where a < 0.
        ones = _by_codeword(np.add, 0 * a, unit - np.abs(a))
        wrong = (_by_codeword(np.add, q, q - (a < 0)) + m) & 1
        moved = _by_codeword(np.minimum, 2 * (2 * unit - np.abs(a)), 2 * np.abs(a))
        distances.append((a * a).sum(axis=1)[:, None] + 4 * unit * (ones + wrong * moved))
    index = np.argmin(np.concatenate(distances, axis=1), axis=1)
    m, c = index[:, None] >> 12, codewords()[index & 4095]
    a, q = _split(x, unit, m)
    k = q - (c & (a < 0))
    step = np.where((a < 0) ^ (c == 1), -1, 1)
    move = np.where(c == 1, np.abs(a), 2 * unit - np.abs(a))
    wrong = (k.sum(axis=1, keepdims=True) + m) & 1
    cheapest = np.argmin(move, axis=1)[:, None] == np.arange(SIZE)
    return m + 2 * c + 4 * (k + wrong * cheapest * step)


def _by_codeword(combine: np.ufunc, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Return what `combine` makes of zero_i or one_i, as bit c_i says, by codeword; int64 [blocks, 4096]."""
    byte = np.arange(256)
    words = codewords() @ (1 << np.arange(SIZE))
    values = np.stack([zero, one])
    total = None
    for first in (0, 8, 16):
        octet = combine.reduce([values[byte >> i & 1, :, first + i] for i in range(8)]).T
        chosen = np.take(octet, words >> first & 255, axis=1)
        total = chosen if total is None else combine(total, chosen)
    return total


def to_digits(point: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the digits [..., 24] of the coset modulo qΛ of lattice points [..., 24]; `q` broadcasts.

    They are the coordinates, modulo q, in the basis (1, ..., 1, -3), twice rows 1 to 11 of the generator,
    4 e_j + 4 e_23 for j = 12 to 22, and 8 e_23.
    """
    value = point.copy()
    head = point[..., :1]
    value[..., 1:12] = (point[..., 1:12] - head) // 2
    rest = point[..., 12:] - head - 2 * value[..., 1:12] @ CHECKS[1:]
    value[..., 12:23] = rest[..., :11] // 4
    value[..., 23] = (rest[..., 11] + 4 * head[..., 0] - 4 * value[..., 12:23].sum(axis=-1)) // 8
    return value % q


def from_digits(digits: np.ndarray) -> np.ndarray:
    """Return a lattice point [..., 24] of the coset of digits [..., 24]."""
    point = digits.copy()
    head = digits[..., :1]
    point[..., 1:12] = head + 2 * digits[..., 1:12]
    point[..., 12:] = head + 2 * digits[..., 1:12] @ CHECKS[1:]
    point[..., 12:23] += 4 * digits[..., 12:23]
    point[..., 23] += 4 * (digits[..., 12:23].sum(axis=-1) - head[..., 0]) + 8 * digits[..., 23]
    return point
