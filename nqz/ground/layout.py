"""How chunks are cut and dealt out to lanes: numbers of the format, for the specification and the stages alike."""

from __future__ import annotations

CHUNK_ENTRIES = 1 << 20
"""The most entries of a chunk."""

MAX_LANES = 32

_LEAST_LANE = 4096  # entries of a lane below which there are fewer of them


def lanes_of(count: int) -> int:
    """Return the lanes of a chunk of `count` entries in a file: 32, fewer for small chunks."""
    lanes = 1
    while lanes < MAX_LANES and count >= _LEAST_LANE * lanes:
        lanes *= 2
    return lanes


def padded(count: int, group: int, lanes: int) -> int:
    """Return the entries of a chunk rounded up to whole groups of so many on all lanes."""
    row = group * lanes
    return -(-count // row) * row
