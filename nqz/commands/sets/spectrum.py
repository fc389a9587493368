"""Where along the contracted axis matrices have their energy, and their noise: what that is to products of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.ground.arithmetic import total
from nqz.ground.threads import Workers
from nqz.matrix import Matrix

_VECTORS, _ENTRIES = 64, 1 << 22
"""So many columns, of so many entries in all, tell where a matrix has its energy."""


@dataclass(frozen=True)
class Spectrum:
    """How much energy, and how much noise, all columns of a matrix in parts have in each run of coordinates.

    Attributes
    ----------
    lengths, energy, noise : ndarray of float64
        Coordinates of each run, and the sums, in units of 4 ** exponent.
    lost : ndarray of float64
        Of both as much as is of parts that are not coded, whose noise is what they are.
    """

    lengths: NDArray[np.float64]
    energy: NDArray[np.float64]
    noise: NDArray[np.float64]
    lost: NDArray[np.float64]

    @classmethod
    def none(cls, lengths: Sequence[int]) -> Spectrum:
        """That of no columns."""
        return cls(np.array(lengths, np.float64), *np.zeros((3, len(lengths))))

    def joined(self, other: Spectrum) -> Spectrum:
        """That of more columns."""
        energy, noise = self.energy + other.energy, self.noise + other.noise
        return Spectrum(self.lengths, energy, noise, self.lost + other.lost)

    def beside(self, other: Spectrum, kappa: float, alone: bool = False) -> tuple[float, float]:
        """Factors on 1 + d, and on d, with which noise of whole columns is that of their parts, in products.

        With `alone` the noise of the other side stays what it is.

        Notes
        -----
        With one scale in all parts nothing changes. Where noise is in proportion to parts, it is where there is energy,
        and counts for more if that of the partner is there, too: docs/theory.md, section 4.
        """
        energies = total(self.energy), total(other.energy)
        if min(energies) <= 0.0:
            return 1.0, 1.0
        (e, s, lost), (f, r, others) = (
            (side.energy / energy, side.noise / energy, side.lost / energy)
            for side, energy in zip((self, other), energies, strict=True)
        )
        n = total(self.lengths)
        kept = kappa + (1.0 - kappa) * n * total(e * f / self.lengths)  # of coordinates that are left out
        pairs = (s - lost) * (f - others) + lost * f, (e - lost) * r, (s - lost) * (r - others)
        own, theirs, both = (n * total(x / self.lengths) / kept for x in pairs)
        linear, noise = own + theirs, total(s)
        if linear <= 0.0 or noise <= 0.0:
            return math.sqrt(kept), 1.0
        if alone:
            flat = total(r)
            return math.sqrt(kept), max(linear + both - flat, 0.0) / ((1.0 + flat) * noise)
        # of both sides together: own theirs g² + linear g = linear + both
        root = math.sqrt(linear * linear + 4.0 * own * theirs * (linear + both))
        factor = 2.0 * (linear + both) / (linear + root)
        return math.sqrt(kept), factor * own / noise

    def alone(self) -> tuple[float, float]:
        """Factors on the variances of ⟨w, u⟩ and of ‖w‖² of columns u with noise w, beside those of flat spectra."""
        energy, noise, n = total(self.energy), total(self.noise), total(self.lengths)
        if energy <= 0.0 or noise <= 0.0:
            return 1.0, 1.0
        shares = self.noise / noise
        along, square = (n * total(shares * x / self.lengths) for x in (self.energy / energy, shares))
        return along, square

    def cut(self, edges: Sequence[int], seen: NDArray[np.float64]) -> Spectrum:
        """The same in shorter runs, some of which was seen decoded; noise is flat in runs of its own."""
        lengths = np.diff(np.asarray(edges, np.float64))
        own = np.searchsorted(np.cumsum(self.lengths), np.asarray(edges[1:], np.float64))
        noise = self.noise[own] * lengths / self.lengths[own]
        share = _share(seen, own) * (self.energy + self.noise)[own]
        shares = _share(np.maximum(share - noise, 0.0), own)
        return Spectrum(lengths, shares * self.energy[own], noise, shares * self.lost[own])


def _share(x: NDArray[np.float64], own: NDArray[np.int64]) -> NDArray[np.float64]:
    """What of the sum over the runs of one longer run each has."""
    sums = np.bincount(own, x)[own]
    return np.divide(x, sums, out=np.zeros(len(x)), where=sums > 0.0)


def several(n: int, columns: int) -> int:
    """How many columns are decoded to see where a matrix has its energy."""
    return max(1, min(_VECTORS, _ENTRIES // n, columns))


def energies(centered: NDArray[np.float64], edges: Sequence[int]) -> NDArray[np.float64]:
    """Energies of columns in runs."""
    found: NDArray[np.float64] = np.add.reduceat(np.square(centered), list(edges[:-1]), axis=0)
    return found


def in_runs(matrix: Matrix, edges: Sequence[int], pool: Workers) -> Spectrum:
    """That of a matrix in one part, about: by what some of its columns decode to, the noise of which is flat."""
    p, side = matrix.parameters, matrix.side
    count = several(p.n, p.columns)
    chosen = np.arange(count) * p.columns // count
    exponent, means = side.histogram.energy()[1] // 2, matrix.means(chosen)
    found = np.zeros((len(edges) - 1, count))

    def put(places: Any, piece: NDArray[Any]) -> None:
        found[:, places] = energies(np.ldexp(piece - means[places], -exponent), edges)

    matrix.some(chosen, pool, put, "unbiased")
    lengths = np.diff(np.asarray(edges, np.float64))
    seen = np.array([total(row) for row in found])
    noise = (1.0 + side.mean_noise()) / side.kappa - 1.0
    flat = total(seen) * noise / (1.0 + noise) * lengths / p.n
    return Spectrum(lengths, np.maximum(seen - flat, 0.0), flat, np.zeros(len(seen)))
