"""Positioned access to the bytes of a file.

Data is never memory-mapped: mapped pages count as resident memory, and a mapped write on a full disk is a
signal.
All methods may be called from several threads at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

from nqz.files.memory import MemoryAccess as MemoryAccess
from nqz.files.objects import ObjectAccess, closed_error
from nqz.files.room import require, room
from nqz.ground.errors import DiskFullError, InputError, NqzError, OutputError
from nqz.ground.wording import counted

if TYPE_CHECKING:
    from nqz.files.remote.access import RemoteAccess  # takes a moment to load

_FULL = (errno.ENOSPC, errno.EDQUOT)


def reason(error: OSError) -> str:
    """Return what the system says about an error, without the path."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def output_error(name: str, error: OSError) -> NqzError:
    """Return the error of nqz for a failed write: `DiskFullError` or `OutputError`."""
    if error.errno in _FULL:
        return DiskFullError(f"{name}: cannot write: {reason(error)}; free some space or write elsewhere")
    return OutputError(f"{name}: cannot write: {reason(error)}")


_NO_RESERVE = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.ENODEV)


class FileAccess:
    """Positioned reads and writes on a file descriptor.

    Parameters
    ----------
    fd : int
        An open descriptor of a seekable file.
    name : str
        What error messages call the file.
    base : int
        Offset in the file that counts as 0.
    identity : tuple of int, optional
        Device and inode of an input that is a regular file.
    owned : bool
        Whether `close` closes the descriptor.
    watched : bool
        Whether nobody is to change the file; see `check`.

    Attributes
    ----------
    size : int
        Bytes from `base` to the end: as found when opened, then grown by writes.
    """

    def __init__(
        self,
        fd: int,
        name: str,
        *,
        base: int = 0,
        identity: tuple[int, int] | None = None,
        owned: bool = True,
        watched: bool = False,
    ) -> None:
        self._fd = fd
        self._base = base
        self._owned = owned
        self._lock = threading.Lock()
        self.name = name
        self.identity = identity
        status = os.fstat(fd)
        self.size = max(0, status.st_size - base)
        self._stamp = status.st_size, status.st_mtime_ns
        self._found = self._stamp if watched else None

    def __del__(self) -> None:
        # nobody reads a container any more that was not closed
        if getattr(self, "_owned", False) and self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle an input by its address; it is opened again where it is unpickled."""
        if self.identity is None:
            raise TypeError(f"{self.name}: is not a regular file, and cannot be passed to another process")
        return _reopened, (os.path.abspath(self.name), self.name, self._base, self._stamp)

    def check(self) -> None:
        """Raise InputError if the file has changed since it was opened: what was read may not belong together."""
        if self._found is not None and self._fd >= 0:
            status = os.fstat(self._fd)
            if (status.st_size, status.st_mtime_ns) != self._found:
                raise InputError(f"{self.name}: changed while it was being read")

    @property
    def closed(self) -> bool:
        """Whether it can no longer be read."""
        return self._fd < 0

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`.

        Raises
        ------
        InputError
            If the file cannot be read or ends before the buffer is full.
        """
        wanted = memoryview(buffer).nbytes
        if wanted == 0:
            return
        if self._fd < 0:
            raise closed_error(self.name)
        try:
            got = os.preadv(self._fd, (buffer,), self._base + offset)
            if got == wanted:
                return
            view = memoryview(buffer).cast("B")
            # A read gives less than asked for at the end of the file, on a signal, and beyond 2 GiB.
            while got < wanted:
                more = os.preadv(self._fd, (view[got:],), self._base + offset + got)
                if more == 0:
                    raise InputError(
                        f"{self.name}: ends at byte {offset + got}, {counted(wanted - got, 'byte')} short; "
                        "it seems to have changed while being read"
                    )
                got += more
        except OSError as error:
            raise InputError(f"{self.name}: cannot read at byte {offset}: {reason(error)}") from error

    def pwrite(self, data: Any, offset: int) -> None:
        """Write all of a contiguous buffer at `offset`.

        Raises
        ------
        DiskFullError, OutputError
            If the file cannot be written.
        """
        wanted = memoryview(data).nbytes
        if wanted == 0:
            return
        try:
            done = os.pwrite(self._fd, data, self._base + offset)
            if done < wanted:
                view = memoryview(data).cast("B")
                while done < wanted:
                    done += os.pwrite(self._fd, view[done:], self._base + offset + done)
        except OSError as error:
            raise output_error(self.name, error) from error
        with self._lock:
            self.size = max(self.size, offset + wanted)

    def view(self, offset: int, nbytes: int) -> None:
        """Return None: a file is not in memory."""

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long; bytes added read as zeros."""
        try:
            os.ftruncate(self._fd, self._base + size)
        except OSError as error:
            raise output_error(self.name, error) from error
        with self._lock:
            self.size = size

    def require(self, size: int) -> None:
        """Raise DiskFullError if the file system says that it has no room for so many bytes that it cannot compress."""
        require(self.name, self._base + size, room(self._fd))

    def reserve(self, size: int) -> None:
        """Make the file `size` bytes long, of zeros, with disk space for all of them where the file system can tell.

        Raises
        ------
        DiskFullError, OutputError
            If there is not enough.
        """
        self.truncate(size)
        if not size or not hasattr(os, "posix_fallocate"):
            return
        most = room(self._fd)
        try:
            os.posix_fallocate(self._fd, self._base, size)
        except OSError as error:
            if error.errno in _FULL:
                require(self.name, self._base + size, most)
            # Some file systems cannot allocate ahead; writing will tell.
            if error.errno not in _NO_RESERVE:
                raise output_error(self.name, error) from error

    def close(self) -> None:
        """Close the descriptor, if owned; nothing is read from one of others either. A full disk may show only here."""
        fd, self._fd = self._fd, -1
        if self._owned and fd >= 0:
            try:
                os.close(fd)
            except OSError as error:
                raise output_error(self.name, error) from error


def _reopened(path: str, name: str, base: int, stamp: tuple[int, int]) -> FileAccess:
    """Open an input that was pickled; InputError if it is another file by now.

    Machines number the devices of storage that they share as they like: size and time of the last change tell.
    """
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed with the access)
    except OSError as error:
        raise InputError(f"{name}: cannot open: {reason(error)}") from error
    status = os.fstat(file.fileno())
    identity = status.st_dev, status.st_ino
    access = FileAccess(file.fileno(), name, base=base, identity=identity, owned=False, watched=True)
    weakref.finalize(access, file.close)
    if (status.st_size, status.st_mtime_ns) != stamp:
        raise InputError(f"{name}: is not the file that it was; workers must see the same storage")
    return access


Access: TypeAlias = "FileAccess | MemoryAccess | ObjectAccess | RemoteAccess"
"""What a file of matrices is read from and written to."""


def has_address(access: Any) -> bool:
    """Whether another process can open what is read by an address, which is what it is pickled as."""
    if isinstance(access, MemoryAccess):
        return False
    beneath = getattr(access, "_access", None)  # of what is decoded, or cut out, while it is read
    if beneath is not None:
        return has_address(beneath)
    own: Any = type(access).__reduce__
    if own is object.__reduce__:
        return False
    try:
        access.__reduce__()
    except TypeError:
        return False
    return True


def temporary_access(name: str) -> FileAccess:
    """Return access to a new unlinked file in the directory for temporary files."""
    import tempfile  # which takes a moment to load

    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            return FileAccess(os.dup(file.fileno()), f"temporary copy of {name} in {tempfile.gettempdir()}")
    except OSError as error:
        raise output_error(f"temporary copy of {name} (TMPDIR says where)", error) from error
