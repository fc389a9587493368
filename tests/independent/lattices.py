"""Lattices: codes, constants and nearest points (section 14)."""

from __future__ import annotations

import numpy as np

from .arithmetic import I64

CONV = {f"conv{4 << i}": 2 + i for i in range(11)}  # name: nu
LATTICES = ("z", "d4", "e8", "leech", *CONV)
_GENERATORS = [
    (0o5, 0o7), (0o15, 0o17), (0o23, 0o35), (0o57, 0o75), (0o127, 0o165), (0o225, 0o367), (0o561, 0o753),
    (0o1131, 0o1537), (0o2117, 0o3315), (0o4335, 0o5723), (0o10243, 0o15035),
]  # fmt: skip
_CONV_MOMENTS = [
    0.133214, 0.130512, 0.128745, 0.126984, 0.125715, 0.124786,
    0.124165, 0.123648, 0.123181, 0.122947, 0.122543,
]  # fmt: skip
_GOLAY = [0x25F, 0x727, 0xB8B, 0x1F3, 0x5CD, 0xC75, 0x6B9, 0x96E, 0xAB6, 0xCDA, 0xF1C, 0xFE0]


def levels(lattice: str) -> int:
    """F, the dither levels a unit."""
    return {"z": 16, "leech": 4}.get(lattice, 8)


def second_moment(lattice: str) -> float:
    """D."""
    if lattice in CONV:
        return _CONV_MOMENTS[CONV[lattice] - 2]
    return {"z": 1 / 12, "d4": 13 / 120, "e8": 929 / 6480, "leech": 0.526024}[lattice]


def block_length(lattice: str) -> int:
    """Coordinates of a block; 1 where there are no blocks."""
    return {"d4": 4, "e8": 8, "leech": 24}.get(lattice, 1)


def group_length(lattice: str) -> int:
    """Steps of a group (section 13)."""
    return 24 if lattice == "leech" else 8


def _span(rows: I64) -> I64:
    """All codewords of a generator matrix, by index."""
    bits = np.arange(1 << len(rows))[:, None] >> np.arange(len(rows)) & 1
    return bits @ rows % 2


def _bits(values: list[int], width: int) -> I64:
    return np.array(values)[:, None] >> np.arange(width) & 1


D4_CODE = _span(_bits([0b1001, 0b1010, 0b1100], 4))
E8_CODE = _span(_bits([0xFF, 0xAA, 0xCC, 0xF0], 8))
GOLAY_ROWS = np.concatenate([np.eye(12, dtype=np.int64), _bits(_GOLAY, 12)], axis=1)
GOLAY_CODE = _span(GOLAY_ROWS)


def trellis(lattice: str) -> tuple[I64, I64]:
    """Of a convolutional code, by register 2 state + u: the next state, and two code bits."""
    nu = CONV[lattice]
    register = np.arange(2 << nu)
    outputs = [np.array([(int(r) & g).bit_count() & 1 for r in register]) for g in _GENERATORS[nu - 2]]
    return register % (1 << nu), np.stack(outputs, axis=1)
