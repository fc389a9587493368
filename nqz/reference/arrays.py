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


def check(arguments: dict[str, Array], **sizes: int) -> None:
    """Raise ValueError unless arrays are what is said of them: "mean float64 [w]" names, type and shape of one.

    A size is a number, or one of `sizes`, or any; one that is named several times must be the same everywhere.
    """
    for said, array in arguments.items():
        name, dtype, shape = said.split(" ", 2)
        expected = shape[1:-1].split(", ")
        right = array.dtype == dtype and array.ndim == len(expected)
        for text, size in zip(expected, array.shape, strict=False):
            right = right and size == (int(text) if text.isdigit() else sizes.setdefault(text, size))
        require(right, f"{name} must be {dtype} {shape}")


def within(values: Array, least: float, most: float) -> bool:
    """Tell whether all values, none of them not-a-number, are at least `least` and at most `most`."""
    return bool(((values >= least) & (values <= most)).all())


def widen(block: Array, bfloat16: bool) -> Floats:
    """Return a float16, float32, float64 or bfloat16 (as uint16) matrix as float64."""
    require(block.ndim == 2, "block must be a matrix")
    if bfloat16:
        require(block.dtype == np.uint16, "bfloat16 entries are given as uint16")
        wide: Array = block.astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32).astype(np.float64)
    require(block.dtype in (np.float16, np.float32, np.float64), "block must be float16, float32 or float64")
    return block.astype(np.float64)
