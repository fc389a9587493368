"""A matrix verified by workers elsewhere: some panels each, decoded and nothing made of them."""

from __future__ import annotations

from collections.abc import Callable

from nqz.commands.address import Address
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
    count = len(matrix.panels)
    ranges = [range(first, min(first + _PANELS, count)) for first in range(0, count, _PANELS)]
    address = Address.of(matrix.reader)
    jobs = ((address, matrix.index, panels, fleet.threads) for panels in ranges)
    for panels, _ in zip(ranges, fleet.map(decode_panels, jobs), strict=True):
        done(matrix.info.nbytes * len(panels) / count)


def decode_panels(address: Address, index: int, panels: range, threads: int) -> None:
    """Decode some panels, and read what stands beside them."""
    (reader, access), pool = address.open(), Workers(threads)
    try:
        matrix = open_matrix(reader, index)
        for number in panels:
            panel = matrix.panels[number]
            assert panel.means is not None
            _ = panel.gains
            matrix.points(panel, pool)
    finally:
        pool.close()
        access.close()
