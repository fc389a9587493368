"""Containers put together by hand, with right checksums, so that one field at a time can be false.

Nothing of `nqz.format` is used: what is here says once more, by itself, how a file is laid out.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import msgpack
import zstandard

MAGIC = b"\x8eNQZ\r\n\x1a\n"
PREAMBLE = 16
HEADER = 16
END = HEADER + 64
"""Bytes of the preamble, of the header of a record, and of the end record."""

Parts = list[tuple[str, bytes]]
"""Records: type and payload of each."""


def preamble(version: int = 0, features: int = 0, crc: int | None = None) -> bytes:
    """The first 16 bytes of a file; `crc` in place of the right one."""
    head = MAGIC + struct.pack("<HH", version, features)
    return head + struct.pack("<I", zlib.crc32(head) if crc is None else crc)


def record(
    kind: str | bytes,
    payload: bytes,
    length: int | None = None,
    padding: bytes | None = None,
    crc: int | None = None,
) -> bytes:
    """A record. Another length, padding or CRC-32 may be stated; the CRC-32 is that of what is there."""
    kind = kind.encode("latin-1") if isinstance(kind, str) else kind
    stated = struct.pack("<Q", len(payload) if length is None else length)
    body = payload + (bytes(-len(payload) % 8) if padding is None else padding)
    return kind + struct.pack("<I", zlib.crc32(kind + stated + body) if crc is None else crc) + stated + body


def integers(values: list[int], width: int | None = None) -> bytes:
    """A sequence of integers in form 0: zigzag, in byte planes of the least width or another one."""
    zigzag = [value << 1 if value >= 0 else ~(value << 1) for value in values]
    if width is None:
        width = max(1, (max(zigzag, default=0).bit_length() + 7) // 8)
    planes = (bytes(number >> 8 * plane & 255 for number in zigzag) for plane in range(width))
    return bytes([0, width]) + b"".join(planes)


def index(types: list[str], counts: list[int], numbers: list[int], lengths: list[int]) -> bytes:
    """Payload of INDX from its types and its three sequences."""
    head = struct.pack("<I", len(types)) + "".join(types).encode("latin-1")
    return head + b"".join(map(integers, (counts, numbers, lengths)))


def tensor(
    name: str = "x",
    shape: tuple[int, ...] | list[int] = (3,),
    dtype: str = "uint8",
    codec: str = "exact-1",
    order: str = "C",
    byte_order: str = "|",
    parameters: Any = None,
    extensions: dict[str, Any] | None = None,
) -> list[Any]:
    """The entry of a tensor in the manifest."""
    return [codec, name, list(shape), dtype, order, byte_order, parameters, extensions or {}]


def manifest(tensors: list[Any], source: str = "safetensors", **fields: Any) -> dict[str, Any]:
    """The map of a manifest, in its order; `fields` replaces some."""
    known: dict[str, Any] = {
        "source": source, "metadata": None, "set": None, "writer": "nqz test", "extensions": {},
        "tensors": tensors,
    }  # fmt: skip
    return {**known, **fields}


def exact(data: bytes, level: int = 3) -> bytes:
    """Payload of EXCT for at most 4 MiB, not empty."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compress(data)


@dataclass
class Container:
    """A container in parts. What is None is made of the other parts.

    Attributes
    ----------
    manifest : dict or bytes
        The map, or the payload of MANI.
    tensors : list of Parts
        The records of each tensor.
    leading : Parts
        Those in front of the first tensor.
    preamble : bytes
    counts, numbers, lengths : list of int, or None
        The sequences of the index.
    types : list of str, or None
    index : bytes or None
        The payload of INDX.
    end : dict
        Fields of the end record: file_length, manifest_offset, index_offset, records, digest.
    """

    manifest: dict[str, Any] | bytes
    tensors: list[Parts] = field(default_factory=list)
    leading: Parts = field(default_factory=list)
    preamble: bytes = field(default_factory=preamble)
    types: list[str] | None = None
    counts: list[int] | None = None
    numbers: list[int] | None = None
    lengths: list[int] | None = None
    index: bytes | None = None
    end: dict[str, Any] = field(default_factory=dict)

    def records(self) -> Parts:
        """All records in front of MANI."""
        return [*self.leading, *(part for records in self.tensors for part in records)]

    def sequences(self) -> tuple[list[str], list[int], list[int], list[int]]:
        """What an index of these parts has: types, counts, numbers, lengths."""
        records = self.records()
        types = list(dict.fromkeys(kind for kind, _ in records))
        counts = [len(self.leading), *map(len, self.tensors)]
        return types, counts, [types.index(kind) for kind, _ in records], [len(data) for _, data in records]

    def packed_manifest(self) -> bytes:
        """Payload of MANI."""
        return self.manifest if isinstance(self.manifest, bytes) else msgpack.packb(self.manifest)

    def packed_index(self) -> bytes:
        """Payload of INDX."""
        if self.index is not None:
            return self.index
        types, counts, numbers, lengths = self.sequences()
        return index(
            types if self.types is None else self.types,
            counts if self.counts is None else self.counts,
            numbers if self.numbers is None else self.numbers,
            lengths if self.lengths is None else self.lengths,
        )

    def build(self) -> bytes:
        """The bytes of the file."""
        framed = [record(*part) for part in self.records()]
        return assemble(framed, self.packed_manifest(), self.packed_index(), self.preamble, **self.end)

    def replaced(self, **fields: Any) -> Container:
        """A copy with other parts, of which nothing is shared."""
        made: Container = pickle.loads(pickle.dumps(self))  # noqa: S301 - a tenth of the time of copy.deepcopy
        for name, value in fields.items():
            assert hasattr(made, name), name
            setattr(made, name, value)
        return made


def assemble(
    framed: list[bytes], mani: bytes, indx: bytes, start: bytes | None = None, **fields: Any
) -> bytes:
    """A file from records that have their headers, and the payloads of MANI and INDX.

    `fields` replaces those of the end record, which are right otherwise.
    """
    parts = [preamble() if start is None else start, *framed]
    offset = sum(map(len, parts))
    parts += [record("MANI", mani), record("INDX", indx)]
    right = {
        "file_length": sum(map(len, parts)) + END,
        "manifest_offset": offset,
        "index_offset": offset + len(parts[-2]),
        "records": len(parts),  # the preamble is none, the end record is one
        "digest": hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest(),
    }
    assert set(fields) <= set(right), fields
    return b"".join([*parts, record("DONE", struct.pack("<QQQQ32s", *{**right, **fields}.values()))])


def split(data: bytes) -> Parts:
    """All records of a file, as they follow one another: type and payload of each."""
    records, offset = [], PREAMBLE
    while offset < len(data):
        kind, _, length = struct.unpack_from("<4sIQ", data, offset)
        records.append((kind.decode("latin-1"), bytes(data[offset + HEADER : offset + HEADER + length])))
        offset += HEADER + length + -length % 8
    return records


def offsets(data: bytes) -> list[int]:
    """Where each record of a file begins."""
    found, offset = [], PREAMBLE
    for _, payload in split(data):
        found.append(offset)
        offset += HEADER + len(payload) + -len(payload) % 8
    return found


def taken_apart(data: bytes, counts: list[int] | None = None) -> Container:
    """The parts of a file, to be changed.

    `counts` says how many records come in front of the first tensor, and how many each tensor has; they need not be
    given where the index has them in form 0.
    """
    *records, (_, mani), (_, indx), _ = split(data)
    entries = msgpack.unpackb(mani)
    if counts is None:
        (types,) = struct.unpack_from("<I", indx)
        counts = _stored(indx[4 + 4 * types :], len(entries["tensors"]) + 1)
    made = Container(entries, preamble=bytes(data[:PREAMBLE]))
    taken = iter(records)
    made.leading, *made.tensors = ([next(taken) for _ in range(count)] for count in counts)
    return made


def _stored(data: bytes, count: int) -> list[int]:
    form, width = data[:2]
    assert form == 0, "the counts are not in form 0"
    planes = [data[2 + plane * count : 2 + (plane + 1) * count] for plane in range(width)]
    zigzag = [sum(plane[i] << 8 * p for p, plane in enumerate(planes)) for i in range(count)]
    return [number >> 1 if number % 2 == 0 else ~(number >> 1) for number in zigzag]
