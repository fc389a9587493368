"""The manifest: what the container was made from, and the tensors in it, in order (record MANI)."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nqz.format import msgpack as maps
from nqz.format.slices import check_runs, check_slice, unpack_slice
from nqz.format.tensors import EXACT, MATRIX, SLICE, TIED, TensorInfo
from nqz.format.ties import resolved, unpack_tie
from nqz.ground.dtypes import default_byte_order, is_matrix_dtype
from nqz.ground.errors import CorruptError, NewerFormatError, UnsupportedError
from nqz.ground.sources import MAX_EXTENT, MAX_RANK, SOURCES, SourceKind

MAX_BYTES = 64 << 20
MAX_NAME_BYTES = 64 << 10
_BATCH = 4096  # entries that are compared with their canonical form at a time
LEAST_ENTRY = 9
"""Bytes that an entry takes at least."""


class PartOfSet(NamedTuple):
    """Where a container belongs that is one of several parts of a set: its id, its number and how many there are."""

    id: bytes
    number: int
    parts: int


class Manifest(NamedTuple):
    """What a container holds.

    Attributes
    ----------
    source : str
        A key of `SOURCES`.
    metadata : dict of str to str or None
        ``__metadata__`` of a .safetensors file, in its order, or what else belongs to the data; None where there is
        none.
    tensors : tuple of TensorInfo
    writer : str
        The program that wrote the file.
    part : PartOfSet or None
    extensions : mapping of str, or None
        What readers may ignore; None if there is nothing.
    """

    source: str
    metadata: dict[str, str] | None
    tensors: tuple[TensorInfo, ...]
    writer: str
    part: PartOfSet | None = None
    extensions: Mapping[str, Any] | None = None

    @property
    def kind(self) -> SourceKind:
        """The kind of the source."""
        return SOURCES[self.source]

    def pack(self) -> bytes:
        """Return the payload of MANI."""
        return b"".join(self._pieces())

    def check(self) -> None:
        """Raise UnsupportedError where it breaks a rule of the format, such as the bound on its size.

        Matrices need no parameters yet.
        """
        waiting = tuple(t._replace(parameters=[]) if t.codec == MATRIX else t for t in self.tensors)
        try:
            Manifest.unpack(self._replace(tensors=waiting).pack(), "the manifest")
            newer = next((info.newer for info in self.tensors if info.newer is not None), None)
            if newer is not None:
                raise NewerFormatError(f"{newer} is not known")
        except (CorruptError, NewerFormatError) as error:
            raise UnsupportedError(f"these tensors do not fit into a container: {error}") from None

    def size(self) -> int:
        """Bytes of the payload of MANI."""
        return sum(map(len, self._pieces()))

    def _pieces(self) -> Iterator[bytes]:
        yield _leading(self)
        yield _array_header(len(self.tensors))
        for first in range(0, len(self.tensors), _BATCH):
            yield _packed(info.values() for info in self.tensors[first : first + _BATCH])

    @classmethod
    def unpack(cls, data: bytes, where: str) -> Manifest:
        """Read the payload of MANI.

        Raises
        ------
        CorruptError
            The bytes are not those of a valid manifest.
        NewerFormatError
            They are those of a later release.
        """
        if len(data) > MAX_BYTES:
            raise CorruptError(f"{where}: {len(data)} bytes where at most {MAX_BYTES} are allowed")
        source = maps.Source(data, where)
        fields: dict[Any, Any] = {}
        for _ in range(pairs := source.map()):
            key = source.next()
            if not isinstance(key, str):
                raise CorruptError(f"{where}: a key of a map is not a string")
            if key == "tensors":
                break
            fields[key] = source.next()
        maps.check_fields({**fields, "tensors": []}, _SCHEMA, where)
        if pairs != len(_SCHEMA):
            raise CorruptError(f"{where}: {pairs} keys, expected exactly {', '.join(_SCHEMA)}")
        _check_free(fields["extensions"], f"{where}: extensions", 2)
        if fields["source"] not in SOURCES:
            raise NewerFormatError(f"{where}: made from a {reprlib.repr(fields['source'])} file: {_LATER}")
        part = None if fields["set"] is None else PartOfSet(*fields["set"])
        manifest = cls(
            fields["source"], fields["metadata"], (), fields["writer"], part, fields["extensions"] or None
        )
        count = source.array()
        if data[: source.position] != _leading(manifest) + _array_header(count):
            raise CorruptError(f"{where}: not in canonical form")
        if count > len(data) // LEAST_ENTRY:
            raise CorruptError(f"{where}: {count} tensors in {len(data)} bytes")
        tensors = _tensors(source, count, data, manifest.kind, where)
        manifest = manifest._replace(tensors=resolved(tensors, where))
        source.finish()
        if manifest.kind.alone and len(manifest.tensors) != 1:
            raise CorruptError(f"{where}: a .{manifest.source} file has exactly one tensor")
        check_runs(manifest.tensors, where)
        return manifest


_LATER = "a later release of nqz is needed to read it"


def _tensors(
    source: maps.Source, count: int, data: bytes, kind: SourceKind, where: str
) -> tuple[TensorInfo, ...]:
    """Read the entries, in batches that are compared with their canonical form."""
    tensors: list[TensorInfo] = []
    known: dict[Any, TensorInfo] = {}
    names: set[str] = set()
    for first in range(0, count, _BATCH):
        begin = source.position
        batch = source.several(min(_BATCH, count - first))
        for number, value in enumerate(batch, first):
            info = _entry(value, known, kind, f"{where}: tensor {number}")
            names.add(info.name)
            if len(names) != number + 1:
                raise CorruptError(f"{where}: two tensors have the name {reprlib.repr(info.name)}")
            tensors.append(info)
        # not before: what is nested too deep for the library cannot be packed
        if _packed(batch) != data[begin : source.position]:
            raise CorruptError(f"{where}: not in canonical form")
    return tuple(tensors)


def _entry(value: Any, known: dict[Any, TensorInfo], kind: SourceKind, where: str) -> TensorInfo:
    """One tensor of the list; those that differ in their names alone are looked at once."""
    like = None
    if type(value) is list and value[6:] == [None, {}] and type(value[2]) is list:
        codec, _, shape, dtype, order, byte_order, *_ = value
        # the shape as text: 1, True and 1.0 are equal, and numbers can be chosen to collide
        key = codec, str(shape), dtype, order, byte_order
        try:
            like = known.get(key)
        except TypeError:  # it holds what it must not
            like = _checked(value, kind, where)
        if like is None:
            like = known[key] = _checked(value, kind, where)
    name = value[1] if like is not None else None
    if like is None or type(name) is not str:
        like = _checked(value, kind, where)
        name = like.name
    if len(name) > MAX_NAME_BYTES // 4 and len(name.encode()) > MAX_NAME_BYTES:
        raise CorruptError(
            f"{where}: a name of {len(name.encode())} bytes; at most {MAX_NAME_BYTES} are allowed"
        )
    fault = kind.name_fault(name)
    if fault is not None:
        raise CorruptError(f"{where}: {reprlib.repr(name)} {fault}, which a .{kind.name} file cannot have")
    return TensorInfo(like.codec, name, *like[2:])


def _checked(value: Any, kind: SourceKind, where: str) -> TensorInfo:
    """One tensor of the list, but for its name."""
    fields = maps.named(value, _TENSOR_SCHEMA, where)
    info = TensorInfo(
        **{**fields, "shape": tuple(fields["shape"]), "extensions": fields["extensions"] or None}
    )
    if info.codec == SLICE:
        part, own = unpack_slice(info.parameters, where)
        info = info._replace(codec=MATRIX, parameters=own, slice=part)
        check_slice(info, where)
    elif info.codec == TIED:
        info = info._replace(same_as=unpack_tie(info.parameters, where))
    _check_tensor(info, kind, where)
    if codec_known(info.codec) and (info.parameters is None) is not (info.codec == EXACT):
        raise CorruptError(f"{where}: a matrix has parameters, and nothing else has")
    _check_free(fields["parameters"], f"{where}: parameters", 4)
    _check_free(fields["extensions"], f"{where}: extensions", 4)
    return info


def codec_known(codec: Any) -> bool:
    """Whether this release reads tensors of a codec."""
    return codec in (MATRIX, EXACT)


def _check_tensor(info: TensorInfo, kind: SourceKind, where: str) -> None:
    """Raise CorruptError where fields that are right each by itself do not fit together."""
    if info.newer is not None:
        return
    if (info.byte_order == "|") != (default_byte_order(info.dtype) == "|"):
        raise CorruptError(f"{where}: {info.dtype} with byte order {info.byte_order}")
    if info.nbytes > MAX_EXTENT:
        raise CorruptError(f"{where}: more bytes than a file can have")
    proper = is_matrix_dtype(info.dtype) and info.nbytes > 0 and info.shape
    if info.codec == MATRIX and not proper:
        raise CorruptError(f"{where}: a matrix needs a floating-point dtype, an axis and an entry")
    fault = kind.tensor_fault(
        info.dtype, info.order, info.byte_order, exact=info.codec == EXACT and info.nbytes > 0
    )
    if fault is not None:
        raise CorruptError(f"{where}: {fault}, which a .{kind.name} file cannot have")


def _check_free(value: Any, where: str, depth: int) -> None:
    """Raise CorruptError unless a value of no particular form can be in canonical form."""
    fault = maps.fault_of(value, depth)
    if fault is not None:
        raise CorruptError(f"{where}: {fault}")


def _leading(manifest: Manifest) -> bytes:
    """The payload as far as the list of tensors."""
    m = manifest
    fields = [
        ("source", m.source), ("metadata", m.metadata), ("set", None if m.part is None else list(m.part)),
        ("writer", m.writer), ("extensions", dict(m.extensions or {})),
    ]  # fmt: skip
    head = bytes([0x80 | len(_SCHEMA)])
    return head + b"".join(maps.packed(x) for pair in fields for x in pair) + maps.packed("tensors")


def _array_header(count: int) -> bytes:
    import msgpack

    header: bytes = msgpack.Packer().pack_array_header(count)
    return header


def _packed(entries: Any) -> bytes:
    """The entries one after the other, without a header."""
    data = list(entries)
    whole = maps.packed(data)
    return whole[len(_array_header(len(data))) :]


@maps.checker("nil or a map of strings to strings")
def _is_metadata(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict) and all(isinstance(x, str) for pair in value.items() for x in pair)
    )


@maps.checker("nil, or an id of 16 bytes, an index and a count above it")
def _is_part(value: Any) -> bool:
    return value is None or (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], bytes)
        and len(value[0]) == 16
        and all(map(maps.is_uint, value[1:]))
        and value[1] < value[2]
    )


@maps.checker("a list of at most 64 dimensions, each 0 … 2**63 - 1")
def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_RANK
        and all(maps.is_uint(extent) and extent <= MAX_EXTENT for extent in value)
    )


@maps.checker("a value")
def _is_any(value: Any) -> bool:
    return True


@maps.checker("a map")
def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


_SCHEMA: dict[str, maps.Checker] = {
    "source": maps.is_str,
    "metadata": _is_metadata,
    "set": _is_part,
    "writer": maps.is_str,
    "extensions": _is_map,
    "tensors": _is_any,
}
_TENSOR_SCHEMA: dict[str, maps.Checker] = {
    "codec": maps.is_str,
    "name": maps.is_str,
    "shape": _is_shape,
    "dtype": maps.is_str,
    "order": maps.one_of("C", "F"),
    "byte_order": maps.one_of("<", ">", "|"),
    "parameters": _is_any,
    "extensions": _is_map,
}
