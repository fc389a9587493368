"""Arrays of other packages, by what they offer for it: nothing of these packages is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.ground.errors import UnsupportedError


@dataclass(frozen=True)
class Plain:
    """An array in memory.

    Attributes
    ----------
    array : ndarray
    dtype : str, optional
        Canonical name of its type where NumPy has none: then `array` is of integers of its size.
    """

    array: npt.NDArray[Any]
    dtype: str | None = None


def as_plain(value: Any, name: str = "<array>") -> Plain:
    """An object as an array in memory, copied only where it must be.

    Raises
    ------
    UnsupportedError
        It is none.
    """
    try:
        return Plain(np.asanyarray(value))
    except (TypeError, ValueError, OverflowError) as error:  # rows of different lengths, say
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UnsupportedError(f"{name}: is no array: {text}") from error
