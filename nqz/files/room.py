"""How much room a file system has for a file."""

from __future__ import annotations

import os

from nqz.ground.errors import DiskFullError


def room(fd: int) -> int | None:
    """Return how large a file could become; None where the file system does not tell."""
    try:
        free, own = os.fstatvfs(fd), os.fstat(fd)
    except OSError:
        return None
    # what is kept for the administrator counts as free: this may be the one
    return free.f_bfree * free.f_frsize + 512 * own.st_blocks if free.f_blocks else None


def require(name: str, size: int, most: int | None) -> None:
    """Raise DiskFullError if a file of `size` bytes is larger than it can become."""
    if most is not None and size > most:
        raise DiskFullError(
            f"{name}: cannot write: no space left on device: {size} bytes are needed, there is room for {most}; "
            "free some space or write elsewhere"
        )
