"""The .safetensors format: an 8-byte length, a JSON header, and the data of all tensors without gaps."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

from nqz.files.access import Access
from nqz.files.contract import FileLayout, Format, Source, SourceTensor, TensorSpec
from nqz.ground.dtypes import default_byte_order, dtype_bits, from_safetensors, to_safetensors
from nqz.ground.errors import CorruptError, UnsupportedError, UsageError
from nqz.ground.sources import MAX_EXTENT, MAX_RANK, SOURCES
from nqz.ground.wording import counted

MAX_HEADER = 100_000_000
_METADATA = "__metadata__"
_FIELDS = ("dtype", "shape", "data_offsets")
_SPACE = b" \t\r\n"


class Safetensors(Format):
    """All tensors behind one header, contiguous, in C order and little-endian."""

    kind = SOURCES["safetensors"]

    def sniff(self, start: bytes | bytearray, size: int) -> bool:
        """See `Format.sniff`."""
        # white space may stand before the brace, but proves nothing
        return self.kind.has_mark(start) or (start[8:9].isspace() and not any(start[4:8]))

    def read(self, access: Access, name: str) -> Source:
        """See `Format.read`."""
        entries, metadata = read_header(access, name)
        tensors = [
            SourceTensor(
                access,
                entry.name,
                entry.shape,
                entry.dtype,
                byte_order=default_byte_order(entry.dtype),
                fortran_order=False,
                offset=entry.begin,
            )
            for entry in entries
        ]
        return Source(self.kind, name, tensors, metadata, access)

    def lay_out(self, specs: Sequence[TensorSpec], metadata: dict[str, str] | None) -> FileLayout:
        """See `Format.lay_out`."""
        for spec in specs:
            if spec.byte_order == ">" or spec.fortran_order:
                raise UnsupportedError(
                    f"tensor {spec.name!r}: .safetensors has neither big-endian nor Fortran-order data"
                )
        header, offsets = build_header(specs, metadata)
        return FileLayout([(0, header)], offsets, len(header) + sum(spec.nbytes for spec in specs))


SAFETENSORS = Safetensors()


class Entry(NamedTuple):
    """One tensor of a header; `begin` and `end` count from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(access: Access, name: str) -> tuple[list[Entry], dict[str, str] | None]:
    """Read and check a header against the bytes present.

    Returns
    -------
    entries : list of Entry
        In the order of the header, which need not be that of the data.
    metadata : dict or None
        The ``__metadata__`` of the header.

    Raises
    ------
    CorruptError
        If the header makes no sense, or the data is not exactly what it describes.
    UnsupportedError
        If a data type is unknown.
    """
    if access.size < 8:
        raise CorruptError(f"{name}: truncated: .safetensors begins with 8 bytes, here are {access.size}")
    start = bytearray(8)
    access.pread_into(start, 0)
    (length,) = struct.unpack("<Q", start)
    if length > MAX_HEADER:
        raise CorruptError(f"{name}: a .safetensors header of {length} bytes; the format allows {MAX_HEADER}")
    if 8 + length > access.size:
        missing = 8 + length - access.size
        raise CorruptError(
            f"{name}: truncated: of the .safetensors header {counted(missing, 'byte', 'are')} missing"
        )
    text = bytearray(length)
    access.pread_into(text, 8)
    header = _parse(text, name)
    found = header.pop(_METADATA, None)  # null is none
    metadata = None if found is None else _metadata(found, name)
    entries = [_entry(key, value, 8 + length, name) for key, value in header.items()]
    _check_coverage(entries, 8 + length, access.size, name)
    return entries, metadata


def _corrupt(name: str, what: str) -> NoReturn:
    raise CorruptError(f"{name}: the .safetensors header is damaged: {what}")


class _Object(dict[str, Any]):
    """A JSON object, and a key that occurs twice in it, if one does."""

    twice: str | None = None


def _parse(text: bytearray, name: str) -> dict[str, Any]:
    def made(pairs: list[tuple[str, Any]]) -> _Object:
        result = _Object(pairs)
        if len(result) != len(pairs):
            keys = sorted(key for key, _ in pairs)
            result.twice = next(key for key, after in pairwise(keys) if key == after)
        return result

    def integer(digits: str) -> int | float:
        # Keeps Python from converting a million digits; what is no count becomes a float, which is none either.
        return int(digits) if len(digits) <= 20 and digits[0] != "-" else 0.0

    def real(digits: str) -> float:
        return 0.0 if math.isfinite(float(digits)) else refuse(digits)

    def refuse(literal: str) -> NoReturn:
        _corrupt(name, f"{literal[:40]} is not JSON")

    begin = len(text) - len(text.lstrip(_SPACE))
    if text[begin : begin + 1] != b"{":
        _corrupt(name, "it does not begin with '{'")
    decoder = json.JSONDecoder(
        object_pairs_hook=made, parse_int=integer, parse_float=real, parse_constant=refuse
    )
    try:
        header: dict[str, Any] = decoder.decode(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        _corrupt(name, f"it is not UTF-8 at byte {8 + error.start}")
    except RecursionError:
        _corrupt(name, "it is nested too deeply")
    except ValueError as error:
        _corrupt(name, f"it is not JSON: {error}")
    return _distinct(header, "", name)


def _distinct(value: Any, where: str, name: str) -> dict[str, Any]:
    """Return an object of the header; a key that occurs twice could be read in two ways."""
    if value.twice is not None:
        _corrupt(name, f"{where}the key {_quote(value.twice)} occurs twice")
    return dict(value)


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _check_text(text: Any, what: str, name: str) -> None:
    if not isinstance(text, str):
        _corrupt(name, f"{what} is not a string")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        _corrupt(name, f"{what} has half of a surrogate pair: {_quote(text)}")


def _metadata(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, dict):
        _corrupt(name, f"{_METADATA} is not an object")
    for key, text in _distinct(value, f"{_METADATA}: ", name).items():
        _check_text(key, f"a key of {_METADATA}", name)
        _check_text(text, f"the value of {_METADATA} for {_quote(key)}", name)
    return value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_EXTENT


def _entry(key: str, value: Any, start: int, name: str) -> Entry:
    _check_text(key, "a tensor name", name)
    where = f"tensor {_quote(key)}"
    if isinstance(value, list) and len(value) == len(_FIELDS):  # serde, in the reference, takes these, too
        value = _Object(zip(_FIELDS, value, strict=True))
    if not isinstance(value, dict) or not value.keys() >= set(_FIELDS):
        _corrupt(name, f"{where} does not have dtype, shape and data_offsets")
    # other fields mean nothing to readers of today
    if value.twice in _FIELDS:  # type: ignore[attr-defined]
        _corrupt(name, f"{where}: the key {value.twice!r} occurs twice")  # type: ignore[attr-defined]
    code, shape, offsets = (value[field] for field in _FIELDS)
    if not isinstance(code, str):
        _corrupt(name, f"{where}: dtype is not a string")
    dtype = from_safetensors(code)
    if dtype is None:
        raise UnsupportedError(f"{name}: {where}: unknown dtype {_quote(code)}")
    if not isinstance(shape, list) or not all(_is_count(extent) for extent in shape):
        _corrupt(name, f"{where}: the shape is not a list of non-negative integers")
    if len(shape) > MAX_RANK:
        raise UnsupportedError(f"{name}: {where}: {len(shape)} dimensions; nqz takes up to {MAX_RANK}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_count(offset) for offset in offsets):
        _corrupt(name, f"{where}: data_offsets are not two non-negative integers")
    begin, end = offsets
    bits = dtype_bits(dtype)
    for extent in shape:  # in the order of the reference, which takes 0 times anything
        bits *= extent
        if bits >= 1 << 64:
            _corrupt(name, f"{where}: its shape is beyond 64-bit numbers")
    if bits % 8:
        _corrupt(name, f"{where}: its data, of {dtype_bits(dtype)} bits an entry, does not fill whole bytes")
    nbytes = bits // 8
    if end - begin != nbytes:
        _corrupt(
            name,
            f"{where}: data_offsets span {counted(end - begin, 'byte')}, its shape and dtype take {nbytes}",
        )
    return Entry(key, dtype, tuple(shape), start + begin, start + end)


def _check_coverage(entries: list[Entry], start: int, size: int, name: str) -> None:
    """Check that the data of the tensors, in some order, is the rest of the file, each byte once."""
    position = start
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin > position:
            gap = entry.begin - position
            _corrupt(name, f"before tensor {_quote(entry.name)} {counted(gap, 'byte', 'belong')} to none")
        if entry.begin < position:
            _corrupt(name, f"tensor {_quote(entry.name)} overlaps another at byte {entry.begin}")
        position = entry.end
    if position > size:
        raise CorruptError(f"{name}: truncated: {counted(position - size, 'data byte', 'are')} missing")
    if position < size:
        raise CorruptError(
            f"{name}: {counted(size - position, 'byte', 'follow')} the data, which ends at byte {position}"
        )


def build_header(specs: Sequence[TensorSpec], metadata: dict[str, str] | None) -> tuple[bytes, list[int]]:
    """Return the bytes before the data, and where in the file the data of each tensor begins.

    Parameters
    ----------
    specs : sequence of TensorSpec
        In the order of header and data.
    metadata : dict or None
        ``__metadata__``; None leaves it out.

    Raises
    ------
    UnsupportedError
        If .safetensors has no such data type or name, or the header would be too long.
    """
    header: dict[str, Any] = {} if metadata is None else {_METADATA: metadata}
    begins = []
    position = 0
    for spec in specs:
        name, code = spec.name, to_safetensors(spec.dtype)
        if code is None:
            raise UnsupportedError(f"tensor {_quote(name)}: a .safetensors file cannot hold {spec.dtype}")
        if name == _METADATA:
            raise UnsupportedError(f"a tensor of a .safetensors file cannot be named {_METADATA}")
        if name in header:
            raise UsageError(f"two tensors are named {_quote(name)}")
        end = position + spec.nbytes
        header[name] = {"dtype": code, "shape": list(spec.shape), "data_offsets": [position, end]}
        begins.append(position)
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8 bytes
    if len(text) > MAX_HEADER:
        raise UnsupportedError(f"the header would take {len(text)} bytes; .safetensors allows {MAX_HEADER}")
    return struct.pack("<Q", len(text)) + text, [8 + len(text) + begin for begin in begins]
