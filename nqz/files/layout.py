"""Where the vectors of a matrix lie in the bytes of a tensor.

Vectors lie along the contracted axis. A tensor of shape (d0, ..., dk) is, for axis 0, a (d0...d(k-1)) x dk
matrix whose columns are the vectors, and for axis 1 a d0 x (d1...dk) matrix whose rows are. The coordinates
of a vector are in C order of the logical indices, whatever the order in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nqz.ground.errors import UnsupportedError, UsageError

VECTOR_MAJOR = "vector-major"
COORDINATE_MAJOR = "coordinate-major"
_NUMPY_RANK = 32


@dataclass(frozen=True)
class Layout:
    """A tensor as `count` vectors of `length` coordinates.

    Attributes
    ----------
    length, count : int
        Coordinates of a vector (n), and number of vectors (a).
    memory : str
        ``"vector-major"``: each vector is contiguous; ``"coordinate-major"``: each coordinate of all vectors
        is.
    reversed_dims : tuple of int
        Empty where the coordinates of a vector stand in memory in logical order. Otherwise the logical
        extents of a vector, of which memory has the first fastest (Fortran order, three or more dimensions).
    """

    length: int
    count: int
    memory: str
    reversed_dims: tuple[int, ...] = ()

    def to_logical(self, block: np.ndarray) -> np.ndarray:
        """Reorder a [length, w] block from memory order of the coordinates to logical order."""
        dims = self.reversed_dims
        if not dims:
            return block
        axes = (*reversed(range(len(dims))), len(dims))
        logical: np.ndarray = block.reshape(*reversed(dims), block.shape[1]).transpose(axes)
        return logical.reshape(block.shape)

    def to_memory(self, block: np.ndarray) -> np.ndarray:
        """Reorder a [length, w] block from logical order of the coordinates to memory order."""
        dims = self.reversed_dims
        if not dims:
            return block
        axes = (*reversed(range(len(dims))), len(dims))
        memory: np.ndarray = block.reshape(*dims, block.shape[1]).transpose(axes)
        return memory.reshape(block.shape)

    def logical_coordinate(self, coordinate: int) -> int:
        """Return the logical number of the coordinate at a place in memory order."""
        if not self.reversed_dims:
            return coordinate
        logical = 0
        scale = self.length
        for extent in self.reversed_dims:
            scale //= extent
            coordinate, index = divmod(coordinate, extent)
            logical += index * scale
        return logical


def tensor_index(shape: tuple[int, ...], axis: int, coordinate: int, vector: int) -> tuple[int, ...]:
    """Return the index in the tensor of a (logical) coordinate of a vector."""
    if len(shape) == 1:
        return (coordinate,)
    dims = shape[:-1] if axis == 0 else shape[1:]
    index = []
    for extent in reversed(dims):
        coordinate, rest = divmod(coordinate, extent)
        index.append(rest)
    index.reverse()
    return (*index, vector) if axis == 0 else (vector, *index)


def vector_layout(shape: tuple[int, ...], axis: int, fortran_order: bool) -> Layout:
    """Return how the vectors along an axis lie in a tensor.

    Raises
    ------
    UsageError
        If `axis` is not 0 or 1, or is 1 for a tensor of one dimension.
    UnsupportedError
        If the tensor has no dimension or no element.
    """
    if axis not in (0, 1):
        raise UsageError(f"axis must be 0 or 1, not {axis!r}")
    if not shape or 0 in shape:
        raise UnsupportedError(f"a tensor of shape {shape} has no vectors to compress")
    if len(shape) == 1:
        if axis == 1:
            raise UsageError("a one-dimensional array is one vector; it has no axis 1, use axis 0")
        return Layout(shape[0], 1, VECTOR_MAJOR)
    dims = shape[:-1] if axis == 0 else shape[1:]
    count = shape[-1] if axis == 0 else shape[0]
    length = math.prod(dims)
    # The slowest index in memory is the first in C order and the last in Fortran order.
    memory = VECTOR_MAJOR if (axis == 1) != fortran_order else COORDINATE_MAJOR
    # With one vector, or one coordinate, both are true; take the one with the longer runs.
    if count == 1:
        memory = VECTOR_MAJOR
    elif length == 1:
        memory = COORDINATE_MAJOR
    wide = tuple(extent for extent in dims if extent != 1)
    permuted = fortran_order and len(wide) > 1
    if permuted and len(wide) >= _NUMPY_RANK:
        raise UnsupportedError(f"a Fortran-order tensor of {len(shape)} dimensions is beyond NumPy's limit")
    return Layout(length, count, memory, wide if permuted else ())


def tensor_lines(
    cut: tuple[range, range], shape: tuple[int, ...], fortran_order: bool
) -> tuple[range, range, int]:
    """Of a rectangle of a matrix the lines of the file that it is in, its entries of each, and how long lines are."""
    rows, columns = cut
    return (columns, rows, shape[0]) if fortran_order else (rows, columns, shape[1])
