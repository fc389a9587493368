"""What a lattice is to the stages: the contract that every file of this package fills in.

Λ is a lattice of integer points whose *residues* λ mod 16/`fine` (mod 2; mod 4 for the Leech lattice, mod 1 for Z) are
those of a code: its *code bits* say which. What the residues do not say is a multiple of 16/`fine` at each coordinate,
any one: 16/`fine` · Zⁿ is part of Λ, but for the one parity of a group that `last_follows` stands for. A lane of a
chunk is cut into *blocks* of consecutive coordinates, and an *index* of `code_bits` bits names the residues of a block,
where needed with the *state* that the blocks before it left.

Arrays of a chunk are arranged as [T, lanes, block]: T blocks of each lane. Numbers are int64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from nqz.reference.arrays import Array, Ints


class Lattice(ABC):
    """A fine lattice.

    Attributes
    ----------
    number : int
        By which kernels know it.
    name : str
        By which users and files know it.
    fine : int
        Dither levels in one integer step.
    group : int
        Steps of a lane that are coded together, a multiple of `block`; a chunk is padded to whole groups on all lanes.
    block : int
        Coordinates of a block.
    code_bits : int
        Bits of the index of a block.
    second_moment : float
        Mean square an entry of a uniform point of the Voronoi cell.
    models_code : bool
        Whether code bits may be coded by their chances; otherwise they are always stored as they are.
    last_follows : bool
        Whether the last entry of a group follows from the others modulo 32 / `fine`; see `last_residue`.
    """

    number: int
    name: str
    fine: int
    group: int = 8
    block: int
    code_bits: int
    second_moment: float
    models_code: bool = True
    last_follows: bool = False

    @abstractmethod
    def quantize(self, x: Ints, lanes: int, unit: int) -> Ints:
        """Return the lattice points nearest to the lanes of a chunk, [P]; `unit` steps of `x` are one integer step."""

    def nearest(self, x: Ints, lanes: int, unit: int) -> Ints:
        """Return what `quantize` does, from exact costs where that rounds them, for `x` of any kind."""
        return self.quantize(x, lanes, unit)

    @abstractmethod
    def index_of(self, point: Ints) -> Ints:
        """Return the indices [T, lanes] of the blocks of lattice points [T, lanes, block]."""

    @abstractmethod
    def residues(self, state: Ints, index: Ints) -> Ints:
        """Return the residues [..., block] of blocks by the state before them and their index."""

    @abstractmethod
    def chances(self, weight: Ints) -> list[Ints]:
        """Return, for every bit of the index, the 12-bit chances of a one, by branch; int64 [T, lanes, branches].

        `weight`, [T, lanes, block, 16/fine], says how likely each residue is at each coordinate by itself, 0 to 65535.
        """

    def branch(self, state: Ints, above: Ints) -> Ints:
        """Return the branch that a bit is on, by the state before the block and the bits of the index above it."""
        return above

    def next_state(self, state: Ints, index: Ints) -> Ints:
        """Return the state after a block; lanes begin in state 0."""
        return state

    def last_residue(self, index: int, level: Ints, y: Ints) -> int:
        """Return Y mod 32 of the last entry of a group, Y = fine · λ - level, where it follows from the others.

        Parameters
        ----------
        index : int
            Index of the group's last block.
        level, y : numpy.ndarray
            int64 [group] and [group - 1]: dither levels, and Y of the other entries.
        """
        raise ValueError(f"{self.name}: no residue follows from the others")


class BlockLattice(Lattice):
    """A lattice whose groups are independent of each other.

    Attributes
    ----------
    codewords : numpy.ndarray
        Residues of a block by index, [2^code_bits, block].
    """

    codewords: Ints

    @abstractmethod
    def nearest_point(self, x: Ints, unit: Ints | int) -> Ints:
        """Return the lattice point nearest to each group of `x`, [..., group]; one `unit` for all of a group."""

    def quantize(self, x: Ints, lanes: int, unit: int) -> Ints:
        """Return the nearest points, group by group."""
        return from_blocks(self.nearest_point(to_blocks(x, self.group, lanes), unit))

    def residues(self, state: Ints, index: Ints) -> Ints:
        """Return codewords."""
        return self.codewords[index]

    def chances(self, weight: Ints) -> list[Ints]:
        """Sum the weights of all codewords pairwise into a binary tree; the branch of a bit is the bits above it."""
        total = weight_of_all([weight[:, :, i, self.codewords[:, i]] for i in range(self.block)])
        result = []
        for _ in range(self.code_bits):
            zero, one = total[..., 0::2], total[..., 1::2]
            result.append(chance(zero, one))
            total = zero + one
        return result


class NestedLattice(BlockLattice):
    """A lattice with a Voronoi code Λ/qΛ: its groups have coordinates in a basis of Λ."""

    @abstractmethod
    def to_digits(self, point: Ints, q: Ints | int) -> Ints:
        """Return the digits to base q, [..., group], that name the cosets of points modulo qΛ."""

    @abstractmethod
    def from_digits(self, digits: Ints) -> Ints:
        """Return a point of the coset that digits name."""


def weight_of_all(weights: list[Ints]) -> Ints:
    """Return the weight of several residues, 1 to 65535: products of neighbors, until there is one; the last bit is 1.

    Of a product of 32 bits the upper 16 are kept.
    """
    while len(weights) > 1:
        weights = [first * second >> 16 for first, second in zip(weights[0::2], weights[1::2], strict=True)]
    return weights[0] | 1


def chance(zero: Ints, one: Ints) -> Ints:
    """Return the 12-bit chance of a one, 1 to 4095, by the weights of zero and one, which are at least 1."""
    return 1 + 4095 * one // (zero + one)


def to_blocks(values: Array, size: int, lanes: int) -> Array:
    """Arrange the [P] values of a chunk as [T, lanes, size]: blocks of `size` consecutive steps of a lane."""
    blocks: Array = values.reshape(-1, size, lanes).swapaxes(1, 2)
    return blocks


def from_blocks(blocks: Array) -> Array:
    """Undo `to_blocks`."""
    values: Array = blocks.swapaxes(1, 2).reshape(-1)
    return values
