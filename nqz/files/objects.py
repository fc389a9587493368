"""Positioned reads from a Python file object that can seek, without a copy."""

from __future__ import annotations

import io
import threading
from typing import Any

from nqz.ground.errors import InputError, OutputError

_COMPRESSED = frozenset({"gzip", "bz2", "lzma", "zipfile", "compression"})
"""Packages whose objects seek backwards by reading all over again."""


def reads_in_place(stream: Any) -> bool:
    """Whether a binary file object can be read anywhere at no other cost than what is read."""
    try:
        if not stream.seekable():
            return False
    except (AttributeError, OSError, ValueError):
        return False
    while stream is not None:  # a member of an archive has the archive beneath
        if any(kind.__module__.partition(".")[0] in _COMPRESSED for kind in type(stream).__mro__):
            return False
        stream = getattr(stream, "raw", None) or getattr(stream, "fileobj", None)
    return True


def closed_error(name: str) -> InputError:
    """The error for an input that is read after it was closed."""
    return InputError(f"{name}: is closed, and can no longer be read; open it again")


class ObjectAccess:
    """Positioned reads on a file object, from its present position on; it is left open.

    Parameters
    ----------
    stream : binary file object
        Nobody else may move its position while it is read.
    name : str
        What error messages call it.

    Attributes
    ----------
    size : int
        Bytes to the end, as found when opened.
    """

    identity = None

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self.name = stream, name
        self._closed = False
        self._lock = threading.Lock()
        try:
            self._base = stream.tell()
            self.size = max(0, stream.seek(0, io.SEEK_END) - self._base)
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: cannot seek: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"{self.name}: is a file object, and cannot be passed to another process")

    @property
    def closed(self) -> bool:
        """Whether it is no longer read."""
        return self._closed

    def check(self) -> None:
        """Nothing tells whether it has changed."""

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`.

        Raises
        ------
        InputError
            If the object cannot be read or ends before the buffer is full.
        """
        view = memoryview(buffer).cast("B")
        done = 0
        with self._lock:
            if self._closed:
                raise closed_error(self.name)
            try:
                if len(view):
                    self._stream.seek(self._base + offset)
                while done < len(view):
                    found = self._stream.read(len(view) - done)
                    if not isinstance(found, (bytes, bytearray, memoryview)):
                        raise InputError(f"{self.name}: must be a blocking stream of bytes")
                    if not 0 < len(found) <= len(view) - done:
                        raise InputError(
                            f"{self.name}: ends at byte {offset + done}, {len(view) - done} bytes short; "
                            "it seems to have changed while being read"
                        )
                    view[done : done + len(found)] = found
                    done += len(found)
            except (OSError, ValueError) as error:
                raise InputError(f"{self.name}: cannot read at byte {offset + done}: {error}") from error

    def view(self, offset: int, nbytes: int) -> None:
        """Return None: it is not in memory."""

    def pwrite(self, data: Any, offset: int) -> None:
        """Raise `OutputError`."""
        raise OutputError(f"{self.name}: is read only")

    def truncate(self, size: int) -> None:
        """Raise `OutputError`."""
        raise OutputError(f"{self.name}: is read only")

    reserve = truncate

    def close(self) -> None:
        """Read no more; the object is left open."""
        self._closed = True
