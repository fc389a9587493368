"""What a part set holds as the one matrix that it is, beside what its parts hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nqz.commands.described import describe, number, summary_of_means, summary_of_norms
from nqz.commands.sets.factor import energy_shares, parted, set_operand
from nqz.ground.arithmetic import pieces
from nqz.matrix import Matrix
from nqz.models.collection import Collection
from nqz.stages.partner import product_error

_COMMON = (
    "lattice", "coding", "rate_asked", "partner", "kappa", "delta", "window", "rotation_seed",
)  # fmt: skip
"""What parts have in common; None where they have not."""


def describe_set(collection: Collection) -> dict[str, Any]:
    """What `inspect` says of a part set as a whole.

    Returns
    -------
    dict
        The keys of a matrix of a container, without a name: `norms` and `means` are those of whole vectors, `chunks`
        and `bytes` those of all parts; of ``rate_asked``, ``kappa`` and the like what all parts have, or None. And
        ``cut``, into how many parts along the contracted axis and across it; ``coordinates`` and ``vectors`` of these.

    Raises
    ------
    CorruptError
        A part is not the one that the manifest has, or damaged.
    """
    grid = collection.grid
    assert grid is not None
    side = parted(collection)
    matrices = [matrix for row in side.matrices for matrix in row]
    found = [describe(matrix.reader, matrix.index, brief=True) for matrix in matrices]
    whole = set_operand(side)
    common = {
        key: found[0][key] if all(one[key] == found[0][key] for one in found) else None for key in _COMMON
    }
    partner = common["partner"]
    return {
        "name": "",
        "shape": list(grid.shape),
        "dtype": grid.dtype,
        "kind": "matrix",
        "slice": None,
        "same_as": None,
        "axis": grid.axis,
        **common,
        "rate": side.rate,
        "alpha": number(_weighed(matrices, Matrix.shrinkage)),
        "dither_key": None,
        "norms": summary_of_norms(set_operand(side, decoded=True).side.histogram),
        "means": summary_of_means(
            lambda: (whole.means(columns) for columns in pieces(whole.columns)), whole.columns
        )
        if all(matrix.centered for matrix in matrices)
        else None,
        "dropped": whole.side.dropped_columns(),
        "chunks": sum(one["chunks"] for one in found),
        "bytes": {key: _sum([one["bytes"][key] for one in found]) for key in found[0]["bytes"]},
        "predicted": {
            "reconstruction": number(whole.within * _weighed(matrices, Matrix.predicted_reconstruction)),
            "product": None if partner is None else number(whole.within * product_error(whole.side, partner)),
            "others": None,
        },
        "cut": [len(grid.coordinates), len(grid.vectors)],
        "coordinates": list(grid.coordinates),
        "vectors": list(grid.vectors),
    }


def _weighed(matrices: list[Matrix], of: Callable[[Matrix], float]) -> float:
    """The mean of something over parts, by their energies."""
    return math.fsum(share * of(one) for share, one in zip(energy_shares(matrices), matrices, strict=True))


def _sum(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None
