"""Points of a block of columns on their way to a product, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stream:
    """The points of a block of columns as they are stored: column after column, cut into chunks anywhere.

    Attributes
    ----------
    order : ndarray of int64
        Which column of the block each vector of points is; columns that are missing are zero.
    chunks : sequence
        What `read` takes.
    read : callable
        read(chunk) gives the position of the chunk's first point in the stream, and its points, int32 of one dimension,
        which are valid until the same thread reads again. Called from several threads.
    read_bytes : callable, optional
        The same where points are int8.
    multiply : callable, optional
        multiply(chunk, vectors) gives the position of the first point, and the products of the chunk's columns with
        vectors of int16, int64 of shape (columns, vectors), without points. Entries of vectors are within `few.SHORT`.
    """

    order: NDArray[Any]
    chunks: Sequence[Any]
    read: Callable[[Any], tuple[int, NDArray[np.int32]]]
    read_bytes: Callable[[Any], tuple[int, NDArray[np.int8]]] | None = None
    multiply: Callable[[Any, NDArray[np.int16]], tuple[int, NDArray[np.int64]]] | None = None
