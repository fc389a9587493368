"""What the manifest says of a tensor: its codec, name, shape and type, and which other tensor it belongs to."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from nqz.ground.dtypes import data_bytes, is_dtype

PIECE = 4 << 20
"""Raw bytes in every piece of an exact tensor but the last."""

MATRIX, EXACT = "nqz-1", "exact-1"
"""Codecs: a matrix in coded form, a tensor carried as it is."""

SLICE = "slice-1"
"""The codec of a file for a matrix in coded form that is a slice of a tensor; its `TensorInfo` says `MATRIX`."""

TIED = "tied-1"
"""The codec of a file for a tensor that equals an earlier one; its `TensorInfo` has the codec of that one."""


class Slice(NamedTuple):
    """Which slice of a tensor a matrix is, its number on the first axis, and how many there are."""

    number: int
    slices: int

    @property
    def suffix(self) -> str:
        """What the name of the matrix has after that of the tensor."""
        return f"[{self.number}]"


class TensorInfo(NamedTuple):
    """One tensor of the manifest.

    Attributes
    ----------
    codec : str
        How its records are to be read: `MATRIX`, `EXACT`, or the name of one that this release does not know.
    name : str
        Empty for the tensor of a .npy file.
    shape : tuple of int
    dtype : str
        One of those of `nqz.ground.dtypes`.
    order : str
        ``"C"`` or ``"F"``: the order of the entries in the source.
    byte_order : str
        The byte order of the source: ``"<"`` or ``">"``, and ``"|"`` for dtypes of at most 8 bits.
    parameters : list or None
        What the codec has to know; see `nqz.format.header`. None of an exact tensor.
    extensions : mapping of str, or None
        What readers may ignore; None if there is nothing.
    slice : Slice or None
        Of a matrix that is a slice of a tensor, which.
    same_as : int or None
        Number of the earlier tensor that it equals, whose records, codec and parameters are its own, too.
    """

    codec: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    order: str = "C"
    byte_order: str = "<"
    parameters: Any = None
    extensions: Mapping[str, Any] | None = None
    slice: Slice | None = None
    same_as: int | None = None

    @property
    def whole_name(self) -> str:
        """Name of the tensor of the source: its own, or that of what it is a slice of."""
        return self.name if self.slice is None else self.name.removesuffix(self.slice.suffix)

    @property
    def kind(self) -> str:
        """``"matrix"`` (coded), ``"exact"`` (carried as it is), or ``"unknown"``."""
        if self.newer is not None:
            return "unknown"
        return "matrix" if self.codec == MATRIX else "exact"

    @property
    def newer(self) -> str | None:
        """What of it only a later release knows, if there is something."""
        if self.codec not in (MATRIX, EXACT):
            return f"codec {reprlib.repr(self.codec)}"
        return None if is_dtype(self.dtype) else f"dtype {reprlib.repr(self.dtype)}"

    @property
    def entries(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in its source; 0 where the dtype is not known."""
        return data_bytes(self.shape, self.dtype) if is_dtype(self.dtype) else 0

    @property
    def pieces(self) -> int:
        """Number of records EXCT of an exact tensor."""
        return -(-self.nbytes // PIECE)

    def values(self) -> tuple[Any, ...]:
        """The list in the file."""
        codec, parameters = self.codec, self.parameters
        if self.slice is not None:
            codec, parameters = SLICE, [*self.slice, parameters]
        if self.same_as is not None:
            codec, parameters = TIED, self.same_as
        return (codec, self.name, list(self.shape), *self[3:6], parameters, self.extensions or {})
