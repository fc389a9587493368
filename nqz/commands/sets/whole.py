"""A matrix in parts as one side of a product with what is not cut as it is: its columns are decoded, and rotated whole.

Points of parts stand for parts rotated by themselves, and meet the points of a whole column nowhere. What they decode
to does: it is the matrix with their noise, which stays as it was under any rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.commands.factors import Coded, CodedOperand, Factor, Plain
from nqz.commands.rotated import Block, RotatedOperand, noisy_power
from nqz.commands.sets.factor import Parted, check_dither, check_means
from nqz.commands.sets.operand import SetOperand
from nqz.commands.sets.product_elsewhere import SetAddress
from nqz.commands.sets.spectrum import Spectrum, energies, in_runs, several
from nqz.files.cutout import as_table, cut_out
from nqz.ground.arithmetic import total
from nqz.ground.dtypes import bfloat16_to_float32
from nqz.ground.errors import OperandError
from nqz.ground.threads import Workers
from nqz.matrix import Matrix
from nqz.product.operand import FLAT, Columns, Counts, Operand
from nqz.stages import norms
from nqz.stages.transforms import Transform


class RebuiltOperand(RotatedOperand):
    """A matrix in parts whose columns are decoded.

    Parameters
    ----------
    name : str
    parts : sequence of sequence of CodedOperand
    transform : Transform
        That of its partner.
    rotation_seed : int
    more : float
        Factor on the noise, for where its partner has its energy.
    counts : Counts
        How noise counts in scores, see `scored`.
    """

    def __init__(
        self, name: str, parts: Any, transform: Transform, rotation_seed: int, more: float = 1.0,
        counts: Counts = FLAT,
    ):  # fmt: skip
        whole = SetOperand(name, parts, decoded=True)
        side = replace(whole.side, noise=more * whole.side.noise)
        least = float(side.noise[side.noise > 0.0].min(initial=1.0))
        super().__init__(name, side, transform, rotation_seed, noisy_power(side.n, least))
        self._whole, self.more, self.counts = whole, more, counts
        self.spectrum = whole.spectrum
        self.edges: list[int] = np.cumsum([0, *whole.lengths]).tolist()

    def beside(self, more: float) -> RebuiltOperand:
        """The same with so many times its noise."""
        found = copy(self)
        found.side, found.more = replace(self.side, noise=more * self.side.noise), more
        return found

    def scored(self, more: float) -> RebuiltOperand:
        """The same in scores: beside other vectors there is so many times its noise; its own have what they have."""
        found = copy(self)
        along, square = self.spectrum.alone()
        noise = self.side.mean_noise()
        if self.side.dependence is None and noise > 0.0:
            # what was dropped of a vector is seen twice along it
            along *= 1.0 + (self.side.n / self._whole.m - 1.0) / noise
        found.counts = Counts(more, along, square)
        return found

    def codes(self, columns: Columns) -> NDArray[Any]:
        """See `Operand`."""
        return self._whole.codes(columns)

    def units(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """See `Operand`."""
        return np.where(np.isfinite(self.side.noise_at(codes)), super().units(codes), 0.0)

    def noise(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """See `Operand`; what rounding to integers leaves is part of it."""
        return np.where(codes == norms.ZERO, 0.0, self.side.noise_at(codes) + self.rounding(codes))

    def means(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return self._whole.means(columns)

    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return np.ldexp(self._whole.mean_steps(columns), self._whole.exponent - self.exponent)

    @property
    def norm_step(self) -> float:
        """See `Operand`."""
        return self._whole.norm_step

    def block(self, first: int, last: int, pool: Workers) -> Block:
        """See `RotatedOperand`."""
        columns, whole = slice(first, last), self._whole
        wide = any(part.matrix.info.dtype == "float64" for row in whole.parts for part in row)  # type: ignore[attr-defined]
        entries = np.empty((self.side.n, last - first), np.float64 if wide else np.float32)
        for k, (low, high) in enumerate(zip(self.edges, self.edges[1:], strict=False)):
            for j, own, place in whole.split(columns):
                out = entries[low:high, place[0] : place[-1] + 1]

                def put(places: Columns, piece: NDArray[Any], out: NDArray[Any] = out) -> None:
                    out[:, places] = piece

                matrix = whole.parts[k][j].matrix  # type: ignore[attr-defined]
                matrix.some(slice(int(own[0]), int(own[-1]) + 1), pool, put, "unbiased")
        return Block(entries, False, self.codes(columns), self.means(columns))


class RebuiltAddress(NamedTuple):
    """Where workers find it."""

    parts: SetAddress
    transform: Transform
    rotation_seed: int
    more: float
    counts: Counts

    def operand(self) -> tuple[Operand, list[Any]]:
        """The side, open, and what has to be asked whether it has changed."""
        parts, accesses = self.parts.open()
        about = self.transform, self.rotation_seed, self.more, self.counts
        return RebuiltOperand(self.parts.name, parts, *about), accesses


@dataclass(frozen=True)
class Rebuilt:
    """A factor in parts that is decoded for its product.

    Attributes
    ----------
    parts : Parted
        Compressed.
    """

    parts: Parted

    @property
    def where(self) -> str:
        """As messages call it."""
        return self.parts.where

    @property
    def axis(self) -> int:
        """Axis of the vectors."""
        return self.parts.axis

    @property
    def length(self) -> int:
        """Entries of a vector."""
        return self.parts.length

    @property
    def columns(self) -> int:
        """Number of vectors."""
        return self.parts.columns

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix."""
        return self.parts.shape

    @property
    def dtype(self) -> str:
        """Type of the matrix."""
        return self.parts.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix as it was before it was compressed."""
        return self.parts.nbytes

    @property
    def rate(self) -> float:
        """Bits an entry."""
        return self.parts.rate

    @property
    def matrix(self) -> Matrix:
        """The first part, which has rotation, centering and coding in common with all others."""
        return self.parts.matrices[0][0]

    @property
    def centered(self) -> bool:
        """Whether the means of its vectors are kept apart."""
        return self.matrix.centered

    def operand(self, partner: Factor, pool: Workers) -> Operand:
        """The factor as an operand, rotated as its partner is."""
        parts = [[CodedOperand(matrix) for matrix in row] for row in self.parts.matrices]
        p = (partner.matrix if isinstance(partner, Coded) else self.matrix).parameters
        return RebuiltOperand(self.where, parts, p.transform, p.rotation_seed)

    def address(self, operand: Any) -> RebuiltAddress:
        """Where workers find it; UsageError if they cannot."""
        about = operand.transform, operand.rotation_seed, operand.more, operand.counts
        return RebuiltAddress(self.parts.address(), *about)

    def release(self) -> None:
        """Nothing was made for the product."""


def spread(a: Operand, b: Operand, factors: tuple[Factor, Factor], pool: Workers) -> tuple[Operand, Operand]:
    """Two operands whose noise is as it counts in products with each other, where one or both are decoded."""
    left, right = _more(a, b, factors, pool)
    return (
        a.beside(left) if isinstance(a, RebuiltOperand) else a,
        b.beside(right) if isinstance(b, RebuiltOperand) else b,
    )


def scored(
    corpus: Operand, queries: Operand, factors: tuple[Factor, Factor], pool: Workers
) -> tuple[Operand, Operand]:
    """The same of a corpus and queries, in scores."""
    left, right = _more(corpus, queries, factors, pool)
    return (
        corpus.scored(left) if isinstance(corpus, RebuiltOperand) else corpus,
        queries.scored(right) if isinstance(queries, RebuiltOperand) else queries,
    )


def _more(a: Operand, b: Operand, factors: tuple[Factor, Factor], pool: Workers) -> tuple[float, float]:
    """So many times its noise each of two sides has beside the other, if it is decoded."""
    edges = sorted({edge for side in (a, b) if isinstance(side, RebuiltOperand) for edge in side.edges})
    if len(edges) < 3:
        return 1.0, 1.0
    one, other = (
        in_runs(factor.matrix, edges, pool) if isinstance(factor, Coded) else _seen(side, edges, pool)
        for side, factor in zip((a, b), factors, strict=True)
    )
    alone = not (isinstance(a, RebuiltOperand) and isinstance(b, RebuiltOperand))
    return one.beside(other, 1.0, alone)[1], other.beside(one, 1.0, alone)[1]


def _seen(side: Operand, edges: Sequence[int], pool: Workers) -> Spectrum:
    """Where what comes as it is, or decoded, has its energy, in runs of both sides: by its first columns."""
    assert isinstance(side, RotatedOperand)
    block = side.block(0, several(side.side.n, side.columns), pool)
    entries = bfloat16_to_float32(block.entries) if block.bfloat16 else block.entries
    centered = np.ldexp(entries.astype(np.float64) - block.means, -side.exponent)
    seen = np.array([total(row) for row in energies(centered, edges)])
    if isinstance(side, RebuiltOperand):
        return side.spectrum.cut(edges, seen)
    return Spectrum(np.diff(np.asarray(edges, np.float64)), seen, *np.zeros((2, len(seen))))


def beside(side: Parted, partner: Factor) -> tuple[Factor | Parted, Factor | Parted]:
    """A matrix in parts and a factor that is in one, as they are multiplied.

    What is not compressed is cut as its partner is. What is compressed is in parts of its own only if its partner's
    vectors are in one part; otherwise these are decoded, and rotated as a whole.

    Raises
    ------
    OperandError
        What is not compressed has vectors of another length.
    """
    if isinstance(partner, Coded):
        if len(side.lengths) > 1:
            return Rebuilt(side), partner
        taken = partner.matrix.coded_bytes
        whole = Parted(
            [[partner]], partner.where, partner.shape, partner.nbytes, taken, partner.matrix.reader.digest
        )
        return side, whole
    assert isinstance(partner, Plain)
    if partner.length != side.length:
        raise OperandError(
            f"{side.where} and {partner.where}: vectors of {side.length} and {partner.length} entries cannot be "
            "multiplied"
        )
    edges = [0, *accumulate(side.lengths)]
    table, axis = as_table(partner.tensor, partner.axis), partner.axis
    rows = [
        [replace(partner, tensor=cut_out(table, axis, range(low, high), range(partner.columns)), along=axis)]
        for low, high in pairwise(edges)
    ]
    return side, Parted(rows, partner.where, partner.shape, partner.nbytes, partner.nbytes, object())


def apart(a: Parted, b: Parted) -> tuple[Parted, Parted] | tuple[Factor, Factor]:
    """Two matrices in parts as they are multiplied: decoded where their vectors are cut differently."""
    return (a, b) if a.lengths == b.lengths else (Rebuilt(a), Rebuilt(b))


def check_rebuilt(a: Factor, b: Factor, biased: Any) -> None:
    """Check two factors of which one is decoded, beside the lengths of their vectors.

    Raises
    ------
    OperandError
        They do not fit together, or have dither in common.
    """
    left, right = (side.parts if isinstance(side, Rebuilt) else side for side in (a, b))
    check_means(left, right)
    check_dither(left, right, biased)
