"""A matrix verified by workers elsewhere: some panels each, decoded and nothing made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nqz.format.reader import ContainerReader
from nqz.ground.errors import InputError
from nqz.ground.fleet import Fleet
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix

_PANELS = 4


def decoded_elsewhere(matrix: Matrix, fleet: Fleet, done: Callable[[float], object]) -> None:
    """Decode all panels of a matrix, whose file has an address; `done` is told of bytes.

    Raises
    ------
    CorruptError
        One is damaged.
    """
    access: Any = matrix.reader.access
    opened, count = access.__reduce__()[:2], len(matrix.panels)
    ranges = [range(first, min(first + _PANELS, count)) for first in range(0, count, _PANELS)]
    own = opened, matrix.reader.name, matrix.reader.digest, matrix.index
    jobs = ((*own, panels, fleet.threads) for panels in ranges)
    for panels, _ in zip(ranges, fleet.map(decode_panels, jobs), strict=True):
        done(matrix.info.nbytes * len(panels) / count)


def decode_panels(
    opened: tuple[Any, ...], name: str, digest: bytes, index: int, panels: range, threads: int
) -> None:
    """Decode some panels, and read what stands beside them."""
    pool, access = Workers(threads), opened[0](*opened[1])
    try:
        reader = ContainerReader(access, name)
        if reader.digest != digest:
            raise InputError(f"{name}: is not the file that it was; workers must see the same storage")
        matrix = open_matrix(reader, index)
        for number in panels:
            panel = matrix.panels[number]
            assert panel.means is not None
            _ = panel.gains
            matrix.points(panel, pool)
    finally:
        pool.close()
        access.close()
