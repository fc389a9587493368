"""Names of outputs that are not whole yet, ``.OUTPUT.N.nqz.tmp``, and who works on them: their processes hold locks."""

from __future__ import annotations

import fcntl
import os

NAMES = 16
"""Unfinished files or folders that an output may have at a time."""


def names(final: str) -> list[str]:
    """The paths at which the output `final` may be written before it is whole."""
    folder, base = os.path.split(final)
    return [os.path.join(folder, f".{base[:40]}.{number}.nqz.tmp") for number in range(NAMES)]


def locked(fd: int) -> bool:
    """Lock a file or folder as long as it is open; return False if another process has done so."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nobody can tell leftovers, and nothing is removed
        return True
    return True


def is_at(fd: int, path: str) -> bool:
    """Whether what is open is still what stands at a path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def kept(final: str) -> str | None:
    """Give a file a second name, under which it stays when it is replaced; None where there is no file, or no way."""
    for path in names(final):
        try:
            os.link(final, path, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError:
            return None
        return path
    return None
