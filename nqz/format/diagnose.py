"""Say what is wrong with a file that is no proper container: another format, cut short, trailing bytes."""

from __future__ import annotations

from nqz.format.index import END_LENGTH, END_SIZE
from nqz.format.records import MAGIC, PREAMBLE_SIZE, VERSION, Access, pread, preamble, read_header
from nqz.ground.errors import CorruptError, NewerFormatError, NqzError
from nqz.ground.sources import SOURCES

_MAX_STEPS = 100_000
_MANGLED = (
    MAGIC.replace(b"\r\n", b"\n"),
    MAGIC.replace(b"\r\n", b"\r"),
    MAGIC.replace(b"\n", b"\r\n"),
    bytes([MAGIC[0] & 0x7F]) + MAGIC[1:],
    MAGIC.decode("latin-1").encode("utf-8"),
    b"\xef\xbf\xbd" + MAGIC[1:],
)


def check_preamble(access: Access, name: str) -> None:
    """Check magic, CRC-32, version and features, in this order.

    Raises
    ------
    CorruptError
        Not a container, or one whose first bytes are damaged or missing.
    NewerFormatError
        Written by a later version of the format, or with features that this one does not know.
    """
    head = bytes(pread(access, 0, min(access.size, PREAMBLE_SIZE)))
    if not head.startswith(MAGIC):
        raise CorruptError(f"{name}: {_other_format(head, access.size)} (at byte 0)")
    if len(head) < PREAMBLE_SIZE:
        raise CorruptError(f"{name}: truncated: the file ends at byte {access.size}, within its preamble")
    version, features = (int.from_bytes(head[at : at + 2], "little") for at in (8, 10))
    if head != preamble(version, features):
        raise CorruptError(f"{name}: damaged: the checksum of the preamble at byte 12 does not match")
    if version > VERSION:
        raise NewerFormatError(
            f"{name}: written in version {version} of the nqz format (at byte 8); "
            f"this program reads version {VERSION}: a later release is needed"
        )
    if features:
        bits = ", ".join(str(bit) for bit in range(16) if features >> bit & 1)
        raise NewerFormatError(
            f"{name}: needs features {bits} of the nqz format (at byte 10), which this program does not know: "
            "a later release is needed"
        )


def end_error(access: Access, name: str) -> NqzError:
    """Find out, record by record from the beginning, why a file does not end with a proper end record."""
    offset = PREAMBLE_SIZE
    for _ in range(_MAX_STEPS):
        if offset == access.size:
            return CorruptError(f"{name}: truncated: the file ends at byte {offset}, before its end record")
        try:
            record = read_header(access, offset, access.size, name).record
        except NqzError as error:
            return error
        if record.type == "DONE":
            if record.length != END_LENGTH:
                return CorruptError(f"{name}: damaged: the end record at byte {offset} has the wrong length")
            if record.end < access.size:
                return CorruptError(
                    f"{name}: {access.size - record.end} bytes follow the end record, at byte {record.end}; "
                    "a container ends with it (two files concatenated?)"
                )
            return CorruptError(f"{name}: damaged: the end record at byte {offset} is not valid")
        offset = record.end
    return CorruptError(f"{name}: truncated or damaged: no end record at byte {access.size - END_SIZE}")


def _other_format(head: bytes, size: int) -> str:
    if not head:
        return "empty file, not an nqz file"
    if MAGIC.startswith(head):
        return "truncated: the file ends within its magic"
    if any(head.startswith(mangled) for mangled in _MANGLED):
        return "an nqz file damaged by a transfer in text mode; transfer it again in binary mode"
    for kind in SOURCES.values():
        if kind.has_mark(head) and int.from_bytes(head[: kind.mark_at], "little") <= size - kind.mark_at:
            seems = "" if len(kind.mark) > 4 else ", it seems,"  # a short mark proves little
            return f"not an nqz file but{seems} a .{kind.name} file"
    return "not an nqz file, or its first bytes are damaged"
