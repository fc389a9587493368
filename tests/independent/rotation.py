"""Rotation and projection, backward (sections 12 and 17)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .arithmetic import I64, words

F32 = NDArray[np.float32]


def _signs(seed: int, n: int, r: int) -> F32:
    """Factors 1 and -1 of round r."""
    w = words(seed, (0x5349474E53 << 20) ^ (n << 1) ^ r, 0, -(-n // 64))
    bits = w[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    return (1 - 2 * bits.reshape(-1)[:n].astype(np.int64)).astype(np.float32)


def kept_coordinates(seed: int, n: int, m: int) -> I64:
    """The m coordinates that the projection keeps, in increasing order."""
    order = np.argsort(words(seed, (0x5045524D << 28) ^ n, 0, n), kind="stable")
    return np.sort(order[:m])


def _butterflies(x: F32) -> None:
    """Walsh-Hadamard butterflies along the last axis, in place, h = 1, 2, 4, ..."""
    size, h = x.shape[-1], 1
    while h < size:
        pairs = x.reshape(*x.shape[:-1], size // (2 * h), 2, h)
        first = pairs[..., 0, :] + pairs[..., 1, :]
        pairs[..., 1, :] = pairs[..., 0, :] - pairs[..., 1, :]
        pairs[..., 0, :] = first
        h *= 2


def rotate_back(u: F32, seed: int) -> F32:
    """The transpose of the rotation, of every row of u."""
    n = u.shape[1]
    k = (n & -n).bit_length() - 1
    odd = n >> k
    signs = [_signs(seed, n, r) for r in (0, 1)]
    if odd in (1, 3, 5, 7):
        x = u.reshape(len(u), odd, n // odd)
        for r in (1, 0):
            if odd > 1:
                total = x[:, 0].copy()
                for t in range(1, odd):
                    total += x[:, t]
                x -= (total * np.float32(2 / odd))[:, None]
            _butterflies(x)
            x *= signs[r].reshape(odd, -1)
        return (x * np.float32(2.0**-k)).reshape(u.shape)
    p = 1 << n.bit_length() - 1
    factor = np.float32(math.sqrt(1 / p))
    g = max(1, 40503 * n // 65536)
    while math.gcd(g, n) != 1:
        g += 1
    moved = np.arange(n) * g % n
    for r in (1, 0):
        for part, sign in ((slice(n - p, n), signs[1 - r]), (slice(0, p), signs[r])):
            block = np.ascontiguousarray(u[:, part])
            _butterflies(block)
            u[:, part] = block * factor
            u *= sign
        if r:
            back = np.empty_like(u)
            back[:, moved] = u
            u = back
    return u
