"""Types of arrays, and the checks of arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bits = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def require(condition: bool | np.bool_, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def check(array: Array, message: str, dtype: npt.DTypeLike, *shape: int) -> None:
    """Raise ValueError with `message` unless `array` has this type and shape; -1 stands for any length."""
    fits = array.ndim == len(shape) and all(
        n in (-1, size) for n, size in zip(shape, array.shape, strict=False)
    )
    require(fits and array.dtype == dtype, message)


def within(values: Array, least: float, most: float) -> bool:
    """Tell whether all values, none of them not-a-number, are at least `least` and at most `most`."""
    return bool(((values >= least) & (values <= most)).all())


def widen(block: Array, bfloat16: bool) -> Floats:
    """Return a float16, float32, float64 or bfloat16 (as uint16) matrix as float64."""
    require(block.ndim == 2, "block must be a matrix")
    if bfloat16:
        require(block.dtype == np.uint16, "bfloat16 entries are given as uint16")
        return (block.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    require(block.dtype in (np.float16, np.float32, np.float64), "block must be float16, float32 or float64")
    return block.astype(np.float64)
