"""Columns of one side of a product, grouped by energy: a quarter of an octave each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import total
from nqz.product.operand import Operand
from nqz.stages.estimate import Side

_GROUP = 64
_MOST_NOISE = 1e60
"""Relative noise of columns that tell nothing any more; squares of its products stay finite."""
_QUIETEST = 1e-60
"""Energy of groups beside the loudest below which they count less."""

Codes = Callable[[slice], NDArray[Any]]
"""Norm codes of a range of columns."""

Units = Callable[[NDArray[Any]], NDArray[np.float64]]
"""Worth of an integer in columns of some norm codes, or another number that follows from these."""


@dataclass(frozen=True)
class Groups:
    """Coded columns of one side, grouped by energy; quiet groups first.

    Attributes
    ----------
    side : Side
    number : ndarray of int32
        Group of each code of the side's histogram, -1 for columns that do not count.
    label : ndarray of int64
        What the norm codes of a group have in common.
    columns : ndarray of float64
        Number of columns of each group.
    energy : ndarray of float64
        Total energy of each group.
    noise : ndarray of float64
        Energy-weighted mean relative noise of each group.
    """

    side: Side
    number: NDArray[np.int32]
    label: NDArray[np.int64]
    columns: NDArray[np.float64]
    energy: NDArray[np.float64]
    noise: NDArray[np.float64]

    def alike(self) -> NDArray[np.float64]:
        """Weights of groups with which all columns count alike, but for those far below the loudest."""
        found: NDArray[np.float64] = self.columns / np.maximum(self.energy / self.energy.max(), _QUIETEST)
        return found

    def effective_columns(self) -> NDArray[np.float64]:
        """So many columns of equal energies would count as much."""
        return np.array(total(self.energy) ** 2 / total(self.energy * self.energy / self.columns))

    def of(self, codes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns of these norm codes in the order of their groups, and where the groups begin among them, and end."""
        index = self.side.histogram.index(codes)
        number = self.number[index]
        counted = np.flatnonzero(number >= 0)
        order = counted[np.argsort(index[counted], kind="stable")]  # by code
        edges = np.cumsum(np.bincount(number[counted], minlength=len(self.energy)))
        return order, np.concatenate([[0], edges]).astype(np.int64)


def group(side: Side, energies: NDArray[np.float64]) -> Groups:
    """Group the coded columns of a side that are not all noise; `energies`, in any unit, are of its norm codes."""
    codes, counts, noise = side.histogram.codes, side.histogram.counts, side.noise
    counted = (noise < _MOST_NOISE) & (energies > 0)
    label = codes[counted] // _GROUP
    begins = np.diff(label, prepend=-(1 << 40)) != 0
    number = np.full(len(codes), -1, np.int32)
    number[counted] = np.cumsum(begins) - 1
    first = np.append(np.flatnonzero(begins), int(counted.sum()))

    def summed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([total(x[i:j]) for i, j in pairwise(first.tolist())])

    power = (energies * counts)[counted]
    sums = summed(power)
    columns = summed(counts[counted].astype(np.float64))
    return Groups(side, number, label[begins], columns, sums, summed(power * noise[counted]) / sums)


@dataclass(frozen=True)
class Part:
    """The columns of one side that raw products are of.

    Attributes
    ----------
    groups : Groups
    codes : callable
        Norm codes of columns, as the products are numbered.
    units : callable
        Worth of an integer in columns of some norm codes.
    energies : callable
        Energies of columns of some norm codes.
    """

    groups: Groups
    codes: Codes
    units: Units
    energies: Units

    @classmethod
    def of(cls, operand: Operand, chosen: NDArray[np.int64] | None, kappa: float) -> Part:
        """Columns of an operand, all by default; their units divided by κ."""
        side, codes = operand.side, operand.codes
        if chosen is not None:
            known = operand.codes(chosen)
            side, codes = side.part(known), lambda columns: known[columns]
        groups = group(side, operand.energies(side.histogram.codes))
        return cls(groups, codes, lambda codes: operand.units(codes) / kappa, operand.energies)


def places(labels: NDArray[np.int64], codes: NDArray[Any]) -> NDArray[np.int32]:
    """Which of some groups, that have these labels, columns of norm codes belong to; len(labels) for none."""
    label = codes // _GROUP
    place = np.searchsorted(labels, label)
    there = place < len(labels)
    there[there] = labels[place[there]] == label[there]
    return np.where(there, place, len(labels)).astype(np.int32)
