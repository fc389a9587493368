"""A matrix in parts, each in memory, as one linear map: products of parts, added up in their order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from nqz.ground.threads import Workers
from nqz.product.resident import Resident, Vectors


@dataclass(frozen=True, eq=False)
class ResidentParts:
    """Parts of a matrix of `columns` columns of length n, each a `Resident`.

    Attributes
    ----------
    parts : tuple of tuple of Resident
        Those with the first coordinates first, in the order of their columns.
    """

    parts: tuple[tuple[Resident, ...], ...]

    @property
    def n(self) -> int:
        """Length of the columns."""
        return sum(row[0].n for row in self.parts)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return sum(part.columns for part in self.parts[0])

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return sum(part.nbytes for row in self.parts for part in row)

    def pool(self, threads: int | None) -> Workers:
        """Threads for a product; to be closed."""
        return max((part for row in self.parts for part in row), key=lambda part: part.nbytes).pool(threads)

    def _places(self) -> tuple[list[slice], list[slice]]:
        edges = [row[0].n for row in self.parts], [part.columns for part in self.parts[0]]
        rows, columns = ([slice(*cut) for cut in pairwise(accumulate(own, initial=0))] for own in edges)
        return rows, columns

    def products(self, b: Vectors, pool: Workers) -> Vectors:
        """See `Resident`."""
        out, (rows, columns) = np.zeros((self.columns, len(b))), self._places()
        with np.errstate(over="ignore", invalid="ignore"):
            for row, own in zip(rows, self.parts, strict=True):
                piece = np.ascontiguousarray(b[:, row])
                for place, part in zip(columns, own, strict=True):
                    out[place] += part.products(piece, pool)
        return out

    def combinations(self, x: Vectors, pool: Workers) -> Vectors:
        """See `Resident`."""
        out, (rows, columns) = np.zeros((self.n, len(x))), self._places()
        with np.errstate(over="ignore", invalid="ignore"):
            for place, own in zip(columns, zip(*self.parts, strict=True), strict=True):
                weights = np.ascontiguousarray(x[:, place])
                for row, part in zip(rows, own, strict=True):
                    out[row] += part.combinations(weights, pool)
        return out
