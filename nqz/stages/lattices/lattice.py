"""What is true of one lattice: the form that each module of this package fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Cells = tuple[float, float, float, float]
"""Cells of a coarse lattice, one a scale: q times the lattice scale in units of a column's standard deviation."""


@dataclass(frozen=True, eq=False)
class VoronoiCells:
    """What the planner knows of the nested codes Λ/qΛ of a lattice: how large their cells should be.

    Of a tensor, `nqz.stages.codings.nesting.Nesting` says which code it is in.


    Attributes
    ----------
    fineness : int
        How fine Δ is, σ / (fineness · (q + 1)): multipliers are whole numbers of Δ, so cells of q + 1 come in steps of
        1 / fineness.
    cells : mapping of int to tuple of float
        The cells of least rate-distortion cost on Gaussian data, by the least q that they are for
        (benchmarks/voronoi_scales.py).
    mixed : mapping of int to pair of tuple of float
        Where two q are far apart, cells at one slope of rate and distortion for both do better in the mix: those of q
        and of q + 1, by q.
    index_bits : float
        Entropy of the index of a group's scale, about.
    knee : int
        Below this q, time sharing does better than a smaller one.
    """

    fineness: int
    cells: Mapping[int, Cells]
    index_bits: float
    knee: int
    mixed: Mapping[int, tuple[Cells, Cells]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Lattice:
    """A fine lattice.

    Attributes
    ----------
    name : str
        In files.
    family : str
        What users call it and its relatives.
    number : int
        By which kernels and reference know it; files have its name.
    fine : int
        Dither levels in one step of the integers: there are 16 levels in all, over the period with which residues of
        points repeat (1 for z, 4 for leech, 2 for the others).
    block : int
        Dimension of one block.
    group : int
        Entries of one lane that are coded together, a multiple of the block length.
    code_bits : float
        Bits of the codeword an entry.
    second_moment : float
        Mean square an entry of a uniform point of the Voronoi cell, in units of one integer step squared.
    modelled_below : int
        Classes below this one have modelled code bits; above they are as good as uniform.
    ahead_below : int
        Of classes below this one, their chances look at the dither of the steps that follow; above it saves nothing.
    low_bits : tuple of float
        Bits an entry that the entropy coding takes in the lowest classes, from that of the second moment on, at their
        own variances (benchmarks/low_classes.py): as far as code bits are modelled.
    last_follows : bool
        Whether the parity of the last k of a block follows from the others: then half of it is coded.
    states : int or None
        States of the trellis, of a convolutional code.
    voronoi : VoronoiCells or None
        None for a lattice without a Voronoi coding.
    """

    name: str
    family: str
    number: int
    fine: int
    block: int
    group: int
    code_bits: float
    second_moment: float
    modelled_below: int = 0
    ahead_below: int = 0
    low_bits: tuple[float, ...] = ()
    last_follows: bool = False
    states: int | None = None
    voronoi: VoronoiCells | None = None

    @property
    def fine_moment(self) -> float:
        """Second moment in units of 1/fine squared."""
        return self.second_moment * self.fine * self.fine

    @property
    def side(self) -> float:
        """Volume of a cell to the power of one over the dimension: of a unit what residues and parity leave."""
        bits = self.code_bits - self.last_follows / self.block
        return float(16 // self.fine * 2.0**-bits)

    def __reduce__(self) -> tuple[Callable[[str], Lattice], tuple[Any, ...]]:
        return _by_name, (self.name,)  # there is one of each, in other processes too


LATTICES: dict[str, Lattice] = {}
"""All of them by name, as the package registers them."""


def _by_name(name: str) -> Lattice:
    return LATTICES[name]
