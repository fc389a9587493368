"""The container: records, manifest, index, end record and exact tensors (Part I)."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from .sequences import CorruptError, NewerFormatError, Reader, require, sequence

MAGIC = bytes.fromhex("8E4E515A0D0A1A0A")
PIECE = 4 << 20  # section 5
BITS = {  # section 3
    name: bits
    for bits, names in {
        4: "float4_e2m1fn",
        6: "float6_e2m3fn float6_e3m2fn",
        8: "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu bool int8 uint8",
        16: "int16 uint16 float16 bfloat16",
        32: "int32 uint32 float32",
        64: "int64 uint64 float64 complex64",
        128: "complex128",
    }.items()
    for name in names.split()
}
NUMPY = "bool|u?int[0-9]+|float(16|32|64)|complex[0-9]+"  # dtypes that NumPy has
# The codes that a length follows, with its bytes and the least length that needs them. Only str and bin
# have 8 bits: an array or map beyond the 15 items that fit into its code takes 16.
LENGTHS = {
    code: (size, least)
    for codes, size, least in [
        ((0xD9,), 1, 32),  # str
        ((0xC4,), 1, 0),  # bin
        ((0xDA, 0xC5), 2, 1 << 8),  # str, bin
        ((0xDC, 0xDE), 2, 16),  # array, map
        ((0xDB, 0xC6, 0xDD, 0xDF), 4, 1 << 16),  # str, bin, array, map
    ]
    for code in codes
}


def unpack(data: bytes) -> Any:
    """The canonical msgpack value that fills the data (section 2)."""
    reader = Reader(data)
    value = _value(reader, 1, ())
    reader.end()
    return value


def _length(reader: Reader, first: int) -> int:
    """The length that follows one of the codes in LENGTHS."""
    size, least = LENGTHS[first]
    length = int.from_bytes(reader.take(size), "big")
    require(length >= least, "length is not in its shortest form")
    return length


def _value(reader: Reader, depth: int, path: tuple[str, ...]) -> Any:
    """One value; `depth` is the depth that a list or map here has, `path` the keys that lead to it."""
    first = reader.integer(1)
    if first < 0x80 or first >= 0xE0:
        return first - 256 * (first >= 0xE0)
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first]
    if first == 0xCB:
        number = struct.unpack(">d", reader.take(8))[0]
        require(math.isfinite(number), "float is not finite")
        return number
    if 0xCC <= first <= 0xCF:
        size = 1 << (first - 0xCC)
        number = int.from_bytes(reader.take(size), "big")
        require(number >= (128 if size == 1 else 1 << 4 * size), "integer is not in its shortest form")
        return number
    if 0xD0 <= first <= 0xD3:
        size = 1 << (first - 0xD0)
        number = int.from_bytes(reader.take(size), "big", signed=True)
        require(number < (-32 if size == 1 else -1 << 4 * size - 1), "integer is not in its shortest form")
        return number
    if 0xA0 <= first < 0xC0 or 0xD9 <= first <= 0xDB:
        size = first & 31 if first < 0xC0 else _length(reader, first)
        try:
            return reader.take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise CorruptError("str is not UTF-8") from None
    if 0xC4 <= first <= 0xC6:
        return reader.take(_length(reader, first))
    if 0x80 <= first < 0xA0 or 0xDC <= first <= 0xDF:
        is_map = first < 0x90 or first >= 0xDE
        size = first & 15 if first < 0xA0 else _length(reader, first)
        require(depth <= 8, "nested too deep")
        require(size * (1 + is_map) <= len(reader.data) - reader.at, "declared length is too large")
        if not is_map:
            require(size <= 1024 or path == ("tensors",), "array is too long")
            return [_value(reader, depth + 1, (*path, "")) for _ in range(size)]
        result: dict[str, Any] = {}
        for _ in range(size):
            key = _value(reader, depth + 1, (*path, ""))
            require(isinstance(key, str) and key not in result, "key is not a str, or repeats")
            result[key] = _value(reader, depth + 1, (*path, key))
        return result
    raise CorruptError(f"msgpack code {first:#x} is not allowed")


@dataclass
class Tensor:
    """An item of the manifest (section 3), and its records: (type, offset, length of the payload)."""

    codec: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    order: str
    byte_order: str
    parameters: Any
    records: list[tuple[bytes, int, int]]
    part: tuple[str, int, int] | None = None  # of a slice: name of the tensor, index, number of slices
    same: int | None = None  # number of the tensor that it equals
    own: tuple[tuple[bytes, int, int], ...] = ()  # records that the index gives to one that equals another

    @property
    def size(self) -> int:
        """Bytes of the tensor (section 3)."""
        return -(-math.prod(self.shape) * BITS[self.dtype] // 8)


def is_integer(value: Any, low: int, high: int) -> bool:
    """Whether the value is an integer, not a boolean, from low to high."""
    return type(value) is int and low <= value <= high


class Container:
    """An opened file; `tensors` are those of the manifest. Opening checks what section 8 lists for it."""

    def __init__(self, path: str | Path) -> None:
        self.data = Path(path).read_bytes()
        require(self.data[:8] == MAGIC, "not an nqz file")
        require(len(self.data) >= 96, "file is too short")
        version, features, check = struct.unpack("<HHI", self.data[8:16])
        require(check == zlib.crc32(self.data[:12]), "CRC-32 of the preamble is wrong")
        if version > 0 or features:
            raise NewerFormatError(f"version {version} with features {features:#x}; known is version 0")
        self.end = len(self.data) - 80
        done = self.record(b"DONE", self.end, 64)
        length, mani, indx, self.count = struct.unpack("<4Q", done[:32])
        require(length == len(self.data), "length of the file is wrong")
        require(16 <= mani < indx < self.end, "offsets of the end record are wrong")
        require(3 <= self.count <= min(1 << 26, length // 16), "number of records is wrong")
        self.mani = mani
        self._read_manifest(self.record(b"MANI", mani, self._length(mani, indx)))
        self._read_index(Reader(self.record(b"INDX", indx, self._length(indx, self.end))))

    def _length(self, offset: int, end: int) -> int:
        """The payload's length of the record at the offset, which ends at `end`."""
        length = int.from_bytes(self.data[offset + 8 : offset + 16], "little")
        require(offset + 16 + length + -length % 8 == end, "record does not end where the next begins")
        return length

    def record(self, kind: bytes, offset: int, length: int) -> bytes:
        """The payload of a record of this type and length, checked (sections 1.2 and 1.4)."""
        end = offset + 16 + length + -length % 8
        require(end <= len(self.data), "record does not end within the file")
        header = self.data[offset : offset + 16]
        require(header[:4] == kind, "type of a record is not that expected")
        require(int.from_bytes(header[8:], "little") == length, "length of a record is not that expected")
        crc = zlib.crc32(self.data[offset + 8 : end], zlib.crc32(kind))
        require(crc == int.from_bytes(header[4:8], "little"), "CRC-32 of a record is wrong")
        require(not any(self.data[offset + 16 + length : end]), "padding is not zero")
        return self.data[offset + 16 : offset + 16 + length]

    def _read_manifest(self, payload: bytes) -> None:
        """Section 3."""
        require(len(payload) <= 64 << 20, "manifest is too large")
        manifest = unpack(payload)
        keys = ["source", "metadata", "set", "writer", "extensions", "tensors"]
        require(isinstance(manifest, dict) and list(manifest) == keys, "keys of the manifest are wrong")
        self.source, metadata, part, writer, extensions, items = manifest.values()
        require(isinstance(self.source, str) and isinstance(writer, str), "source or writer is not a str")
        if self.source not in ("npy", "npz", "safetensors"):
            raise NewerFormatError(f"source {self.source!r}")
        require(metadata is None or isinstance(metadata, dict), "metadata is no map")
        require(all(isinstance(v, str) for v in (metadata or {}).values()), "metadata is not of str")
        if part is not None:
            require(isinstance(part, list) and len(part) == 3, "set is not a list of three")
            require(isinstance(part[0], bytes) and len(part[0]) == 16, "id of the set is wrong")
            require(all(is_integer(number, 0, 2**64) for number in part[1:]), "part of the set is wrong")
            require(part[1] < part[2], "part of the set is wrong")
        require(isinstance(extensions, dict) and isinstance(items, list), "extensions or tensors are wrong")
        self.metadata: dict[str, str] | None = metadata
        self.part = part
        self.tensors = [self._tensor(item) for item in items]
        self.tensors = [self._tie(number, tensor) for number, tensor in enumerate(self.tensors)]
        names = [tensor.name for tensor in self.tensors]
        require(len(set(names)) == len(names), "names repeat")
        require(self.source != "npy" or names == [""], "an .npy file has one tensor without name")
        self._check_slices()

    def _tensor(self, item: Any) -> Tensor:
        """One item of `tensors`, checked."""
        require(isinstance(item, list) and len(item) >= 6, "item of the manifest is no list of values")
        codec, name, shape, dtype, order, byte_order = item[:6]
        require(isinstance(codec, str) and isinstance(name, str), "codec or name is not a str")
        require(len(name.encode()) <= 65536, "name is too long")
        require(isinstance(shape, list) and len(shape) <= 64, "shape is no list")
        require(all(is_integer(d, 0, 2**63 - 1) for d in shape), "shape is wrong")
        require(isinstance(dtype, str) and order in ("C", "F"), "dtype or order is wrong")
        require(byte_order in ("<", ">", "|"), "byte order is wrong")
        known = codec in ("nqz-1", "exact-1", "slice-1", "tied-1")
        parameters = item[6] if known and len(item) == 8 else None
        tensor = Tensor(codec, name, tuple(shape), dtype, order, byte_order, parameters, [])
        if known:
            require(len(item) == 8 and isinstance(item[7], dict), "number of values, or extensions")
            require(codec != "exact-1" or parameters is None, "an exact tensor has no parameters")
        if codec == "slice-1":
            tensor = self._slice(tensor)
        if self.source == "npz":
            require(len(name.encode()) <= 65531 and ".." not in name.split("/"), "name in a .npz file")
            require(not re.search(r"[\0\\]|^/|^[A-Za-z]:/", name), "name in a .npz file")
        if self.source == "safetensors":
            require(name != "__metadata__", "name in a .safetensors file")
            require(order == "C" and byte_order != ">", "order in a .safetensors file")
        if dtype in BITS:
            require((byte_order == "|") == (BITS[dtype] <= 8), "byte order and dtype do not agree")
            require(tensor.size < 1 << 63, "tensor is too large")
            if codec in ("nqz-1", "slice-1"):
                floats = re.fullmatch("b?float16|float(32|64)|float8_e(4m3|5m2).*", dtype)
                require(floats and shape and math.prod(shape), "dtype or shape of a matrix")
            elif codec == "exact-1" and tensor.size and self.source == "safetensors":
                require(dtype != "complex128", "complex128 in a .safetensors file")
            elif codec == "exact-1" and tensor.size:
                require(re.fullmatch(NUMPY, dtype), "dtype in a .npy or .npz file")
        return tensor

    def _tie(self, number: int, tensor: Tensor) -> Tensor:
        """A tensor that equals an earlier one, with the codec and parameters of that (section 3.3)."""
        if tensor.codec != "tied-1":
            return tensor
        require(is_integer(tensor.parameters, 0, number - 1), "number of the tensor that one equals")
        target = self.tensors[tensor.parameters]
        require(target.codec != "tied-1" and target.part is None, "codec of the tensor that one equals")
        require(
            (tensor.shape, tensor.dtype, tensor.order, tensor.byte_order)
            == (target.shape, target.dtype, target.order, target.byte_order),
            "one tensor equals another that is unlike it",
        )
        return replace(tensor, codec=target.codec, parameters=target.parameters, same=tensor.parameters)

    def _slice(self, tensor: Tensor) -> Tensor:
        """A slice as the matrix that it is, with what it is a slice of (section 3.1)."""
        require(isinstance(tensor.parameters, list) and len(tensor.parameters) == 3, "parameters of a slice")
        index, slices, own = tensor.parameters
        require(is_integer(slices, 1, 2**63 - 1) and is_integer(index, 0, slices - 1), "index of a slice")
        require(tensor.order == "C" and 2 <= len(tensor.shape) <= 63, "order or dimensions of a slice")
        require(tensor.name.endswith(f"[{index}]"), "name of a slice")
        require(tensor.dtype not in BITS or slices * tensor.size < 1 << 63, "tensor is too large")
        name = tensor.name[: -len(f"[{index}]")]
        return replace(tensor, codec="nqz-1", parameters=own, part=(name, index, slices))

    def _check_slices(self) -> None:
        """Section 3.1: the slices of a tensor are together, and its name is no other's."""
        expected = None
        names = {tensor.name for tensor in self.tensors}
        for tensor in self.tensors:
            facts = (tensor.part, tensor.shape, tensor.dtype, tensor.byte_order)
            if expected is not None:
                require(facts == expected, "slices are not together, or not alike")
            elif tensor.part is not None:
                require(tensor.part[1] == 0, "first slice is missing")
                require(tensor.part[0] not in names, "names repeat")
                names.add(tensor.part[0])
            expected = None
            if tensor.part is not None and tensor.part[1] + 1 < tensor.part[2]:
                name, index, slices = tensor.part
                expected = ((name, index + 1, slices), *facts[1:])
        require(expected is None, "slices are missing")

    def _read_index(self, reader: Reader) -> None:
        """Section 6: types, owners and lengths of all records before the manifest."""
        kinds = [reader.take(4) for _ in range(min(reader.integer(4), 257))]
        require(len(kinds) <= 256 and len(set(kinds)) == len(kinds), "types of the index")
        require(all(kind.isalpha() for kind in kinds), "type of a record is not of letters")
        records = self.count - 3
        counts = sequence(reader, len(self.tensors) + 1).tolist()
        places = sequence(reader, records).tolist()
        lengths = sequence(reader, records).tolist()
        reader.end()
        require(min(counts) >= 0 and sum(counts) == records, "counts of the index")
        self.index: list[tuple[bytes, int, int]] = []
        offset = 16
        for place, length in zip(places, lengths, strict=True):
            require(0 <= place < len(kinds) and 0 <= length <= self.mani - offset - 16, "index is wrong")
            self.index.append((kinds[place], offset, length))
            offset += 16 + length + -length % 8
        require(offset == self.mani, "the records do not end where the manifest begins")
        require(not {b"MANI", b"INDX", b"DONE"} & {kind for kind, _, _ in self.index}, "order of records")
        first = counts[0]
        require(not self._critical(self.index[:first]), "order of records")  # section 1.3
        for tensor, number in zip(self.tensors, counts[1:], strict=True):
            tensor.records = self.index[first : first + number]
            first += number
        for tensor in self.tensors:
            if tensor.same is not None:
                tensor.own, tensor.records = tuple(tensor.records), self.tensors[tensor.same].records

    def payloads(self, tensor: Tensor) -> list[tuple[bytes, int, int]]:
        """The critical records of a tensor."""
        if tensor.codec not in ("nqz-1", "exact-1"):
            raise NewerFormatError(f"codec {tensor.codec!r}")
        if tensor.dtype not in BITS:
            raise NewerFormatError(f"dtype {tensor.dtype!r}")
        require(not self._critical(list(tensor.own)), "records of a tensor that equals another")
        return self._critical(tensor.records)

    def _critical(self, records: list[tuple[bytes, int, int]]) -> list[tuple[bytes, int, int]]:
        """Those of the records that must not be skipped; refuses types that are not known (section 1.2)."""
        critical = [record for record in records if not record[0][0] & 32]
        for kind, _, _ in critical:
            if kind not in (b"NORM", b"MEAN", b"CHNK", b"GAIN", b"EXCT"):
                raise NewerFormatError(f"type of record {kind.decode()!r}")
        return critical

    def exact(self, tensor: Tensor) -> bytes:
        """The bytes of an exact tensor (section 5)."""
        records = self.payloads(tensor)
        require(len(records) == -(-tensor.size // PIECE), "number of records of an exact tensor")
        pieces = []
        for i, (kind, offset, length) in enumerate(records):
            require(kind == b"EXCT", "order of records")
            frame = self.record(kind, offset, length)
            expected = min(PIECE, tensor.size - PIECE * i)
            try:
                parameters = zstandard.get_frame_parameters(frame)
                require(frame[:4] == b"\x28\xb5\x2f\xfd", "not a frame of Zstandard")
                require(parameters.content_size == expected, "content size of a frame")
                require(parameters.has_checksum and not parameters.dict_id, "checksum or dictionary")
                require(parameters.window_size <= max(8 << 20, expected), "window of a frame")
                decoder = zstandard.ZstdDecompressor(max_window_size=16 << 20).decompressobj()
                piece = decoder.decompress(frame)
            except zstandard.ZstdError as error:
                raise CorruptError(f"Zstandard: {error}") from None
            require(decoder.eof and not decoder.unused_data and len(piece) == expected, "frame is wrong")
            pieces.append(piece)
        return b"".join(pieces)

    def verify(self) -> None:
        """Check every record, that they are those of the index, and the digest (sections 6 and 7)."""
        hashes = [hashlib.sha256(self.data[:16]).digest()]
        offset = 16
        records = iter(self.index)
        while offset < self.end:
            kind = self.data[offset : offset + 4]
            length = int.from_bytes(self.data[offset + 8 : offset + 16], "little")
            self.record(kind, offset, length)
            require(offset >= self.mani or next(records) == (kind, offset, length), "index is wrong")
            end = offset + 16 + length + -length % 8
            hashes.append(hashlib.sha256(self.data[offset:end]).digest())
            offset = end
        require(len(hashes) == self.count, "number of records is wrong")
        digest = hashlib.sha256(b"".join(hashes)).digest()
        require(digest == self.data[-32:], "digest is wrong")


def numpy_dtype(tensor: Tensor) -> np.dtype[Any] | None:
    """The dtype of NumPy that the tensor has, if there is one."""
    if not re.fullmatch(NUMPY, tensor.dtype):
        return None
    return np.dtype(tensor.byte_order.replace("|", "=") + np.dtype(tensor.dtype).str[1:])
