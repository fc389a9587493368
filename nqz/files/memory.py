"""Positioned access to memory, as to a file."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

from nqz.files.objects import closed_error
from nqz.ground.errors import InputError, OutputError


class MemoryAccess:
    """Positioned reads and writes on memory: a bytearray, which grows, or a read-only buffer."""

    identity = None

    def __init__(self, data: Any, name: str = "<memory>") -> None:
        self._grows = isinstance(data, bytearray)
        self._data: Any = data if self._grows else memoryview(data).cast("B")
        self._lock = threading.Lock()
        self._closed = False
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle memory by its bytes."""
        if self._grows:
            raise TypeError(f"{self.name}: this memory may change, and cannot be passed to another process")
        return MemoryAccess, (bytes(self._data), self.name)

    @property
    def closed(self) -> bool:
        """Whether it can no longer be read."""
        return self._closed

    @property
    def size(self) -> int:
        """Number of bytes."""
        return 0 if self._closed else len(self._data)

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`; `InputError` if there are too few."""
        wanted = memoryview(buffer).nbytes
        if wanted == 0:
            return
        if self._closed:
            raise closed_error(self.name)
        if offset + wanted > len(self._data):
            raise InputError(f"{self.name}: ends at byte {len(self._data)}, before byte {offset + wanted}")
        # what does not grow is read without the lock: a child forked meanwhile would wait for it for ever
        with self._lock if self._grows else nullcontext(), memoryview(self._data) as data:
            memoryview(buffer).cast("B")[:] = data[offset : offset + wanted]

    def view(self, offset: int, nbytes: int) -> memoryview | None:
        """Return bytes where they are; None where they may move, or are not there."""
        if self._closed:
            raise closed_error(self.name)
        if self._grows or not 0 <= offset <= len(self._data) - nbytes:
            return None
        with memoryview(self._data) as data:
            return data[offset : offset + nbytes].toreadonly()

    def pwrite(self, data: Any, offset: int) -> None:
        """Write all of a contiguous buffer at `offset`, growing the memory with zeros as needed."""
        wanted = memoryview(data).nbytes
        if not self._grows:
            raise OutputError(f"{self.name}: this memory is read only")
        if wanted == 0:
            return
        with self._lock:
            self._extend(offset + wanted)
            with memoryview(self._data) as target:
                target[offset : offset + wanted] = memoryview(data).cast("B")

    def truncate(self, size: int) -> None:
        """Make the memory `size` bytes long; bytes added are zeros."""
        if not self._grows:
            raise OutputError(f"{self.name}: this memory is read only")
        with self._lock:
            del self._data[size:]
            self._extend(size)

    reserve = truncate

    def check(self) -> None:
        """Memory belongs to the caller."""

    def require(self, size: int) -> None:
        """Memory grows as long as there is some."""

    def _extend(self, size: int) -> None:
        if size > len(self._data):
            self._data.extend(bytes(size - len(self._data)))

    def close(self) -> None:
        """Release the memory."""
        self._closed = True
        if not self._grows:
            self._data.release()
