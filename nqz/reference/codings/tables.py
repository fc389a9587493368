"""Tables of the entropy coder, and what a chunk is coded with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nqz.reference.arrays import Array, Bits, Ints, check, require, within
from nqz.reference.dither import Key, levels_of
from nqz.reference.lattices import lattice_of
from nqz.reference.lattices.contract import Lattice, to_blocks
from nqz.reference.lattices.conv import AHEAD, Convolutional
from nqz.reference.layout import Place


@dataclass(frozen=True, eq=False)
class Tables:
    """Tables of the entropy coder of a tensor; ValueError where they do not fit together.

    Attributes
    ----------
    lattice : int
        Number of the lattice.
    half, raw, rice : numpy.ndarray
        int32 [T]: symbols cover -half to half - 1 (1 to 127); low bits that are sent raw (0 to 20); low bits in the
        Rice code of an escape (0 to 20).
    offset : numpy.ndarray
        int64 [T]: where a table begins in `cum`.
    cum : numpy.ndarray
        uint16: for each of 16 contexts of a table, 2 half + 2 cumulative 12-bit frequencies.
    weight : numpy.ndarray
        uint16 [T, 16], weight of each context, by which code bits are modelled.
    modelled : numpy.ndarray
        uint8 [T]: are code bits modelled? Never for leech. 2 if their chances look ahead, of convolutional lattices.
    last : numpy.ndarray
        int32 [T] for leech: the table with which the last entry of a block is coded; else int32 [0].
    """

    lattice: int
    half: Array
    raw: Array
    rice: Array
    offset: Array
    cum: Array
    weight: Array
    modelled: Array
    last: Array

    def __post_init__(self) -> None:
        lattice, count = lattice_of(self.lattice), self.half.size
        rows = {f"{name} int32 [T]": getattr(self, name) for name in ("half", "raw", "rice")}
        rows |= {"offset int64 [T]": self.offset, "weight uint16 [T, 16]": self.weight}
        check({**rows, "modelled uint8 [T]": self.modelled, "cum uint16 [n]": self.cum}, T=count)
        halves = (count if lattice.last_follows else 0,)
        right = self.last.shape == halves and self.last.dtype == np.int32
        require(right, "last must be int32, [T] where last steps have tables of their own, else [0]")
        require(within(self.last, 0, count - 1), "last names a table that does not exist")
        require(within(self.half, 1, 127), "half must be 1 to 127")
        require(within(self.raw, 0, 20), "raw must be 0 to 20")
        require(within(self.rice, 0, 20), "rice must be 0 to 20")
        most = self.cum.size - 16 * (2 * self.half.astype(np.int64) + 2)
        require(bool(((self.offset >= 0) & (self.offset <= most)).all()), "offset points outside cum")
        for t in range(count):
            ends = self.contexts(t)[:, [0, -1]]
            right = bool((ends == [0, 4096]).all() and (np.diff(self.contexts(t), axis=1) > 0).all())
            require(right, "cum is not a table of 12-bit frequencies")
        chosen = self.modelled != 0
        require(
            within(self.modelled, 0, 2 if isinstance(lattice, Convolutional) else 1),
            "modelled must be 0, 1 or 2",
        )
        require(lattice.models_code or not chosen.any(), f"the code bits of {lattice.name} are not modelled")

    def contexts(self, t: int) -> Ints:
        """Return the cumulative frequencies of a table, [16, 2 half + 2]."""
        size = 16 * (2 * int(self.half[t]) + 2)
        first = int(self.offset[t])
        return self.cum[first : first + size].reshape(16, -1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Chunk:
    """What both directions derive from their arguments.

    Attributes
    ----------
    lattice : Lattice
    level : numpy.ndarray
        int64 [P], the dither.
    table : numpy.ndarray
        int64 [P], the table that codes a position.
    halved : numpy.ndarray
        int64 [P], 1 at entries of which half is coded, since the rest follows from the others; otherwise 0.
    half, raw, rice : numpy.ndarray
        int64 [P], of that table.
    first : numpy.ndarray
        int64 [P]: where in `Tables.cum` the contexts of that table begin.
    blocks : int
        Blocks of a group.
    modelled : numpy.ndarray
        bool [group rows]: are the row's code bits modelled?
    ahead : numpy.ndarray
        bool [group rows]: do their chances look ahead? They do where all of a row has one table that says so.
    """

    lattice: Lattice
    level: Ints
    table: Ints
    halved: Ints
    half: Ints
    raw: Ints
    rice: Ints
    first: Ints
    blocks: int
    modelled: Bits
    ahead: Bits


def prepare(place: Place, key: Key, tables: Tables, table_of_column: Array) -> Chunk:
    """Work out what a chunk is coded with; ValueError where the arguments do not fit together."""
    require(place.lattice == tables.lattice, "the place and the tables are of different lattices")
    check({"table_of_column int32 [c]": table_of_column})
    lattice = lattice_of(place.lattice)
    table = table_of_column[place.columns(table_of_column.size)].astype(np.int64)
    require(within(table, 0, tables.half.size - 1), "table_of_column names a table that does not exist")
    rows = table.reshape(-1, lattice.group * place.lanes)
    modelled = tables.modelled[rows[:, 0]] != 0
    ahead = (tables.modelled[rows[:, 0]] == 2) & (rows == rows[:, :1]).all(axis=1)
    halved = np.zeros(place.positions, dtype=np.int64)
    if lattice.last_follows:
        halved[np.arange(place.positions) // place.lanes % lattice.group == lattice.group - 1] = 1
        table = np.where(halved, tables.last[table], table)
    half, raw, rice = (a[table].astype(np.int64) for a in (tables.half, tables.raw, tables.rice))
    level, first, blocks = levels_of(place, key), tables.offset[table], lattice.group // lattice.block
    return Chunk(lattice, level, table, halved, half, raw, rice, first, blocks, modelled, ahead)


def chances(chunk: Chunk, tables: Tables, lanes: int) -> list[Ints]:
    """Return the chances of the code bits as the lattice has them; nothing where none are modelled."""
    if not chunk.modelled.any():
        return []
    fine = chunk.lattice.fine
    residue = np.arange(16 // fine)
    context = (fine * residue - chunk.level[:, None]) & 15
    weight = tables.weight[chunk.table[:, None], context].astype(np.int64)
    by_residue = [to_blocks(w, chunk.lattice.block, lanes) for w in weight.T]
    return chunk.lattice.chances(np.stack(by_residue, axis=-1))


def weights_ahead(chunk: Chunk, tables: Tables, lanes: int) -> Ints:
    """Return the weights of labels for the rows whose chances look ahead, [rows, 4 + AHEAD, lanes, 4].

    The steps behind a row are weighed by its own table, whatever codes them; their dither levels are known. Levels
    behind the chunk count as 0.
    """
    lattice = chunk.lattice
    if not isinstance(lattice, Convolutional) or not chunk.ahead.any():
        return np.zeros((len(chunk.ahead), 0, lanes, 4), dtype=np.int64)
    steps = 2 * (chunk.blocks + AHEAD)
    level = chunk.level.reshape(-1, lattice.group, lanes)
    behind = np.concatenate([level[1:], np.zeros_like(level[:1])])
    level = np.concatenate([level, behind], axis=1)[:, :steps]
    context = (lattice.fine * np.arange(2) - level[..., None]) & 15
    table = chunk.table.reshape(len(level), -1)[:, 0]
    weight = tables.weight[table[:, None, None, None], context].astype(np.int64)  # [rows, steps, lanes, 2]
    by_step = weight.reshape(-1, 2, lanes, 2).swapaxes(1, 2)  # [steps, lanes, block, residue]
    return lattice.label_weights(by_step).reshape(len(level), -1, lanes, 4)
