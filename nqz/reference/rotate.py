"""Rotate: two rounds of random signs and fast Walsh-Hadamard transforms, for any length.

A length n = m·2^k with m in {1, 3, 5, 7} uses m transforms of length 2^k and a Householder reflection across
them; any other length overlaps a transform of the first and one of the last 2^⌊log₂ n⌋ coordinates, with the
other round's signs between them, and permutes the coordinates between the rounds.
"""

from __future__ import annotations

import math

import numpy as np

from nqz.reference.arrays import Array, Bits, check


def rotate(u: Array, signs: Array, inverse: bool) -> None:
    """Rotate every row of `u` in place, or rotate it back.

    Parameters
    ----------
    u : numpy.ndarray
        float32 [w, n], overwritten.
    signs : numpy.ndarray
        uint64 [2, ceil(n / 64)]: bit i % 64 of word i // 64 of row r negates coordinate i in round r.
    inverse : bool
        Whether to apply the inverse, which is the transpose.
    """
    check({"u float32 [w, n]": u})
    _rotate(u, signs, inverse)


def rotate_wide(u: Array, signs: Array, inverse: bool) -> None:
    """The same map in float64: its constants are those of float32.

    Parameters
    ----------
    u : numpy.ndarray
        float64 [w, n], overwritten.
    signs : numpy.ndarray
    inverse : bool
    """
    check({"u float64 [w, n]": u})
    _rotate(u, signs, inverse)


def _rotate(u: Array, signs: Array, inverse: bool) -> None:
    n = u.shape[1]
    check({"signs uint64 [2, ceil(n / 64)]": signs}, **{"ceil(n / 64)": -(-n // 64)})
    if u.size == 0:
        return
    bits = (signs[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    negate = bits.reshape(2, -1)[:, :n].astype(bool)
    odd = n // (n & -n)
    with np.errstate(all="ignore"):
        if odd in (1, 3, 5, 7):
            rotate_segments(u, negate, odd, inverse)
        else:
            rotate_overlap(u, negate, inverse)


def rotate_segments(u: Array, negate: Bits, odd: int, inverse: bool) -> None:
    """Rotate rows of length odd·2^k."""
    size = u.shape[1] // odd
    segments = u.reshape(u.shape[0], odd, size)
    for r in (1, 0) if inverse else (0, 1):
        if inverse:
            reflect(segments)
            hadamard(segments)
            flip(u, negate[r])
        else:
            flip(u, negate[r])
            hadamard(segments)
            reflect(segments)
    u *= np.float32(1.0 / size)


def rotate_overlap(u: Array, negate: Bits, inverse: bool) -> None:
    """Rotate rows of any length with two overlapping transforms a round."""
    n = u.shape[1]
    log2 = n.bit_length() - 1
    size = 1 << log2
    # Each transform is made orthonormal at once: the coordinates outside it must keep their scale.
    norm = np.float32(math.sqrt(1.0 / size))
    order = (np.arange(n, dtype=np.int64) * permutation_step(n)) % n
    first, last = u[:, :size], u[:, n - size :]
    for r in (1, 0) if inverse else (0, 1):
        if inverse:
            normalized_hadamard(last, norm)
            flip(u, negate[1 - r])
            normalized_hadamard(first, norm)
            flip(u, negate[r])
            if r == 1:
                moved = np.empty_like(u)
                moved[:, order] = u
                u[...] = moved
        else:
            flip(u, negate[r])
            normalized_hadamard(first, norm)
            # Signs between the two as well: where they overlap almost entirely, they would undo each other.
            flip(u, negate[1 - r])
            normalized_hadamard(last, norm)
            if r == 0:
                u[...] = u[:, order]


def permutation_step(n: int) -> int:
    """Return the smallest step from about 0.618 n on that has no factor in common with n."""
    step = max(1, (n * 40503) >> 16)
    while math.gcd(step, n) != 1:
        step += 1
    return step


def flip(u: Array, negate: Bits) -> None:
    """Negate the marked coordinates."""
    u[:, negate] = -u[:, negate]


def normalized_hadamard(u: Array, norm: np.float32) -> None:
    """Transform the last axis in place and multiply it by `norm`."""
    hadamard(u)
    u *= norm


def hadamard(u: Array) -> None:
    """Transform the last axis (a power of two long) in place, in natural order, unnormalized."""
    size = u.shape[-1]
    h = 1
    while h < size:
        for i in range(0, size, 2 * h) if 2 * h * h > size else ():
            x = u[..., i : i + h].copy()
            y = u[..., i + h : i + 2 * h].copy()
            u[..., i : i + h] = x + y
            u[..., i + h : i + 2 * h] = x - y
        for i in range(h) if 2 * h * h <= size else ():
            x = u[..., i :: 2 * h].copy()
            y = u[..., i + h :: 2 * h].copy()
            u[..., i :: 2 * h] = x + y
            u[..., i + h :: 2 * h] = x - y
        h *= 2


def reflect(segments: Array) -> None:
    """Apply the Householder reflection I - (2/m) 11ᵀ across the m segments [w, m, size]."""
    m = segments.shape[1]
    if m == 1:
        return
    total = segments[:, 0] + segments[:, 1]
    for t in range(2, m):
        total = total + segments[:, t]
    segments -= (total * np.float32(2.0 / m))[:, None]
