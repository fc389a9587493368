"""Arguments of the entropy coder: geometry of the chunk, dither levels and frequency tables, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nqz.reference.dither import levels
from nqz.reference.layout import (
    CONVOLUTIONAL,
    D4,
    E8,
    FINE,
    LEECH,
    check_chunk,
    columns,
    group_of,
    padded,
    require,
)
from nqz.reference.leech import CODE_BITS


@dataclass
class Chunk:
    """What both directions derive from the arguments: geometry, dither and tables."""

    lattice: int
    lanes: int
    fine: int
    level: np.ndarray  # int64 [P]
    table: np.ndarray  # int64 [P]: the table that codes the position
    half: np.ndarray  # int64 [T]
    raw: np.ndarray  # int64 [T]
    rice: np.ndarray  # int64 [T]
    offset: np.ndarray  # int64 [T]
    cum: np.ndarray  # int64
    weight: np.ndarray  # float64 [T, 16]
    rows: np.ndarray  # bool [group rows]: are the row's code bits modelled?

    @property
    def blocks(self) -> int:
        """Blocks with code bits in a group (a trellis has none)."""
        return {D4: 2, E8: 1, LEECH: 1}.get(self.lattice, 0)

    @property
    def code_bits(self) -> int:
        """Bits of a codeword index."""
        return {D4: 3, E8: 4, LEECH: CODE_BITS}.get(self.lattice, 0)

    @property
    def row(self) -> int:
        """Positions of a group row."""
        return group_of(self.lattice) * self.lanes

    @property
    def memory(self) -> int:
        """Memory of a convolutional code; 0 for the other lattices."""
        return self.lattice - 32 if self.lattice in CONVOLUTIONAL else 0

    def cumulative(self, table: int, context: int) -> np.ndarray:
        """Return the cumulative frequencies of one context of one table."""
        width = 2 * int(self.half[table]) + 2
        first = int(self.offset[table]) + context * width
        return self.cum[first : first + width]


def prepare(
    lattice: int,
    count: int,
    start: int,
    m: int,
    table_of_column: np.ndarray,
    lanes: int,
    key0: int,
    key1: int,
    counter: int,
    half: np.ndarray,
    raw: np.ndarray,
    rice: np.ndarray,
    offset: np.ndarray,
    cum: np.ndarray,
    weight: np.ndarray,
    modelled: np.ndarray,
    last: np.ndarray,
) -> Chunk:
    """Check the arguments and collect them; raise ValueError where they do not fit together."""
    check_chunk(lattice, count, lanes)
    tables = half.size
    require(half.shape == (tables,) and half.dtype == np.int32, "half must be int32 [T]")
    require(raw.shape == (tables,) and raw.dtype == np.int32, "raw must be int32 [T]")
    require(rice.shape == (tables,) and rice.dtype == np.int32, "rice must be int32 [T]")
    require(offset.shape == (tables,) and offset.dtype == np.int64, "offset must be int64 [T]")
    require(cum.ndim == 1 and cum.dtype == np.uint16, "cum must be uint16")
    require(weight.shape == (tables, 16) and weight.dtype == np.float64, "weight must be float64 [T, 16]")
    require(modelled.shape == (tables,) and modelled.dtype == np.uint8, "modelled must be uint8 [T]")
    right = last.shape == (tables if lattice == LEECH else 0,) and last.dtype == np.int32
    require(right, "last must be int32, [T] for leech and [0] otherwise")
    right = table_of_column.ndim == 1 and table_of_column.dtype == np.int32
    require(right, "table_of_column must be int32 [c]")
    positions = padded(lattice, count, lanes)
    column = columns(start, count, m, positions, table_of_column.size)
    used = np.unique(table_of_column[column[0] : column[-1] + 1])
    require(used[0] >= 0 and used[-1] < tables, "table_of_column names a table that does not exist")
    table = table_of_column[column].astype(np.int64)
    rows = modelled[table[:: group_of(lattice) * lanes]] != 0
    if lattice == LEECH:
        require(not modelled[used].any(), "the code bits of leech are not modelled")
        known = bool(((last[used] >= 0) & (last[used] < tables)).all())
        require(known, "last names a table that does not exist")
        used = np.union1d(used, last[used])
        at_end = np.arange(positions) // lanes % 24 == 23
        table = np.where(at_end, last[table], table)
    chunk = Chunk(
        lattice,
        lanes,
        FINE[lattice],
        levels(key0, key1, counter, positions).astype(np.int64),
        table,
        half.astype(np.int64),
        raw.astype(np.int64),
        rice.astype(np.int64),
        offset,
        cum.astype(np.int64),
        weight,
        rows,
    )
    for t in used:
        require(1 <= half[t] <= 127, "half must be 1 to 127")
        require(0 <= raw[t] <= 20, "raw must be 0 to 20")
        require(0 <= rice[t] <= 20, "rice must be 0 to 20")
        size = 16 * (2 * int(half[t]) + 2)
        require(0 <= offset[t] <= cum.size - size, "offset points outside cum")
        frequencies = chunk.cum[offset[t] : offset[t] + size].reshape(16, -1)
        steps = np.diff(frequencies, axis=1)
        require(
            bool((frequencies[:, 0] == 0).all() and (frequencies[:, -1] == 4096).all() and (steps > 0).all()),
            "cum is not a table of 12-bit frequencies",
        )
        if modelled[t]:
            require(bool(((weight[t] >= 0) & (weight[t] <= 2.0**32)).all()), "weight must be 0 to 2^32")
    return chunk
