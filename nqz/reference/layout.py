"""Where a chunk lies: in its panel, on its lanes, in the dither (docs/format.md, section 13).

A chunk of N entries is padded to P positions, a multiple of G·L for L lanes. Position p is step p // L of lane p % L;
G consecutive steps of one lane are a *group*, and the L groups that begin at the same step a *group row*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nqz.ground.layout import CHUNK_ENTRIES, padded
from nqz.reference.arrays import Ints, require
from nqz.reference.lattices import lattice_of


def check_lanes(lanes: int) -> None:
    """Raise ValueError unless the number of lanes is allowed."""
    require(lanes in (1, 2, 4, 8, 16, 32), "lanes must be 1, 2, 4, 8, 16 or 32")


@dataclass(frozen=True)
class Place:
    """Where a chunk lies; ValueError if it cannot.

    Attributes
    ----------
    lattice : int
        Number of the lattice.
    count : int
        Entries of the chunk, 1 to 2^20.
    start : int
        Position of the chunk in its panel.
    m : int
        Entries of a column of the panel.
    lanes : int
        1, 2, 4, 8, 16 or 32.
    counter : int
        First counter of the chunk's dither, 0 to 2^64 - 1.
    """

    lattice: int
    count: int
    start: int
    m: int
    lanes: int
    counter: int

    def __post_init__(self) -> None:
        lattice_of(self.lattice)
        require(1 <= self.count <= CHUNK_ENTRIES, "a chunk has 1 to 2^20 entries")
        check_lanes(self.lanes)
        right = 0 <= self.start <= 1 << 62 and 1 <= self.m <= 1 << 40
        require(right, "start must be at least 0 and m at least 1")
        require(0 <= self.counter < 1 << 64, "counter must be 0 to 2^64 - 1")

    @property
    def positions(self) -> int:
        """P, the entries and those that fill the last group row up."""
        return padded(self.count, lattice_of(self.lattice).group, self.lanes)

    @property
    def groups(self) -> int:
        """Groups of all lanes."""
        return self.positions // lattice_of(self.lattice).group

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes by the names that arrays of a chunk are described with."""
        rows = self.groups // self.lanes
        return {"N": self.count, "P": self.positions, "groups": self.groups, "group rows": rows}

    def columns(self, available: int) -> Ints:
        """Return the panel's column, of so many, of every position; padding belongs to that of the last entry."""
        right = (self.start + self.count - 1) // self.m < available
        require(right, "the chunk reaches past the last column of the panel")
        p = np.minimum(np.arange(self.positions, dtype=np.int64), self.count - 1)
        return (self.start + p) // self.m
