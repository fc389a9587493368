"""Lattice: the nearest point in integer arithmetic; here by Construction A of z, d4 and e8."""

from __future__ import annotations

import numpy as np

from nqz.reference import convolutional, leech
from nqz.reference.dither import levels
from nqz.reference.layout import (
    CONVOLUTIONAL,
    D4,
    FINE,
    LEECH,
    Z,
    check_chunk,
    columns,
    from_groups,
    padded,
    require,
    to_groups,
)

UNIT = 256  # fixed-point steps in one lattice unit
LIMIT = np.float32(2**29)

# Bits of the codewords by codeword index: even parity for d4, RM(1,3) for e8.
D4_CODE = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1, (c ^ c >> 1 ^ c >> 2) & 1] for c in range(8)])
E8_CODE = np.array(
    [[(c ^ (c >> 1 & i) ^ (c >> 2 & i >> 1) ^ (c >> 3 & i >> 2)) & 1 for i in range(8)] for c in range(16)]
)
# The Walsh matrix [a, i], (-1)^popcount(a & i).
WALSH = 1 - 2 * E8_CODE[0::2]


def clamp(v: np.ndarray, limit: np.float32) -> np.ndarray:
    """Return float32 values limited to [-limit, limit]; not-a-number becomes -limit."""
    return np.minimum(np.where(v > -limit, v, -limit), limit)


def fixed_point(
    u: np.ndarray, column: np.ndarray, scale: np.ndarray, factor: np.ndarray | None = None
) -> np.ndarray:
    """Return round(u · scale · factor) as int64, one value for every position; padding is 0."""
    t = np.zeros(len(column), dtype=np.int64)
    with np.errstate(all="ignore"):
        v = u * scale[column[: len(u)]]
        if factor is not None:
            v = v * factor[: len(u)]
    t[: len(u)] = np.rint(clamp(v, LIMIT)).astype(np.int64)
    return t


def nearest_point(lattice: int, x: np.ndarray, unit: np.ndarray | int) -> np.ndarray:
    """Return the lattice point nearest to each group.

    Parameters
    ----------
    lattice : int
        0 (z, eight points of one coordinate), 1 (d4, two points of four), 2 (e8, one point of eight) or
        3 (leech, one point of twenty-four).
    x : numpy.ndarray
        int64 [..., group], fixed point.
    unit : int or numpy.ndarray
        Fixed-point steps in one lattice unit; broadcasts with `x`.

    Returns
    -------
    numpy.ndarray
        int64 [..., group], lattice units.
    """
    if lattice == Z:
        return (x + unit // 2) // unit
    if lattice == LEECH:
        return leech.nearest_point(x, unit)
    r = (x + unit) % (2 * unit) - unit
    even = (x - r) // unit
    cost = unit - 2 * np.abs(r)
    toward = np.where(r >= 0, 1, -1)
    if lattice == D4:
        shape = x.shape
        cost = cost.reshape(*shape[:-1], 2, 4)
        odd = cost < 0
        wrong = odd.sum(axis=-1, keepdims=True) % 2 == 1
        cheapest = np.argmin(np.abs(cost), axis=-1)[..., None] == np.arange(4)
        odd = (odd ^ (wrong & cheapest)).reshape(shape)
    else:
        w = cost @ WALSH.T
        a = np.argmax(np.abs(w), axis=-1)
        negative = np.take_along_axis(w, a[..., None], axis=-1)[..., 0] < 0
        odd = E8_CODE[2 * a + negative] == 1
    return even + np.where(odd, toward, 0)


def nearest(
    lattice: int,
    u: np.ndarray,
    start: int,
    m: int,
    scale: np.ndarray,
    key0: int,
    key1: int,
    counter: int,
    lanes: int,
    out: np.ndarray,
) -> None:
    """Quantize a chunk with subtractive dither: the point nearest to u · scale + dither, less the dither.

    Parameters
    ----------
    lattice : int
        0 (z), 1 (d4), 2 (e8), 3 (leech) or 34 to 44 (convolutional, 32 + memory).
    u : numpy.ndarray
        float32 [N], the chunk's entries.
    start : int
        Position of the chunk in its panel.
    m : int
        Entries of a column of the panel.
    scale : numpy.ndarray
        float32 [c], 256 / (lattice step) for every column of the panel.
    key0, key1, counter : int
        Dither key and the chunk's first counter.
    lanes : int
        1, 2, 4, 8, 16 or 32.
    out : numpy.ndarray
        int32 [P], written: fine coordinates, FINE · λ - level.
    """
    check_chunk(lattice, u.size, lanes)
    require(u.ndim == 1 and u.dtype == np.float32, "u must be float32 [N]")
    require(scale.ndim == 1 and scale.dtype == np.float32, "scale must be float32 [c]")
    positions = padded(lattice, u.size, lanes)
    require(out.shape == (positions,) and out.dtype == np.int32, "out must be int32 [P]")
    fine = FINE[lattice]
    z = levels(key0, key1, counter, positions).astype(np.int64)
    t = fixed_point(u, columns(start, u.size, m, positions, scale.size), scale)
    x = t + z * (UNIT // fine)
    if lattice in CONVOLUTIONAL:
        point = convolutional.nearest_point(lattice, x.reshape(-1, lanes), UNIT).reshape(-1)
    else:
        point = from_groups(nearest_point(lattice, to_groups(lattice, x, lanes), UNIT))
    out[...] = fine * point - z


def quantize_exact(u: np.ndarray, scale: np.ndarray, out: np.ndarray) -> None:
    """Write out[j, i] = round(u[j, i] · scale[j]), limited to ±2^30.

    Parameters
    ----------
    u : numpy.ndarray
        float32 [w, n].
    scale : numpy.ndarray
        float32 [w].
    out : numpy.ndarray
        int32 [w, n], written.
    """
    require(u.ndim == 2 and u.dtype == np.float32, "u must be float32 [w, n]")
    require(scale.shape == u.shape[:1] and scale.dtype == np.float32, "scale must be float32 [w]")
    require(out.shape == u.shape and out.dtype == np.int32, "out must be int32 [w, n]")
    with np.errstate(all="ignore"):
        v = u * scale[:, None]
    out[...] = np.rint(clamp(v, np.float32(2**30))).astype(np.int32)
