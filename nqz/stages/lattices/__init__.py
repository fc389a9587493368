"""The box "lattice": the fine lattices Λ, one module each with everything that is true of it.

Construction A: Λ = {λ in Zⁿ : λ mod 2 in C}, and the Leech lattice. A point minus its dither is kept as an integer Y
in units of 1/`fine` of the integer step: Y = fine · λ - level, so that Y = 16 k + o with o, the context of the
entropy coder, fixed by dither level and code bits.

A lattice is a `Lattice` and a line of `_ALL`; its twin in `nqz.reference.lattices` and its traits in the native
kernels bear the same number.
"""

from __future__ import annotations

from nqz.stages.lattices.conv import CONV
from nqz.stages.lattices.d4 import D4
from nqz.stages.lattices.e8 import E8
from nqz.stages.lattices.lattice import LATTICES, Lattice, VoronoiCells
from nqz.stages.lattices.leech import LEECH
from nqz.stages.lattices.z import Z

_ALL = (Z, D4, E8, LEECH, *CONV)

LATTICES.update((lattice.name, lattice) for lattice in _ALL)

FAMILIES: dict[str, tuple[Lattice, ...]] = {
    family: tuple(lattice for lattice in _ALL if lattice.family == family)
    for family in ("conv", *(lattice.name for lattice in _ALL if lattice.states is None))
}
"""What users choose from; "conv" stands for all numbers of states."""

DEFAULT = "conv"
DEFAULT_STATES = 128


def choose(family: str, states: int | None = None) -> Lattice:
    """The lattice of a family, of so many states where it has some, by default DEFAULT_STATES."""
    several = FAMILIES[family]
    if len(several) == 1:
        return several[0]
    return next(lattice for lattice in several if lattice.states == (states or DEFAULT_STATES))


__all__ = ["DEFAULT", "DEFAULT_STATES", "FAMILIES", "LATTICES", "Lattice", "VoronoiCells", "choose"]
