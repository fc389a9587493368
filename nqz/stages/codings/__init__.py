"""The codings of λ mod Λc, one module each.

**The contract.** A coding takes the rotated columns of a panel to the arrays of chunks, and these back to integers; a
decoded coordinate is an integer times the unit of its column. It owns everything that follows from how it codes:

- *scale*: `forward` (what rotated columns are multiplied by), `unit` (what its integers are worth, so that the mean
  over dithers is the column) and what it needs for them: parameters of its own (`Parameters.coding_parameters`);
- *allocation*: `scaling` says of every column, from its norm code, whether it is coded, in which class, and how noisy
  it comes out. Columns of a panel are sorted by class. The planner of a coding (`nqz.plan`) chooses the parameters
  that decide this. `least_bits` says what a class costs at least;
- *prediction*: the relative noise d of `scaling`, with errors of different columns uncorrelated and of mean zero;
  estimators and predictions of products are made from d and κ, and from `dependence` where there is one;
- *side information* of its own: with `gains` every column has one, which `encode_chunk` measures and a record keeps;
- *random access*: a chunk is coded and decoded by itself, from its number, the parameters and the classes of its
  panel's columns (`Coder`); nothing passes from one chunk to another.

Everything is a function of plain values, and arrays of columns follow from norm codes, one by one. A coding makes no
bytes: `nqz.format.chnk` has the layout of its arrays, and `nqz.format.header` that of its own parameters, by its name.

A coding is a `Coding` and a line of `_ALL`.
"""

from __future__ import annotations

from nqz.stages.codings.coding import CODINGS, Coder, Coding, Sections
from nqz.stages.codings.entropy import ENTROPY
from nqz.stages.codings.trellis import TRELLIS
from nqz.stages.codings.voronoi import VORONOI

_ALL = (ENTROPY, VORONOI, TRELLIS)  # the usual one first

CODINGS.update((coding.name, coding) for coding in _ALL)

DEFAULT = ENTROPY

ALLOCATIONS = tuple(dict.fromkeys(name for coding in _ALL for name in coding.allocations))
"""What some coding can allocate its noise to, the usual one first."""


def label(lattice: str | None, coding: str, between: str = " ") -> str:
    """A lattice, if there is one, and a coding as tables call them: of the usual coding the lattice alone."""
    if lattice is None:
        return coding
    return lattice if coding == DEFAULT.name else f"{lattice}{between}{coding}"


__all__ = ["ALLOCATIONS", "CODINGS", "DEFAULT", "Coder", "Coding", "Sections", "label"]
