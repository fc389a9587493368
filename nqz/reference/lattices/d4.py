"""D4, by Construction A from the words of even weight and length 4; two points make a group."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Ints
from nqz.reference.lattices import construction_a
from nqz.reference.lattices.contract import NestedLattice

CHECKS = {3: (0, 1, 2), 7: (4, 5, 6)}


class D4(NestedLattice):
    """The points of Z⁴ with an even sum. The index of a codeword is its first three bits."""

    number, name = 1, "d4"
    fine, block, code_bits = 8, 4, 3
    second_moment = 13 / 120
    codewords = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1, (c ^ c >> 1 ^ c >> 2) & 1] for c in range(8)])

    def nearest_point(self, x: Ints, unit: Ints | int) -> Ints:
        """Choose the parity of each coordinate; where that is no codeword, change the one that costs least."""
        even, cost, toward = construction_a.nearest_even(x, unit)
        cost = cost.reshape(*x.shape[:-1], 2, 4)
        odd = cost < 0
        wrong = odd.sum(axis=-1, keepdims=True) % 2 == 1
        cheapest = np.argmin(np.abs(cost), axis=-1)[..., None] == np.arange(4)
        odd = (odd ^ (wrong & cheapest)).reshape(x.shape)
        nearest: Ints = even + odd * toward
        return nearest

    def index_of(self, point: Ints) -> Ints:
        """Return the first three parities."""
        index: Ints = (point[..., :3] & 1) @ np.array([1, 2, 4])
        return index

    def to_digits(self, point: Ints, q: Ints | int) -> Ints:
        """Return digits as Construction A has them."""
        return construction_a.to_digits(point, q, CHECKS)

    def from_digits(self, digits: Ints) -> Ints:
        """Return a point as Construction A has it."""
        return construction_a.from_digits(digits, CHECKS)


LATTICE = D4()
