"""Framing: the preamble of the file, and the type, length and CRC-32 around every record."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple, Protocol

from nqz.ground import digests
from nqz.ground.errors import CorruptError

MAGIC = b"\x8eNQZ\r\n\x1a\n"
VERSION = 0
PREAMBLE_SIZE = 12
HEADER_SIZE = 12
FRAMING = 16
"""Bytes that a record takes besides its payload: type (4), length (8), CRC-32 (4)."""

_HEADER = struct.Struct("<4sQ")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def framed(*lengths: int) -> int:
    """Bytes of records with payloads of these lengths."""
    return sum(lengths) + FRAMING * len(lengths)


class Access(Protocol):
    """What the container needs of a file: its size, and reads and writes at given positions."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        ...

    def pread_into(self, buffer: memoryview, offset: int) -> object:
        """Fill `buffer` with what lies from `offset` on."""
        ...

    def pwrite(self, buffer: memoryview, offset: int) -> object:
        """Write `buffer` to `offset`."""
        ...


class Record(NamedTuple):
    """Where a record lies: its type, the offset of its first byte, and the length of its payload."""

    type: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the record."""
        return self.offset + FRAMING + self.length


def preamble() -> bytes:
    """Return the first 12 bytes of a file: magic, version, two reserved bytes."""
    return MAGIC + struct.pack("<HH", VERSION, 0)


def is_type(record_type: str) -> bool:
    """Tell whether `record_type` is four ASCII letters."""
    return len(record_type) == 4 and record_type.isascii() and record_type.isalpha()


def is_optional(record_type: str) -> bool:
    """Tell whether a reader that does not know `record_type` skips it (its first letter is lowercase)."""
    return bool(ord(record_type[0]) & 0x20)


def pack_header(record_type: str, length: int) -> bytes:
    """Return the 12 bytes in front of a payload of `length` bytes."""
    return _HEADER.pack(record_type.encode("ascii"), length)


class Sealed(NamedTuple):
    """A record ready to be written: its type, the length of its payload, all of its bytes, and their SHA-256."""

    type: str
    length: int
    data: bytes
    digest: bytes


def seal(record_type: str, *payload: bytes | bytearray | memoryview) -> Sealed:
    """Put the frame around a payload, given in C-contiguous pieces. May be called from any thread."""
    pieces = [memoryview(piece).cast("B") for piece in payload if memoryview(piece).nbytes]
    length = sum(piece.nbytes for piece in pieces)
    pieces.insert(0, memoryview(pack_header(record_type, length)))
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    data = b"".join([*pieces, crc.to_bytes(4, "little")])
    return Sealed(record_type, length, data, digests.of(data))


def pread(access: Access, offset: int, length: int) -> bytearray:
    """Read `length` bytes at `offset`; the caller has checked that they exist."""
    buffer = bytearray(length)
    if length:
        access.pread_into(memoryview(buffer), offset)
    return buffer


def parse_header(data: bytes | bytearray | memoryview, offset: int, limit: int, name: str) -> Record:
    """Read a record's header, and check that the record ends at or before `limit`.

    Parameters
    ----------
    data : bytes-like
        The first 12 bytes of the record.
    offset : int
        Where in the file they lie.
    limit : int
        Offset that the record may not reach beyond: the end of the file, or of a part of it.
    name : str
        Name of the file, for messages.

    Raises
    ------
    CorruptError
        The type is not four letters, or the record is longer than the bytes present.
    """
    raw_type, length = _HEADER.unpack_from(data)
    if not _LETTERS.issuperset(raw_type):
        raise CorruptError(f"{name}: damaged: no record begins at byte {offset}")
    record = Record(raw_type.decode("ascii"), offset, length)
    if record.end > limit:
        raise CorruptError(
            f"{name}: damaged or truncated: the record {record.type} at byte {offset} "
            f"declares {length} bytes, {max(0, limit - offset - FRAMING)} are present"
        )
    return record


def read_header(access: Access, offset: int, limit: int, name: str) -> Record:
    """Read the header of the record at `offset`; see `parse_header`."""
    if offset + FRAMING > limit:
        raise CorruptError(f"{name}: truncated: no room for a record at byte {offset}")
    return parse_header(pread(access, offset, HEADER_SIZE), offset, limit, name)


def read_record(access: Access, record: Record, name: str) -> bytes:
    """Read a whole record and return its payload, once its header and its CRC-32 are found right.

    Raises
    ------
    CorruptError
        The header is not the expected one, or the CRC-32 does not match.
    """
    data = memoryview(pread(access, record.offset, FRAMING + record.length))
    if bytes(data[:HEADER_SIZE]) != pack_header(record.type, record.length):
        raise CorruptError(
            f"{name}: damaged: no record {record.type} of {record.length} bytes at byte {record.offset}"
        )
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise checksum_error(record, name)
    return bytes(data[HEADER_SIZE:-4])


def checksum_error(record: Record, name: str) -> CorruptError:
    """Return the error for a record whose CRC-32 does not match."""
    return CorruptError(
        f"{name}: damaged: the checksum of the record {record.type} at byte {record.offset} does not match"
    )
