"""A matrix in parts as a factor of a product: which two fit together, and the product of both."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nqz.commands.set_operand import SetOperand
from nqz.commands.set_product import PartAddress, SetAddress, SetProduct, SetSides
from nqz.files.access import has_address
from nqz.files.parked import ParkedAccess
from nqz.ground.errors import CorruptError, OperandError, UsageError
from nqz.ground.fleet import Fleet
from nqz.matrix import Matrix, open_matrix
from nqz.models.collection import Collection
from nqz.product.product import Product


@dataclass(frozen=True)
class Parted:
    """A factor in parts.

    Attributes
    ----------
    parts : sequence of sequence of Matrix
        Those with the first coordinates first, in the order of their vectors.
    file : str
        As messages call it.
    nbytes : int
        Bytes of the matrix as it was before it was compressed.
    taken : int
        Bytes of all parts.
    identity : object
        What tells that two are the same.
    """

    parts: Sequence[Sequence[Matrix]]
    file: str
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
        return self.parts[0][0].header.axis

    @property
    def lengths(self) -> list[int]:
        """Entries that the parts of a vector have."""
        return [row[0].parameters.n for row in self.parts]

    @property
    def length(self) -> int:
        """Entries of a vector."""
        return sum(self.lengths)

    @property
    def columns(self) -> int:
        """Number of vectors."""
        return sum(matrix.parameters.columns for matrix in self.parts[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix."""
        whole = self.length, self.columns
        return whole if self.axis == 0 else whole[::-1]

    @property
    def dtype(self) -> str:
        """Type of the matrix."""
        return self.parts[0][0].info.dtype

    @property
    def rate(self) -> float:
        """Bits an entry."""
        return 8.0 * self.taken / math.prod(self.shape)

    def release(self) -> None:
        """Nothing was made for the product."""

    def address(self) -> SetAddress:
        """Where workers find it; UsageError if they cannot."""
        return SetAddress(self.file, tuple(tuple(map(self._address, row)) for row in self.parts))

    def _address(self, matrix: Matrix) -> PartAddress:
        access: Any = matrix.reader.access
        if isinstance(access, ParkedAccess):
            opened: str | tuple[Any, ...] = os.path.abspath(access.name)
        elif has_address(access):
            opened = access.__reduce__()[:2]
        else:
            raise UsageError(
                f"{matrix.reader.name}: the workers of an executor read it by its path, which no pipe and no bytes in "
                "memory have; give files that all of them can read"
            )
        return PartAddress(opened, matrix.reader.name, matrix.reader.digest, matrix.index)


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
        [open_matrix(reader, 0) for reader in readers[k * across : (k + 1) * across]]
        for k in range(len(grid.coordinates))
    ]
    nbytes = sum(reader.manifest.tensors[0].nbytes for reader in readers)
    return Parted(rows, collection.name, nbytes, grid.file_bytes, grid.digest)


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
        p = header.parameters
        plan = {
            "lattice": None if p.lattice is None else p.lattice.name, "delta": p.delta,
            "lowest_class": p.lowest_class, "seed": p.rotation_seed,
        }  # fmt: skip
        if header.axis != grid.axis or (grid.plan is not None and plan != grid.plan):
            raise CorruptError(f"{where}: has other parameters than the manifest says")


def as_parted(factor: Any) -> Parted:
    """A factor in parts; of one part if it is a container.

    Raises
    ------
    OperandError
        It is not compressed.
    """
    if isinstance(factor, Parted):
        return factor
    matrix: Matrix | None = getattr(factor, "matrix", None)
    if matrix is None:
        raise OperandError(
            f"{factor.where}: is not compressed, and a part set is multiplied with one that is cut alike; make one of "
            "it, with nqz set create --parts"
        )
    return Parted([[matrix]], factor.where, factor.nbytes, matrix.coded_bytes, matrix.reader.digest)


def check_sets(a: Parted, b: Parted, biased: Any) -> bool:
    """Check that two matrices in parts fit together; return whether they are one and the same.

    Raises
    ------
    OperandError
        They are cut differently along the contracted axis, or coded so that points do not add up.
    """
    both = f"{a.where} and {b.where}"
    if a.lengths != b.lengths:
        raise OperandError(
            f"{both}: cut differently along the contracted axis, into {_cut(a)} and {_cut(b)}; both need the same cut: "
            "nqz set create --parts, with as many parts along it"
        )
    every = [matrix for side in (a, b) for row in side.parts for matrix in row]
    settings = [matrix.parameters for matrix in every]
    for what, values in (
        ("transforms", {p.transform.name for p in settings}),
        ("seeds", {p.rotation_seed for p in settings}),
        ("codings", {p.coding.name for p in settings}),
    ):
        if len(values) > 1:
            raise OperandError(f"{both}: their parts were encoded with different {what}; encode all alike")
    if every[0].parameters.coding.name != "entropy":
        raise OperandError(f"{both}: products of part sets are of those in entropy coding")
    if len({matrix.centered for matrix in every}) > 1:
        raise OperandError(
            f"{both}: means are kept in some parts, and in others not; encode all with --center, or all with "
            "--no-center"
        )
    if a.identity == b.identity:
        if any(len({matrix.parameters.dither_key for matrix in row}) < len(row) for row in a.parts):
            raise biased(a, b)  # copies of a part side by side
        return True
    for row, other in zip(a.parts, b.parts, strict=True):
        keys = {matrix.parameters.dither_key for matrix in row}
        if any(matrix.parameters.dither_key in keys for matrix in other):
            raise biased(a, b)
    return False


def _cut(side: Parted) -> str:
    lengths = side.lengths
    some = " + ".join(map(str, lengths[:3])) + (" + …" if len(lengths) > 3 else "")
    return f"{len(lengths)} ({some})"


def set_product(a: Parted, b: Parted, estimator: str, same: bool, fleet: Fleet | None) -> Product:
    """The product of two matrices in parts, by workers, if there are any."""
    left = SetOperand(a.where, a.parts)
    right = left if same else SetOperand(b.where, b.parts)
    sides = None
    if fleet is not None:
        sides = SetSides(os.urandom(8).hex(), a.address(), b.address())
    return SetProduct(left, right, estimator, same, fleet, sides)
