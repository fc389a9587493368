"""The fine lattices Λ, each in a file of its own; `contract` says what a lattice is (docs/format.md, section 14).

To add one: a file that fills in the contract, and its line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from nqz.reference.lattices import conv, d4, e8, leech, z
from nqz.reference.lattices.contract import Lattice, NestedLattice

FAMILIES: dict[str, Sequence[Lattice]] = {
    "z": [z.LATTICE],
    "d4": [d4.LATTICE],
    "e8": [e8.LATTICE],
    "leech": [leech.LATTICE],
    "convolutional": conv.LATTICES,
}

LATTICES = {lattice.number: lattice for family in FAMILIES.values() for lattice in family}
"""By number."""

NESTED = {number: lattice for number, lattice in LATTICES.items() if isinstance(lattice, NestedLattice)}
"""Those that have a Voronoi code."""


def lattice_of(number: int) -> Lattice:
    """Return the lattice of a number; ValueError if there is none."""
    if number not in LATTICES:
        raise ValueError(f"lattice must be {_listed(LATTICES, 'or')}")
    return LATTICES[number]


def nested_lattice_of(number: int) -> NestedLattice:
    """Return the lattice of a number if it has a Voronoi code; ValueError otherwise."""
    if number not in NESTED:
        raise ValueError(f"the Voronoi code is for lattices {_listed(NESTED, 'and')}")
    return NESTED[number]


def _listed(known: Container[int], last: str) -> str:
    items = []
    for name, family in FAMILIES.items():
        numbers = [str(lattice.number) for lattice in family if lattice.number in known]
        if numbers:
            items.append(f"{' to '.join(dict.fromkeys([numbers[0], numbers[-1]]))} ({name})")
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
