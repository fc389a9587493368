"""Chunks: the pieces of a panel's stream that are coded by themselves, one record of the file each, and their lanes."""

from __future__ import annotations

from dataclasses import dataclass

from nqz.stages.lattices import Lattice

CHUNK_ENTRIES = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """A piece of a panel's stream: entries start … start + count - 1; `number` counts through the tensor."""

    number: int
    start: int
    count: int

    @property
    def lanes(self) -> int:
        """Lanes that its entries are dealt out to: 32, fewer for small chunks."""
        return lanes_of(self.count)


def lanes_of(count: int) -> int:
    """Lanes of a chunk of `count` entries."""
    lanes = 1
    while lanes < 32 and count >= 4096 * lanes:
        lanes *= 2
    return lanes


def padded(lattice: Lattice, count: int, lanes: int) -> int:
    """Entries of a chunk rounded up to whole groups on all lanes."""
    unit = lattice.group * lanes
    return (count + unit - 1) // unit * unit


def cut(entries: int) -> list[int]:
    """Sizes of the chunks of a stream, as lattice codings cut it."""
    full, rest = divmod(entries, CHUNK_ENTRIES)
    return [CHUNK_ENTRIES] * full + [rest] * (rest > 0)
