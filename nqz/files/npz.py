"""The .npz format: a zip archive of .npy files, stored or deflated, as `numpy.savez` and `savez_compressed` write.

`unzip` checks that an archive is sound; here every size has to agree with the header of the array. Stored members are
read where they are; deflated ones are spooled to a temporary file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nqz.files.access import Access, temporary_access
from nqz.files.contract import FileLayout, Format, Parts, Source, TensorSpec
from nqz.files.npy import HEADER_BYTES, NpyHeader, array_tensor, build_header, read_header
from nqz.files.zip import CRC_OFFSET, END_SIGN, FULL16, UTF8, Entry, directory, pieces, quote
from nqz.ground.errors import CorruptError, UnsupportedError, UsageError
from nqz.ground.sources import SOURCES, path_fault

if TYPE_CHECKING:
    from nqz.files.unzip import Member

_SUFFIX = ".npy"


class Npz(Format):
    """Any number of arrays, each a .npy file in a zip archive."""

    kind = SOURCES["npz"]

    def sniff(self, start: bytes | bytearray, size: int) -> bool:
        """See `Format.sniff`."""
        # a .safetensors file with a header of just so many bytes has zeros where a member has a version
        member = self.kind.has_mark(start) and start[4:8] != bytes(4)
        return member or start.startswith(END_SIGN)

    def read(self, access: Access, name: str) -> Source:
        """See `Format.read`."""
        from nqz.files.unzip import members  # zipfile costs every start 5 ms

        found = members(access, name, _unfit)
        # nothing is written before all headers have been found to be in order
        headers = [_header(member, access) for member in found]
        room = sum(member.size for member in found if member.deflated)
        spool = temporary_access(name) if room else None
        tensors, end = [], 0
        try:
            if spool is not None:
                spool.reserve(room)
            for member, header in zip(found, headers, strict=True):
                if spool is not None and member.deflated:
                    _check(member, access, spool, end)
                    tensors.append(array_tensor(spool, member.name[: -len(_SUFFIX)], header, end))
                    end += member.size
                else:
                    _check(member, access)
                    tensors.append(array_tensor(access, member.name[: -len(_SUFFIX)], header, member.begin))
        except BaseException:
            if spool is not None:
                spool.close()
            raise
        return Source(self.kind, name, tensors, None, access, *([] if spool is None else [spool]))

    def lay_out(self, specs: Sequence[TensorSpec], metadata: dict[str, str] | None) -> FileLayout:
        """See `Format.lay_out`."""
        names: set[bytes] = set()
        parts, offsets, entries, position = [], [], [], 0
        for spec in specs:
            name, flags = _member_name(spec.name)
            if name in names:
                raise UsageError(f"two tensors are named {quote(spec.name)}")
            names.add(name)
            header = build_header(spec)
            entry = Entry(name, flags, position, len(header) + spec.nbytes)
            parts.append((position, entry.local_header() + header))
            offsets.append(position + len(parts[-1][1]))
            entries.append(entry)
            position = offsets[-1] + spec.nbytes
        closed = directory(entries, [0] * len(entries), position)

        def closing(access: Access) -> Parts:
            sums = []
            for entry in entries:
                crc = 0
                for piece in pieces(access, entry.begin, entry.size):
                    crc = zlib.crc32(piece, crc)
                yield entry.offset + CRC_OFFSET, struct.pack("<L", crc)
                sums.append(crc)
            yield position, directory(entries, sums, position)

        return FileLayout(parts, offsets, position + len(closed), closing)


NPZ = Npz()


def _header(member: Member, access: Access) -> NpyHeader:
    """Read the header of an array, and check that it needs as many bytes as its member states."""
    start = bytearray()
    for piece in member.content(access):
        start += piece
        if len(start) >= HEADER_BYTES:
            break
    return read_header(start[:HEADER_BYTES], member.size, member.where)


def _check(member: Member, access: Access, spool: Access | None = None, offset: int = 0) -> None:
    """Check the sum of a member's bytes, and copy them to byte `offset` of a file, if one is given."""
    crc = 0
    for piece in member.content(access):
        crc = zlib.crc32(piece, crc)
        if spool is not None:
            spool.pwrite(piece, offset)
            offset += len(piece)
    if crc != member.crc:
        raise CorruptError(f"{member.where}: damaged: its CRC-32 is {crc:08x}, not {member.crc:08x}")


def _unfit(name: str) -> str | None:
    """Return why a member of this name is not taken, if it is not."""
    if name.endswith("/"):
        return "is a folder; a .npz file has arrays only"
    if not name.endswith(_SUFFIX):
        return "is no array (.npy); save with numpy.savez"
    found = path_fault(name)
    return None if found is None else f"its name {found}; rename the array"


def _member_name(name: str) -> tuple[bytes, int]:
    """Return the member that holds an array of this name: its name, and the flags that go with it."""
    found = path_fault(name)
    if found is not None:
        raise UnsupportedError(
            f"tensor {quote(name)}: its name {found}, which a .npz file cannot have; write .safetensors"
        )
    raw = (name + _SUFFIX).encode()
    if len(raw) > FULL16:
        raise UnsupportedError(
            f"tensor {quote(name)}: its name is too long for a .npz file; write .safetensors"
        )
    return raw, 0 if raw.isascii() else UTF8
