"""Tensors that a container holds slice by slice, for Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.api.file import File
from nqz.api.indexing import cut, length, lookup
from nqz.api.matrix import CompressedMatrix
from nqz.api.products import Operand
from nqz.api.tensor import Tensor
from nqz.api.wording import speaks_python
from nqz.format.slices import Whole
from nqz.ground.errors import OperandError


class SlicedTensor(Tensor, Operand):
    """A tensor of three dimensions or more, of which each index of the first axis is a compressed matrix.

    ``t[3]`` is the array of one of them; ``container["NAME[3]"]``, or an item of `slices`, is the matrix itself, for
    products.
    """

    def __init__(self, file: File, part: int, whole: Whole) -> None:
        super().__init__(file, part, whole.members[0])
        self._whole = whole

    def __reduce__(self) -> tuple[Any, ...]:
        file, part, _ = self._place
        return SlicedTensor, (file, part, self._whole)

    @property
    def slices(self) -> list[CompressedMatrix]:
        """The matrices, one for each index of the first axis."""
        file, part, _ = self._place
        return [CompressedMatrix(file, part, index) for index in self._whole.members]

    @property
    def name(self) -> str:
        """Name in the source."""
        return self._whole.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, as that of an array."""
        return self._whole.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self) * self.slices[0].size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what `decode` gives: that of the source, float32 for bfloat16 and float8."""
        return CompressedMatrix(*self._place).dtype

    @property
    def T(self) -> Any:  # noqa: N802 - as NumPy has it
        """The transpose, decoded."""
        return self.decode().T

    def decode(
        self, dtype: Any = None, estimator: str = "mmse", *, threads: int | None = None
    ) -> npt.NDArray[Any]:
        """Rebuild all slices.

        Parameters
        ----------
        dtype, estimator, threads
            See `CompressedMatrix.decode`, for errors, too.

        Returns
        -------
        ndarray
            Of the tensor's `shape`.
        """
        found = None
        for index, one in enumerate(self.slices):
            array = one.decode(dtype, estimator, threads=threads)
            if found is None:
                found = np.empty(self.shape, array.dtype)
            found[index] = array
        assert found is not None
        return found

    def stored(self, estimator: str = "mmse", *, threads: int | None = None) -> npt.NDArray[Any]:
        """All of it in the type of the source, or integers that hold it: uint16 for bfloat16, uint8 for float8."""
        return np.stack([one.stored(estimator, threads=threads) for one in self.slices])

    @speaks_python
    def __getitem__(self, index: Any) -> Any:
        found = lookup(index, self.shape)
        slices = self.slices
        parts = [slices[i].taken(found.needed[1:]) for i in cut(np.arange(len(slices)), 0, found.needed[0])]
        shape = [length(one) for one in found.needed]
        return (np.stack(parts) if parts else np.empty(shape, self.dtype))[found.rest]

    def __iter__(self) -> Iterator[Any]:
        return (one.decode() for one in self.slices)

    def factor(self) -> Any:
        """Raise `OperandError`: products take one slice."""
        raise self._refusal

    def operand(self, *given: Any, **options: Any) -> Any:
        """Raise `OperandError`: each slice is an operand of its own."""
        raise self._refusal

    @property
    def _refusal(self) -> OperandError:
        return OperandError(
            f"{self.reader.name}: tensor {self.name!r} is held in slices, each a matrix; take one of them, "
            f"such as {self._info.name!r}"
        )
