"""How a chunk lies in memory, and the checks that every stage shares.

A chunk of N entries is padded to P, a multiple of G·L for L lanes. Position p is step p // L of lane p % L;
G consecutive steps of one lane are a *group*, G being 24 for leech and 8 otherwise, and the L groups that
begin at the same step are a *group row*.
"""

from __future__ import annotations

import numpy as np

Z, D4, E8, LEECH = 0, 1, 2, 3
CONVOLUTIONAL = range(34, 45)  # 32 + memory of the code
# Dither levels in one unit of the integer grid, by lattice.
FINE = {Z: 16, D4: 8, E8: 8, LEECH: 4, **dict.fromkeys(CONVOLUTIONAL, 8)}
MAX_COUNT = 1 << 20


def group_of(lattice: int) -> int:
    """Return the steps of a group."""
    return 24 if lattice == LEECH else 8


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def check_chunk(lattice: int, count: int, lanes: int) -> None:
    """Raise ValueError unless the lattice is known and the chunk's size and lanes are allowed."""
    require(lattice in FINE, "lattice must be 0 (z), 1 (d4), 2 (e8), 3 (leech) or 34 to 44 (convolutional)")
    require(1 <= count <= MAX_COUNT, "a chunk has 1 to 2^20 entries")
    require(lanes in (1, 2, 4, 8, 16, 32), "lanes must be 1, 2, 4, 8, 16 or 32")


def padded(lattice: int, count: int, lanes: int) -> int:
    """Return P, the number of positions of a chunk of `count` entries."""
    row = group_of(lattice) * lanes
    return -(-count // row) * row


def columns(start: int, count: int, m: int, positions: int, available: int) -> np.ndarray:
    """Return the panel column of every position (padding belongs to the column of the last entry)."""
    require(start >= 0 and m >= 1, "start must be at least 0 and m at least 1")
    require((start + count - 1) // m < available, "the chunk reaches past the last column of the panel")
    p = np.minimum(np.arange(positions, dtype=np.int64), count - 1)
    return (start + p) // m


def to_groups(lattice: int, values: np.ndarray, lanes: int) -> np.ndarray:
    """View [P] values as [group rows, lanes, group]: the last axis is one group."""
    return values.reshape(-1, group_of(lattice), lanes).transpose(0, 2, 1)


def from_groups(groups: np.ndarray) -> np.ndarray:
    """Undo `to_groups`: [group rows, lanes, group] to [P]."""
    return np.ascontiguousarray(groups.transpose(0, 2, 1)).reshape(-1)


def widen(block: np.ndarray, bfloat16: bool) -> np.ndarray:
    """Return a float16, float32, float64 or bfloat16 (as uint16) matrix as float64."""
    require(block.ndim == 2, "block must be a matrix")
    if bfloat16:
        require(block.dtype == np.uint16, "bfloat16 entries are given as uint16")
        return (block.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    require(block.dtype in (np.float16, np.float32, np.float64), "block must be float16, float32 or float64")
    return block.astype(np.float64)
