"""Figures 1 and 2 of the paper, a line a box: encoder, decoder and product, in plain NumPy.

Ordentlich & Polyanskiy, Optimal Quantization for Matrix Multiplication (arXiv 2410.13780), draw how a column a of A
becomes bits:

    a ──> center ──> S ──> P ──> scale ──> + Z ──> Q ──> mod ──> Y ──> bits

S is a rotation and P keeps κn coordinates, both the same for A and B; Z is a dither of each matrix's own; Q is the
nearest point of the fine lattice Λ. What is coded of that point is known up to the dither, so the box mod subtracts
it and leaves integers Y = F·λ − z, with F dither levels to a step of the lattice. (How coarse the coarse lattice is, is
the coding's affair: the entropy coding takes one in which nothing overloads, and for a fixed rate `codings.voronoi`
reduces λ modulo qΛ.)

These are the integers in a file of nqz, for matrices that are one chunk: at most 2^20 kept entries. The native kernels
run several boxes at a time; the tests hold both to the same bits. docs/theory.md says why it works, by the same names.

>>> A, B = np.arange(32.0).reshape(8, 4) % 7, np.arange(24.0).reshape(8, 3) % 5
>>> code = Code(lattice=2, n=8, kept=8, seed=0)  # E8; all coordinates are kept
>>> coded_a = encode(A, code, Key(1, 0), step=-2 * OCTAVE)  # Δ = 1/4; one dither
>>> coded_b = encode(B, code, Key(2, 0), step=-2 * OCTAVE)  # and another one
>>> coded_a.points[0].tolist()
[56, 37, 83, 11, -152, 28, -18, -8]
>>> bool(np.abs(decode(coded_a) - A).max() < 0.25)
True
>>> error = np.square(product(coded_a, coded_b) - A.T @ B).sum()
>>> bool(error < 0.01 * np.square(A).sum() * np.square(B).sum() / 8)
True
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nqz.ground.arithmetic import exp2, round_log2
from nqz.ground.keys import permutation_key, signs_key
from nqz.ground.layout import lanes_of
from nqz.reference.arrays import Array, Floats, Ints
from nqz.reference.dither import Key, levels_of, words
from nqz.reference.lattices import lattice_of
from nqz.reference.layout import Place
from nqz.reference.rotate import rotate
from nqz.reference.scale import UNIT, fixed_point

OCTAVE = 4096
"""Lattice scales are Δ = 2^(step / OCTAVE): a grid on which every machine agrees."""

NORMS = 256
"""Energies of columns are ‖ā‖² = 2^(norm / NORMS)."""


@dataclass(frozen=True)
class Code:
    """What encoders and decoder agree on: number of the lattice, length of columns, κn, and the seed of S and P."""

    lattice: int
    n: int
    kept: int
    seed: int

    @property
    def kappa(self) -> float:
        """The kept share of the coordinates."""
        return self.kept / self.n

    def rotation(self) -> Array:
        """Return the signs of S, whose two rounds of signs and Walsh-Hadamard transforms are in `rotate`."""
        keys = [Key(*signs_key(self.seed, self.n, r)) for r in (0, 1)]
        return np.stack([words(key, 0, -(-self.n // 64)) for key in keys])

    def projection(self) -> Ints:
        """Return the coordinates that P keeps: the first of a random order, in increasing order."""
        order = np.argsort(words(Key(*permutation_key(self.seed, self.n)), 0, self.n), kind="stable")
        return np.sort(order[: self.kept])


@dataclass(frozen=True)
class Coded:
    """What the encoder sends: Y of every column, and its side information, the norm and the mean; with its step."""

    code: Code
    points: Ints  # [a, κn]
    step: Ints  # [a]
    norm: Ints  # [a]
    mean: Floats  # [a]

    def embedded(self) -> Ints:
        """Return Pᵀ Y, [a, n]: zeros at the coordinates that were not kept."""
        out = np.zeros((len(self.points), self.code.n), dtype=np.int64)
        out[:, self.code.projection()] = self.points
        return out

    def unit(self) -> Floats:
        """Return what one unit of Y is worth in each column, Δ/F."""
        return exp2(self.step) / lattice_of(self.code.lattice).fine

    def noise(self) -> Floats:
        """Return the relative noise d = D Δ² / e of each column, e = ‖ā‖²/n its energy an entry."""
        ratio = exp2(OCTAVE // NORMS * self.norm - 2 * self.step) / self.code.n
        return lattice_of(self.code.lattice).second_moment / ratio


def encode(
    a: Floats, code: Code, key: Key, step: Ints | int, mean: Floats | None = None, order: Ints | None = None
) -> Coded:
    """Encode the columns of a matrix (Figure 1).

    Parameters
    ----------
    a : numpy.ndarray
        float64 [n, a].
    code : Code
    key : Key
        Of the dither, another one for every matrix.
    step : int or numpy.ndarray of int64
        Δ of all columns, or of each, on the grid.
    mean : numpy.ndarray, optional
        float64 [a], the means as they are sent; by default exactly.
    order : numpy.ndarray, optional
        int64: columns in the order in which they are coded, others are dropped (Y = 0); by default 0, 1, …
    """
    mean = a.mean(axis=0) if mean is None else mean
    norm = round_log2(np.square(a - a.mean(axis=0)).sum(axis=0), NORMS)
    steps = np.broadcast_to(np.int64(step), mean.shape)
    order = np.arange(len(mean)) if order is None else order
    lattice, count = lattice_of(code.lattice), len(order) * code.kept
    place = Place(code.lattice, count, start=0, m=code.kept, lanes=lanes_of(count), counter=0)

    u = np.ascontiguousarray((a - mean).T, np.float32)  # center
    rotate(u, code.rotation(), inverse=False)  # S
    u = u[:, code.projection()]  # P
    u = u * (exp2(-steps) * UNIT).astype(np.float32)[:, None]  # scale: 1/Δ,
    s = fixed_point(u[order].reshape(-1), place.positions)  # in fixed point, one column after the other
    z = levels_of(place, key)  # the dither,
    x = s + z * (UNIT // lattice.fine)  # + Z
    point = lattice.quantize(x, place.lanes, UNIT)  # Q
    y = lattice.fine * point - z  # mod

    points = np.zeros((len(mean), code.kept), dtype=np.int64)
    points[order] = y[:count].reshape(len(order), code.kept)
    return Coded(code, points, steps, norm, mean)


def decode(coded: Coded, estimator: str = "mmse") -> Floats:
    """Decode a matrix: the boxes of Figure 1 from the last to the first.

    Parameters
    ----------
    coded : Coded
    estimator : {"mmse", "unbiased"}
        The least mean square error, or the mean over dithers exactly the matrix.

    Returns
    -------
    numpy.ndarray
        float64 [n, a].
    """
    factor = 1 / (1 + coded.noise()) if estimator == "mmse" else np.float64(1 / coded.code.kappa)
    u = coded.embedded().astype(np.float32)  # P
    rotate(u, coded.code.rotation(), inverse=True)  # S
    centered: Floats = u.T * (coded.unit() * factor)  # scale
    return centered + coded.mean  # center


def product(a: Coded, b: Coded, estimator: str = "mmse") -> Floats:
    """Estimate AᵀB (Figure 2). Of the coordinates, those count that both sides kept.

    Parameters
    ----------
    a, b : Coded
        With the same n and seed.
    estimator : {"mmse", "unbiased"}
        α = 1/(1 + ν), with ν = (1 + d_a)(1 + d_b)/κ − 1 the noise of a pair of columns; or α = 1.

    Returns
    -------
    numpy.ndarray
        float64 [a, b].
    """
    n, share = a.code.n, 1 / min(a.code.kappa, b.code.kappa)
    inner = a.embedded() @ b.embedded().T  # ⟨·, ·⟩
    nu = np.outer(1 + a.noise(), 1 + b.noise()) * share - 1 if estimator == "mmse" else np.float64(0)
    factor = np.outer(a.unit(), b.unit()) * share / (1 + nu)  # the scales, 1/κ and α
    centered: Floats = inner * factor  # · α
    return centered + n * np.outer(a.mean, b.mean)  # + μ
