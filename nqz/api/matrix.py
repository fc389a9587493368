"""Compressed matrices of a container, for Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.api.arguments import array_out, canonical_name, flag, float_type, word
from nqz.api.indexing import Selection, cut, length, lookup
from nqz.api.products import Operand, matmul_operator
from nqz.api.resident import About, ResidentOperand
from nqz.api.tensor import Tensor, told
from nqz.api.wording import speaks_python
from nqz.ground.cached import cached_property
from nqz.ground.dtypes import cast_saturating, numpy_name, storage_dtype
from nqz.ground.errors import UsageError
from nqz.ground.threads import workers
from nqz.matrix import Columns, Matrix, open_matrix
from nqz.product.resident import Resident, expected_nbytes

Array = npt.NDArray[Any]


class CompressedMatrix(Tensor, Operand):
    """A compressed matrix of a container.

    It reads as an array: ``m[:, 3]``, ``m[5:9]``, ``np.asarray(m)``, ``len(m)``, each equal to the same of
    ``m.decode()``; vectors are decoded from the chunks that they lie in, and no others. ``m.T @ b`` and ``a.T @ m``
    are estimates from the compressed data, those of `nqz.matmul`.
    """

    @cached_property
    def _matrix(self) -> Matrix:
        return open_matrix(self.reader, self._index)

    @property
    def _coded(self) -> Matrix:
        self._opened.require_open()
        return self._matrix

    def factor(self) -> Any:
        """Container and name: what a product takes."""
        return self.reader, self.name

    @speaks_python
    def operand(
        self, estimator: str = "mmse", *, exact: bool = False, threads: int | None = None
    ) -> ResidentOperand:
        """Decode the matrix once, into memory, to be multiplied with vectors any number of times.

        The points stay integers of the narrowest type: a byte an entry up to about 3 bits, two up to about 9. A matrix
        of the trellis coding is not decoded, and takes what it takes in its file. The operand needs the file no more.
        See `ResidentOperand`.

        Parameters
        ----------
        estimator : {"mmse", "unbiased"}
            That of `decode`: products are those of ``decode(estimator=estimator)``.
        exact : bool
            Whether vectors are rounded to float64, rather than to 2 ** -27 of their peak (trellis: 2 ** -13).
        threads : int, optional
            Of decoding, and of each product.

        Returns
        -------
        ResidentOperand
            Of the same shape, in `operand_nbytes` of memory.

        Raises
        ------
        UsageError
            Unknown estimator.
        CorruptError
            The data is damaged.
        """
        about, matrix = self._about_operand(estimator, exact, threads), self._coded
        with self._opened.unchanged(), workers(threads) as pool:
            resident = Resident.of(matrix, about.estimator, about.exact, pool)
        return ResidentOperand(resident, about, transposed=self.axis == 1)

    def _about_operand(self, estimator: str, exact: bool, threads: int | None) -> About:
        """What an operand is made of, once the choice is found to be one."""
        estimator = word(estimator, "estimator")
        if estimator not in ("mmse", "unbiased"):
            raise UsageError(f"estimator {estimator!r}: mmse or unbiased")
        return About(self.name or self.reader.name, estimator, flag(exact, "exact"), threads)

    @property
    def operand_nbytes(self) -> int:
        """Memory that `operand` will take, as norms tell; more only where points lie far beyond these."""
        return expected_nbytes(self._coded)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what `decode` gives, that of the source, or float32 for bfloat16 and float8."""
        self.reader.span(self._index)  # one that only a later release knows is an error of its own
        return np.dtype(numpy_name(self.source_dtype) or "float32")

    @property
    def rate(self) -> float:
        """Bits per entry."""
        return self._coded.rate

    @property
    def stored_axis(self) -> int:
        """The contracted axis of what is stored, transposed here or not."""
        return self._coded.header.axis

    @property
    def axis(self) -> int:
        """The contracted axis, along which the vectors lie."""
        return self.stored_axis ^ (self._transposed and self.ndim > 1)

    @property
    def partner(self) -> str | float:
        """The other factor that it was coded for: "equal", "exact", or bits per entry."""
        return self._coded.parameters.partner

    @property
    def predicted_error(self) -> float:
        """Expected ‖AᵀB - Ĉ‖² / (‖Ā‖²‖B̄‖²/n) for an unrelated partner that it was coded for."""
        return self._coded.predicted_product()

    @property
    def predicted_reconstruction(self) -> float:
        """Expected ‖A - Â‖² / ‖Ā‖² of the decoded matrix (estimator "mmse")."""
        return self._coded.predicted_reconstruction()

    @speaks_python
    def decode(
        self,
        dtype: Any = None,
        estimator: str = "mmse",
        *,
        columns: Any = None,
        rows: Any = None,
        out: Array | None = None,
        threads: int | None = None,
    ) -> Array:
        """Rebuild the matrix, or some of it.

        Parameters
        ----------
        dtype : dtype-like, optional
            A floating-point type; that of the source by default, float32 for bfloat16 and float8. Values
            beyond it become its largest finite one.
        estimator : {"mmse", "unbiased"}
            The least mean square error, or the mean over dithers exactly the matrix.
        columns, rows : slice, int, sequence of int or of bool, optional
            Which entries of the last axis, and of the first; all by default. Of the axis along which the
            vectors lie, all is decoded; of the other, what these entries need.
        out : ndarray, optional
            Where to write, of the shape of the result; it is returned. An error may leave it half written.
        threads : int, optional

        Returns
        -------
        ndarray
            As NumPy would index the decoded array: of its `shape`, or of that of the rows and columns; in the units of
            the source.

        Raises
        ------
        UsageError
            Unknown type or estimator, or there are no such columns or rows.
        CorruptError
            The data is damaged.
        InputError
            The file has changed since it was opened.
        """
        if not isinstance(estimator, str) or estimator not in ("mmse", "unbiased"):
            raise UsageError(f"estimator {estimator!r}: mmse or unbiased")
        matrix = self._coded  # first: the type may be one that only a later release knows
        if dtype is None:
            wanted = self.dtype if out is None else float_type(getattr(out, "dtype", type(out)))
        else:
            wanted = float_type(dtype)
        if columns is None and rows is None:
            if out is not None:
                array_out(out, self.shape, wanted)
            return self._whole(matrix, wanted, estimator, out, threads)
        first, last = self._chosen(rows, 0, "rows"), self._chosen(columns, self.ndim - 1, "columns")
        needed: list[Selection] = [slice(0, extent, 1) for extent in self.shape]
        needed[0], needed[-1] = first[0], last[0] if self.ndim > 1 else first[0]
        if self.ndim < 2 and columns is not None:
            raise UsageError("columns: there are none in one dimension; choose rows")
        found = self._read(matrix, tuple(needed), wanted, estimator, threads)
        if self.ndim > 1:
            found = found[..., last[1]]
        found = found[(first[1], ...)]
        if out is None:
            return found
        array_out(out, found.shape, wanted)[...] = found
        return out

    def stored(self, estimator: str = "mmse", *, threads: int | None = None) -> Array:
        """All of it in the type of the source, or integers that hold it: uint16 for bfloat16, uint8 for float8."""
        array = self._stored(self._coded, self.source_dtype, word(estimator, "estimator"), None, threads)
        found: Array = array.reshape(self._info.shape)
        return found.T if self._transposed else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        wanted = None if dtype is None else np.dtype(dtype)
        if (
            copy is not False
            and wanted is not None
            and canonical_name(wanted).startswith(("float", "bfloat"))
        ):
            return self.decode(wanted)  # rounded once
        return super().__array__(dtype, copy)

    @speaks_python
    def __getitem__(self, index: Any) -> Any:
        matrix, found = self._coded, lookup(index, self.shape)
        return self._read(matrix, found.needed, self.dtype, "mmse", None)[found.rest]

    def taken(self, needed: tuple[Selection, ...]) -> Array:
        """Some entries of each axis."""
        return self._read(self._coded, needed, self.dtype, "mmse", None)

    def __iter__(self) -> Iterator[Any]:
        if self.axis == 0:  # each row takes all columns
            yield from self.decode()
            return
        step = max(1, (1 << 22) // max(1, self.size // len(self)))
        for first in range(0, len(self), step):
            yield from self[first : first + step]

    def __matmul__(self, other: Any) -> Any:
        return matmul_operator(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return matmul_operator(other, self)

    def _about(self) -> list[str]:
        rate, error = told(lambda: self.rate), told(lambda: self.predicted_error)
        about = [] if rate is None else [f"{rate:.3g} bits an entry"]
        return about if error is None else [*about, f"predicted product error {error:.3g}"]

    def _chosen(self, wanted: Any, axis: int, name: str) -> tuple[Selection, Any]:
        """What an argument takes of an axis."""
        extent = self.shape[axis]
        if wanted is None:
            return slice(0, extent, 1), slice(None)
        try:
            item = wanted if isinstance(wanted, (slice, int)) else np.asarray(wanted)
            if isinstance(item, np.ndarray) and item.size == 0 and item.dtype != bool:
                item = item.astype(np.int64)
            if isinstance(item, np.ndarray) and (item.ndim > 1 or item.dtype.kind not in "iub"):
                raise TypeError("a range, a number, or a list of numbers is needed")
            found = lookup(item, (extent,))
        except (TypeError, ValueError, IndexError) as error:
            raise UsageError(f"{name}: {error}") from None
        return found.needed[0], found.rest[0]

    def _whole(
        self, matrix: Matrix, wanted: np.dtype[Any], estimator: str, out: Array | None, threads: int | None
    ) -> Array:
        target = self._stored(matrix, canonical_name(wanted), estimator, out, threads)
        if out is not None and np.may_share_memory(target, out):
            return out
        found = typed(target, wanted).reshape(self._info.shape)
        found = found.T if self._transposed else found
        if out is None:
            return found
        out[...] = found
        return out

    def _stored(
        self, matrix: Matrix, name: str, estimator: str, out: Array | None, threads: int | None
    ) -> Array:
        """The matrix in two dimensions in the storage type of `name`; in `out`, if it can be seen so."""
        n, count = matrix.parameters.n, matrix.parameters.columns
        shape = (count, n) if matrix.header.axis == 1 else (n, count)
        target = None if out is None else plain_view(out, self._transposed, shape)
        if target is None:
            target = np.empty(shape, storage_dtype(name))
        vectors = target.T if matrix.header.axis == 1 else target
        with self._opened.unchanged(), workers(threads) as pool:
            for _ in matrix.blocks(pool, estimator, name, lambda panel: vectors[:, panel.first : panel.last]):
                pass
        return target

    def _read(
        self,
        matrix: Matrix,
        needed: tuple[Selection, ...],
        wanted: np.dtype[Any],
        estimator: str,
        threads: int | None,
    ) -> Array:
        """The array of some entries of each axis, from the chunks that their vectors lie in."""
        needed = needed[::-1] if self._transposed else needed
        name, shape = canonical_name(wanted), self._info.shape
        found = np.empty([length(one) for one in needed], storage_dtype(name))
        along = len(shape) - 1 if matrix.header.axis == 0 else 0
        others, left = shape, needed
        if len(shape) == 1:
            vectors: Columns = slice(0, 1)
            lines = found[None]
        else:
            vectors = _range_or_numbers(needed[along])
            lines = np.moveaxis(found, along, 0)
            others = shape[:along] + shape[along + 1 :]
            left = needed[:along] + needed[along + 1 :]

        def put(places: Columns, piece: Array) -> None:
            block = piece.T.reshape(piece.shape[1], *others)
            for axis, selection in enumerate(left, 1):
                block = cut(block, axis, selection)
            lines[places] = cast_saturating(block, name)

        if found.size:
            with self._opened.unchanged(), workers(threads) as pool:
                matrix.some(vectors, pool, put, estimator)
        found = typed(found, wanted)
        return found.T if self._transposed else found


def _range_or_numbers(selection: Selection) -> Columns:
    if isinstance(selection, slice) and selection.step != 1:
        return np.arange(selection.start, selection.stop, selection.step)
    return selection


def typed(array: Array, wanted: np.dtype[Any]) -> Array:
    """An array in its storage type as the type that is wanted: one that NumPy lacks has come in it."""
    known = numpy_name(canonical_name(wanted))
    return array.astype(wanted, copy=False) if known else array.view(wanted)


def plain_view(out: Array, transposed: bool, shape: tuple[int, int]) -> Array | None:
    """An array to write as a matrix in its storage type, if it can be seen as one."""
    storage = storage_dtype(canonical_name(out.dtype))
    if out.dtype.itemsize != storage.itemsize or not out.dtype.isnative:
        return None
    plain = (out.T if transposed else out).view(storage)
    found = plain.reshape(shape)
    return found if np.may_share_memory(found, out) else None
