"""The .gguf format, which is read only: pairs of keys and values, a list of tensors, and their data, each aligned.

The package gguf has a reader, too. It maps files into memory, makes several objects of every entry of every array (of
a vocabulary, a million), and takes sizes on trust; so it is what the tests compare this one with, and what decodes
quantized tensors (`nqz.files.dequantized`). Everything here is little-endian.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple, NoReturn

import numpy as np

from nqz.files.access import Access
from nqz.files.contract import Reader, Source, SourceTensor
from nqz.files.dequantized import Dequantized, Quantization, quantization
from nqz.ground.dtypes import data_bytes, default_byte_order
from nqz.ground.errors import CorruptError, UnsupportedError
from nqz.ground.sources import MAX_EXTENT, SOURCES
from nqz.ground.wording import counted

MARK = b"GGUF"
VERSIONS = (2, 3)
MAX_TENSORS, MAX_KEYS, MAX_STRINGS, MAX_DIMENSIONS = 1 << 17, 1 << 16, 1 << 22, 4
MAX_TEXT = 1 << 16
"""Bytes of a name or a key, and of a value that is kept as metadata."""

MAX_TEXTS = 16 << 20
"""Bytes of all of these."""

_MAX_ALIGNMENT = 1 << 20
_WINDOW = 1 << 20
_LEAST_PAIR, _LEAST_TENSOR = 8 + 4 + 1, 8 + 4 + 4 + 8

_DTYPES = {
    0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64", 30: "bfloat16",
}  # fmt: skip
"""Types of tensors that are not quantized."""

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY, _UINT32 = 8, 9, 4


class Gguf(Reader):
    """Tensors in C order behind a header; the shapes in it are the other way round."""

    kind = SOURCES["safetensors"]

    @property
    def name(self) -> str:
        """See `Reader.name`."""
        return "gguf"

    @property
    def mark_at(self) -> int:
        """See `Reader.mark_at`."""
        return 0

    def sniff(self, start: bytes | bytearray, size: int) -> bool:
        """See `Reader.sniff`."""
        return start.startswith(MARK)

    def read(self, access: Access, name: str) -> Source:
        """See `Reader.read`."""
        header = _Header(access, name)
        tensors = []
        for entry in _covered(header, access):
            data: Any = access
            if entry.quantization is not None:
                data = Dequantized(access, entry.begin, math.prod(entry.shape), entry.quantization)
            tensors.append(
                SourceTensor(
                    data,
                    entry.name,
                    entry.shape,
                    entry.dtype,
                    byte_order=default_byte_order(entry.dtype),
                    fortran_order=False,
                    offset=0 if entry.quantization else entry.begin,
                    quantized=None if entry.quantization is None else entry.quantization.name,
                )
            )
        return Source(self.kind, name, tensors, header.metadata or None, access)


GGUF = Gguf()


class Entry(NamedTuple):
    """One tensor of a header; `begin` counts from the start of the file. `dtype` is what it is read as."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    begin: int
    nbytes: int
    quantization: Quantization | None


class _Cursor:
    """Reads one value of a header after another, a window of the file at a time."""

    def __init__(self, access: Access, name: str) -> None:
        self._access, self.file, self.at = access, name, 0
        self._window, self._start, self._texts = b"", 0, 0

    @property
    def left(self) -> int:
        """Bytes to the end of the file."""
        return self._access.size - self.at

    def corrupt(self, what: str) -> NoReturn:
        """Raise CorruptError for what is wrong here."""
        raise CorruptError(f"{self.file}: the .gguf header is damaged at byte {self.at}: {what}")

    def skip(self, count: int, what: str) -> None:
        """Go on, if so many bytes are there."""
        if count > self.left:
            missing = counted(count - self.left, "byte", "are")
            raise CorruptError(f"{self.file}: truncated: of {what} at byte {self.at} {missing} missing")
        self.at += count

    def take(self, count: int, what: str) -> bytes:
        """The next bytes, no more than `MAX_TEXT`."""
        begin = self.at
        self.skip(count, what)
        first = begin - self._start
        if first < 0 or first + count > len(self._window):
            window = bytearray(min(_WINDOW, self._access.size - begin))
            self._access.pread_into(window, begin)
            self._window, self._start, first = bytes(window), begin, 0
        return self._window[first : first + count]

    def number(self, form: str, what: str) -> Any:
        """The next number, as `struct` has it."""
        (value,) = struct.unpack(form, self.take(struct.calcsize(form), what))
        return value

    def text(self, what: str) -> str | None:
        """The next string; None for one of more than `MAX_TEXT` bytes, which is skipped."""
        length = self.number("<Q", what)
        if length > MAX_TEXT:
            self.skip(length, what)
            return None
        begin = self.at
        self._texts += length
        if self._texts > MAX_TEXTS:
            raise UnsupportedError(f"{self.file}: names and texts of more than {MAX_TEXTS >> 20} MiB")
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            self.at = begin
            self.corrupt(f"{what} is not UTF-8: {error.reason}")

    def name(self, what: str) -> str:
        """The next string, which must not be long."""
        found = self.text(what)
        if found is None:
            self.corrupt(f"{what} of more than {MAX_TEXT} bytes")
        return found


class _Header:
    """What stands before the data.

    Attributes
    ----------
    metadata : dict of str
        Values that are no arrays, as text; those of more than `MAX_TEXT` bytes are left out.
    entries : list of Entry
        In the order of the header.
    begin, alignment : int
        Where the data begins; every tensor begins at a multiple of the alignment from there.
    """

    def __init__(self, access: Access, name: str) -> None:
        self.file = name
        cursor = _Cursor(access, name)
        cursor.skip(len(MARK), "the mark")
        self._check_version(cursor)
        tensors, keys = (cursor.number("<Q", "the counts") for _ in range(2))
        for count, most, least, what in (
            (tensors, MAX_TENSORS, _LEAST_TENSOR, "tensor"),
            (keys, MAX_KEYS, _LEAST_PAIR, "key"),
        ):
            if count * least > cursor.left:
                cursor.corrupt(f"{counted(count, what)} in a file of {access.size} bytes")
            if count > most:
                raise UnsupportedError(f"{name}: {counted(count, what)}; nqz takes up to {most}")
        self.metadata: dict[str, str] = {}
        self.alignment = 32
        self._read_pairs(cursor, keys)
        places = [self._entry(cursor) for _ in range(tensors)]
        self.begin = -(-cursor.at // self.alignment) * self.alignment
        self.end = cursor.at
        self.entries = [entry._replace(begin=self.begin + entry.begin) for entry in places]
        twice = _twice([entry.name for entry in self.entries])
        if twice is not None:
            cursor.corrupt(f"two tensors are named {_quote(twice)}")

    def _check_version(self, cursor: _Cursor) -> None:
        version = cursor.number("<I", "the version")
        if version & 0xFFFF == 0 and version:
            raise UnsupportedError(f"{self.file}: is big-endian; convert it: gguf-convert-endian FILE little")
        if version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise UnsupportedError(f"{self.file}: .gguf version {version}; nqz reads versions {known}")

    def _read_pairs(self, cursor: _Cursor, count: int) -> None:
        keys: set[str] = set()
        for _ in range(count):
            key = cursor.name("a key")
            if key in keys:
                cursor.corrupt(f"the key {_quote(key)} occurs twice")
            keys.add(key)
            kind = cursor.number("<I", "the type of a value")
            if key == "general.alignment":
                self._read_alignment(cursor, kind)
                continue
            value = _value(cursor, kind, f"the value of {_quote(key)}")
            if value is not None:
                self.metadata[key] = value

    def _read_alignment(self, cursor: _Cursor, kind: int) -> None:
        if kind != _UINT32:
            cursor.corrupt("the alignment is not of type uint32")
        self.alignment = cursor.number("<I", "the alignment")
        if self.alignment == 0 or self.alignment & (self.alignment - 1):
            cursor.corrupt(f"an alignment of {self.alignment}, which is no power of two")
        if self.alignment > _MAX_ALIGNMENT:
            raise UnsupportedError(
                f"{self.file}: an alignment of {self.alignment}; nqz takes up to {_MAX_ALIGNMENT}"
            )

    def _entry(self, cursor: _Cursor) -> Entry:
        """The next tensor; its place counts from the begin of the data."""
        name = cursor.name("the name of a tensor")
        what = f"tensor {_quote(name)}"
        fault = Gguf.kind.name_fault(name)
        if fault is not None:
            raise UnsupportedError(f"{self.file}: {what}: its name {fault}")
        dimensions = cursor.number("<I", what)
        if dimensions > MAX_DIMENSIONS:
            cursor.corrupt(f"{what}: {dimensions} dimensions; the format allows {MAX_DIMENSIONS}")
        extents = [cursor.number("<Q", what) for _ in range(dimensions)]
        if max(extents, default=0) > MAX_EXTENT:
            cursor.corrupt(f"{what}: an extent of {max(extents)}")
        shape = tuple(reversed(extents))
        kind, begin = cursor.number("<I", what), cursor.number("<Q", what)
        if begin % self.alignment:
            cursor.corrupt(f"{what}: begins at {begin}, which is no multiple of {self.alignment}")
        if kind in _DTYPES:
            return Entry(name, shape, _DTYPES[kind], begin, data_bytes(shape, _DTYPES[kind]), None)
        found = quantization(kind, f"{self.file}: {what}")
        if not shape or shape[-1] % found.block:
            cursor.corrupt(f"{what}: rows of {found.name} are multiples of {found.block} entries")
        return Entry(name, shape, "float32", begin, math.prod(shape) // found.block * found.nbytes, found)


def _value(cursor: _Cursor, kind: int, what: str) -> str | None:
    """The next value as text; None for one that is not kept."""
    if kind == _STRING:
        return cursor.text(what)
    if kind in _SCALARS:
        value = cursor.number(_SCALARS[kind], what)
        if isinstance(value, bool):
            return str(value).lower()
        return str(np.float32(value)) if _SCALARS[kind] == "<f" else str(value)
    if kind != _ARRAY:
        cursor.corrupt(f"{what} is of the unknown type {kind}")
    kind, count = cursor.number("<I", what), cursor.number("<Q", what)
    if kind in _SCALARS:
        cursor.skip(count * struct.calcsize(_SCALARS[kind]), what)
    elif kind == _STRING:
        if 8 * count > cursor.left:
            cursor.corrupt(f"{what} has {count} strings")
        if count > MAX_STRINGS:
            raise UnsupportedError(
                f"{cursor.file}: {what} has {count} strings; nqz takes up to {MAX_STRINGS}"
            )
        for _ in range(count):
            cursor.skip(cursor.number("<Q", what), what)
    else:
        cursor.corrupt(f"{what} is an array of the type {kind}")
    return None


def _covered(header: _Header, access: Access) -> list[Entry]:
    """The tensors, once their data, in some order, with zeros between, is found to be all of the rest."""
    position, file = header.end, header.file
    for entry in sorted(header.entries, key=lambda entry: (entry.begin, entry.nbytes)):
        begin = -(-position // header.alignment) * header.alignment
        if entry.begin != begin:
            how = "overlaps another" if entry.begin < begin else f"leaves {entry.begin - begin} bytes to none"
            raise CorruptError(
                f"{file}: the .gguf header is damaged: tensor {_quote(entry.name)} begins at byte {entry.begin}, "
                f"which {how}"
            )
        _check_zeros(access, position, begin, file)
        position = entry.begin + entry.nbytes
        if position > access.size:
            missing = counted(position - access.size, "data byte", "are")
            raise CorruptError(f"{file}: truncated: tensor {_quote(entry.name)}: {missing} missing")
    end = -(-position // header.alignment) * header.alignment
    if access.size > end:
        raise CorruptError(
            f"{file}: {counted(access.size - end, 'byte', 'follow')} the data, which ends at byte {end}"
        )
    _check_zeros(access, position, access.size, file)
    return header.entries


def _check_zeros(access: Access, begin: int, end: int, file: str) -> None:
    padding = bytearray(max(0, min(end, access.size) - begin))
    access.pread_into(padding, begin)
    if any(padding):
        raise CorruptError(
            f"{file}: damaged: of bytes {begin} to {end - 1}, which align the data, some are not 0"
        )


def _twice(names: list[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
