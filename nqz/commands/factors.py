"""Factors of a product, as operands: a coded matrix, or a plain one that is centered and rotated on the fly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nqz.commands.carried import Carried
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.rotated import Block, RotatedOperand, exact_power
from nqz.files.contract import SourceTensor
from nqz.files.vectors import VectorView
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import UnsupportedError
from nqz.ground.threads import Workers
from nqz.matrix import Matrix
from nqz.product.means import PointMeans
from nqz.product.operand import Columns, Operand
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.estimate import Side
from nqz.stages.transforms import Transform

_STEP_OF_DEVIATION = 12.0**0.5
"""A step that leaves so much of a mean, uniformly distributed, as an estimate of this standard deviation does."""


class CodedOperand(Operand):
    """A coded matrix as an operand.

    Parameters
    ----------
    matrix : Matrix
    means_needed : bool
        Whether means that are not kept apart are to be estimated from the points: its partner has means of its own.
    """

    def __init__(self, matrix: Matrix, means_needed: bool = False):
        p = matrix.parameters
        super().__init__(
            operand_name(matrix.reader.name, matrix.name),
            matrix.side,
            p.m,
            p.rotation_seed,
            norms.loudest(matrix.histogram.codes) // norms.DOUBLING,
            [matrix.panels.edges(number) for number in range(len(matrix.panels))],
        )
        self.matrix = matrix
        self._estimated = PointMeans(self, p.transform) if means_needed and not matrix.centered else None

    def codes(self, columns: Columns) -> NDArray[Any]:
        """See `Operand`."""
        return self.matrix.codes(columns)

    def units(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """See `Operand`."""
        return self.matrix.units(codes, self.exponent)

    def gains(self, columns: Columns) -> NDArray[np.float64] | None:
        """See `Operand`."""
        return self.matrix.gains(columns)

    def means(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return self.matrix.means(columns) if self._estimated is None else self._estimated.at(columns)

    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        if self._estimated is None:
            return self.matrix.mean_steps(columns, self.exponent)
        return _STEP_OF_DEVIATION * self._estimated.deviations(columns)

    @property
    def apart(self) -> bool:
        """See `Operand`."""
        return self._estimated is None

    @property
    def most_point(self) -> int | None:
        """See `Operand`."""
        return self.matrix.parameters.coding.most_point

    @property
    def norm_step(self) -> float:
        """See `Operand`."""
        return self.matrix.parameters.norm_step / norms.STEPS

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """See `Operand`."""
        matrix = self.matrix
        panel = matrix.panels[first // matrix.panels.width]

        def read(chunk: Any, dtype: type[np.signedinteger[Any]] = np.int32) -> tuple[int, NDArray[Any]]:
            points = pool.local.array("points", (chunk.count,), dtype)
            matrix.chunk_points(panel, chunk, points)
            return chunk.start, points

        def multiply(chunk: Any, vectors: NDArray[np.int16]) -> tuple[int, NDArray[np.int64]]:
            return chunk.start, matrix.chunk_products(panel, chunk, vectors)

        if self.most_point is None:
            return Stream(panel.opened.order, panel.panel.chunks, read)
        read_bytes = partial(read, dtype=np.int8)
        return Stream(panel.opened.order, panel.panel.chunks, read, read_bytes, multiply)


class PlainOperand(RotatedOperand):
    """A matrix that is not compressed: no noise, all coordinates.

    Parameters
    ----------
    name : str
    matrix : MeasuredMatrix
    transform : Transform
        That of its partner.
    rotation_seed : int
    power : int, optional
        Columns of norm 1 to 2 are rounded to 2 ** -power; by default so finely that it is as good as exact.
    """

    def __init__(
        self, name: str, matrix: MeasuredMatrix, transform: Transform, rotation_seed: int, power: int | None = None
    ):  # fmt: skip
        side = Side.exact(matrix.histogram, matrix.view.length)
        super().__init__(
            name, side, transform, rotation_seed, exact_power(side.n) if power is None else power
        )
        self._matrix = matrix

    def codes(self, columns: Columns) -> NDArray[Any]:
        """See `Operand`."""
        return self._matrix.codes(columns)

    def noise(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """What rounding to integers leaves."""
        return self.rounding(codes)

    def means(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return self._matrix.means(columns)

    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return np.zeros(
            len(range(*columns.indices(self.columns))) if isinstance(columns, slice) else len(columns)
        )

    def block(self, first: int, last: int, pool: Workers) -> Block:
        """See `RotatedOperand`."""
        view = self._matrix.view
        found = self._matrix.found(slice(first, last))
        return Block(view.read(first, last), view.bfloat16, found.codes, found.means())


def operand_name(file: str, tensor: str) -> str:
    """An operand as messages call it."""
    return f"{file}: tensor {tensor!r}" if tensor else file


class Factor(Protocol):
    """A factor of a product."""

    @property
    def where(self) -> str:
        """File and tensor, as messages call them."""

    @property
    def axis(self) -> int:
        """Axis of the vectors."""

    @property
    def length(self) -> int:
        """Entries of a vector."""

    @property
    def columns(self) -> int:
        """Number of vectors."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""

    @property
    def dtype(self) -> str:
        """Type of the tensor."""

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor as it was before it was compressed."""

    @property
    def rate(self) -> float:
        """Bits an entry."""

    @property
    def centered(self) -> bool:
        """Whether it has means that are kept apart."""

    def operand(self, partner: Factor, pool: Workers) -> Operand:
        """The factor as an operand."""

    def release(self) -> None:
        """Drop what was made for the product."""


@dataclass(frozen=True)
class Coded:
    """A compressed factor of a product.

    Attributes
    ----------
    matrix : Matrix
    file : str
        As messages call it.
    """

    matrix: Matrix
    file: str

    @property
    def where(self) -> str:
        """File and tensor, as messages call them."""
        return operand_name(self.file, self.matrix.name)

    @property
    def axis(self) -> int:
        """Axis of the vectors."""
        return self.matrix.header.axis

    @property
    def length(self) -> int:
        """Entries of a vector."""
        return self.matrix.parameters.n

    @property
    def columns(self) -> int:
        """Number of vectors."""
        return self.matrix.parameters.columns

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.matrix.info.shape

    @property
    def dtype(self) -> str:
        """Type of the tensor."""
        return self.matrix.info.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor as it was before it was compressed."""
        return self.matrix.info.nbytes

    @property
    def centered(self) -> bool:
        """Whether the means of its vectors are kept apart."""
        return self.matrix.centered

    @property
    def rate(self) -> float:
        """Bits an entry."""
        return self.matrix.rate

    def operand(self, partner: Factor, pool: Workers) -> Operand:
        """The factor as an operand."""
        return CodedOperand(self.matrix, partner.centered)

    def release(self) -> None:
        """Drop what was made for the product."""


@dataclass(frozen=True)
class Plain:
    """A factor of a product that is not compressed.

    Attributes
    ----------
    tensor : SourceTensor
    file : str
        As messages call it.
    along : int
        Axis of its vectors, if it has several.
    data : Carried, optional
        What a tensor that a container carries exactly is read from.
    """

    tensor: SourceTensor
    file: str
    along: int = 0
    data: Carried | None = None

    @property
    def where(self) -> str:
        """File and tensor, as messages call them."""
        return operand_name(self.file, self.tensor.name)

    @property
    def axis(self) -> int:
        """Axis of the vectors."""
        return 0 if len(self.tensor.shape) == 1 else self.along

    @property
    def view(self) -> VectorView:
        """Its vectors.

        Raises
        ------
        UnsupportedError
            It is not of floating-point numbers.
        """
        if not is_matrix_dtype(self.tensor.dtype):
            raise UnsupportedError(
                f"{self.file}: dtype {self.tensor.dtype}; a matrix of floating-point numbers is needed"
            )
        return self.tensor.vectors(self.axis)

    @property
    def length(self) -> int:
        """Entries of a vector."""
        return self.view.length

    @property
    def columns(self) -> int:
        """Number of vectors."""
        return self.view.count

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.tensor.shape

    @property
    def dtype(self) -> str:
        """Type of the tensor."""
        return self.tensor.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.tensor.nbytes

    @property
    def rate(self) -> float:
        """Bits an entry, as it is stored."""
        return 8.0 * self.nbytes / max(1, self.tensor.entries)

    @property
    def centered(self) -> bool:
        """See `Factor`: its means are taken where its partner has means."""
        return False

    def operand(self, partner: Factor, pool: Workers) -> Operand:
        """The factor as an operand, measured, rotated like its partner, and centered if that is."""
        assert isinstance(partner, Coded)  # of two factors one is compressed
        view, name = self.view, operand_name(self.file, self.tensor.name)
        statistics = measure(view, partner.matrix.centered, name, pool=pool)
        p = partner.matrix.parameters
        return PlainOperand(name, MeasuredMatrix(view, statistics, name, pool), p.transform, p.rotation_seed)

    def release(self) -> None:
        """Drop what was made for the product."""
        if self.data is not None:
            self.data.close()


Single = Coded | Plain
"""A factor in one part."""
