"""Files that are open only while they are used: a model has more of them than a process may have open."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from nqz.files.access import FileAccess, reason
from nqz.files.objects import closed_error
from nqz.ground.errors import InputError
from nqz.ground.guard import Guard

MOST_OPEN = 32


class Descriptors:
    """The descriptors of many files, of which those used last stay open.

    Parameters
    ----------
    most : int
        How many, beside those in use.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._guard = Guard()
        self._idle: OrderedDict[ParkedAccess, None] = OrderedDict()

    @contextmanager
    def held(self, access: ParkedAccess) -> Iterator[int]:
        """The descriptor of a file, which stays open meanwhile."""
        with self._guard:
            if access.ended:
                raise closed_error(access.name)
            self._idle.pop(access, None)
            if access.parked:
                access.wake()
            access.users += 1
        try:
            yield access.fileno()
        finally:
            with self._guard:
                access.users -= 1
                self._rest(access)

    def end(self, access: ParkedAccess) -> None:
        """Close a file for good, once nobody uses it."""
        with self._guard:
            access.ended = True
            self._idle.pop(access, None)
            self._rest(access)

    def _rest(self, access: ParkedAccess) -> None:
        if access.users or access.parked:
            return
        if access.ended:
            access.park()
        else:
            self._idle[access] = None
            if len(self._idle) > self._most:
                self._idle.popitem(last=False)[0].park()


class ParkedAccess(FileAccess):
    """Positioned reads and writes on a regular file that is opened again whenever it is needed.

    Parameters
    ----------
    path : str
    name : str
        What error messages call the file.
    descriptors : Descriptors
        Shared with other files.
    flags : int
        How to open it: ``os.O_RDONLY`` for an input, which nobody is to change; ``os.O_RDWR``, with ``os.O_CREAT`` for
        a new file.
    mode : int
        Permissions of a new file, to which the umask applies.

    Raises
    ------
    OSError
        It cannot be opened.
    InputError
        It is no regular file.
    """

    def __init__(
        self, path: str, name: str, descriptors: Descriptors, flags: int = os.O_RDONLY, mode: int = 0o666
    ) -> None:
        self._path, self._descriptors = os.path.abspath(path), descriptors
        self._flags = (flags & os.O_ACCMODE) | os.O_CLOEXEC | os.O_NONBLOCK
        self.users, self.ended = 0, False
        writes = self._flags & os.O_ACCMODE != os.O_RDONLY
        fd = os.open(path, flags | self._flags, mode)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{name}: is not a regular file")
            self._itself = (status.st_dev, status.st_ino)
            super().__init__(fd, name, identity=None if writes else self._itself, watched=not writes)
        except BaseException:
            os.close(fd)
            raise
        with descriptors.held(self):
            pass  # from now on one of those that may be closed

    @property
    def parked(self) -> bool:
        """Whether it is not open now."""
        return self._fd < 0

    @property
    def closed(self) -> bool:
        """See `FileAccess`."""
        return self.ended

    def park(self) -> None:
        """Close the descriptor until it is needed."""
        super().close()

    def wake(self) -> None:
        """Open it again; InputError if it is another file by now."""
        try:
            fd = os.open(self._path, self._flags)
        except OSError as error:
            raise InputError(f"{self.name}: cannot open: {reason(error)}") from error
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != self._itself:
            with suppress(OSError):
                os.close(fd)
            raise InputError(f"{self.name}: is not the file that it was")
        self._fd = fd

    def held(self) -> Any:
        """A context manager that gives the descriptor, open meanwhile."""
        return self._descriptors.held(self)

    def check(self) -> None:
        """See `FileAccess`."""
        if not self.ended:
            with self.held():
                super().check()

    def pread_into(self, buffer: Any, offset: int) -> None:
        """See `FileAccess`."""
        with self.held():
            super().pread_into(buffer, offset)

    def pwrite(self, data: Any, offset: int) -> None:
        """See `FileAccess`."""
        with self.held():
            super().pwrite(data, offset)

    def truncate(self, size: int) -> None:
        """See `FileAccess`."""
        with self.held():
            super().truncate(size)

    def require(self, size: int) -> None:
        """See `FileAccess`."""
        with self.held():
            super().require(size)

    def reserve(self, size: int) -> None:
        """See `FileAccess`."""
        with self.held():
            super().reserve(size)

    def close(self) -> None:
        """See `FileAccess`."""
        self._descriptors.end(self)
