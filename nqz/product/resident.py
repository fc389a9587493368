"""A coded matrix in memory as a linear map: Â = Sᵀ Pᵀ Y D + 1 m̂ᵀ, its points Y kept as integers.

Both directions are the same map. A vector is rotated, or weighted, in float64, rounded once to fixed point, multiplied
with the points exactly, and scaled in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import total
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, Told
from nqz.product.fixed import Exponents, FixedPoint, Scale, normal, shifted
from nqz.product.held import block
from nqz.product.integers import Integers
from nqz.product.kept import Kept, expected_bytes, keep
from nqz.stages.estimate import reconstruction_factor
from nqz.stages.project import kept as kept_coordinates
from nqz.stages.scale import exponents
from nqz.stages.transforms import Transform

LIMBS, CODED_LIMBS = 2, 1
"""Limbs of vectors beside points, and beside chunks as they are coded: there their noise is far above the rounding."""

EXACT_LIMBS = 4
"""How many hold all of a float64."""

_ALONE = 1 << 20
"""Entries that one thread multiplies as fast as several."""

Vectors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Resident:
    """A matrix of `columns` columns of length n, decoded once; for several threads at once.

    Attributes
    ----------
    n, columns, m : int
    transform : Transform
    seed : int
    coordinates : ndarray of int64, or None
        Those that are kept after the rotation; None for all.
    scale : Scale
        What points of each column are worth, 0 for columns that are not coded.
    means : Scale or None
    parts : tuple of Kept
    limbs : int
        Of vectors that are multiplied.
    told : Told
        What searches have to know of the columns.
    norm_variances : dict
        See `Operand`.
    """

    n: int
    columns: int
    m: int
    transform: Transform
    seed: int
    coordinates: NDArray[np.int64] | None
    scale: Scale
    means: Scale | None
    parts: tuple[Kept, ...]
    limbs: int
    told: Told
    norm_variances: dict[tuple[int, float], float] = field(default_factory=dict)

    @classmethod
    def of(cls, matrix: Matrix, estimator: str, exact: bool, pool: Workers) -> Resident:
        """Take a matrix into memory; `exact`: vectors keep all of a float64. `CorruptError` if it is damaged."""
        p = matrix.parameters
        means = Scale.of(matrix.means()) if matrix.centered else None
        chosen = kept_coordinates(p.rotation_seed, p.n, p.m)
        scale, parts = _scale(matrix, estimator), tuple(keep(matrix, pool))
        limbs = EXACT_LIMBS if exact else LIMBS if p.coding.most_point is None else CODED_LIMBS
        return cls(
            p.n,
            p.columns,
            p.m,
            p.transform,
            p.rotation_seed,
            chosen,
            scale,
            means,
            parts,
            limbs,
            Told.of(matrix),
        )

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        small = self.told.nbytes + self.scale.nbytes + (0 if self.means is None else self.means.nbytes)
        if self.coordinates is not None:
            small += self.coordinates.nbytes
        return small + sum(part.nbytes for part in self.parts)

    def block(self, first: int, last: int) -> list[tuple[int, Integers]]:
        """The points of the columns of a panel, as searches take them."""
        starts = [int(part.columns.min()) for part in self.parts]
        here = [part for part, at in zip(self.parts, starts, strict=True) if first <= at < last]
        return block(here, first, last, self.m)

    def pool(self, threads: int | None) -> Workers:
        """Threads for a product; to be closed."""
        return Workers(1 if threads is None and self.m * self.columns <= _ALONE else threads)

    def products(self, b: Vectors, pool: Workers) -> Vectors:
        """Inner products of the columns with the rows of b, of shape (vectors, n); shape (columns, vectors)."""
        b, octaves = normal(b)
        u = b.copy()
        self.transform.rotate_wide(u, self.seed, inverse=False)
        fixed = FixedPoint.of(u if self.coordinates is None else u[:, self.coordinates], self.limbs)
        sums = np.zeros((self.columns, len(fixed.limbs)), np.int64)

        def multiply(part: Kept) -> tuple[Kept, NDArray[np.int64]]:
            return part, part.products(np.ascontiguousarray(fixed.limbs[:, part.coordinates]))

        for part, found in pool.map(multiply, self.parts):
            sums[part.columns] += found
        with np.errstate(over="ignore"):
            out = self.scale.times(fixed.whole(sums), fixed.exponents + octaves)
            if self.means is not None:
                out += self.means.times(np.array([[total(row) for row in b]]), octaves)
        return out

    def combinations(self, x: Vectors, pool: Workers) -> Vectors:
        """Sums of the columns weighted by the rows of x, of shape (vectors, columns); shape (n, vectors)."""
        x, octaves = normal(x)
        weights, own = self.scale.weighted(x)
        fixed = FixedPoint.of(weights, self.limbs)
        sums = np.zeros((len(fixed.limbs), self.m), np.int64)

        def multiply(part: Kept) -> tuple[Kept, NDArray[np.int64]]:
            return part, part.sums(np.ascontiguousarray(fixed.limbs[:, part.columns]))

        for part, found in pool.map(multiply, self.parts):
            sums[:, part.coordinates] += found
        y, again = normal(fixed.whole(sums.T).T)
        u = np.zeros((len(x), self.n))
        u[:, slice(None) if self.coordinates is None else self.coordinates] = y
        self.transform.rotate_wide(u, self.seed, inverse=True)
        with np.errstate(over="ignore"):
            out: Vectors = shifted(u, (fixed.exponents + again + own + octaves)[:, np.newaxis]).T
            if self.means is not None:
                out += self._mean_sums(x, octaves)
        return out

    def _mean_sums(self, x: Vectors, octaves: Exponents) -> Vectors:
        """Weighted sums of the means."""
        assert self.means is not None
        weights, own = self.means.weighted(x)
        sums = np.array([total(row) for row in weights])
        return shifted(sums, own + octaves)


def expected_nbytes(matrix: Matrix) -> int:
    """What `Resident.nbytes` will be, from the norms, but for points far beyond what norms let expect."""
    p = matrix.parameters
    each = 8 * (1 + matrix.centered) * (p.columns + 1) + Told.expected_nbytes(matrix)
    return each + (8 * p.m if p.m < p.n else 0) + expected_bytes(matrix)


def _scale(matrix: Matrix, estimator: str) -> Scale:
    """What points of each column are worth: each with a power of two of its own, whatever the others are."""
    p, histogram = matrix.parameters, matrix.histogram
    exponent = exponents(histogram.codes).astype(np.int64)
    factor = reconstruction_factor(matrix.side, estimator)
    # columns that are not coded may be so quiet that the unit of the matrix is infinite beside them
    worth = factor * np.where(factor > 0.0, p.coding.unit(p, histogram.codes, exponent), 0.0)
    codes, gains = matrix.codes(), matrix.gains()
    worths = histogram.look_up(worth, codes)
    return Scale.of(worths if gains is None else worths * gains, histogram.look_up(exponent, codes))
