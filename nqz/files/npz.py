"""The .npz format: a zip archive of .npy files, stored or deflated, as `numpy.savez` and `savez_compressed` write.

The standard library reads the directory of an archive. Everything else is checked here: that each member is what the
directory says, that the members fill the file up to the directory and the directory fills the rest, and that every
size agrees with the header of the array. Stored members are read where they are; deflated ones are spooled to a
temporary file.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from nqz.files.access import Access, temporary_access
from nqz.files.contract import FileLayout, Format, Parts, Source, TensorSpec
from nqz.files.npy import HEADER_BYTES, NpyHeader, array_tensor, build_header, read_header
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError, UsageError
from nqz.ground.sources import SOURCES

_LOCAL = struct.Struct("<4s5H3L2H")  # before the data of a member
_ENTRY = struct.Struct("<4s6H3L5H2L")  # of a member, in the directory
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_WIDE = struct.Struct("<2H2Q")  # the extra field with sizes of 64 bits
_LOCAL_SIGN, _ENTRY_SIGN, _DESCRIPTOR_SIGN = b"PK\3\4", b"PK\1\2", b"PK\7\x08"
_END_SIGN, _END64_SIGN, _LOCATOR_SIGN = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # the value is in the extra field, or in the second end record
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800  # flags of a member
_KNOWN_FLAGS = _DESCRIPTOR | _UTF8 | 0x6  # the last two: how hard the deflater tried
_CRC_OFFSET = 14
_DATE = 0x21  # the first of January 1980
_MODE = 0o100644 << 16

_SUFFIX = ".npy"
_MAX_DIRECTORY = 16 << 20
_MAX_RATIO = 1032  # of deflate: two bits for 258 bytes
_PIECE = 1 << 20


@dataclass(frozen=True)
class _Member:
    """A member whose entry in the directory and local header agree; `where` is what messages call it."""

    where: str
    name: str
    deflated: bool
    crc: int
    packed: int
    size: int
    begin: int

    def content(self, access: Access) -> Iterator[bytes]:
        """Iterate over its bytes, no more of them than it states.

        Raises
        ------
        CorruptError
            There are more or fewer, or what they are packed in is damaged.
        """
        if not self.deflated:
            yield from _pieces(access, self.begin, self.packed)
            return
        left = self.size
        for piece in _inflated(_pieces(access, self.begin, self.packed), left + 1, self.where):
            left -= len(piece)
            if left < 0:
                raise CorruptError(
                    f"{self.where}: inflates to more than the {self.size} bytes that it states"
                )
            yield piece
        if left:
            raise CorruptError(f"{self.where}: inflates to {self.size - left} of {self.size} bytes")

    def header(self, access: Access) -> NpyHeader:
        """Read the header of the array, and check that it needs as many bytes as the member states."""
        start = bytearray()
        for piece in self.content(access):
            start += piece
            if len(start) >= HEADER_BYTES:
                break
        return read_header(start[:HEADER_BYTES], self.size, self.where)


class Npz(Format):
    """Any number of arrays, each a .npy file in a zip archive."""

    kind = SOURCES["npz"]

    def sniff(self, start: bytes | bytearray, size: int) -> bool:
        """See `Format.sniff`."""
        # a .safetensors file with a header of just so many bytes has zeros where a member has a version
        member = self.kind.has_mark(start) and start[4:8] != bytes(4)
        return member or start.startswith(_END_SIGN)

    def read(self, access: Access, name: str) -> Source:
        """See `Format.read`."""
        members = _members(access, name)
        # nothing is written before all headers have been found to be in order
        headers = [member.header(access) for member in members]
        room = sum(member.size for member in members if member.deflated)
        spool = temporary_access(name) if room else None
        tensors, end = [], 0
        try:
            if spool is not None:
                spool.reserve(room)
            for member, header in zip(members, headers, strict=True):
                if spool is not None and member.deflated:
                    _check(member, access, spool, end)
                    tensors.append(array_tensor(spool, member.name, header, end))
                    end += member.size
                else:
                    _check(member, access)
                    tensors.append(array_tensor(access, member.name, header, member.begin))
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
                raise UsageError(f"two tensors are named {_quote(spec.name)}")
            names.add(name)
            header = build_header(spec)
            entry = _Entry(name, flags, position, len(header) + spec.nbytes)
            parts.append((position, entry.local_header() + header))
            offsets.append(position + len(parts[-1][1]))
            entries.append(entry)
            position = offsets[-1] + spec.nbytes
        directory = _directory(entries, [0] * len(entries), position)
        if len(directory) > _MAX_DIRECTORY:
            raise UnsupportedError(
                f"the directory of the .npz file would take {len(directory)} bytes; nqz takes up to {_MAX_DIRECTORY}"
            )

        def closing(access: Access) -> Parts:
            sums = []
            for entry in entries:
                crc = 0
                for piece in _pieces(access, entry.begin, entry.size):
                    crc = zlib.crc32(piece, crc)
                yield entry.offset + _CRC_OFFSET, struct.pack("<L", crc)
                sums.append(crc)
            yield position, _directory(entries, sums, position)

        return FileLayout(parts, offsets, position + len(directory), closing)


NPZ = Npz()


def _read(access: Access, offset: int, count: int) -> bytes:
    data = bytearray(count)
    access.pread_into(data, offset)
    return bytes(data)


def _pieces(access: Access, offset: int, count: int) -> Iterator[bytes]:
    for position in range(0, count, _PIECE):
        yield _read(access, offset + position, min(_PIECE, count - position))


def _inflated(pieces: Iterator[bytes], bound: int, where: str) -> Iterator[bytes]:
    """Inflate pieces of one stream, until it ends or has given `bound` bytes."""
    stream, given = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        for piece in pieces:
            rest = piece
            while rest and not stream.eof and given < bound:
                out = stream.decompress(rest, min(_PIECE, bound - given))
                rest, given = stream.unconsumed_tail, given + len(out)
                yield out
            if rest or stream.unused_data:
                raise CorruptError(f"{where}: bytes follow the end of its deflated data")
        while not stream.eof and given < bound:
            out = stream.decompress(b"", min(_PIECE, bound - given))
            if not out:
                raise CorruptError(f"{where}: its deflated data is cut short")
            given += len(out)
            yield out
    except zlib.error as error:
        raise CorruptError(f"{where}: its deflated data is damaged: {error}") from error


def _check(member: _Member, access: Access, spool: Access | None = None, offset: int = 0) -> None:
    """Check the sum of a member's bytes, and copy them to byte `offset` of a file, if one is given."""
    crc = 0
    for piece in member.content(access):
        crc = zlib.crc32(piece, crc)
        if spool is not None:
            spool.pwrite(piece, offset)
            offset += len(piece)
    if crc != member.crc:
        raise CorruptError(f"{member.where}: damaged: its CRC-32 is {crc:08x}, not {member.crc:08x}")


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


# Reading the directory


class _Stream(io.RawIOBase):
    """An access as the file object that `zipfile` needs."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._access.size}[whence]
        if base + offset < 0:
            raise OSError("a position before the beginning")  # which zipfile expects
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._access.size - self._position))
        self._access.pread_into(view[:count], self._position)
        self._position += count
        return count


def _members(access: Access, name: str) -> list[_Member]:
    """Read the directory and the local headers, and check that with the data they are the whole file."""
    begin, count = _end_records(access, name)
    try:
        with zipfile.ZipFile(_Stream(access)) as archive:
            infos = archive.infolist()
    except NqzError:
        raise
    except Exception as error:  # besides BadZipFile nearly anything, on damaged entries
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CorruptError(f"{name}: the zip directory is damaged: {text}") from error
    if len(infos) != count:
        raise CorruptError(f"{name}: the zip directory lists {len(infos)} members, its end record {count}")
    names: set[str] = set()
    for info in infos:
        _check_entry(info, name)
        if info.orig_filename in names:
            raise CorruptError(f"{name}: two members are called {_quote(info.orig_filename)}")
        names.add(info.orig_filename)
    position, found = 0, {}
    for info in sorted(infos, key=lambda info: info.header_offset):
        where = _where(info, name)
        if info.header_offset > position:
            raise CorruptError(
                f"{where}: {info.header_offset - position} bytes before it belong to no member"
            )
        if info.header_offset < position:
            raise CorruptError(f"{where}: overlaps another member at byte {info.header_offset}")
        found[info.orig_filename], position = _local(access, info, where, begin)
    if position < begin:
        raise CorruptError(f"{name}: {begin - position} bytes before the zip directory belong to no member")
    return [found[info.orig_filename] for info in infos]


def _end_records(access: Access, name: str) -> tuple[int, int]:
    """Return where the directory begins, and how many entries it has; it reaches to the end records."""

    def corrupt(what: str) -> NoReturn:
        raise CorruptError(f"{name}: {what}")

    end = access.size - _END.size
    if end < 0 or _read(access, end, 4) != _END_SIGN:
        corrupt("truncated, or bytes follow the zip archive: it does not end with an end record")
    _, *disks, here, count, size, begin, comment = _END.unpack(_read(access, end, _END.size))
    if comment:
        corrupt(f"truncated: the zip archive ends with a comment of {comment} bytes, of which there are none")
    locator = end - _LOCATOR.size
    if locator >= _END64.size and _read(access, locator, 4) == _LOCATOR_SIGN:
        _, disk, place, total = _LOCATOR.unpack(_read(access, locator, _LOCATOR.size))
        end = locator - _END64.size
        sign, length, _, _, *wide_disks, wide_here, wide_count, wide_size, wide_begin = _END64.unpack(
            _read(access, end, _END64.size)
        )
        if (sign, length, place, disk, total) != (_END64_SIGN, _END64.size - 12, end, 0, 1):
            corrupt("the second end record of the zip archive is not where its locator says")
        for narrow, wide, full in (
            (here, wide_here, _FULL16),
            (count, wide_count, _FULL16),
            (size, wide_size, _FULL32),
            (begin, wide_begin, _FULL32),
        ):
            if narrow not in (wide, full):
                corrupt("the end records of the zip archive do not agree")
        disks, here, count, size, begin = wide_disks, wide_here, wide_count, wide_size, wide_begin
    if any(disks) or here != count:
        raise UnsupportedError(f"{name}: is one part of a zip archive in several")
    if begin + size != end:
        corrupt(
            f"the zip directory is said to be at byte {begin} and to have {size} bytes, but ends at byte {end}"
        )
    if size > _MAX_DIRECTORY:
        raise UnsupportedError(f"{name}: a zip directory of {size} bytes; nqz reads up to {_MAX_DIRECTORY}")
    return begin, count


def _where(info: zipfile.ZipInfo, name: str) -> str:
    return f"{name}: member {_quote(info.orig_filename)}"


def _check_entry(info: zipfile.ZipInfo, name: str) -> None:
    """Refuse what an entry of the directory says by itself."""
    text, where = info.orig_filename, _where(info, name)
    if text != info.filename:  # cut at a NUL, or replaced by another field
        raise CorruptError(f"{where}: has a name that can be read in two ways")
    if text.endswith("/"):
        raise UnsupportedError(f"{where}: is a folder; a .npz file has arrays only")
    if not text.endswith(_SUFFIX):
        raise UnsupportedError(f"{where}: is no array (.npy); save with numpy.savez")
    trick = _trick(text)
    if trick is not None:
        raise UnsupportedError(f"{where}: its name {trick}; rename the array")
    if info.flag_bits & _ENCRYPTED:
        raise UnsupportedError(f"{where}: is encrypted; nqz has no passwords")
    if info.flag_bits & ~_KNOWN_FLAGS or info.volume:
        raise UnsupportedError(
            f"{where}: uses features of zip that nqz does not know (flags {info.flag_bits:#x})"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsupportedError(
            f"{where}: is compressed by method {info.compress_type}; use numpy.savez or savez_compressed"
        )
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise CorruptError(f"{where}: is stored, in {info.compress_size} bytes, but states {info.file_size}")
    if info.file_size > _MAX_RATIO * info.compress_size:
        raise CorruptError(
            f"{where}: {info.compress_size} deflated bytes cannot hold the {info.file_size} that it states"
        )


def _trick(name: str) -> str | None:
    """Return what is wrong with a name where archives are unpacked, if anything."""
    if "\0" in name:
        return "contains a NUL"
    if "\\" in name:
        return "contains a backslash"
    if name.startswith("/") or re.match("[A-Za-z]:/", name):
        return "is an absolute path"
    return "leads out of its folder" if ".." in name.split("/") else None


def _local(access: Access, info: zipfile.ZipInfo, where: str, end: int) -> tuple[_Member, int]:
    """Check the local header of a member against its entry; return the member, and where the next one begins."""

    def corrupt(what: str) -> NoReturn:
        raise CorruptError(f"{where}: {what}")

    begin = info.header_offset + _LOCAL.size
    if begin > end:
        corrupt("its header reaches into the zip directory")
    sign, _, flags, method, _, _, *stated, name_bytes, extra_bytes = _LOCAL.unpack(
        _read(access, info.header_offset, _LOCAL.size)
    )
    if sign != _LOCAL_SIGN:
        corrupt(f"there is no member at byte {info.header_offset}")
    if begin + name_bytes + extra_bytes > end:
        corrupt("its header reaches into the zip directory")
    rest = _read(access, begin, name_bytes + extra_bytes)
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    if (flags, method, rest[:name_bytes]) != (info.flag_bits, info.compress_type, name):
        corrupt("its header has another name, method or flags than the zip directory")
    wide = _wide_sizes(rest[name_bytes:])
    if stated[1:] == [_FULL32, _FULL32]:
        if wide is None:
            corrupt("its header lacks the sizes of 64 bits")
        stated[1:] = wide
    begin += len(rest)
    expected = [info.CRC, info.compress_size, info.file_size]
    pending = bool(flags & _DESCRIPTOR)  # known only after the data, when it was written to a pipe
    found = zip(stated + (wide or []), expected + expected[1:])  # noqa: B905  (mostly there is no `wide`)
    if any(a != b and not (pending and a == 0) for a, b in found):
        corrupt("its header has another size or CRC-32 than the zip directory")
    position = begin + info.compress_size
    descriptor = (
        struct.pack("<4s3L" if wide is None else "<4sL2Q", _DESCRIPTOR_SIGN, *expected) if pending else b""
    )
    if position + len(descriptor) > end:
        corrupt("truncated: its data reaches into the zip directory")
    if _read(access, position, len(descriptor)) != descriptor:
        corrupt("what follows its data states another size or CRC-32 than the zip directory")
    array = info.orig_filename[: -len(_SUFFIX)]
    deflated = method == zipfile.ZIP_DEFLATED
    member = _Member(where, array, deflated, info.CRC, info.compress_size, info.file_size, begin)
    return member, position + len(descriptor)


def _wide_sizes(extra: bytes) -> list[int] | None:
    """Return packed and plain size from the extra field with sizes of 64 bits, if there is one."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1 and length >= 16 and len(extra) >= _WIDE.size:
            size, packed = struct.unpack_from("<2Q", extra, 4)
            return [packed, size]
        extra = extra[4 + length :]
    return None


# Writing


def _member_name(name: str) -> tuple[bytes, int]:
    """Return the member that holds an array of this name: its name, and the flags that go with it."""
    trick = _trick(name)
    if trick is not None:
        raise UnsupportedError(
            f"tensor {_quote(name)}: its name {trick}, which a .npz file cannot have; write .safetensors"
        )
    raw = (name + _SUFFIX).encode()
    if len(raw) > _FULL16:
        raise UnsupportedError(
            f"tensor {_quote(name)}: its name is too long for a .npz file; write .safetensors"
        )
    return raw, 0 if raw.isascii() else _UTF8


@dataclass(frozen=True)
class _Entry:
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
        extra = b"" if self.size < _FULL32 else _WIDE.pack(1, 16, self.size, self.size)
        narrow = min(self.size, _FULL32)
        fields = (45 if extra else 20, self.flags, 0, 0, _DATE, 0, narrow, narrow, len(self.name), len(extra))
        return _LOCAL.pack(_LOCAL_SIGN, *fields) + self.name + extra

    def directory_entry(self, crc: int) -> bytes:
        """Return its entry in the directory."""
        wide = ([self.size, self.size] if self.size >= _FULL32 else []) + [self.offset] * (
            self.offset >= _FULL32
        )
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        narrow, version = min(self.size, _FULL32), 45 if extra else 20
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
            min(self.offset, _FULL32),
        )
        return _ENTRY.pack(_ENTRY_SIGN, *fields) + self.name + extra


def _directory(entries: Sequence[_Entry], sums: Sequence[int], begin: int) -> bytes:
    """Return the directory, which begins at byte `begin` of the file, and the end records."""
    data = b"".join(entry.directory_entry(crc) for entry, crc in zip(entries, sums, strict=True))
    count, size = len(entries), len(data)
    if count >= _FULL16 or begin >= _FULL32:
        end = begin + size
        data += _END64.pack(_END64_SIGN, _END64.size - 12, 0x32D, 45, 0, 0, count, count, size, begin)
        data += _LOCATOR.pack(_LOCATOR_SIGN, 0, end, 1)
    narrow = (min(count, _FULL16), min(count, _FULL16), size, min(begin, _FULL32))
    return data + _END.pack(_END_SIGN, 0, 0, *narrow, 0)
