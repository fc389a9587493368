"""Compressed matrices that stay in memory for products with vectors, for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.api.interchange import as_plain
from nqz.api.products import Operand
from nqz.api.wording import speaks_python
from nqz.commands.corpora import in_pieces
from nqz.commands.held import Held
from nqz.files.source import refuse_masked
from nqz.ground.dtypes import bfloat16_to_float32
from nqz.ground.errors import OperandError, UnsupportedError
from nqz.product.resident import Resident
from nqz.product.resident_parts import ResidentParts

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class About:
    """What an operand was made of: a name for messages, and what users chose."""

    name: str
    estimator: str
    exact: bool
    threads: int | None


class ResidentOperand:
    """A compressed matrix in memory, as a linear map that is applied any number of times, from any threads.

    ``x @ b`` and ``x.T @ b`` take arrays of one dimension or two, of any floating-point type or integers, and give
    float64. They are products with one matrix, that of ``decode(estimator=…)`` to the rounding of its float32; and one
    is the transpose of the other: ⟨x.T @ b, c⟩ and ⟨b, x @ c⟩ differ by what vectors are rounded to, 2 ** -27 of their
    peak once rotated or weighted, which is next to 1e-8 of ‖x.T @ b‖‖c‖; with ``exact`` by rounding of float64. Of a
    matrix of the trellis coding, which is kept as it is coded and multiplied so, it is 2 ** -13, and next to 1e-5:
    nothing beside its noise. Results are the same bytes for any number of threads, and on every machine.

    It can be pickled, with all that it holds. A matrix of one dimension is one column; of more than two, the one that
    `nqz.matmul` takes.

    Attributes
    ----------
    name : str
    estimator : str
    exact : bool
    shape : tuple of int
    n : int
        Length of the compressed vectors, which lie along `axis`.
    axis : int
    dtype : dtype
        float64.
    nbytes : int
        Memory that it takes; `CompressedMatrix.operand_nbytes` tells beforehand.
    """

    __array_ufunc__ = None
    __array_priority__ = 1000.0
    dtype = np.dtype(np.float64)
    ndim = 2

    def __init__(self, resident: Resident | ResidentParts, about: About, *, transposed: bool) -> None:
        self._resident, self._about, self._transposed = resident, about, transposed
        self.name, self.estimator, self.exact = about.name, about.estimator, about.exact

    @property
    def shape(self) -> tuple[int, int]:
        """Shape, as that of an array."""
        found = self._resident.n, self._resident.columns
        return found[::-1] if self._transposed else found

    @property
    def n(self) -> int:
        """Length of the compressed vectors."""
        return self._resident.n

    @property
    def axis(self) -> int:
        """The axis along which they lie."""
        return int(self._transposed)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self._resident.nbytes

    @property
    def T(self) -> ResidentOperand:  # noqa: N802 - as NumPy has it
        """The transpose, of the same memory."""
        return ResidentOperand(self._resident, self._about, transposed=not self._transposed)

    def held(self) -> list[Held]:
        """The matrix as factors: what `nqz.topk` takes, the parts of a set one by one.

        Raises
        ------
        UnsupportedError
            The vectors of a set are in parts themselves.
        """
        if isinstance(self._resident, Resident):
            return [Held.of(self._resident)]
        if len(self._resident.parts) > 1:
            raise in_pieces(self.name, len(self._resident.parts))
        return list(map(Held.of, self._resident.parts[0]))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        how = ", exact" if self.exact else ""
        return f"<ResidentOperand {self.name!r} {self.shape}, {self.estimator}{how}, {self.nbytes} bytes>"

    @speaks_python
    def __matmul__(self, other: Any) -> Array:
        given = self._taken(other, self.shape[1], 0)
        vectors = given.reshape(len(given), -1).T
        resident = self._resident
        pool = resident.pool(self._about.threads)
        try:
            multiply = resident.products if self._transposed else resident.combinations
            found = multiply(np.ascontiguousarray(vectors), pool)
        finally:
            pool.close()
        finite = np.isfinite(found)
        if not finite.all():
            i, j = np.unravel_index(int(np.argmin(finite)), found.shape)
            place = f"[{i}]" if given.ndim == 1 else f"[{i}, {j}]"
            raise OperandError(
                f"{self.name}: entry {place} of the product overflows float64; scale the array down"
            )
        products: Array = found.reshape(len(found), *given.shape[1:])
        return products

    @speaks_python
    def __rmatmul__(self, other: Any) -> Array:
        found: Array = (self.T @ self._taken(other, self.shape[0], -1).T).T
        return found

    def _taken(self, other: Any, length: int, axis: int) -> Array:
        """An array of vectors along an axis, in float64, once it is found to be one."""
        name = self.name
        if isinstance(other, (Operand, ResidentOperand)):
            raise OperandError(
                f"{name}: both sides are compressed, and an operand takes arrays; nqz.matmul multiplies two matrices"
            )
        refuse_masked(other, "<array>")
        plain = as_plain(other)
        array = bfloat16_to_float32(plain.array) if plain.dtype == "bfloat16" else plain.array
        if array.dtype.kind not in "fiub" or plain.dtype not in (None, "bfloat16"):
            raise UnsupportedError(
                f"an array of dtype {plain.dtype or array.dtype}: an operand takes real floating-point numbers or "
                "integers"
            )
        if array.ndim not in (1, 2) or array.shape[axis] != length:
            raise OperandError(
                f"{name}: is of shape {self.shape}, and the array of shape {array.shape}; "
                f"one of {length} entries along its {'first' if axis == 0 else 'last'} axis, and at most two axes, is "
                "needed"
            )
        with np.errstate(over="ignore"):
            found: Array = np.asarray(array, np.float64)
        finite = np.isfinite(found)
        if not finite.all():
            place = ", ".join(str(int(i)) for i in np.unravel_index(int(np.argmin(finite)), found.shape))
            raise UnsupportedError(
                f"entry [{place}] of the array is not finite; products need finite numbers"
            )
        return found

    def as_linear_operator(self) -> Any:
        """The map for the iterative methods of SciPy, ``scipy.sparse.linalg``.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Of the same shape, with products both ways, in float64.

        Raises
        ------
        UnsupportedError
            SciPy is not installed.
        """
        try:
            from scipy.sparse.linalg import LinearOperator
        except ImportError:
            raise UnsupportedError(
                "as_linear_operator needs SciPy, which is not installed: pip install scipy"
            ) from None
        forward, back = self.__matmul__, self.T.__matmul__
        return LinearOperator(
            self.shape, matvec=forward, rmatvec=back, matmat=forward, rmatmat=back, dtype=self.dtype
        )
