"""Figures 1 and 2 of the paper, a line a box: encoder, decoder and product, in plain NumPy.

Ordentlich & Polyanskiy, Optimal Quantization for Matrix Multiplication (arXiv 2410.13780), draw how a column a of A
becomes bits:

    a ──> center ──> S ──> P ──> scale ──> + Z ──> Q ──> mod Λc ──> bits

S is a rotation and P keeps κn coordinates, both the same for A and B; Z is a dither of each matrix's own; Q is the
nearest point of the fine lattice Λ, and mod Λc leaves of it what a point of the coarse lattice Λc ⊂ Λ does not change.
The decoder subtracts the dither again, reduces once more, and multiplies. What is kept here is what it then has: the
integers Y = F·(λ - z), with F dither levels to an integer step of the lattice.

These are the integers in a file of nqz, for matrices that are one chunk: at most 2^20 kept coordinates. The bits are
made of them by `entropy_encode` (`codings/entropy.py`), or at a fixed rate by `voronoi_encode` (`codings/voronoi.py`).
The native kernels run several boxes at a time; the tests hold both to the same bits.

The page differs from the paper where nqz does; docs/theory.md says why:

- *Scale.* The paper divides every column by its norm. Here a column has a Δ of its own (`nqz encode --allocate column`)
  or, by default, the matrix has one: the same noise in every column (reverse water-filling), none spent on quiet ones.
- *mod Λc.* Entropy coding takes Λc = q·Zⁿ with q beyond every point, so the box is the identity, and the bits of a
  point depend on its chance. With a `q`, encode reduces modulo Λc = q·Λ, as the paper does: log2 q bits a coordinate,
  whatever the point. A point beyond the cell of Λc comes back as another one; `voronoi_encode` therefore tries coarser
  and coarser scales until it comes back as itself.
- *Dither.* The paper's is uniform on a cell; this one takes the multiples of 1/F from 0 to 16/F, excluded. That is
  uniform modulo Λ on the grid of 1/F, because 16/F·Zⁿ ⊂ Λ. (Of the Leech lattice only 8·Zⁿ = 32/F·Zⁿ is part: there it
  is uniform up to characters of 7·10⁻⁶, where those of a uniform dither are 0.)
- *P* keeps a random set of coordinates, drawn like S from a seed, where the paper keeps the first ones; the rounds of
  the fast rotation do not treat all coordinates alike.
- *α.* The paper has one scalar. Here the inner product is first divided by κ, which makes it unbiased, and then
  multiplied by an α of each pair of columns, which depends on how noisy the two are.
- *S⁻¹* is needed to rebuild a matrix only: a product is the same before and after a rotation.
- *Side information.* The norm is rounded to 1/256 octave, the mean as finely as the rate is worth; both are sent.

>>> A, B = np.arange(32.0).reshape(8, 4) % 7, np.arange(24.0).reshape(8, 3) % 5
>>> shared = Shared(lattice=2, n=8, m=8, seed=0)  # E8; all coordinates are kept
>>> coded_a = encode(A, shared, Key(1, 0), delta=-2 * GRID)  # Δ = 1/4; one dither
>>> coded_b = encode(B, shared, Key(2, 0), delta=-2 * GRID)  # and another one
>>> coded_a.points[0].tolist()
[56, 37, 83, 11, -152, 28, -18, -8]
>>> bool(np.abs(decode(coded_a) - A).max() < 0.25)
True
>>> error = np.square(product(coded_a, coded_b) - A.T @ B).sum()
>>> bool(error < 0.01 * np.square(A).sum() * np.square(B).sum() / 8)
True

Modulo 64·E8 all of these points are themselves; modulo 4·E8 they come back as others, in its cell:

>>> bool((encode(A, shared, Key(1, 0), delta=-2 * GRID, q=64).points == coded_a.points).all())
True
>>> encode(A, shared, Key(1, 0), delta=-2 * GRID, q=4).points[0].tolist()
[-8, 5, -13, 11, -24, -4, 14, -8]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nqz.ground.arithmetic import GRID, exp2, round_log2
from nqz.ground.keys import permutation_key, signs_key
from nqz.ground.layout import lanes_of
from nqz.ground.units import NORM_STEPS, NORM_ZERO
from nqz.reference.arrays import Array, Floats, Ints
from nqz.reference.dither import Key, levels_of, words
from nqz.reference.fixed_point import UNIT, fixed_point
from nqz.reference.lattices import lattice_of
from nqz.reference.layout import Place
from nqz.reference.rotate import rotate


@dataclass(frozen=True)
class Shared:
    """What encoders and decoder agree on: number of Λ, length of columns, m = κn, and the seed of S and P."""

    lattice: int
    n: int
    m: int
    seed: int

    @property
    def kappa(self) -> float:
        """κ, the share of the coordinates that P keeps."""
        return self.m / self.n

    def rotation(self) -> Array:
        """Return the signs of S, whose two rounds of signs and Walsh-Hadamard transforms are in `rotate`."""
        keys = [Key(*signs_key(self.seed, self.n, r)) for r in (0, 1)]
        return np.stack([words(key, 0, -(-self.n // 64)) for key in keys])

    def projection(self) -> Ints:
        """Return the coordinates that P keeps: the first of a random order, in increasing order."""
        order = np.argsort(words(Key(*permutation_key(self.seed, self.n)), 0, self.n), kind="stable")
        return np.sort(order[: self.m])


@dataclass(frozen=True)
class Coded:
    """What the encoder sends: Y of every column; its Δ, ‖ā‖² and mean."""

    shared: Shared
    points: Ints  # [a, κn]
    deltas: Ints  # [a], on the grid: Δ = 2^(delta / GRID)
    codes: Ints  # [a], norm codes: ‖ā‖² = 2^(code / NORM_STEPS), or zero
    mean: Floats  # [a]

    def embedded(self) -> Ints:
        """Return Pᵀ Y, [a, n]: zeros at the coordinates that were not kept."""
        out = np.zeros((len(self.points), self.shared.n), dtype=np.int64)
        out[:, self.shared.projection()] = self.points
        return out

    def unit(self) -> Floats:
        """Return what one unit of Y is worth in each column, Δ/F."""
        return exp2(self.deltas) / lattice_of(self.shared.lattice).fine

    def energy(self) -> Floats:
        """Return ‖ā‖² of each column."""
        return np.where(self.codes == NORM_ZERO, 0.0, exp2(GRID // NORM_STEPS * self.codes))

    def noise(self) -> Floats:
        """Return the relative noise d = DΔ²/e of each column, e = ‖ā‖²/n; infinite without energy: nothing is known."""
        silent = self.codes == NORM_ZERO
        ratio = exp2(np.where(silent, 0, GRID // NORM_STEPS * self.codes - 2 * self.deltas)) / self.shared.n
        return np.where(silent, np.inf, lattice_of(self.shared.lattice).second_moment / ratio)


def encode(
    a: Floats,
    shared: Shared,
    key: Key,
    delta: Ints | int,
    mean: Floats | None = None,
    order: Ints | None = None,
    q: int | None = None,
) -> Coded:
    """Encode the columns of a matrix (Figure 1).

    Parameters
    ----------
    a : numpy.ndarray
        float64 [n, a].
    shared : Shared
    key : Key
        Of the dither, another one for every matrix.
    delta : int or numpy.ndarray of int64
        Δ of all columns, or of each, on the grid.
    mean : numpy.ndarray, optional
        float64 [a], the means as they are sent; by default exactly.
    order : numpy.ndarray, optional
        int64: columns in the order in which they are coded; of others, and of those without energy, nothing is (Y = 0).
        By default 0, 1, …
    q : int, optional
        Reduce modulo q·Λ; by default Λc is beyond every point.
    """
    from_first = a - a[0]  # zero in columns without energy, whatever their mean
    codes = norm_codes(np.square(from_first - from_first.mean(axis=0)).sum(axis=0))
    mean = a[0] + from_first.mean(axis=0) if mean is None else mean
    deltas = np.broadcast_to(np.int64(delta), mean.shape)
    order = np.arange(len(mean)) if order is None else order
    order = order[codes[order] != NORM_ZERO]
    points = np.zeros((len(mean), shared.m), dtype=np.int64)
    if len(order) == 0:
        return Coded(shared, points, deltas, codes, mean)
    lattice, count = lattice_of(shared.lattice), len(order) * shared.m
    place = Place(shared.lattice, count, start=0, m=shared.m, lanes=lanes_of(count), counter=0)

    u = np.ascontiguousarray((a - mean).T, np.float32)  # center
    rotate(u, shared.rotation(), inverse=False)  # S
    u = u[:, shared.projection()]  # P
    u = u * (exp2(-deltas) * UNIT).astype(np.float32)[:, None]  # scale: 1/Δ,
    s = fixed_point(u[order].reshape(-1), place.positions)  # in fixed point, one column after the other
    z = levels_of(place, key)  # the dither, in 1/F,
    x = s + z * (UNIT // lattice.fine)  # + Z
    point = lattice.quantize(x, place.lanes, UNIT)  # Q
    y = (
        lattice.fine * point - z
    )  # - Z: the decoder's box in the paper; here what is coded is what the decoder has
    if (
        q is not None
    ):  # mod Λc: y less the nearest point of Λc; the identity where that is 0, as in entropy coding
        y -= lattice.fine * q * lattice.nearest(y, place.lanes, lattice.fine * q)

    points[order] = y[:count].reshape(len(order), shared.m)
    return Coded(shared, points, deltas, codes, mean)  # bits: `entropy_encode` of y, or `voronoi_encode`


def norm_codes(energy: Floats) -> Ints:
    """Return the norm codes of the energies of columns."""
    positive = energy > 0
    return np.where(positive, round_log2(np.where(positive, energy, 1.0), NORM_STEPS), NORM_ZERO)


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
        float64 [n, a]. A column of which nothing was coded is its mean.
    """
    factor = 1 / (1 + coded.noise()) if estimator == "mmse" else np.float64(1 / coded.shared.kappa)
    u = coded.embedded().astype(np.float32)  # P
    rotate(u, coded.shared.rotation(), inverse=True)  # S
    centered: Floats = u.T * (coded.unit() * factor)  # scale
    return centered + coded.mean  # center


def product(a: Coded, b: Coded, theta: float = 1.0) -> Floats:
    """Estimate AᵀB (Figure 2). Of the coordinates, those count that both sides kept.

    Parameters
    ----------
    a, b : Coded
        With the same n and seed. One and the same for AᵀA, whose diagonal is known from the norms.
    theta : float
        θ of α = θ/(θ + ν), with ν = (1 + d_a)(1 + d_b)/κ - 1 the noise of a pair of columns and θ the energy of the
        product, relative to unrelated columns. 1 is the estimator "mmse", infinity (α = 1) "unbiased". What
        `nqz matmul` gives by default, "auto", is this with a θ that it estimates from the whole product, which takes
        more than a line: nqz/product/risk.py.

    Returns
    -------
    numpy.ndarray
        float64 [a, b].
    """
    n, kappa = a.shared.n, min(a.shared.kappa, b.shared.kappa)
    inner = a.embedded() @ b.embedded().T  # ⟨·, ·⟩
    nu = np.outer(1 + a.noise(), 1 + b.noise()) * (1 / kappa) - 1
    numerator, denominator = (theta, theta + nu) if np.isfinite(theta) else (1.0, np.ones_like(nu))
    alpha = np.outer(a.unit(), b.unit()) * (numerator / kappa) / denominator  # α, with 1/κ and the scales
    centered: Floats = inner * alpha  # · α
    out: Floats = centered + n * np.outer(a.mean, b.mean)  # + μ
    if b is a:
        np.fill_diagonal(out, a.energy() + n * (a.mean * a.mean))
    return out
