"""The Leech lattice, in integer coordinates (the usual ones times √8).

A point λ of Z^24 has all coordinates ≡ m (mod 2) for m = 0 or 1, (λ_i - m) / 2 mod 2 is a codeword c of the extended
binary Golay code, and the coordinates sum up to 4 m (mod 8): λ_i = m + 2 c_i + 4 k_i with Σ k_i ≡ m (mod 2).
See Conway & Sloane, Sphere Packings, Lattices and Groups, chapters 4 and 11.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from nqz.ground.cached import cached_property
from nqz.reference.arrays import Ints
from nqz.reference.lattices.contract import NestedLattice

SIZE = 24

# Generator of the Golay code: row i has bit i, no other of bits 0 to 11, and these bits 12 to 23. They are part
# of the format.
GENERATOR = (0x25F, 0x727, 0xB8B, 0x1F3, 0x5CD, 0xC75, 0x6B9, 0x96E, 0xAB6, 0xCDA, 0xF1C, 0xFE0)
CHECKS = np.array([[row >> j & 1 for j in range(12)] for row in GENERATOR])

BATCH = 32  # blocks that are compared with all codewords at once


@cache
def golay() -> Ints:
    """Return the codewords of the Golay code by their information bits, [4096, 24]."""
    information = np.arange(4096)[:, None] >> np.arange(12) & 1
    return np.concatenate([information, information @ CHECKS % 2], axis=1)


class Leech(NestedLattice):
    """√8 times the Leech lattice. The index of a block is the information bits of c, then m."""

    number, name = 3, "leech"
    fine, group, block, code_bits = 4, SIZE, SIZE, 13
    second_moment = 0.526024
    models_code, last_follows = False, True

    @cached_property
    def codewords(self) -> Ints:
        """Residues by index, [8192, 24]."""
        return np.concatenate([2 * golay(), 1 + 2 * golay()])

    def index_of(self, point: Ints) -> Ints:
        """Return the second bits of the first twelve coordinates, and the first bit of all."""
        index: Ints = (point[..., :12] >> 1 & 1) @ (1 << np.arange(12)) + 4096 * (point[..., 0] & 1)
        return index

    def last_residue(self, index: int, level: Ints, y: Ints) -> int:
        """The sum of all k has the parity m."""
        parity = int(((y + level[:-1]) >> 4).sum()) + (index >> 12)
        return (16 * parity + 4 * int(self.codewords[index, -1]) - int(level[-1])) % 32

    def nearest_point(self, x: Ints, unit: Ints | int) -> Ints:
        """Compare all residues.

        Of several the one with the lowest m, then with the lowest information bits of c. Where the nearest coordinates
        of a residue have the wrong sum, the one that it costs least to move by 4 is moved, the first of several.
        """
        flat = x.reshape(-1, SIZE)
        units = np.broadcast_to(unit, x.shape).reshape(-1, SIZE)[:, :1]
        out = np.empty_like(flat)
        for first in range(0, len(flat), BATCH):
            batch = slice(first, first + BATCH)
            out[batch] = nearest_of_all(flat[batch], units[batch])
        return out.reshape(x.shape)

    def to_digits(self, point: Ints, q: Ints | int) -> Ints:
        """Return coordinates, modulo q, in a basis.

        It is (1, ..., 1, -3), twice rows 1 to 11 of the generator, 4 e_j + 4 e_23 for j = 12 to 22, and 8 e_23.
        """
        value = point.copy()
        head = point[..., :1]
        value[..., 1:12] = (point[..., 1:12] - head) // 2
        rest = point[..., 12:] - head - 2 * value[..., 1:12] @ CHECKS[1:]
        value[..., 12:23] = rest[..., :11] // 4
        value[..., 23] = (rest[..., 11] + 4 * head[..., 0] - 4 * value[..., 12:23].sum(axis=-1)) // 8
        digits: Ints = value % q
        return digits

    def from_digits(self, digits: Ints) -> Ints:
        """Combine the basis."""
        point: Ints = digits.copy()
        head = digits[..., :1]
        point[..., 1:12] = head + 2 * digits[..., 1:12]
        point[..., 12:] = head + 2 * digits[..., 1:12] @ CHECKS[1:]
        point[..., 12:23] += 4 * digits[..., 12:23]
        point[..., 23] += 4 * (digits[..., 12:23].sum(axis=-1) - head[..., 0]) + 8 * digits[..., 23]
        return point


def nearest_of_all(x: Ints, unit: Ints) -> Ints:
    """Return the points nearest to [blocks, 24]; `unit` is [blocks, 1]."""
    distances = []
    for m in (0, 1):
        a, q = split(x, unit, m)
        # A one as code bit costs 4 unit (unit - |a|) more than a zero; it lowers the nearest k where a < 0.
        ones = by_codeword(np.add, 0 * a, unit - np.abs(a))
        wrong = (by_codeword(np.add, q, q - (a < 0)) + m) & 1
        moved = by_codeword(np.minimum, 2 * (2 * unit - np.abs(a)), 2 * np.abs(a))
        distances.append((a * a).sum(axis=1)[:, None] + 4 * unit * (ones + wrong * moved))
    index = np.argmin(np.concatenate(distances, axis=1), axis=1)
    m, c = index[:, None] >> 12, golay()[index & 4095]
    a, q = split(x, unit, m)
    k = q - (c & (a < 0))
    step = np.where((a < 0) ^ (c == 1), -1, 1)
    move = np.where(c == 1, np.abs(a), 2 * unit - np.abs(a))
    wrong = (k.sum(axis=1, keepdims=True) + m) & 1
    cheapest = np.argmin(move, axis=1)[:, None] == np.arange(SIZE)
    nearest: Ints = m + 2 * c + 4 * (k + wrong * cheapest * step)
    return nearest


def split(x: Ints, unit: Ints, m: Ints | int) -> tuple[Ints, Ints]:
    """Return a in [-2 unit, 2 unit) and q with x = unit · (m + 4 q) + a."""
    q = (x - unit * m + 2 * unit) // (4 * unit)
    return x - unit * (m + 4 * q), q


def by_codeword(combine: np.ufunc, zero: Ints, one: Ints) -> Ints:
    """Return what `combine` makes of zero_i or one_i, as bit c_i says, by codeword; int64 [blocks, 4096]."""
    byte = np.arange(256)
    words = golay() @ (1 << np.arange(SIZE))
    values = np.stack([zero, one])
    parts = []
    for first in (0, 8, 16):
        octet = combine.reduce([values[byte >> i & 1, :, first + i] for i in range(8)]).T
        parts.append(np.take(octet, words >> first & 255, axis=1))
    total: Ints = combine(combine(parts[0], parts[1]), parts[2])
    return total


LATTICE = Leech()
