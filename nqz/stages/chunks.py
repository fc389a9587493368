"""Chunks: the pieces of a panel's stream that are coded by themselves, one record of the file each, and their lanes."""

from __future__ import annotations

from dataclasses import dataclass

from nqz.ground.layout import CHUNK_ENTRIES, lanes_of


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


def cut(entries: int) -> list[int]:
    """Sizes of the chunks of a stream, as lattice codings cut it."""
    full, rest = divmod(entries, CHUNK_ENTRIES)
    return [CHUNK_ENTRIES] * full + [rest] * (rest > 0)
