"""The box "lattice": the fine lattices Λ, by Construction A from binary linear codes, and the Leech lattice.

Construction A: Λ = {λ in Zⁿ : λ mod 2 in C}. A point minus its dither is kept as an integer Y in units of 1/`fine` of the integer step:
Y = fine · λ - level, so that Y = 16 k + o with o, the context of the entropy coder, fixed by dither level and code bits.
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
        Dither levels a unit: 16 over the period of the lattice modulo the code (1 for Z, 4 for Leech, 2 for the others).
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
    def group(self) -> int:
        """Entries of one lane that are coded together, a multiple of the block length."""
        return 24 if self.block == 24 else 8

    @property
    def fine_moment(self) -> float:
        """Second moment in units of 1/fine squared."""
        return self.second_moment * self.fine * self.fine


# Mean square error of the Viterbi search on 10⁸ uniform samples or more, standard errors at most 6e-6
# (benchmarks/second_moments.py), by memory of the code.
_CONVOLUTIONAL = {
    2: 0.133214,
    3: 0.130512,
    4: 0.128745,
    5: 0.126984,
    6: 0.125715,
    7: 0.124786,
    8: 0.124165,
    9: 0.123648,
    10: 0.123181,
    11: 0.122947,
    12: 0.122543,
}

LATTICES = {
    "z": Lattice("z", 0, 16, 1, 0.0, 1 / 12),
    "d4": Lattice("d4", 1, 8, 4, 0.75, 13 / 120),
    "e8": Lattice("e8", 2, 8, 8, 0.5, 929 / 6480),
    "leech": Lattice("leech", 3, 4, 24, 13 / 24, 0.526024),
    **{
        f"conv{1 << v}": Lattice(f"conv{1 << v}", 32 + v, 8, 2, 0.5, moment)
        for v, moment in _CONVOLUTIONAL.items()
    },
}
"""By name. Second moments of z, d4, e8: Conway & Sloane, "Voronoi regions of lattices, second moments of polytopes, and
quantization" (1982). Of leech: measured on 3·10⁸ uniform samples, standard error 1.3e-5 (benchmarks/second_moments.py);
their estimate is 0.52617 ± 0.0006. `convS` is the lattice of the convolutional code with S states."""

NESTED = ("z", "d4", "e8", "leech")
"""Lattices that have a Voronoi coding."""

STATES = tuple(1 << v for v in _CONVOLUTIONAL)
"""Numbers of states of the convolutional lattices."""

FAMILIES = ("conv", *(name for name in LATTICES if not name.startswith("conv")))
"""What users choose from; conv stands for all numbers of states."""

DEFAULT = "conv"
DEFAULT_STATES = 128
