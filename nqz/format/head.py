"""The manifest: what the container was made from, and the tensors in it, in order (record HEAD)."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import Any

from nqz.format import msgpack as maps
from nqz.ground.dtypes import data_bytes, default_byte_order, is_dtype, is_matrix_dtype
from nqz.ground.errors import CorruptError, UnsupportedError
from nqz.ground.sources import MAX_RANK, SOURCES, SourceKind

MAX_HEAD_BYTES = 100_000_000
PIECE = 4 << 20
"""Raw bytes in every piece of an exact tensor but the last."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the manifest.

    Attributes
    ----------
    name : str
        Empty for the tensor of a .npy file.
    kind : str
        ``"matrix"`` (coded) or ``"exact"`` (carried as it is).
    shape : tuple of int
    dtype : str
        One of those of `nqz.ground.dtypes`.
    order : str
        ``"C"`` or ``"F"``: the order of the entries in the source.
    byte_order : str
        The byte order of the source: ``"<"`` or ``">"``, and ``"|"`` for dtypes of at most 8 bits.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    order: str = "C"
    byte_order: str = "<"

    @property
    def entries(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in its source."""
        return data_bytes(self.shape, self.dtype)

    @property
    def pieces(self) -> int:
        """Number of records EXCT of an exact tensor."""
        return -(-self.nbytes // PIECE)


@dataclass(frozen=True)
class Manifest:
    """What a container holds.

    Attributes
    ----------
    source : str
        A key of `SOURCES`.
    metadata : dict of str to str or None
        ``__metadata__`` of a .safetensors file, in its order; None where there is none.
    tensors : tuple of TensorInfo
    writer : str
        The program that wrote the file.
    """

    source: str
    metadata: dict[str, str] | None
    tensors: tuple[TensorInfo, ...]
    writer: str

    @property
    def kind(self) -> SourceKind:
        """The kind of the source."""
        return SOURCES[self.source]

    def pack(self) -> bytes:
        """Return the payload of HEAD.

        Raises
        ------
        UnsupportedError
            The manifest breaks a rule of the format, such as the bound on its size.
        """
        tensors = [[t.name, t.kind, list(t.shape), t.dtype, t.order, t.byte_order] for t in self.tensors]
        data = maps.pack(
            {"source": self.source, "metadata": self.metadata, "tensors": tensors, "writer": self.writer}
        )
        try:
            Manifest.unpack(data, "the manifest")
        except CorruptError as error:
            raise UnsupportedError(f"these tensors do not fit into a container: {error}") from None
        return data

    @classmethod
    def unpack(cls, data: bytes, where: str) -> Manifest:
        """Read the payload of HEAD.

        Raises
        ------
        CorruptError
            The bytes are not those of a valid manifest.
        """
        fields = maps.unpack(data, where, MAX_HEAD_BYTES)
        maps.check_fields(fields, _HEAD_SCHEMA, where)
        tensors = []
        for i, entry in enumerate(fields["tensors"]):
            if not isinstance(entry, list) or len(entry) != len(_TENSOR_SCHEMA):
                raise CorruptError(f"{where}: tensor {i}: a list of {', '.join(_TENSOR_SCHEMA)} is required")
            named = dict(zip(_TENSOR_SCHEMA, entry, strict=True))
            maps.check_fields(named, _TENSOR_SCHEMA, f"{where}: tensor {i}")
            tensors.append(TensorInfo(**{**named, "shape": tuple(named["shape"])}))
        manifest = cls(fields["source"], fields["metadata"], tuple(tensors), fields["writer"])
        _check(manifest, where)
        return manifest


@maps.checker("nil or a map of strings to strings")
def _is_metadata(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(v, str) for v in value.values()))


@maps.checker("a list of at most 64 dimensions, each 0 or more")
def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_RANK and all(map(maps.is_uint, value))


@maps.checker("the name of a dtype of this format version")
def _is_dtype(value: Any) -> bool:
    return isinstance(value, str) and is_dtype(value)


@maps.checker("a list")
def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_HEAD_SCHEMA: dict[str, maps.Checker] = {
    "source": maps.one_of(*SOURCES),
    "metadata": _is_metadata,
    "tensors": _is_list,
    "writer": maps.is_str,
}
_TENSOR_SCHEMA: dict[str, maps.Checker] = {
    "name": maps.is_str,
    "kind": maps.one_of("matrix", "exact"),
    "shape": _is_shape,
    "dtype": _is_dtype,
    "order": maps.one_of("C", "F"),
    "byte_order": maps.one_of("<", ">", "|"),
}


def _check(manifest: Manifest, where: str) -> None:
    """Raise CorruptError where fields that are right each by itself do not fit together."""
    names = set()
    for i, tensor in enumerate(manifest.tensors):
        if tensor.name in names:
            raise CorruptError(f"{where}: two tensors have the name {reprlib.repr(tensor.name)}")
        names.add(tensor.name)
        if (tensor.byte_order == "|") != (default_byte_order(tensor.dtype) == "|"):
            raise CorruptError(f"{where}: tensor {i} is {tensor.dtype} with byte order {tensor.byte_order}")
        proper = is_matrix_dtype(tensor.dtype) and tensor.nbytes > 0 and tensor.shape
        if tensor.kind == "matrix" and not proper:
            raise CorruptError(
                f"{where}: tensor {i} is a matrix, which needs a floating-point dtype, an axis and an entry"
            )
    kind = manifest.kind
    if (kind.alone and names != {""}) or (manifest.metadata is not None and not kind.metadata):
        what = "exactly one tensor, no name and no metadata" if kind.alone else "no metadata"
        raise CorruptError(f"{where}: a .{kind.name} file has {what}")
