"""Factors of a product, as operands: a coded matrix, or a plain one that is centered and rotated on the fly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.commands.measure import measure
from nqz.files.contract import SourceTensor
from nqz.files.vectors import VectorView
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import UnsupportedError
from nqz.ground.threads import Workers
from nqz.matrix import Matrix
from nqz.product.operand import Columns, Operand, Stream
from nqz.stages import norms
from nqz.stages.estimate import Side
from nqz.stages.panels import panel_columns
from nqz.stages.project import project
from nqz.stages.scale import exponents
from nqz.stages.transforms import Transform

GRID_BITS = 20
"""A plain operand is rounded to 2 ** -20 of its columns' standard deviation: its products are exact integers."""

_STEP = 1 << 18  # entries of a plain operand that are rotated at a time


class CodedOperand(Operand):
    """A coded matrix as an operand."""

    def __init__(self, matrix: Matrix):
        p = matrix.parameters
        super().__init__(
            operand_name(matrix.reader.name, matrix.name),
            matrix.side,
            p.m,
            p.rotation_seed,
            norms.loudest(matrix.codes) // norms.DOUBLING,
            [(panel.first, panel.last) for panel in matrix.panels],
        )
        self._matrix = matrix

    def units(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return self._matrix.units(columns, self.exponent)

    def means(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return self._matrix.means(columns)

    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return self._matrix.mean_steps(columns, self.exponent)

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """See `Operand`."""
        matrix = self._matrix
        (panel,) = (panel for panel in matrix.panels if panel.first == first)
        opened = matrix.open_panel(panel)

        def read(chunk: Any) -> tuple[int, NDArray[np.int32]]:
            points = pool.local.array("points", (chunk.count,), np.int32)
            matrix.chunk_points(opened, chunk, points)
            return chunk.start, points

        return Stream(opened.order, panel.chunks, read)


class PlainOperand(Operand):
    """A matrix that is not compressed: no noise, all coordinates.

    Parameters
    ----------
    name : str
    view : VectorView
    bfloat16 : bool
        Whether its uint16 entries are bfloat16.
    codes : ndarray of int32, shape (a,)
        Norm codes.
    mean : ndarray of float64, shape (a,)
    transform : Transform
        That of its partner.
    rotation_seed : int
    """

    def __init__(
        self, name: str, view: VectorView, bfloat16: bool, codes: NDArray[np.int32], mean: NDArray[np.float64],
        transform: Transform, rotation_seed: int,
    ):  # fmt: skip
        n, width = view.length, panel_columns(view.length)
        blocks = [(first, min(first + width, view.count)) for first in range(0, view.count, width)]
        super().__init__(
            name, Side.exact(codes, n), n, rotation_seed, norms.loudest(codes) // norms.DOUBLING, blocks
        )
        self._view, self._bfloat16, self._codes, self._mean = view, bfloat16, codes, mean
        self._transform = transform
        # a power of two that takes the standard deviation of each column's entries to 2 ** GRID_BITS or a little more
        self._power = GRID_BITS + n.bit_length() // 2

    def units(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        codes = self._codes[columns]
        silent = codes == norms.ZERO
        power = np.where(silent, 0, exponents(codes) - self.exponent - self._power)
        return np.where(silent, 0.0, np.ldexp(1.0, power))

    def means(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return self._mean[columns]

    def mean_steps(self, columns: Columns) -> NDArray[np.float64]:
        """See `Operand`."""
        return np.zeros(np.shape(self._codes[columns]))

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """See `Operand`."""
        n, seed = self.side.n, self.rotation_seed
        block, step = self._view.read(first, last), max(1, _STEP // n)
        forward = np.ldexp(np.float32(1.0), self._power)

        def read(start: int) -> tuple[int, NDArray[np.int32]]:
            stop = min(start + step, last - first)
            chosen = slice(first + start, first + stop)
            u = np.empty((stop - start, n), np.float32)
            mean, exponent = self._mean[chosen], exponents(self._codes[chosen])
            self._transform.center_rotate(block[:, start:stop], self._bfloat16, mean, exponent, seed, u)
            points = pool.local.array("points", (u.size,), np.int32)
            factors = np.full(len(u), forward, np.float32)
            kernels.round_scaled(project(u, seed, n), factors, points.reshape(u.shape))
            return start * n, points

        return Stream(np.arange(last - first), range(0, last - first, step), read)


def operand_name(file: str, tensor: str) -> str:
    """An operand as messages call it."""
    return f"{file}: tensor {tensor!r}" if tensor else file


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
    def rate(self) -> float:
        """Bits an entry."""
        return self.matrix.rate

    def operand(self, partner: Factor, pool: Workers) -> Operand:
        """The factor as an operand."""
        return CodedOperand(self.matrix)


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
    """

    tensor: SourceTensor
    file: str
    along: int = 0

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

    def operand(self, partner: Factor, pool: Workers) -> Operand:
        """The factor as an operand, measured, rotated like its partner, and centered if that is."""
        assert isinstance(partner, Coded)  # of two factors one is compressed
        view, name = self.view, operand_name(self.file, self.tensor.name)
        statistics = measure(view, partner.matrix.centered, name, pool=pool)
        codes, mean, p = statistics.codes, statistics.mean, partner.matrix.parameters
        return PlainOperand(name, view, view.bfloat16, codes, mean, p.transform, p.rotation_seed)


Factor = Coded | Plain
