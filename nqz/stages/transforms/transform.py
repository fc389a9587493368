"""The contract of a transform: the box "S", a rotation of columns that all files of one seed share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class Transform(ABC):
    """A rotation of columns of n entries, determined by its name, a seed and n.

    Attributes
    ----------
    name : str
        In files.
    max_length : int
        The longest column.

    Notes
    -----
    It keeps inner products to the precision of float32, so that ⟨Sa, Sb⟩ = ⟨a, b⟩ for columns of two files of one
    seed, and spreads every column's energy over all coordinates as far as it can: what follows takes them for
    Gaussian. The bits of what it computes are part of the format.
    """

    name: str
    max_length: int

    @abstractmethod
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
        """Center columns as they are stored in the source, divide them by a power of two, and rotate them.

        Parameters
        ----------
        block : ndarray, shape (n, w)
            Any strides; bfloat16 as uint16.
        mean : ndarray, shape (w,)
        exponent : ndarray, shape (w,)
            A column is divided by 2 ** exponent.
        seed : int
        out : ndarray, shape (rows, n)
            Written.
        place : ndarray, shape (w,), optional
            Row of each column in `out`; those with a negative one are passed over. By default their own number.
        """

    @abstractmethod
    def rotate(self, u: npt.NDArray[np.float32], seed: int) -> None:
        """Rotate every row of u, shape (w, n), in place."""

    @abstractmethod
    def rotate_wide(self, u: npt.NDArray[np.float64], seed: int, *, inverse: bool) -> None:
        """The same in float64, or back: the transpose."""

    @abstractmethod
    def restore(
        self,
        points: npt.NDArray[np.int32],
        seed: int,
        scale: npt.NDArray[np.float64],
        mean: npt.NDArray[np.float64],
        out: npt.NDArray[Any],
        place: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Rotate points back, multiply them by the scale of their column and add its mean.

        Parameters
        ----------
        points : ndarray, shape (rows, n)
            Those of the columns are used up.
        seed : int
        scale, mean : ndarray, shape (w,)
        out : ndarray of float32 or float64, shape (n, w)
            Written; any strides.
        place : ndarray, shape (w,), optional
            Row of each column in `points`; a column with a negative one is its mean.
        """

    def __reduce__(self) -> tuple[Callable[[str], Transform], tuple[Any, ...]]:
        return _by_name, (self.name,)


TRANSFORMS: dict[str, Transform] = {}
"""All of them by name, as the package registers them."""


def _by_name(name: str) -> Transform:
    return TRANSFORMS[name]
