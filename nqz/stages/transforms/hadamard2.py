"""hadamard-2: two rounds of random signs and a fast Walsh-Hadamard transform.

Two rounds: one turns a one-hot column into plus or minus a constant, and then errors of different columns coincide. The
signs depend on the rotation seed and the length alone, so that any two files of one seed can be multiplied.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.ground.keys import signs_key
from nqz.stages.transforms.transform import Transform


@lru_cache(maxsize=4)
def signs(seed: int, n: int) -> npt.NDArray[np.uint64]:
    """Sign bits of both rounds, shape (2, ⌈n/64⌉): bit i of a row negates coordinate i."""
    words = (n + 63) // 64
    out = np.stack([kernels.words(kernels.Key(*signs_key(seed, n, r)), 0, words) for r in range(2)])
    out.setflags(write=False)
    return out


class _Hadamard2(Transform):
    name = "hadamard-2"
    max_length = 1 << 26

    def center_rotate(
        self,
        block: npt.NDArray[Any],
        bfloat16: bool,
        mean: npt.NDArray[np.float64],
        exponent: npt.NDArray[np.int32],
        seed: int,
        out: npt.NDArray[np.float32],
        place: npt.NDArray[np.int64] | None = None,
    ) -> None:
        kernels.center_rotate(block, bfloat16, mean, exponent, out, place, signs(seed, len(block)))

    def rotate(self, u: npt.NDArray[np.float32], seed: int) -> None:
        kernels.rotate(u, signs(seed, u.shape[1]), False)

    def rotate_wide(self, u: npt.NDArray[np.float64], seed: int, *, inverse: bool) -> None:
        kernels.rotate_wide(u, signs(seed, u.shape[1]), inverse)

    def restore(
        self,
        points: npt.NDArray[np.int32],
        seed: int,
        scale: npt.NDArray[np.float64],
        mean: npt.NDArray[np.float64],
        out: npt.NDArray[Any],
        place: npt.NDArray[np.int64] | None = None,
    ) -> None:
        kernels.restore(points, signs(seed, len(out)), scale, mean, out, place)


HADAMARD2 = _Hadamard2()
