"""The box "S": the shared rotation, two rounds of random signs and a fast Walsh–Hadamard transform.

Two rounds: one turns a one-hot column into plus or minus a constant, and then errors of different columns coincide. The
signs depend on the rotation seed and the length alone, so that any two files of one seed can be multiplied.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nqz import kernels

_SIGNS = 0x5349474E53  # domain of the generator's key: "SIGNS"


@lru_cache(maxsize=4)
def signs(seed: int, n: int) -> np.ndarray:
    """Sign bits of both rounds, uint64 of shape (2, ⌈n/64⌉): bit i of a row negates coordinate i."""
    words = (n + 63) // 64
    out = np.stack([kernels.words(seed, (_SIGNS << 20) ^ (n << 1) ^ r, 0, words) for r in range(2)])
    out.setflags(write=False)
    return out


def rotate(u: np.ndarray, seed: int) -> None:
    """Rotate every row of u (float32, shape (w, n)) in place."""
    kernels.rotate(u, signs(seed, u.shape[1]), False)
