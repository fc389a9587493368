"""What a container holds, for Python: compressed matrices and exact tensors, each read when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from nqz.api.arguments import as_target, canonical_name, float_type
from nqz.commands.opening import Opened, open_file
from nqz.format.exct import decode_exact
from nqz.format.manifest import TensorInfo
from nqz.format.reader import ContainerReader
from nqz.ground.cached import cached_property
from nqz.ground.dtypes import bfloat16_to_float32, dtype_bits, storage_dtype
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.matrix import Matrix, open_matrix

ByteOrder = Literal["<", ">", "|"]


def open(source: Any) -> Container:
    """Open a container.

    Parameters
    ----------
    source : path, binary file object, or bytes
        A file object that can seek is read as its tensors are: leave it open, and to the container.

    Raises
    ------
    InputError, CorruptError, NewerFormatError
        It cannot be read, is not a container, is damaged, or was written by a later version.
    """
    return Container(open_file(as_target(source), container=True))


class Container(Mapping[str, "CompressedMatrix | ExactTensor"]):
    """An open container: names and their tensors, in the order of the source, each read when it is used.

    A context manager. The one tensor of a container that was made from a single array is called ``""``;
    `matrix` gives it.

    Attributes
    ----------
    metadata : dict of str or None
        ``__metadata__`` of a .safetensors source, and what was given to `encode`.
    """

    def __init__(self, opened: Opened):
        self._opened = opened
        self.reader: ContainerReader = opened.content
        self.metadata = self.reader.manifest.metadata
        self._numbers = {info.name: i for i, info in enumerate(self.reader.manifest.tensors)}
        self._tensors: dict[str, CompressedMatrix | ExactTensor] = {}

    def __getitem__(self, name: str) -> CompressedMatrix | ExactTensor:
        if name not in self._tensors:
            index = self._numbers[name]
            exact = self.reader.manifest.tensors[index].kind == "exact"
            self._tensors[name] = (ExactTensor if exact else CompressedMatrix)(self._opened, index)
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def matrix(self) -> CompressedMatrix:
        """The matrix of a container that holds exactly one; `OperandError` otherwise."""
        infos = self.reader.manifest.tensors
        names = [info.name for info in infos if info.kind == "matrix"]
        names = names or [info.name for info in infos if info.kind == "unknown"][:1]
        if len(names) != 1:
            raise OperandError(
                f"{self.reader.name}: holds {counted(len(names), 'matrix')}; choose one by name"
            )
        return self[names[0]]  # type: ignore[return-value]

    def close(self) -> None:
        """Close the file; its tensors can no longer be decoded."""
        self._opened.close()

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Tensor:
    def __init__(self, opened: Opened, index: int):
        self._opened, self._index = opened, index
        self.reader: ContainerReader = opened.content
        self._info: TensorInfo = self.reader.manifest.tensors[index]

    @property
    def name(self) -> str:
        """Name in the source; empty for a single array."""
        return self._info.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the source."""
        return self._info.shape

    @property
    def dtype(self) -> str:
        """Name of the type of the source, such as ``"float32"`` or ``"bfloat16"``."""
        return self._info.dtype

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.shape} {self.dtype}>"


class CompressedMatrix(_Tensor):
    """A compressed matrix of a container."""

    @cached_property
    def _matrix(self) -> Matrix:
        return open_matrix(self.reader, self._index)

    @property
    def _coded(self) -> Matrix:
        self._opened.require_open()
        return self._matrix

    @property
    def rate(self) -> float:
        """Bits per entry."""
        return self._coded.rate

    @property
    def axis(self) -> int:
        """The contracted axis."""
        return self._coded.header.axis

    @property
    def predicted_error(self) -> float:
        """Expected ‖AᵀB - Ĉ‖² / (‖Ā‖²‖B̄‖²/n) for an unrelated partner of the same rate."""
        return self._coded.predicted_product()

    @property
    def predicted_reconstruction(self) -> float:
        """Expected ‖A - Â‖² / ‖Ā‖² of the decoded matrix (estimator "mmse")."""
        return self._coded.predicted_reconstruction()

    def decode(self, dtype: Any = None, estimator: str = "mmse", *, threads: int | None = None) -> np.ndarray:
        """Rebuild the matrix.

        Parameters
        ----------
        dtype : dtype-like, optional
            A floating-point type; that of the source by default, float32 for bfloat16. Values beyond it
            become its largest finite one.
        estimator : {"mmse", "unbiased"}
            The least mean square error, or the mean over dithers exactly the matrix.
        threads : int, optional

        Raises
        ------
        UsageError
            Unknown type or estimator.
        CorruptError
            The data is damaged.
        InputError
            The file has changed since it was opened.
        """
        if not isinstance(estimator, str) or estimator not in ("mmse", "unbiased"):
            raise UsageError(f"estimator {estimator!r}: mmse or unbiased")
        matrix = self._coded  # first: the type may be one that only a later release knows
        own = "float32" if self.dtype == "bfloat16" else self.dtype
        wanted = np.dtype(own) if dtype is None else float_type(dtype)
        name = canonical_name(wanted)
        n, count = matrix.parameters.n, matrix.parameters.columns
        out = np.empty((n, count), storage_dtype(name))
        if matrix.header.axis == 1:
            out = out.reshape(count, n).T
        with self._opened.unchanged(), workers(threads) as pool:
            for _ in matrix.blocks(pool, estimator, name, lambda panel: out[:, panel.first : panel.last]):
                pass
        array = (out.T if matrix.header.axis == 1 else out).reshape(self.shape)
        # bfloat16 has come in its storage type
        return array.view(wanted) if name == "bfloat16" else array.astype(wanted, copy=False)


class ExactTensor(_Tensor):
    """A tensor that the container carries exactly: a vector, integers, whatever is no matrix of floats."""

    def tobytes(self) -> bytes:
        """The data as in the source; `CorruptError` if it is damaged."""
        with self._opened.unchanged():
            return b"".join(decode_exact(self.reader, self._index))

    def decode(self) -> np.ndarray:
        """The tensor; bfloat16 as float32, exactly, and float8 in the types of ml_dtypes.

        Raises
        ------
        UnsupportedError
            NumPy has no such type, and the package ml_dtypes, which adds some, is not installed or lacks it; or entries
            of less than a byte are packed, as those of float4 and float6 are. `tobytes` gives the data of any type.
        CorruptError
            The data is damaged.
        """
        info = self._info
        if info.dtype == "bfloat16":
            return bfloat16_to_float32(np.frombuffer(self.tobytes(), "<u2")).reshape(info.shape)
        if dtype_bits(info.dtype) < 8:
            raise UnsupportedError(
                f"{self.reader.name}: tensor {self.name!r}: entries of {info.dtype} are packed, "
                f"{dtype_bits(info.dtype)} bits each; tobytes() gives them as they are"
            )
        try:
            dtype = np.dtype(info.dtype).newbyteorder(cast(ByteOrder, info.byte_order))
        except TypeError:
            dtype = _extended_type(info.dtype, f"{self.reader.name}: tensor {self.name!r}")
        array: npt.NDArray[Any] = np.frombuffer(bytearray(self.tobytes()), dtype)
        found: npt.NDArray[Any] = array.reshape(info.shape, order="F" if info.order == "F" else "C")
        return found


def _extended_type(name: str, where: str) -> np.dtype[Any]:
    try:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    except (ImportError, AttributeError):
        raise UnsupportedError(
            f"{where}: {name} needs the package ml_dtypes; tobytes() gives the raw data"
        ) from None
    return dtype
