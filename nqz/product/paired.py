"""Entries [i, i] of a product: the i-th column of one side may be related to that of the other as to no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import pieces, total
from nqz.product.groups import Part
from nqz.product.operand import Operand


@dataclass(frozen=True)
class Paired:
    """Those entries of which both columns are coded, of energies beyond 0.

    Attributes
    ----------
    groups : ndarray of int64, shape (2, k)
        Groups of both columns.
    energy : ndarray of float64, shape (k,)
        Energies of the unbiased estimates.
    power : ndarray of float64, shape (k,)
        Products of the energies of the columns.
    """

    groups: NDArray[np.int64]
    energy: NDArray[np.float64]
    power: NDArray[np.float64]

    @classmethod
    def of(cls, raw: dict[tuple[int, int], NDArray[Any]], a: Part, b: Part, count: int) -> Paired:
        """Those of the columns 0 … count - 1 that are coded on both sides."""
        columns = slice(0, count)
        codes = a.codes(columns), b.codes(columns)
        index = [part.groups.side.histogram.index(x) for part, x in zip((a, b), codes, strict=True)]
        groups = np.stack([part.groups.number[i] for part, i in zip((a, b), index, strict=True)])
        entries = np.zeros(count)
        for (row, column), block in raw.items():
            first, last = max(row, column), min(row + len(block), column + block.shape[1])
            if first < last:
                i = np.arange(first, last)
                entries[first:last] = block[i - row, i - column]
        energy = np.square(entries * a.units(codes[0]) * b.units(codes[1]))
        power = a.energies(codes[0]) * b.energies(codes[1])
        kept = (groups >= 0).all(axis=0) & (power > 0.0)
        return cls(groups[:, kept].astype(np.int64), energy[kept], power[kept])

    def estimates(self, n: int, nu: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energy of the product in units of P, entry by entry."""
        found: NDArray[np.float64] = self.energy / self.power * n - nu[self.groups[0], self.groups[1]]
        return found

    def energies(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Sums of `energy` for every pair of groups."""
        return self._summed(self.energy, shape)

    def powers(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Sums of `power` for every pair of groups."""
        return self._summed(self.power, shape)

    def _summed(self, x: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        place = np.ravel_multi_index((self.groups[0], self.groups[1]), (shape[0], shape[1]))
        sums = np.zeros(shape[0] * shape[1])
        np.add.at(sums, place, x)  # one after the other
        return sums.reshape(shape)


def dropped_pairs(a: Operand, b: Operand) -> list[float]:
    """Σ ‖a_i‖²‖b_i‖² over the pairs of which the column of A is dropped, that of B, or both."""
    sums = [0.0, 0.0, 0.0]
    for columns in pieces(a.columns):
        codes = [x.codes(columns) for x in (a, b)]
        power = a.energies(codes[0]) * b.energies(codes[1])
        lost = [np.isinf(x.side.noise_at(c)) for x, c in zip((a, b), codes, strict=True)]
        kinds = lost[0] & ~lost[1], ~lost[0] & lost[1], lost[0] & lost[1]
        sums = [before + total(np.where(kind, power, 0.0)) for before, kind in zip(sums, kinds, strict=True)]
    return sums
