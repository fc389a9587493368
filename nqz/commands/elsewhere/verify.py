"""A matrix verified by workers elsewhere: some panels each, decoded and nothing made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nqz.commands.elsewhere.address import Address
from nqz.files.contract import SourceTensor
from nqz.ground.fleet import Fleet
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix
from nqz.stages import digest

_PANELS = 4
_HASHED = 256 * digest.PIECE
"""Bytes that a job hashes."""


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


def hashed_elsewhere(tensor: SourceTensor, fleet: Fleet) -> Iterator[tuple[bytes, int]]:
    """Digests of the pieces of the data of an original, in order, and how many bytes they are of."""
    starts = range(0, tensor.nbytes, _HASHED)
    jobs = ((tensor, start, min(_HASHED, tensor.nbytes - start)) for start in starts)
    for start, digests in zip(starts, fleet.map(hash_pieces, jobs), strict=True):
        yield digests, min(_HASHED, tensor.nbytes - start)


def hash_pieces(tensor: SourceTensor, start: int, size: int) -> bytes:
    """Digests of pieces of some bytes of an original."""
    step = 16 * digest.PIECE
    parts = (tensor.read(at, min(step, start + size - at)) for at in range(start, start + size, step))
    return b"".join(map(digest.of_pieces, parts))


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
