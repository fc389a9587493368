"""Reading zip archives whose every byte is accounted for.

The standard library reads the directory of an archive. Everything else is checked here: that each member is what the
directory says, that the members fill the file up to the directory, and that the directory fills the rest.
"""

from __future__ import annotations

import encodings.cp437  # noqa: F401 - zipfile would when it reads a name
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from nqz.files.access import Access
from nqz.files.zip import (
    DESCRIPTOR,
    DESCRIPTOR_SIGN,
    ENCRYPTED,
    END,
    END64,
    END64_SIGN,
    END_SIGN,
    FULL16,
    FULL32,
    KNOWN_FLAGS,
    LOCAL,
    LOCAL_SIGN,
    LOCATOR,
    LOCATOR_SIGN,
    MAX_DIRECTORY,
    UTF8,
    pieces,
    quote,
    read,
    wide_sizes,
)
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError
from nqz.ground.wording import counted

_MAX_RATIO = 1032  # of deflate: two bits for 258 bytes
_PIECE = 1 << 20

Unfit = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Member:
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
            yield from pieces(access, self.begin, self.packed)
            return
        left = self.size
        for piece in _inflated(pieces(access, self.begin, self.packed), left + 1, self.where):
            left -= len(piece)
            if left < 0:
                raise CorruptError(
                    f"{self.where}: inflates to more than the {counted(self.size, 'byte')} that it states"
                )
            yield piece
        if left:
            raise CorruptError(
                f"{self.where}: inflates to {self.size - left} of {counted(self.size, 'byte')}"
            )


def members(access: Access, name: str, unfit: Unfit) -> list[Member]:
    """Read the directory and the local headers, and check that with the data they are the whole file.

    Parameters
    ----------
    access : Access
    name : str
        Of the file, for messages.
    unfit : callable
        unfit(name of a member) says what is wrong with it, if anything.

    Raises
    ------
    CorruptError, UnsupportedError
        The archive is damaged, or one that nqz does not read.
    """
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
        raise CorruptError(
            f"{name}: the zip directory lists {counted(len(infos), 'member')}, its end record {count}"
        )
    names: set[str] = set()
    for info in infos:
        _check_entry(info, name, unfit)
        if info.orig_filename in names:
            raise CorruptError(f"{name}: two members are called {quote(info.orig_filename)}")
        names.add(info.orig_filename)
    position, found = 0, {}
    for info in sorted(infos, key=lambda info: info.header_offset):
        where = _where(info, name)
        if info.header_offset > position:
            raise CorruptError(
                f"{where}: before it {counted(info.header_offset - position, 'byte', 'belong')} to no member"
            )
        if info.header_offset < position:
            raise CorruptError(f"{where}: overlaps another member at byte {info.header_offset}")
        found[info.orig_filename], position = _local(access, info, where, begin)
    if position < begin:
        raise CorruptError(
            f"{name}: before the zip directory {counted(begin - position, 'byte', 'belong')} to no member"
        )
    return [found[info.orig_filename] for info in infos]


def _inflated(packed: Iterator[bytes], bound: int, where: str) -> Iterator[bytes]:
    """Inflate pieces of one stream, until it ends or has given `bound` bytes."""
    stream, given = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        for piece in packed:
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


def _end_records(access: Access, name: str) -> tuple[int, int]:
    """Return where the directory begins, and how many entries it has; it reaches to the end records."""

    def corrupt(what: str) -> NoReturn:
        raise CorruptError(f"{name}: {what}")

    end = access.size - END.size
    if end < 0 or read(access, end, 4) != END_SIGN:
        corrupt("truncated, or bytes follow the zip archive: it does not end with an end record")
    _, *disks, here, count, size, begin, comment = END.unpack(read(access, end, END.size))
    if comment:
        corrupt(
            f"truncated: the zip archive ends with a comment of {counted(comment, 'byte')}, of which there is nothing"
        )
    locator = end - LOCATOR.size
    if locator >= END64.size and read(access, locator, 4) == LOCATOR_SIGN:
        _, disk, place, total = LOCATOR.unpack(read(access, locator, LOCATOR.size))
        end = locator - END64.size
        sign, length, _, _, *wide_disks, wide_here, wide_count, wide_size, wide_begin = END64.unpack(
            read(access, end, END64.size)
        )
        if (sign, length, place, disk, total) != (END64_SIGN, END64.size - 12, end, 0, 1):
            corrupt("the second end record of the zip archive is not where its locator says")
        for narrow, wide, full in (
            (here, wide_here, FULL16),
            (count, wide_count, FULL16),
            (size, wide_size, FULL32),
            (begin, wide_begin, FULL32),
        ):
            if narrow not in (wide, full):
                corrupt("the end records of the zip archive do not agree")
        disks, here, count, size, begin = wide_disks, wide_here, wide_count, wide_size, wide_begin
    if any(disks) or here != count:
        raise UnsupportedError(f"{name}: is one part of a zip archive in several")
    if begin + size != end:
        corrupt(
            f"the zip directory is said to be at byte {begin} and to have {counted(size, 'byte')}, "
            f"but ends at byte {end}"
        )
    if size > MAX_DIRECTORY:
        raise UnsupportedError(f"{name}: a zip directory of {size} bytes; nqz reads up to {MAX_DIRECTORY}")
    return begin, count


def _where(info: zipfile.ZipInfo, name: str) -> str:
    return f"{name}: member {quote(info.orig_filename)}"


def _check_entry(info: zipfile.ZipInfo, name: str, unfit: Unfit) -> None:
    """Refuse what an entry of the directory says by itself."""
    text, where = info.orig_filename, _where(info, name)
    if text != info.filename:  # cut at a NUL, or replaced by another field
        raise CorruptError(f"{where}: has a name that can be read in two ways")
    reason = unfit(text)
    if reason is not None:
        raise UnsupportedError(f"{where}: {reason}")
    if info.flag_bits & ENCRYPTED:
        raise UnsupportedError(f"{where}: is encrypted; nqz has no passwords")
    if info.flag_bits & ~KNOWN_FLAGS or info.volume:
        raise UnsupportedError(
            f"{where}: uses features of zip that nqz does not know (flags {info.flag_bits:#x})"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsupportedError(
            f"{where}: is compressed by method {info.compress_type}; use numpy.savez or savez_compressed"
        )
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise CorruptError(
            f"{where}: is stored, in {counted(info.compress_size, 'byte')}, but states {info.file_size}"
        )
    if info.file_size > _MAX_RATIO * info.compress_size:
        raise CorruptError(
            f"{where}: {counted(info.compress_size, 'deflated byte')} cannot hold the {info.file_size} that it states"
        )


def _local(access: Access, info: zipfile.ZipInfo, where: str, end: int) -> tuple[Member, int]:
    """Check the local header of a member against its entry; return the member, and where the next one begins."""

    def corrupt(what: str) -> NoReturn:
        raise CorruptError(f"{where}: {what}")

    begin = info.header_offset + LOCAL.size
    if begin > end:
        corrupt("its header reaches into the zip directory")
    sign, _, flags, method, _, _, *stated, name_bytes, extra_bytes = LOCAL.unpack(
        read(access, info.header_offset, LOCAL.size)
    )
    if sign != LOCAL_SIGN:
        corrupt(f"there is no member at byte {info.header_offset}")
    if begin + name_bytes + extra_bytes > end:
        corrupt("its header reaches into the zip directory")
    rest = read(access, begin, name_bytes + extra_bytes)
    name = info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437")
    if (flags, method, rest[:name_bytes]) != (info.flag_bits, info.compress_type, name):
        corrupt("its header has another name, method or flags than the zip directory")
    wide = wide_sizes(rest[name_bytes:])
    if stated[1:] == [FULL32, FULL32]:
        if wide is None:
            corrupt("its header lacks the sizes of 64 bits")
        stated[1:] = wide
    begin += len(rest)
    expected = [info.CRC, info.compress_size, info.file_size]
    pending = bool(flags & DESCRIPTOR)  # known only after the data, when it was written to a pipe
    found = zip(stated + (wide or []), expected + expected[1:])  # noqa: B905  (mostly there is no `wide`)
    if any(a != b and not (pending and a == 0) for a, b in found):
        corrupt("its header has another size or CRC-32 than the zip directory")
    position = begin + info.compress_size
    descriptor = (
        struct.pack("<4s3L" if wide is None else "<4sL2Q", DESCRIPTOR_SIGN, *expected) if pending else b""
    )
    if position + len(descriptor) > end:
        corrupt("truncated: its data reaches into the zip directory")
    if read(access, position, len(descriptor)) != descriptor:
        corrupt("what follows its data states another size or CRC-32 than the zip directory")
    deflated = method == zipfile.ZIP_DEFLATED
    member = Member(where, info.orig_filename, deflated, info.CRC, info.compress_size, info.file_size, begin)
    return member, position + len(descriptor)
