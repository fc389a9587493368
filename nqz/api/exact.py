"""Tensors that a container carries exactly, for Python."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from nqz.api.arguments import float_type
from nqz.api.products import Operand
from nqz.api.tensor import Tensor
from nqz.api.wording import speaks_python
from nqz.format.exct import decode_exact
from nqz.ground.dtypes import bfloat16_to_float32, dtype_bits, numpy_name
from nqz.ground.errors import OperandError, UnsupportedError, UsageError

ByteOrder = Literal["<", ">", "|"]


class ExactTensor(Tensor):
    """A tensor that the container carries exactly: a vector, integers, a matrix that was kept so.

    ``@`` is that of its array, and exact; with a compressed matrix it is an estimate, that of `nqz.matmul`.
    """

    def tobytes(self) -> bytes:
        """The data as in the source; `CorruptError` if it is damaged."""
        with self._opened.unchanged():
            return b"".join(decode_exact(self.reader, self._index))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what `decode` gives; `UnsupportedError` where NumPy has none."""
        info, where = self._info, f"{self.reader.name}: tensor {self.name!r}"
        if info.dtype == "bfloat16":
            return np.dtype(np.float32)
        if dtype_bits(info.dtype) < 8:
            raise UnsupportedError(
                f"{where}: entries of {info.dtype} are packed, {dtype_bits(info.dtype)} bits each; "
                "tobytes() gives them as they are"
            )
        try:
            known: np.dtype[Any] = np.dtype(info.dtype).newbyteorder(cast(ByteOrder, info.byte_order))
        except TypeError:
            known = _extended_type(info.dtype, where)
        return known

    @speaks_python
    def decode(self, dtype: Any = None) -> npt.NDArray[Any]:
        """The tensor; bfloat16 as float32, exactly, and float8 in the types of ml_dtypes.

        Parameters
        ----------
        dtype : dtype-like, optional
            A floating-point type to convert it to, as ``astype`` of NumPy does.

        Returns
        -------
        ndarray
            Of the tensor's `shape`.

        Raises
        ------
        UsageError
            No such type, or the numbers are complex.
        UnsupportedError
            NumPy has no such type, and the package ml_dtypes, which adds some, is not installed or lacks it; or entries
            of less than a byte are packed, as those of float4 and float6 are. `tobytes` gives the data of any type.
        CorruptError
            The data is damaged.
        """
        wanted = self.dtype if dtype is None else float_type(dtype)
        if dtype is not None and self.dtype.kind == "c":
            raise UsageError(f"dtype {wanted}: tensor {self.name!r} is of complex numbers")
        if self._info.dtype == "bfloat16":
            found = bfloat16_to_float32(self._array(np.dtype("<u2")))
        else:
            found = self._array(self.dtype)
        with np.errstate(over="ignore"):  # beyond the type is infinity, as ever
            return found.astype(wanted, copy=False)

    def stored(self) -> npt.NDArray[Any]:
        """The tensor in the type of the source, or integers that hold it: uint16 for bfloat16, uint8 for float8.

        Raises
        ------
        UnsupportedError
            Entries of less than a byte are packed.
        """
        bits = dtype_bits(self._info.dtype)
        return self._array(
            self.dtype if bits < 8 or numpy_name(self._info.dtype) else np.dtype(f"<u{bits // 8}")
        )

    def _array(self, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.frombuffer(bytearray(self.tobytes()), dtype)
        found: npt.NDArray[Any] = array.reshape(
            self._info.shape, order="F" if self._info.order == "F" else "C"
        )
        return found.T if self._transposed else found

    def operand(self, *given: Any, **options: Any) -> Any:
        """Raise `OperandError`: its array is what there is to multiply."""
        raise OperandError(
            f"{self.reader.name}: tensor {self.name!r} is carried exactly, and multiplied as an array: numpy.asarray"
        )

    def __getitem__(self, index: Any) -> Any:
        return self.decode()[index]

    def __matmul__(self, other: Any) -> Any:
        # a compressed matrix is asked next, for its own
        return NotImplemented if isinstance(other, Operand) else self.decode() @ other

    def __rmatmul__(self, other: Any) -> Any:
        return other @ self.decode()


def _extended_type(name: str, where: str) -> np.dtype[Any]:
    try:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    except (ImportError, AttributeError):
        raise UnsupportedError(
            f"{where}: {name} needs the package ml_dtypes; tobytes() gives the raw data"
        ) from None
    return dtype
