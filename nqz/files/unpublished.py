"""A new file until it is whole: without a name where the system can do that, and beside its place otherwise.

A file without a name is gone with the process, whatever ends it. A name is one of a few that belong to the output:
``.OUTPUT.N.nqz.tmp``. The process that uses it holds a lock on the file. So the next one that writes the same output
can tell what is left of a process that was killed, and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable

from nqz.files.flush import flush
from nqz.files.unfinished import is_at, locked, names
from nqz.ground.errors import OutputError

UNNAMED = True
"""Whether to use files without a name where the system has them; for tests."""

_COPY_PIECE = 1 << 20
_NO_LINK = (
    errno.EPERM,
    errno.EACCES,
    errno.ENOENT,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
)


class Unpublished:
    """A new file that will appear at `final` at once.

    Parameters
    ----------
    final : str
        A path, all links followed.
    mode : int
        Permissions, to which the umask applies.

    Attributes
    ----------
    fd : int
        Open for reading and writing.

    Raises
    ------
    OSError, OutputError
        If it cannot be created.
    """

    def __init__(self, final: str, mode: int) -> None:
        self._final = final
        self._path: str | None = None
        self._mode = mode
        _remove_leftovers(final)
        self.fd = _without_name(os.path.dirname(final), mode)
        if self.fd < 0:
            self.fd = self._named()
        else:
            locked(self.fd)

    def publish(self, replace: bool) -> None:
        """Let the file, which is on the disk, appear, in place of another one if `replace`.

        Raises
        ------
        FileExistsError
            If there is another one, which may not be replaced.
        OSError, OutputError
            If it cannot appear there.
        """
        if self._path is None and self._linked(replace):
            return
        if replace:
            if self._path is None:
                self._take_name(self._link)
            assert self._path is not None
            os.replace(self._path, self._final)
        else:
            self._rename_to_new()
        self._path = None

    def discard(self) -> None:
        """Close the file, and remove it if it has not been published."""
        with contextlib.suppress(OSError):
            if self._path is not None and is_at(self.fd, self._path):
                os.unlink(self._path)
        self._path = None
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)

    def _linked(self, replace: bool) -> bool:
        """Whether the file without a name appeared at once; it has a name if the system gives none to such files."""
        try:
            self._link(self._final)
        except FileExistsError:
            if not replace:
                raise
            return False
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._copy_to_name()
            return False
        return True

    def _link(self, path: str) -> None:
        # Only with the descriptor of a folder, which an absolute path makes no use of, does Python call linkat, and
        # this alone follows the link in /proc to the file.
        os.link(f"/proc/self/fd/{self.fd}", path, src_dir_fd=self.fd)

    def _named(self) -> int:
        """Create a file with a name."""
        flags, fds = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, []
        while True:
            path = self._take_name(lambda path: fds.append(os.open(path, flags, self._mode)))
            if locked(fds[-1]) and is_at(fds[-1], path):
                return fds[-1]
            os.close(fds[-1])  # another process took it for a leftover before it was locked

    def _take_name(self, make: Callable[[str], object]) -> str:
        """Make something under the first name that is free."""
        paths = names(self._final)
        for path in paths:
            self._path = path  # from now on: an interrupt may come before `make` returns
            with contextlib.suppress(FileExistsError):
                make(path)
                return path
        self._path = None
        raise OutputError(
            f"{self._final}: cannot write: all names for unfinished files are taken, {paths[0]} to {paths[-1]}"
        )

    def _copy_to_name(self) -> None:
        """Replace a file that can get no name by a copy that has one."""
        old, status = self.fd, os.fstat(self.fd)
        self.fd = self._named()
        try:
            with contextlib.suppress(OSError):
                os.fchown(self.fd, status.st_uid, status.st_gid)
            os.fchmod(self.fd, stat.S_IMODE(status.st_mode))
            done = 0
            while piece := os.pread(old, _COPY_PIECE, done):
                done += os.pwrite(self.fd, piece, done)
            flush(self.fd, done)
        finally:
            os.close(old)

    def _rename_to_new(self) -> None:
        """Rename without replacing a file that another process has put there since."""
        assert self._path is not None
        try:
            os.link(self._path, self._final)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            if os.path.lexists(self._final):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            os.rename(self._path, self._final)
        else:
            os.unlink(self._path)


def _without_name(folder: str, mode: int) -> int:
    """Open a new file without a name, and return its descriptor; -1 where there is no such thing."""
    flag = getattr(os, "O_TMPFILE", 0)
    if not (UNNAMED and flag):
        return -1
    try:
        fd = os.open(folder, flag | os.O_RDWR | os.O_CLOEXEC, mode)
    except OSError:
        return -1  # if nothing can be created here, creating a name will tell why
    if os.path.lexists(f"/proc/self/fd/{fd}"):
        return fd
    os.close(fd)
    return -1


def _remove_leftovers(final: str) -> None:
    for path in names(final):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(fd).st_mode) and is_at(fd, path):
                    os.unlink(path)
            finally:
                os.close(fd)
