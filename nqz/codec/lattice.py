"""The box "lattice": the fine lattices Λ, by Construction A from binary linear codes.

Λ = {λ in Zⁿ : λ mod 2 in C}. A point minus its dither is kept as an integer Y in units of 1/`fine` of the integer step:
Y = fine · λ - level, so that Y = 16 k + o with o, the context of the entropy coder, fixed by dither level and parity.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lattice:
    """A fine lattice.

    Attributes
    ----------
    name : str
    index : int
        Number by which the kernels and the file know it.
    fine : int
        Dither levels a unit: 16 over the period of the lattice modulo the code (1 for Z, 2 for the others).
    block : int
        Dimension of one block.
    code_bits : float
        Bits of the codeword an entry.
    second_moment : float
        Mean square an entry of a uniform point of the Voronoi cell, in units of one integer step squared.
    """

    name: str
    index: int
    fine: int
    block: int
    code_bits: float
    second_moment: float

    @property
    def fine_moment(self) -> float:
        """Second moment in units of 1/fine squared."""
        return self.second_moment * self.fine * self.fine


LATTICES = {
    "z": Lattice("z", 0, 16, 1, 0.0, 1 / 12),
    "d4": Lattice("d4", 1, 8, 4, 0.75, 13 / 120),
    "e8": Lattice("e8", 2, 8, 8, 0.5, 929 / 6480),
}
"""Second moments: Conway & Sloane, "Voronoi regions of lattices, second moments of polytopes, and quantization" (1982)."""

GROUP = 8
"""Entries of one lane that are coded together, a multiple of every block length."""
