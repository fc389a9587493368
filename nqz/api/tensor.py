"""What compressed matrices and exact tensors have in common with arrays of NumPy."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nqz.api.file import File
from nqz.format.reader import ContainerReader
from nqz.format.tensors import TensorInfo
from nqz.ground.errors import NqzError, UsageError

Self = TypeVar("Self", bound="Tensor")

_DASK = 2**22
"""Entries of a chunk of Dask."""


class Tensor(ABC):
    """A tensor of an open container, read when it is used."""

    # arrays leave `array @ tensor` to the tensor, and refuse to compute with it as if it were a number
    __array_ufunc__ = None
    __array_priority__ = 1000.0

    def __init__(self, file: File, part: int, index: int, transposed: bool = False) -> None:
        self._place = file, part, index
        self._index, self._transposed = index, transposed
        self._opened = file.collection.parts[part].opened
        self.reader: ContainerReader = self._opened.content
        self._info: TensorInfo = self.reader.manifest.tensors[index]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self._place, self._transposed)

    @property
    def name(self) -> str:
        """Name in the source; empty for a single array."""
        return self._info.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, as that of an array."""
        return self._info.shape[::-1] if self._transposed else self._info.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._info.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self._info.shape)

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of what `decode` gives."""

    @property
    def source_dtype(self) -> str:
        """Name of the type of the source, such as ``"float32"`` or ``"bfloat16"``."""
        return self._info.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of what `decode` gives; `Container.nbytes` is what the file takes."""
        return self.size * self.dtype.itemsize

    @property
    def T(self: Self) -> Self:  # noqa: N802 - as NumPy has it
        """The transpose; nothing is read for it."""
        return self if self.ndim < 2 else type(self)(*self._place, not self._transposed)

    def to_dask(self, chunks: Any = None) -> Any:
        """An array of Dask, which reads and decodes what is computed, where it is computed.

        Parameters
        ----------
        chunks : int, tuple or str, optional
            As `dask.array.from_array` has them; by default whole vectors, of 2²² entries or so together.

        Returns
        -------
        dask.array.Array
            Other processes open the file by its path.

        Raises
        ------
        UsageError
            Dask is not installed.
        """
        try:
            from dask import array
        except ImportError as error:
            raise UsageError("to_dask needs Dask, which is not installed: pip install 'nqz[dask]'") from error
        if chunks is None:
            along = self.axis % self.ndim if hasattr(self, "axis") and self.ndim else 0
            others = max(1, _DASK // max(1, self.shape[along])) if self.ndim else 1
            chunks = tuple(
                -1 if at == along else min(others, length) or 1 for at, length in enumerate(self.shape)
            )
        return array.from_array(self, chunks=chunks, asarray=False)

    @abstractmethod
    def decode(self, dtype: Any = None) -> npt.NDArray[Any]:
        """All of it, as an array."""

    @abstractmethod
    def __getitem__(self, index: Any) -> Any:
        """What the decoded array gives for an index of NumPy."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a compressed tensor has no array to share: it is decoded into a new one")
        array = self.decode()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, **options: Any) -> Any:
        return self.decode().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # what is decoded is in memory

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return iter(self.decode())

    def __repr__(self) -> str:
        about = ", ".join([f"{self.shape} {self.source_dtype}", *self._about()])
        return f"<{type(self).__name__} {self.name!r} {about}>"

    def _about(self) -> list[str]:
        """What else its `repr` says."""
        return []


def told(ask: Any) -> Any:
    """What a function returns; None where the container is closed or damaged."""
    try:
        return ask()
    except NqzError:
        return None
