"""What a file says of the columns of a matrix, kept beside its points: norms, means and gains, but no chunks."""

from __future__ import annotations

from typing import Any

from nqz.format.reader import ContainerReader
from nqz.ground.cached import cached_property
from nqz.matrix.matrix import Matrix
from nqz.matrix.opening import open_matrix

_APART = "CHNK"


class Told:
    """A matrix whose chunks are not there, and whose file is not needed. It can be pickled.

    Parameters
    ----------
    reader : ContainerReader
        As `ContainerReader.held` gives it.
    index : int
        Number of the tensor.
    """

    def __init__(self, reader: ContainerReader, index: int) -> None:
        self._reader, self._index = reader, index
        self.nbytes = reader.held_bytes(index, _APART)

    def __reduce__(self) -> tuple[Any, ...]:
        return Told, (self._reader, self._index)

    @classmethod
    def of(cls, matrix: Matrix) -> Told:
        """All of a matrix but its chunks."""
        return cls(matrix.reader.held(matrix.index, _APART), matrix.index)

    @staticmethod
    def expected_nbytes(matrix: Matrix) -> int:
        """The memory that takes."""
        return matrix.reader.held_bytes(matrix.index, _APART)

    @cached_property
    def matrix(self) -> Matrix:
        """The matrix; its points are elsewhere."""
        return open_matrix(self._reader, self._index)
