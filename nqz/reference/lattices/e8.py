"""E8, by Construction A from the first-order Reed-Muller code of length 8."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Ints
from nqz.reference.lattices import construction_a
from nqz.reference.lattices.contract import NestedLattice

CHECKS = {3: (0, 1, 2), 5: (0, 1, 4), 6: (0, 2, 4), 7: (1, 2, 4)}

# RM(1,3): bit i of word a0 + 2 a1 + 4 a2 + 8 a3 is a0 + a1 i0 + a2 i1 + a3 i2 (mod 2).
CODE = np.array(
    [[(c ^ (c >> 1 & i) ^ (c >> 2 & i >> 1) ^ (c >> 3 & i >> 2)) & 1 for i in range(8)] for c in range(16)]
)
WALSH = 1 - 2 * CODE[0::2]  # without a0: the Walsh matrix


class E8(NestedLattice):
    """The points of Z⁸ whose parities are a codeword."""

    number, name = 2, "e8"
    fine, block, code_bits = 8, 8, 4
    second_moment = 929 / 6480
    codewords = CODE

    def nearest_point(self, x: Ints, unit: Ints | int) -> Ints:
        """Find the codeword by a Walsh transform of what odd coordinates cost: the largest magnitude, its sign a0."""
        even, cost, toward = construction_a.nearest_even(x, unit)
        w = cost @ WALSH.T
        a = np.argmax(np.abs(w), axis=-1)
        negative = np.take_along_axis(w, a[..., None], axis=-1)[..., 0] < 0
        nearest: Ints = even + CODE[2 * a + negative] * toward
        return nearest

    def index_of(self, point: Ints) -> Ints:
        """Return a0, and where its neighbors 1, 2 and 4 differ from coordinate 0."""
        first, others = point[..., 0] & 1, point[..., [1, 2, 4]] & 1
        index: Ints = first + (others ^ first[..., None]) @ np.array([2, 4, 8])
        return index

    def to_digits(self, point: Ints, q: Ints | int) -> Ints:
        """Return digits as Construction A has them."""
        return construction_a.to_digits(point, q, CHECKS)

    def from_digits(self, digits: Ints) -> Ints:
        """Return a point as Construction A has it."""
        return construction_a.from_digits(digits, CHECKS)


LATTICE = E8()
