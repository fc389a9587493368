"""Opening a coded matrix of a container: its parameters are read, its records found."""

from __future__ import annotations

import math

from nqz.format import header
from nqz.format.reader import ContainerReader
from nqz.ground.errors import CorruptError
from nqz.matrix.matrix import Matrix
from nqz.matrix.panels import Panels


def open_matrix(reader: ContainerReader, index: int) -> Matrix:
    """Read the parameters of tensor `index` of a container, a matrix, and find its records; none of these is read.

    Raises
    ------
    CorruptError
        The parameters are invalid, or there are not as many records as its shape calls for.
    NewerFormatError
        Only a later release reads it.
    """
    reader.span(index)  # first: what its parameters mean, a codec says that may not be known
    info = reader.manifest.tensors[index]
    where = f"{reader.name}: tensor {info.name!r}" if info.name else reader.name
    found = header.unpack(info.parameters, lambda axis: _length_and_count(info.shape, axis), where)
    if len(info.shape) == 1 and found.axis != 0:
        raise CorruptError(f"{where}: axis 1 for an array of one dimension")
    return Matrix(reader, index, info, found, Panels(reader, index, found.parameters, where))


def _length_and_count(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Length and number of the vectors of a tensor."""
    count = 1 if len(shape) == 1 else shape[-1] if axis == 0 else shape[0]
    return math.prod(shape) // count, count
