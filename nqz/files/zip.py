"""Zip archives: their records, and writing members that are stored as they are.

A member is a local header and its bytes; after the last one comes the directory, an entry for each member, and the end
records, which say where it begins. `unzip` reads all this.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nqz.files.access import Access
from nqz.ground.errors import UnsupportedError

LOCAL = struct.Struct("<4s5H3L2H")  # before the data of a member
ENTRY = struct.Struct("<4s6H3L5H2L")  # of a member, in the directory
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
WIDE = struct.Struct("<2H2Q")  # the extra field with sizes of 64 bits
LOCAL_SIGN, ENTRY_SIGN, DESCRIPTOR_SIGN = b"PK\3\4", b"PK\1\2", b"PK\7\x08"
END_SIGN, END64_SIGN, LOCATOR_SIGN = b"PK\5\6", b"PK\6\6", b"PK\6\7"
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # the value is in the extra field, or in the second end record
ENCRYPTED, DESCRIPTOR, UTF8 = 0x1, 0x8, 0x800  # flags of a member
KNOWN_FLAGS = DESCRIPTOR | UTF8 | 0x6  # the last two: how hard the deflater tried
CRC_OFFSET = 14
_DATE = 0x21  # the first of January 1980
_MODE = 0o100644 << 16

MAX_DIRECTORY = 16 << 20
"""Bytes of the largest directory that is read or written."""

_PIECE = 1 << 20


def read(access: Access, offset: int, count: int) -> bytes:
    """Return some bytes of a file."""
    data = bytearray(count)
    access.pread_into(data, offset)
    return bytes(data)


def pieces(access: Access, offset: int, count: int) -> Iterator[bytes]:
    """Iterate over some bytes of a file."""
    for position in range(0, count, _PIECE):
        yield read(access, offset + position, min(_PIECE, count - position))


def quote(text: str) -> str:
    """Return a name as messages show it."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def wide_sizes(extra: bytes) -> list[int] | None:
    """Return packed and plain size from the extra field with sizes of 64 bits, if there is one."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1 and length >= 16 and len(extra) >= WIDE.size:
            size, packed = struct.unpack_from("<2Q", extra, 4)
            return [packed, size]
        extra = extra[4 + length :]
    return None


@dataclass(frozen=True)
class Entry:
    """A member to be written, stored, at an offset of the file."""

    name: bytes
    flags: int
    offset: int
    size: int

    @property
    def begin(self) -> int:
        """Where its bytes begin."""
        return self.offset + len(self.local_header())

    def local_header(self) -> bytes:
        """Return what stands before its bytes; the CRC-32 comes later."""
        extra = b"" if self.size < FULL32 else WIDE.pack(1, 16, self.size, self.size)
        narrow = min(self.size, FULL32)
        fields = (45 if extra else 20, self.flags, 0, 0, _DATE, 0, narrow, narrow, len(self.name), len(extra))
        return LOCAL.pack(LOCAL_SIGN, *fields) + self.name + extra

    def directory_entry(self, crc: int) -> bytes:
        """Return its entry in the directory."""
        wide = ([self.size, self.size] if self.size >= FULL32 else []) + [self.offset] * (
            self.offset >= FULL32
        )
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        narrow, version = min(self.size, FULL32), 45 if extra else 20
        sizes = (crc, narrow, narrow, len(self.name), len(extra))
        fields = (
            0x300 | version,
            version,
            self.flags,
            0,
            0,
            _DATE,
            *sizes,
            0,
            0,
            0,
            _MODE,
            min(self.offset, FULL32),
        )
        return ENTRY.pack(ENTRY_SIGN, *fields) + self.name + extra


def directory(entries: Sequence[Entry], sums: Sequence[int], begin: int) -> bytes:
    """Return the directory, which begins at byte `begin` of the file, and the end records."""
    data = b"".join(entry.directory_entry(crc) for entry, crc in zip(entries, sums, strict=True))
    count, size = len(entries), len(data)
    if count >= FULL16 or begin >= FULL32:
        end = begin + size
        data += END64.pack(END64_SIGN, END64.size - 12, 0x32D, 45, 0, 0, count, count, size, begin)
        data += LOCATOR.pack(LOCATOR_SIGN, 0, end, 1)
    narrow = (min(count, FULL16), min(count, FULL16), size, min(begin, FULL32))
    data += END.pack(END_SIGN, 0, 0, *narrow, 0)
    if len(data) > MAX_DIRECTORY:
        raise UnsupportedError(
            f"the directory of the .npz file would take {len(data)} bytes; nqz takes up to {MAX_DIRECTORY}"
        )
    return data
