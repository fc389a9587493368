"""Positioned access to the bytes of a file, and the opening of inputs.

Data is never memory-mapped: mapped pages count as resident memory, and a mapped write on a full disk is a
signal.
All methods may be called from several threads at once.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

from nqz.files.memory import MemoryAccess as MemoryAccess
from nqz.files.objects import ObjectAccess, closed_error, reads_in_place
from nqz.files.room import require, room
from nqz.ground.errors import DiskFullError, InputError, NqzError, OutputError, UsageError
from nqz.ground.urls import is_url, local
from nqz.ground.wording import counted

if TYPE_CHECKING:
    from nqz.files.remote.access import RemoteAccess  # takes a moment to load

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SPOOL_PIECE = 1 << 20
_ONE_SLASH = re.compile(r"(s3|gs|gcs|hf|https?|memory|abfs|az):/[^/]")
"""What pathlib makes of addresses."""


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


def open_input(source: Any, in_place: bool = False) -> Access:
    """Open an input for positioned reads.

    A regular file is read in place. Anything else (pipe, device, file object without a file) is first copied
    to an unlinked temporary file.

    Parameters
    ----------
    source : str, path-like or binary file object
        ``"-"`` is standard input. An address such as ``s3://…``, and an object of fsspec, are read by ranges. A file
        object is read from its current position, and left open.
    in_place : bool
        Do not copy a file object that can seek.

    Raises
    ------
    InputError
        If it cannot be opened or read, or is a directory.
    UsageError
        If it is a terminal or an object of another type.
    DiskFullError, OutputError
        If the temporary copy cannot be written.
    """
    if isinstance(source, (str, bytes)) and os.fsdecode(source) == "-":
        if sys.stdin is None:
            raise InputError("<stdin>: standard input is closed")
        if sys.stdin.isatty():
            raise UsageError("<stdin>: standard input is a terminal; give a file or a pipe")
        return _open_stream(sys.stdin.buffer, "<stdin>", watched=True)
    if is_url(source):
        from nqz.files.remote.opening import open_url

        return open_url(source)
    if hasattr(source, "fs"):
        from nqz.files.remote.opening import open_object

        found = open_object(source)
        if found is not None and not isinstance(found, str):
            return found
        if found is None and not hasattr(source, "read"):  # compressed, for example
            with source as stream:
                return open_input(stream)
        source = found or source
    source = local(source)
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return _open_stream(source, name if isinstance(name, str) else "<file object>", in_place)
    try:
        path = os.fsdecode(source)
    except TypeError as error:
        kind = type(source).__name__
        raise UsageError(f"an input must be a path or a binary file object, not {kind}") from error
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        text = reason(error) if isinstance(error, OSError) else str(error)
        hint = "; an address has two slashes, as in s3://" if _ONE_SLASH.match(path) else ""
        raise InputError(f"{path}: cannot open: {text}{hint}") from error
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a directory, not a file")
        if stat.S_ISREG(status.st_mode):
            return FileAccess(fd, path, identity=(status.st_dev, status.st_ino), watched=True)
        with open(fd, "rb", buffering=0, closefd=False) as stream:
            access = _spool(stream, path)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return access


def _open_stream(stream: Any, name: str, in_place: bool = False, *, watched: bool = False) -> Access:
    if isinstance(stream, io.TextIOBase):
        raise UsageError(f"{name}: the file object must be open in binary mode")
    if isinstance(stream, io.BytesIO):
        return MemoryAccess(stream.getbuffer()[stream.tell() :], name)
    # Other objects may have a descriptor too, but of something else: gzip's is that of the compressed file.
    raw = stream.raw if isinstance(stream, (io.BufferedReader, io.BufferedRandom)) else stream
    if isinstance(raw, io.FileIO):
        try:
            status = os.fstat(raw.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise InputError(f"{name}: is a directory, not a file")
            if stat.S_ISREG(status.st_mode):
                identity = (status.st_dev, status.st_ino)
                return FileAccess(
                    raw.fileno(), name, base=stream.tell(), identity=identity, owned=False, watched=watched
                )
        except OSError as error:
            raise InputError(f"{name}: cannot read: {reason(error)}") from error
    if in_place and reads_in_place(stream):
        return ObjectAccess(stream, name)
    return _spool(stream, name)


def temporary_access(name: str) -> FileAccess:
    """Return access to a new unlinked file in the directory for temporary files."""
    import tempfile  # which takes a moment to load

    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            return FileAccess(os.dup(file.fileno()), f"temporary copy of {name} in {tempfile.gettempdir()}")
    except OSError as error:
        raise output_error(f"temporary copy of {name} (TMPDIR says where)", error) from error


def _spool(stream: Any, name: str) -> FileAccess:
    access = temporary_access(name)
    try:
        while True:
            try:
                piece = stream.read(_SPOOL_PIECE)
            except (OSError, ValueError) as error:
                text = reason(error) if isinstance(error, OSError) else str(error)
                raise InputError(f"{name}: cannot read: {text}") from error
            if piece is None or isinstance(piece, str):
                raise InputError(f"{name}: must be a blocking stream of bytes")
            if not piece:
                break
            access.pwrite(piece, access.size)
    except BaseException:
        access.close()
        raise
    access.name = name
    return access
