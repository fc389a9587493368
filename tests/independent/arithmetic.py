"""Arithmetic that both sides must agree on (beginning of Part II), and the generator (section 12)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]

ROOTS = [math.sqrt(2.0)]  # r_11, r_10, ..., r_0: the square-root chain of 2
while len(ROOTS) < 12:
    ROOTS.append(math.sqrt(ROOTS[-1]))


def exp2(c: Any) -> F64:
    """2^(c/4096) for integers c."""
    c = np.asarray(c, dtype=np.int64)
    product = np.ones(c.shape)
    for i, root in enumerate(ROOTS):
        product = np.where(c >> (11 - i) & 1, product * root, product)
    return np.asarray(np.ldexp(product, np.clip(c >> 12, -4000, 4000)))


def exp(x: F64) -> F64:
    """e^x for x <= 0, by a reduction to |r| <= ln(2)/2 and a polynomial of degree 14."""
    kept = np.maximum(x, -700.0)
    k = np.rint(kept * 1.4426950408889634)
    r = (kept - k * 0.693145751953125) - k * 1.4286068203094172e-06
    value = np.full(x.shape, 1.0 / math.factorial(14))
    for i in range(13, -1, -1):
        value = value * r + 1.0 / math.factorial(i)
    return np.where(x < -700.0, 0.0, np.ldexp(value, k.astype(np.int64)))


def nearest_log2(x: F64, s: int) -> I64:
    """The integer nearest to s log2(x)."""
    f, g = np.frexp(x)
    borders = exp2((4096 * np.arange(s) + 2048) // s)
    return np.asarray(s * (g.astype(np.int64) - 1) + np.searchsorted(borders, 2.0 * f, side="right"))


def _mix(x: U64) -> U64:
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def words(k0: int, k1: int, first: int, count: int) -> U64:
    """Words first, first + 1, ... of the generator with keys k0 and k1 (section 12)."""
    i = np.arange(first + 1, first + 1 + count, dtype=np.uint64)
    return _mix(np.uint64(k1) ^ _mix(np.uint64(k0) + i * np.uint64(0x9E3779B97F4A7C15)))


def dither_levels(key: bytes, chunk: int, count: int) -> I64:
    """Dither levels of positions 0 ... count - 1 of a chunk (section 13)."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    w = words(k0, k1, 65536 * chunk, -(-count // 16))
    levels = w[:, None] >> np.arange(0, 64, 4, dtype=np.uint64) & np.uint64(15)
    return levels.reshape(-1)[:count].astype(np.int64)
