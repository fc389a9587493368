"""Voronoi code Λ/qΛ with a set of scales against overload (Section 4, "voronoi").

A group is coded by the coset of its lattice point modulo qΛ: one digit to base q for every coordinate. The
decoder takes the member of the coset that lies in the Voronoi cell of qΛ. A point outside the cell would come
back as another (overload), so the encoder tries coarser and coarser scales until it comes back as itself.
"""

from __future__ import annotations

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference import leech
from nqz.reference.dither import levels
from nqz.reference.lattice import UNIT, fixed_point, nearest_point
from nqz.reference.layout import (
    D4,
    FINE,
    LEECH,
    Z,
    check_chunk,
    columns,
    from_groups,
    group_of,
    padded,
    require,
    to_groups,
)

SHRINK_LIMIT = 200

# Parity coordinates of a group and the information coordinates whose sum has the same parity.
PARITY = {
    Z: {},
    D4: {3: (0, 1, 2), 7: (4, 5, 6)},
    2: {3: (0, 1, 2), 5: (0, 1, 4), 6: (0, 2, 4), 7: (1, 2, 4)},
}


def to_digits(lattice: int, point: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the digits [..., group] of the coset of a lattice point [..., group]; `q` broadcasts."""
    if lattice == LEECH:
        return leech.to_digits(point, q)
    value = point.copy()
    for j, information in PARITY[lattice].items():
        value[..., j] = (point[..., j] - point[..., information].sum(axis=-1)) // 2
    return value % q


def from_digits(lattice: int, digits: np.ndarray, level: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the fine coordinates [..., group] of the coset's member in the cell of qΛ around the dither."""
    if lattice == LEECH:
        point = leech.from_digits(digits)
    else:
        point = digits.copy()
        for j, information in PARITY[lattice].items():
            point[..., j] = digits[..., information].sum(axis=-1) + 2 * digits[..., j]
    x = FINE[lattice] * point - level
    return x - FINE[lattice] * q * nearest_point(lattice, x, FINE[lattice] * q)


def check_nested(lattice: int) -> None:
    """Raise ValueError unless the lattice has a Voronoi code."""
    right = lattice == LEECH or lattice in PARITY
    require(right, "the Voronoi code is for lattices 0 (z), 1 (d4), 2 (e8) and 3 (leech)")


def check_tables(q: np.ndarray, multiplier: np.ndarray, choice: np.ndarray, group_rows: int) -> None:
    """Raise ValueError unless base, multipliers and choice are within their ranges."""
    require(q.shape == (2,) and q.dtype == np.int32, "q must be int32 [2]")
    require(bool(((q >= 2) & (q <= 4096)).all()), "q must be 2 to 4096")
    require(multiplier.shape == (2, 4) and multiplier.dtype == np.int32, "multiplier must be int32 [2, 4]")
    require(bool(((multiplier >= 1) & (multiplier <= 32767)).all()), "multiplier must be 1 to 32767")
    require(choice.shape == (group_rows,) and choice.dtype == np.uint8, "choice must be uint8 [group rows]")
    require(bool((choice < 2).all()), "choice must be 0 or 1")


def voronoi_encode(
    lattice: int,
    u: np.ndarray,
    start: int,
    m: int,
    scale: np.ndarray,
    key0: int,
    key1: int,
    counter: int,
    lanes: int,
    q: np.ndarray,
    multiplier: np.ndarray,
    choice: np.ndarray,
    digits: np.ndarray,
    beta: np.ndarray,
    points: np.ndarray,
) -> tuple[int, int]:
    """Code a chunk at a fixed rate.

    Parameters
    ----------
    lattice, u, start, m, scale, key0, key1, counter, lanes
        As in `nearest`.
    q : numpy.ndarray
        int32 [2], the two moduli, 2 to 4096.
    multiplier : numpy.ndarray
        int32 [2, 4], ascending scales of each modulus.
    choice : numpy.ndarray
        uint8 [group rows], which modulus a group row uses.
    digits : numpy.ndarray
        uint16 [P], written: digits below q.
    beta : numpy.ndarray
        uint8 [groups], written: the index of the scale of group row g, lane l at g · L + l.
    points : numpy.ndarray
        int32 [P], written: multiplier times fine coordinate.

    Returns
    -------
    tuple of int
        Sums of fixed-point entry times `points` and of the squares of `points`, over the N entries (int64).
    """
    check_nested(lattice)
    check_chunk(lattice, u.size, lanes)
    require(u.ndim == 1 and u.dtype == np.float32, "u must be float32 [N]")
    require(scale.ndim == 1 and scale.dtype == np.float32, "scale must be float32 [c]")
    count, positions, group = u.size, padded(lattice, u.size, lanes), group_of(lattice)
    check_tables(q, multiplier, choice, positions // (group * lanes))
    require(digits.shape == (positions,) and digits.dtype == np.uint16, "digits must be uint16 [P]")
    require(beta.shape == (positions // group,) and beta.dtype == np.uint8, "beta must be uint8 [groups]")
    require(points.shape == (positions,) and points.dtype == np.int32, "points must be int32 [P]")

    fine = FINE[lattice]
    column = columns(start, count, m, positions, scale.size)
    level = levels(key0, key1, counter, positions).astype(np.int64)
    z = to_groups(lattice, level, lanes)
    base = q.astype(np.int64)[choice][:, None, None]
    steps = multiplier.astype(np.int64)[choice]  # [group rows, 4]

    def attempt(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        point = nearest_point(lattice, t + z * (UNIT // fine), UNIT)
        digit = to_digits(lattice, point, base)
        back = from_digits(lattice, digit, z, base)
        return digit, back, (back == fine * point - z).all(axis=-1)

    open_ = np.ones(z.shape[:2], dtype=bool)
    index = np.zeros(z.shape[:2], dtype=np.int64)
    chosen_digit, chosen = np.zeros_like(z), np.zeros_like(z)
    t = z
    for j in range(4 + SHRINK_LIMIT):
        if j < 4:
            factor = np.float32(1) / steps[:, j].astype(np.float32)
            t = to_groups(lattice, fixed_point(u, column, scale, np.repeat(factor, group * lanes)), lanes)
        else:
            # Overload even at the coarsest scale: shrink the group until it fits; the zero point always does.
            t = (t * 15) >> 4 if j < 3 + SHRINK_LIMIT else np.zeros_like(t)
        digit, back, accepted = attempt(t)
        take = open_ & accepted
        index[take] = min(j, 3)
        chosen_digit[take], chosen[take] = digit[take], back[take]
        open_ &= ~accepted
        if not open_.any():
            break

    scaled = np.take_along_axis(steps, index, axis=1)[..., None] * chosen
    digits[...] = from_groups(chosen_digit)
    beta[...] = index.reshape(-1)
    points[...] = from_groups(scaled)
    y = points[:count].astype(np.int64)
    return int(fixed_point(u, column, scale)[:count] @ y), int(y @ y)


def voronoi_decode(
    lattice: int,
    count: int,
    lanes: int,
    key0: int,
    key1: int,
    counter: int,
    q: np.ndarray,
    multiplier: np.ndarray,
    choice: np.ndarray,
    digits: np.ndarray,
    beta: np.ndarray,
    out: np.ndarray,
) -> None:
    """Decode what `voronoi_encode` coded: writes its `points` to `out`, int32 [P].

    Raises
    ------
    CorruptStream
        If a digit is not below its q, or an index of a scale not below 4.
    """
    check_nested(lattice)
    check_chunk(lattice, count, lanes)
    positions, group = padded(lattice, count, lanes), group_of(lattice)
    check_tables(q, multiplier, choice, positions // (group * lanes))
    require(digits.shape == (positions,) and digits.dtype == np.uint16, "digits must be uint16 [P]")
    require(beta.shape == (positions // group,) and beta.dtype == np.uint8, "beta must be uint8 [groups]")
    require(out.shape == (positions,) and out.dtype == np.int32, "out must be int32 [P]")
    base = q.astype(np.int64)[choice][:, None, None]
    digit = to_groups(lattice, digits.astype(np.int64), lanes)
    if (digit >= base).any():
        raise CorruptStream("a digit is out of range")
    if (beta >= 4).any():
        raise CorruptStream("the index of a scale is out of range")
    level = to_groups(lattice, levels(key0, key1, counter, positions).astype(np.int64), lanes)
    index = beta.reshape(-1, lanes).astype(np.int64)
    steps = np.take_along_axis(multiplier.astype(np.int64)[choice], index, axis=1)
    out[...] = from_groups(steps[..., None] * from_digits(lattice, digit, level, base))
