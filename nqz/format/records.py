"""Framing: the preamble of the file, and the header, CRC-32 and padding of every record."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple, Protocol

from nqz import kernels
from nqz.ground import digests
from nqz.ground.errors import CorruptError

MAGIC = b"\x8eNQZ\r\n\x1a\n"
VERSION = 0
ALIGNMENT = 8
"""Records, and so their payloads, begin at multiples of this."""

PREAMBLE_SIZE = 16
FRAMING = 16
"""Bytes in front of a payload: type (4), CRC-32 (4), length (8)."""

_HEADER = struct.Struct("<4sIQ")
_PREAMBLE = struct.Struct("<8sHH")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def record_size(length: int) -> int:
    """Bytes that a record with a payload of so many takes: header, payload and padding."""
    return FRAMING + length + -length % ALIGNMENT


def framed(*lengths: int) -> int:
    """Bytes of records with payloads of these lengths."""
    return sum(map(record_size, lengths))


class Access(Protocol):
    """What a reader needs of a file: its size, and reads at given positions."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        ...

    def pread_into(self, buffer: memoryview, offset: int) -> object:
        """Fill `buffer` with what lies from `offset` on."""
        ...


class WritableAccess(Access, Protocol):
    """What a writer needs of a file besides: writes at given positions."""

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
        return self.offset + record_size(self.length)


def preamble(version: int = VERSION, features: int = 0) -> bytes:
    """Return the first 16 bytes of a file: magic, version, features needed to read it, and their CRC-32."""
    head = _PREAMBLE.pack(MAGIC, version, features)
    return head + zlib.crc32(head).to_bytes(4, "little")


def is_type(record_type: str) -> bool:
    """Tell whether `record_type` is four ASCII letters."""
    return len(record_type) == 4 and record_type.isascii() and record_type.isalpha()


def is_optional(record_type: str) -> bool:
    """Tell whether a reader that does not know `record_type` skips it (its first letter is lowercase)."""
    return bool(ord(record_type[0]) & 0x20)


def _unsealed(record_type: bytes, length: int) -> tuple[bytes, int]:
    """Type and length of a record as bytes, and their CRC-32, with which that of the record begins."""
    return record_type, zlib.crc32(length.to_bytes(8, "little"), zlib.crc32(record_type))


class Sealed(NamedTuple):
    """A record ready to be written: its type, the length of its payload, all of its bytes, and their digest."""

    type: str
    length: int
    data: bytes
    digest: bytes


def seal(record_type: str, *payload: bytes | bytearray | memoryview) -> Sealed:
    """Put the frame around a payload, given in C-contiguous pieces. May be called from any thread."""
    pieces = [memoryview(piece).cast("B") for piece in payload if memoryview(piece).nbytes]
    length = sum(piece.nbytes for piece in pieces)
    pieces.append(memoryview(bytes(-length % ALIGNMENT)))
    raw_type, crc = _unsealed(record_type.encode("ascii"), length)
    for piece in pieces:
        crc = kernels.crc32(piece, crc)
    data = b"".join([_HEADER.pack(raw_type, crc, length), *pieces])
    return Sealed(record_type, length, data, digests.of(data))


def pread(access: Access, offset: int, length: int) -> bytearray:
    """Read `length` bytes at `offset`; the caller has checked that they exist."""
    buffer = bytearray(length)
    if length:
        access.pread_into(memoryview(buffer), offset)
    return buffer


class Header(NamedTuple):
    """The header of a record: where it lies, its CRC-32, and what the CRC-32 is before the payload."""

    record: Record
    crc: int
    start: int


def parse_header(data: bytes | bytearray | memoryview, offset: int, limit: int, name: str) -> Header:
    """Read a record's header, and check that the record ends at or before `limit`.

    Parameters
    ----------
    data : bytes-like
        The first 16 bytes of the record.
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
    raw_type, crc, length = _HEADER.unpack_from(data)
    if not _LETTERS.issuperset(raw_type):
        raise CorruptError(f"{name}: damaged: no record begins at byte {offset}")
    record = Record(raw_type.decode("ascii"), offset, length)
    if record.end > limit:
        raise CorruptError(
            f"{name}: damaged or truncated: the record {record.type} at byte {offset} "
            f"declares {length} bytes, {max(0, limit - offset - FRAMING)} are present"
        )
    return Header(record, crc, _unsealed(raw_type, length)[1])


def read_header(access: Access, offset: int, limit: int, name: str) -> Header:
    """Read the header of the record at `offset`; see `parse_header`."""
    if offset + FRAMING > limit:
        raise CorruptError(f"{name}: truncated: no room for a record at byte {offset}")
    return parse_header(pread(access, offset, FRAMING), offset, limit, name)


def read_record(access: Access, record: Record, name: str) -> bytes:
    """Read a whole record and return its payload; see `view_record`."""
    return bytes(view_record(access, record, name))


def view_record(access: Access, record: Record, name: str) -> memoryview:
    """Read a whole record and return its payload where it was read, once header, CRC-32 and padding are found right.

    Raises
    ------
    CorruptError
        The header is not the expected one, the CRC-32 does not match, or the padding is not zero.
    """
    data = memoryview(pread(access, record.offset, record_size(record.length))).toreadonly()
    raw_type, crc, length = _HEADER.unpack_from(data)
    if (raw_type, length) != (record.type.encode("ascii"), record.length):
        raise CorruptError(
            f"{name}: damaged: no record {record.type} of {record.length} bytes at byte {record.offset}"
        )
    if kernels.crc32(data[FRAMING:], _unsealed(raw_type, length)[1]) != crc:
        raise checksum_error(record, name)
    check_padding(data[FRAMING + length :], record, name)
    return data[FRAMING : FRAMING + length]


def check_padding(padding: bytes | memoryview, record: Record, name: str) -> None:
    """Raise CorruptError unless all bytes after a payload are zero."""
    if any(padding):
        raise CorruptError(
            f"{name}: the padding of the record {record.type} at byte {record.offset} is not zero"
        )


def checksum_error(record: Record, name: str) -> CorruptError:
    """Return the error for a record whose CRC-32 does not match."""
    return CorruptError(
        f"{name}: damaged: the checksum of the record {record.type} at byte {record.offset} does not match"
    )
