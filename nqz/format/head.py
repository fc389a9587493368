"""The manifest: what the container was made from, and the tensors in it, in order (record HEAD)."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import Any

from nqz.format import msgpack as maps
from nqz.ground.errors import CorruptError, UnsupportedError

MAX_HEAD_BYTES = 100_000_000
MAX_RANK = 64
PIECE = 4 << 20
"""Raw bytes in every piece of an exact tensor but the last."""

MATRIX_DTYPES = ("float16", "bfloat16", "float32", "float64")
DTYPE_BITS = {
    "bool": 8,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "int32": 32,
    "uint32": 32,
    "int64": 64,
    "uint64": 64,
    "float4_e2m1fn": 4,
    "float6_e2m3fn": 6,
    "float6_e3m2fn": 6,
    "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8,
    "float16": 16,
    "bfloat16": 16,
    "float32": 32,
    "float64": 64,
    "complex64": 64,
    "complex128": 128,
}
"""Bits of one entry, for every dtype that a container may name."""


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
        A key of `DTYPE_BITS`.
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
        return (self.entries * DTYPE_BITS[self.dtype] + 7) // 8

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
        ``"npy"`` or ``"safetensors"``.
    metadata : dict of str to str or None
        ``__metadata__`` of a .safetensors file, in its order.
    tensors : tuple of TensorInfo
    writer : str
        The program that wrote the file.
    """

    source: str
    metadata: dict[str, str] | None
    tensors: tuple[TensorInfo, ...]
    writer: str

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
            named = dict(zip(_TENSOR_SCHEMA, entry))
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
    return isinstance(value, str) and value in DTYPE_BITS


@maps.checker("a list")
def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_HEAD_SCHEMA: dict[str, maps.Checker] = {
    "source": maps.one_of("npy", "safetensors"),
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
        if (tensor.byte_order == "|") != (DTYPE_BITS[tensor.dtype] <= 8):
            raise CorruptError(f"{where}: tensor {i} is {tensor.dtype} with byte order {tensor.byte_order}")
        proper = tensor.dtype in MATRIX_DTYPES and tensor.nbytes > 0 and tensor.shape
        if tensor.kind == "matrix" and not proper:
            raise CorruptError(
                f"{where}: tensor {i} is a matrix, which needs a floating-point dtype, an axis and an entry"
            )
    if manifest.source == "npy":
        if [tensor.name for tensor in manifest.tensors] != [""] or manifest.metadata is not None:
            raise CorruptError(f"{where}: a .npy file has exactly one tensor, no name and no metadata")
