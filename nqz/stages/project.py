"""The box "P": keep κn coordinates of a seeded permutation (time sharing at low rate).

The first coordinates of a Hadamard transform are not a random subset, hence the permutation. It depends on the
rotation seed and the length alone and the kept sets are nested, so that two files with different κ meet on the
smaller one. Kept coordinates are stored in increasing order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nqz import kernels
from nqz.ground.keys import permutation_key


@lru_cache(maxsize=2)
def _permutation(seed: int, n: int) -> np.ndarray:
    order = np.argsort(kernels.words(kernels.Key(*permutation_key(seed, n)), 0, n), kind="stable")
    order.setflags(write=False)
    return order


def kept(seed: int, n: int, m: int) -> np.ndarray | None:
    """Sorted indices of the m kept coordinates, None where all n are kept."""
    if m == n:
        return None
    return np.sort(_permutation(seed, n)[:m])


def meet(seed: int, n: int, m: int, smaller: int) -> np.ndarray | None:
    """Positions, among the m kept coordinates, of those that a file keeping only `smaller` has; None for all."""
    if m == smaller:
        return None
    return np.searchsorted(_sorted(seed, n, m), _sorted(seed, n, smaller))


def _sorted(seed: int, n: int, m: int) -> np.ndarray:
    chosen = kept(seed, n, m)
    return np.arange(n) if chosen is None else chosen


def project(u: np.ndarray, seed: int, m: int) -> np.ndarray:
    """The kept coordinates of rows of u (shape (w, n)): contiguous, shape (w, m)."""
    chosen = kept(seed, u.shape[1], m)
    return u if chosen is None else np.ascontiguousarray(u[:, chosen])


def embed(u: np.ndarray, seed: int, n: int) -> np.ndarray:
    """Transpose of `project`: dropped coordinates are zero; shape (w, n)."""
    chosen = kept(seed, n, u.shape[1])
    if chosen is None:
        return u
    out = np.zeros((u.shape[0], n), u.dtype)
    out[:, chosen] = u
    return out
