"""Matrices decoded by workers elsewhere: a panel each, whose columns are what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nqz.commands.elsewhere.address import Address
from nqz.ground.dtypes import storage_dtype
from nqz.ground.fleet import Fleet
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix
from nqz.stages.panels import Panel

Order = Literal["C", "F"]


def rebuilt_elsewhere(
    matrices: Sequence[Matrix], fleet: Fleet, estimator: str, dtype: str, order: Order
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """The panels of matrices, in order: the number of the matrix, the first column, and all columns of the panel.

    Parameters
    ----------
    matrices : sequence of Matrix
    fleet : Fleet
    estimator : {"mmse", "unbiased"}
    dtype : str
        Canonical name; arrays are in its storage type.
    order : {"C", "F"}
        How arrays lie in memory, of shape (n, columns).

    Raises
    ------
    UsageError
        The file of one has no address.
    CorruptError
        A record is damaged.
    """

    def panels() -> Iterator[tuple[int, int]]:
        return (
            (number, panel) for number, matrix in enumerate(matrices) for panel in range(len(matrix.panels))
        )

    addresses = [Address.of(matrix.reader) for matrix in matrices]
    jobs = (
        (addresses[number], matrices[number].index, panel, estimator, dtype, order, fleet.threads)
        for number, panel in panels()
    )
    size = max((_bytes(matrix, dtype) for matrix in matrices), default=0)
    for (number, panel), block in zip(panels(), fleet.map(rebuild_panel, jobs, size), strict=True):
        yield number, matrices[number].panels.edges(panel)[0], block


def _bytes(matrix: Matrix, dtype: str) -> int:
    """Of the columns of a panel."""
    p = matrix.parameters
    return p.n * min(matrix.panels.width, p.columns) * storage_dtype(dtype).itemsize


def checked_elsewhere(matrices: Sequence[Matrix], fleet: Fleet) -> None:
    """Check all bytes of the files of matrices.

    Raises
    ------
    CorruptError
        One is damaged.
    """
    for _ in fleet.map(check_file, ((Address.of(matrix.reader), fleet.threads) for matrix in matrices)):
        pass


# what workers do


def rebuild_panel(
    address: Address, index: int, number: int, estimator: str, dtype: str, order: Order, threads: int
) -> NDArray[Any]:
    """Rebuild the columns of a panel."""
    (reader, access), pool = address.open(), Workers(threads)
    try:
        matrix = open_matrix(reader, index)

        def into(panel: Panel) -> NDArray[Any]:
            return np.empty((matrix.parameters.n, panel.width), storage_dtype(dtype), order)

        ((_, block, _),) = matrix.blocks(pool, estimator, dtype, into, panels=[number])
        assert block is not None
        return block
    finally:
        pool.close()
        access.close()


def check_file(address: Address, threads: int) -> None:
    """Check all bytes of a container."""
    (reader, access), pool = address.open(), Workers(threads)
    try:
        reader.verify(None, pool.map)
    finally:
        pool.close()
        access.close()
