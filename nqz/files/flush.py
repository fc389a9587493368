"""Getting a file onto the disk in pieces: a signal can be handled between them, while nothing interrupts one fsync."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

_PIECE = 32 << 20
_START, _WHOLE = 2, 7  # of sync_file_range: begin to write; and wait for that


def flush(fd: int, size: int) -> None:
    """Do what `os.fsync` does to a file of `size` bytes; OSError if it cannot be written."""
    sync = _sync_file_range() if size > _PIECE else None
    for offset in range(0, size, _PIECE):
        if sync is None:
            break
        # the next piece is on its way while this one is waited for
        if sync(fd, offset, 2 * _PIECE, _START) or sync(fd, offset, _PIECE, _WHOLE):
            import ctypes

            number = ctypes.get_errno()
            # reported once: fsync would not tell any more
            if number in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
                raise OSError(number, os.strerror(number))
            break  # not to be had here
    os.fsync(fd)


def _sync_file_range() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    found: Callable[..., int] = function
    return found


def sync_folder(folder: str) -> None:
    """Get the entries of a folder onto the disk, where that is possible; OSError if it fails."""
    try:
        fd = os.open(folder or ".", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # a folder that may be written but not read; the file itself is safe
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS):
            raise
    finally:
        os.close(fd)
