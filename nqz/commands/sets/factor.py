"""A matrix in parts as a factor of a product: which two fit together, and the product of both."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nqz.commands.elsewhere.address import Address, check_address
from nqz.commands.elsewhere.multiply import CodedPlace
from nqz.commands.factors import Coded, CodedOperand, Factor, Single
from nqz.commands.sets.operand import SetOperand, paired
from nqz.commands.sets.product import SetProduct
from nqz.commands.sets.product_elsewhere import SetAddress, SetProductElsewhere, SetSides
from nqz.format.part_set import agrees, settings
from nqz.ground.errors import CorruptError, OperandError
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix
from nqz.models.collection import Collection
from nqz.product.operand import Operand
from nqz.product.product import Product


@dataclass(frozen=True)
class Parted:
    """A factor in parts.

    Attributes
    ----------
    parts : sequence of sequence of Coded or Plain
        Those with the first coordinates first, in the order of their vectors.
    file : str
        As messages call it.
    shape : tuple of int
    nbytes : int
        Bytes of the matrix as it was before it was compressed.
    taken : int
        Bytes of all parts.
    identity : object
        What tells that two are the same.
    """

    parts: Sequence[Sequence[Single]]
    file: str
    shape: tuple[int, ...]
    nbytes: int
    taken: int
    identity: object

    @property
    def where(self) -> str:
        """As messages call it."""
        return self.file

    @property
    def axis(self) -> int:
        """Axis of the vectors."""
        return self.parts[0][0].axis

    @property
    def lengths(self) -> list[int]:
        """Entries that the parts of a vector have."""
        return [row[0].length for row in self.parts]

    @property
    def length(self) -> int:
        """Entries of a vector."""
        return sum(self.lengths)

    @property
    def columns(self) -> int:
        """Number of vectors."""
        return sum(part.columns for part in self.parts[0])

    @property
    def dtype(self) -> str:
        """Type of the matrix."""
        return self.parts[0][0].dtype

    @property
    def rate(self) -> float:
        """Bits an entry."""
        return 8.0 * self.taken / math.prod(self.shape)

    @property
    def matrices(self) -> list[list[Matrix]]:
        """The parts as they are stored; none of what is not compressed."""
        return [[part.matrix for part in row if isinstance(part, Coded)] for row in self.parts]

    @property
    def coded(self) -> bool:
        """Whether it is compressed."""
        return isinstance(self.parts[0][0], Coded)

    def operands(self, partner: Parted, pool: Workers) -> list[list[Operand]]:
        """Every part as an operand."""
        beside = [row[0] for row in partner.parts]
        return [
            [part.operand(other, pool) for part in row] for row, other in zip(self.parts, beside, strict=True)
        ]

    def release(self) -> None:
        """Drop what was made for the product."""
        for row in self.parts:
            for part in row:
                part.release()

    def address(self, operands: Sequence[Sequence[Operand]] | None = None) -> SetAddress:
        """Where workers find it, and what was measured of it; UsageError if they cannot."""
        rows = self.parts if operands is None else operands
        return SetAddress(
            self.file,
            tuple(
                tuple(_address(part, one) for part, one in zip(row, own, strict=True))
                for row, own in zip(self.parts, rows, strict=True)
            ),
        )


def _address(part: Single, operand: Any) -> CodedPlace | Operand:
    if isinstance(part, Coded):
        return CodedPlace(Address.of(part.matrix.reader), part.matrix.index)
    check_address(part.tensor.access, part.where)
    found: Operand = operand
    return found


def parted(collection: Collection) -> Parted:
    """A part set as a factor.

    Raises
    ------
    CorruptError
        A part is not the one that the manifest has: see `check_parts`.
    """
    grid = collection.grid
    assert grid is not None
    readers = collection.contents
    check_parts(collection)
    across = len(grid.vectors)
    rows = [
        [Coded(open_matrix(reader, 0), reader.name) for reader in readers[k * across : (k + 1) * across]]
        for k in range(len(grid.coordinates))
    ]
    nbytes = sum(reader.manifest.tensors[0].nbytes for reader in readers)
    return Parted(rows, collection.name, grid.shape, nbytes, grid.file_bytes, grid.digest)


def check_parts(collection: Collection) -> None:
    """Raise CorruptError unless the parts of a set are those that its manifest has, each one matrix of its place."""
    grid = collection.grid
    assert grid is not None
    for part, entry, (rows, columns) in zip(collection.parts, grid.parts, grid.places(), strict=True):
        reader, where = part.content, f"{collection.name}: part {entry.file}"
        if reader.size != entry.nbytes or reader.digest.hex() != entry.digest:
            raise CorruptError(
                f"{where}: is not the file that the manifest has; put that in its place, or make the set again"
            )
        infos = reader.manifest.tensors
        shape = (len(rows), len(columns)) if grid.axis == 0 else (len(columns), len(rows))
        if (
            len(infos) != 1
            or infos[0].kind != "matrix"
            or tuple(infos[0].shape) != shape
            or infos[0].dtype != grid.dtype
        ):
            raise CorruptError(f"{where}: is not one matrix of {shape[0]}x{shape[1]} {grid.dtype}")
        header = open_matrix(reader, 0).header
        if header.axis != grid.axis or not agrees(settings(header.parameters), grid.plan):
            raise CorruptError(f"{where}: has other parameters than the manifest says")


def energy_shares(matrices: Sequence[Matrix]) -> list[float]:
    """What share of the energy of a matrix each of its parts has; equal shares of nothing."""
    energies = [matrix.histogram.energy() for matrix in matrices]
    most = max((exponent for mantissa, exponent in energies if mantissa), default=0)
    known = [math.ldexp(mantissa, exponent - most) for mantissa, exponent in energies]
    whole = math.fsum(known)
    return [one / whole if whole else 1.0 / len(known) for one in known]


def check_sets(a: Parted, b: Parted, biased: Any) -> bool:
    """Check that two matrices in parts fit together; return whether they are one and the same.

    Raises
    ------
    OperandError
        They are coded so that points do not add up.
    """
    both = f"{a.where} and {b.where}"
    used = [matrix.parameters for side in (a, b) for row in side.matrices for matrix in row]
    for what, values in (
        ("transforms", {p.transform.name for p in used}),
        ("seeds", {p.rotation_seed for p in used}),
    ):
        if len(values) > 1:
            raise OperandError(f"{both}: their parts were encoded with different {what}; encode all alike")
    check_means(a, b)
    if a.identity == b.identity:
        if any(len({matrix.parameters.dither_key for matrix in row}) < len(row) for row in a.matrices):
            raise biased(a, b)  # copies of a part side by side
        return True
    for row, other in zip(a.matrices, b.matrices, strict=False):  # none of what is not compressed
        keys = {matrix.parameters.dither_key for matrix in row}
        if any(matrix.parameters.dither_key in keys for matrix in other):
            raise biased(a, b)
    return False


def check_means(a: Parted | Factor, b: Parted | Factor) -> None:
    """Raise OperandError where means are kept of some parts of two factors only."""
    if len({matrix.centered for side in (a, b) for matrix in _matrices(side)}) > 1:
        raise OperandError(
            f"{a.where} and {b.where}: means are kept in some parts, and in others not; encode all with --center, or "
            "all with --no-center"
        )


def check_dither(a: Parted | Factor, b: Parted | Factor, biased: Any) -> None:
    """Raise what `biased` gives where a part of one factor has the dither of a part of the other."""
    keys, others = ({matrix.parameters.dither_key for matrix in _matrices(side)} for side in (a, b))
    if keys & others:
        raise biased(a, b)


def _matrices(side: Parted | Factor) -> list[Matrix]:
    if isinstance(side, Coded):
        return [side.matrix]
    rows = side.matrices if isinstance(side, Parted) else []
    return [matrix for row in rows for matrix in row]


def set_operand(side: Parted, decoded: bool = False) -> SetOperand:
    """A set as an operand, without a partner."""
    rows = [[CodedOperand(matrix) for matrix in row] for row in side.matrices]
    return SetOperand(side.where, rows, decoded)


def set_product(a: Parted, b: Parted, estimator: str, same: bool, pool: Workers) -> Product:
    """The product of two matrices in parts, by workers, if there are any."""
    fleet, of_a = pool.fleet, a.operands(b, pool)
    of_b = of_a if same else b.operands(a, pool)
    left = SetOperand(a.where, of_a)
    left, right = paired(left, left if same else SetOperand(b.where, of_b))
    if fleet is None:
        return SetProduct(left, right, estimator, same)
    sides = SetSides(os.urandom(8).hex(), a.address(of_a), b.address(of_b))
    return SetProductElsewhere(left, right, estimator, same, fleet=fleet, sides=sides)
