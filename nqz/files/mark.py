"""The mark of a folder that nqz wrote, by which it knows that it may replace it: nothing of others was put there since.

It is the digest of what is in the folder: names, sizes, and times of change. It is kept as an attribute of the folder
where the file system has such, else in a file in it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from nqz.ground import digests

ATTRIBUTE = "user.nqz.wrote"
FILE = ".nqz-wrote"
BYTES = 2 * digests.SIZE
"""Of the file."""


def write_mark(folder: str) -> None:
    """Mark a folder, all of which is there; OSError if it cannot be done."""
    found = _digest(folder, FILE)
    try:
        os.setxattr(folder, ATTRIBUTE, found)
    except (OSError, AttributeError):  # not every system, and not every file system, has these
        with open(os.path.join(folder, FILE), "wb") as file:
            file.write(found)
            file.flush()
            os.fsync(file.fileno())


def has_mark(folder: str) -> bool:
    """Whether a folder is as nqz left it."""
    with suppress(OSError):
        found, apart = _read(folder)
        return bool(found) and found == _digest(folder, "" if apart else FILE)
    return False


def _read(folder: str) -> tuple[bytes, bool]:
    """The mark, and whether it is apart from the files."""
    with suppress(OSError, AttributeError):
        return os.getxattr(folder, ATTRIBUTE), True
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(os.path.join(folder, FILE), flags)
    try:
        return os.read(fd, 1024), False
    finally:
        os.close(fd)


def _digest(folder: str, left_out: str) -> bytes:
    lines, left = [], [""]
    while left:
        where = left.pop()
        with os.scandir(os.path.join(folder, where)) as entries:
            for entry in entries:
                name, status = os.path.join(where, entry.name), entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    left.append(name)
                    lines.append(os.fsencode(name) + b"/")
                elif name != left_out:
                    facts = f"{stat.S_IFMT(status.st_mode)} {status.st_size} {status.st_mtime_ns}"
                    lines.append(os.fsencode(name) + b"\0" + facts.encode())
    return digests.of(b"\0\0".join(sorted(lines))).hex().encode()
