"""Z, the integers: no code bits, and a block is any eight coordinates."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Ints
from nqz.reference.lattices.contract import NestedLattice


class Integers(NestedLattice):
    """Zⁿ."""

    number, name = 0, "z"
    fine, block, code_bits = 16, 8, 0
    second_moment = 1 / 12
    codewords = np.zeros((1, 8), dtype=np.int64)

    def nearest_point(self, x: Ints, unit: Ints | int) -> Ints:
        """Round, halves upward."""
        return (x + unit // 2) // unit

    def index_of(self, point: Ints) -> Ints:
        """Return zeros: there is one codeword."""
        return np.zeros(point.shape[:-1], dtype=np.int64)

    def to_digits(self, point: Ints, q: Ints | int) -> Ints:
        """Return coordinates modulo q."""
        return point % q

    def from_digits(self, digits: Ints) -> Ints:
        """Return the digits."""
        return digits


LATTICE = Integers()
