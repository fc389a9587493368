"""Renaming in ways that Python has no function for: two names exchanged at once, and never onto what is there."""

from __future__ import annotations

import errno
import os
import sys

_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_MISSING = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)

AVAILABLE = True
"""Whether to ask the system for it; for tests."""


def exchange(first: str, second: str) -> bool:
    """Exchange what two paths lead to; return False where the system cannot."""
    return _renameat2(first, second, _EXCHANGE)


def rename_new(old: str, new: str) -> None:
    """Rename; FileExistsError if there is something at the new path."""
    if _renameat2(old, new, _NOREPLACE):
        return
    if os.path.lexists(new):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    try:
        os.rename(old, new)
    except OSError as error:  # a folder that appeared meanwhile, with something in it
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        raise


def _renameat2(old: str, new: str, flags: int) -> bool:
    if sys.platform != "linux" or not AVAILABLE:
        return False
    import ctypes

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    if function(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _MISSING:
        return False
    raise OSError(number, os.strerror(number), old)
