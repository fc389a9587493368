"""Publishing a folder: what stood there before, or the complete new folder, never a part.

It is built beside its place, under a name that belongs to it, ``.OUTPUT.N.nqz.tmp``, and renamed. The process that
builds it holds a lock on it. So the next one that writes the same output can tell what is left of a process that was
killed, and removes it. What it replaces is exchanged with it at once, where the system can do that; elsewhere it goes
aside as ``.OUTPUT.….old.nqz.tmp``, and is put back by the next run if the new folder did not come to its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator

from nqz.files.access import output_error
from nqz.files.flush import flush, sync_folder
from nqz.files.mark import has_mark, write_mark
from nqz.files.opening import open_part
from nqz.files.parked import Descriptors, ParkedAccess
from nqz.files.rename import exchange, rename_new
from nqz.files.unfinished import is_at, locked, names
from nqz.ground import digests
from nqz.ground.errors import OutputError, OutputExistsError, UsageError
from nqz.ground.urls import is_url, joined

_PIECE = 1 << 20


class OutputFolder:
    """A folder to be filled and published by `commit`; leaving the context without that removes it.

    Parameters
    ----------
    target : str or path-like
    force : bool
        Whether a folder that nqz wrote, and nobody has changed since, may be replaced; and an empty one.
    inputs : iterable of str
        Folders and files that are read: none may be in the output, nor the output in one of them.
    check : callable, optional
        Called by `commit` before anything is published; may raise an NqzError.

    Attributes
    ----------
    name : str
        What messages call the output.

    Raises
    ------
    OutputExistsError
        The target exists and may not be replaced, or is an input.
    OutputError
        It cannot be created.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        *,
        force: bool = False,
        inputs: Iterable[str] = (),
        check: Callable[[], object] | None = None,
    ) -> None:
        self.name = os.fsdecode(target)
        self._check, self._descriptors = check, Descriptors()
        self._path: str | None = None
        self._lock = -1
        self._replaces = False
        self._folders = {""}
        self._files: dict[str, ParkedAccess] = {}
        if self.name in ("", "-"):
            raise UsageError("a model is written to a folder; give it a name, with -o OUT")
        try:
            self._final = os.path.realpath(self.name)
            self._refuse_inputs(inputs)
            _put_back(self._final)
            self._look(force)
            _remove_leftovers(self._final)
            self._create()
        except FileNotFoundError as error:
            folder = os.path.dirname(self._final)
            raise OutputError(f"{self.name}: cannot write: there is no folder {folder}") from error
        except OSError as error:
            raise output_error(self.name, error) from error
        except ValueError as error:  # a NUL in the path
            raise OutputError(f"{self.name!r}: cannot write: {error}") from error

    def _refuse_inputs(self, inputs: Iterable[str]) -> None:
        for path in inputs:
            if is_url(path):
                continue
            real = os.path.realpath(path)
            if real == self._final:
                raise OutputExistsError(f"{self.name}: is an input; write to another folder")
            if self._final.startswith(os.path.join(real, "")):
                raise OutputExistsError(
                    f"{self.name}: is inside the input {path}; write to a folder elsewhere"
                )
            if real.startswith(os.path.join(self._final, "")):
                raise OutputExistsError(
                    f"{self.name}: has the input {path} in it; write to a folder elsewhere"
                )

    def _look(self, force: bool) -> None:
        """Refuse what stands at the target, if it may not be replaced."""
        try:
            status = os.stat(self._final)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            raise OutputExistsError(
                f"{self.name}: exists already, and is no folder; a model is written to a folder"
            )
        if not _may_go(self._final):
            raise OutputExistsError(
                f"{self.name}: exists already, is not a folder as nqz left it, and is never replaced; "
                "write to another folder, or remove it"
            )
        if not force:
            raise OutputExistsError(f"{self.name}: exists already; use --force (-f) to replace it")
        self._replaces = True

    def _create(self) -> None:
        paths = names(self._final)
        for path in paths:
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            self._path = path
            self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if locked(self._lock) and is_at(self._lock, path):
                return
            os.close(self._lock)  # another process took it for a leftover before it was locked
            self._lock, self._path = -1, None
        raise OutputError(
            f"{self.name}: cannot write: all names for unfinished folders are taken, {paths[0]} to {paths[-1]}"
        )

    def create(self, name: str, mode: int = 0o666) -> ParkedAccess:
        """A new file of the folder, to be written and then given to `finish`."""
        path, shown = self._place(name), os.path.join(self.name, name)
        try:
            access = ParkedAccess(path, shown, self._descriptors, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise output_error(shown, error) from error
        self._files[name] = access
        return access

    def finish(self, access: ParkedAccess, size: int | None = None) -> None:
        """Bring a file that is written, up to a size, to the disk; it may still be read."""
        if size is not None:
            access.truncate(size)
        try:
            with access.held() as fd:
                flush(fd, access.size)
        except OSError as error:
            raise output_error(access.name, error) from error

    def drop(self, name: str) -> None:
        """Take a file out of the folder again."""
        self._files.pop(name).close()
        try:
            os.unlink(self._place(name))
        except OSError as error:
            raise output_error(os.path.join(self.name, name), error) from error

    def write(self, name: str, data: bytes) -> None:
        """A whole file."""
        access = self.create(name)
        access.pwrite(data, 0)
        self.finish(access)

    def copy(self, path: str, name: str, mode: int) -> None:
        """A file with the content of another; links are followed."""
        source = open_part(path, self._descriptors)
        try:
            access = self.create(name, stat.S_IMODE(mode) & 0o777 | stat.S_IRUSR | stat.S_IWUSR)
            buffer = memoryview(bytearray(min(_PIECE, source.size)))
            for offset in range(0, source.size, _PIECE):
                piece = buffer[: min(_PIECE, source.size - offset)]
                source.pread_into(piece, offset)
                access.pwrite(piece, offset)
            source.check()
            self.finish(access)
            access.close()
        finally:
            source.close()

    def make(self, name: str) -> None:
        """A folder in the folder, and those that it is in."""
        above, _, last = name.rpartition("/")
        if name in self._folders or not last:
            return
        self.make(above)
        assert self._path is not None
        try:
            os.mkdir(os.path.join(self._path, name))
        except OSError as error:
            raise output_error(os.path.join(self.name, name), error) from error
        self._folders.add(name)

    def _place(self, name: str) -> str:
        self.make(name.rpartition("/")[0])
        assert self._path is not None
        return os.path.join(self._path, name)

    def sizes(self, target: str) -> list[tuple[str, int]]:
        """The files of the folder, as they are called where it is called `target`, and their bytes."""
        return [(joined(target, name), access.size) for name, access in sorted(self._files.items())]

    def commit(self) -> None:
        """Publish the folder.

        Raises
        ------
        DiskFullError, OutputError
            It cannot be written.
        OutputExistsError
            Something appeared at the target meanwhile.
        """
        if self._check is not None:
            self._check()
        assert self._path is not None
        self._close()
        if not is_at(self._lock, self._path):
            path, self._path = self._path, None  # what stands there now is not ours
            raise OutputError(
                f"{self.name}: cannot write: the unfinished folder {path} was moved or replaced"
            )
        try:
            if self._replaces:
                status = os.stat(self._final)
                with contextlib.suppress(OSError):
                    os.chown(self._path, status.st_uid, status.st_gid)
                os.chmod(self._path, stat.S_IMODE(status.st_mode))
            write_mark(self._path)
            for name in self._folders:
                sync_folder(os.path.join(self._path, name))
            try:
                if self._replaces:
                    self._replace(self._path)
                else:
                    rename_new(self._path, self._final)
                    self._path = None
            except FileExistsError as error:
                raise OutputExistsError(
                    f"{self.name}: appeared meanwhile; write to another folder, or remove it"
                ) from error
            sync_folder(os.path.dirname(self._final))
        except OSError as error:
            raise output_error(self.name, error) from error
        self._discard()

    def _replace(self, path: str) -> None:
        """Put the new folder in the place of the old one; what is left of that is at `path` then, or nothing."""
        changed = OutputExistsError(f"{self.name}: has been changed meanwhile; nothing was replaced")
        if not _may_go(self._final):
            raise changed
        if not exchange(path, self._final):
            self._put_aside(path)
        elif not _may_go(path):  # changed within that moment
            exchange(path, self._final)
            raise changed

    def _put_aside(self, path: str) -> None:
        old = _aside(self._final)
        fd = os.open(self._final, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            locked(fd)
            os.rename(self._final, old)
            try:
                if not _may_go(old):
                    raise OutputExistsError(f"{self.name}: has been changed meanwhile; nothing was replaced")
                rename_new(path, self._final)
            except BaseException:
                with contextlib.suppress(OSError):
                    rename_new(old, self._final)
                raise
            self._path = old
        finally:
            os.close(fd)

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._path is not None and not is_at(self._lock, self._path):
            self._path = None  # moved, or replaced: what stands there now is not ours
        self._discard()

    def _close(self) -> None:
        for access in self._files.values():
            access.close()

    def _discard(self) -> None:
        """Remove what has not been published, or what has been replaced."""
        with contextlib.suppress(OutputError):
            self._close()
        path, self._path = self._path, None
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
        fd, self._lock = self._lock, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


def _aside(final: str) -> str:
    folder, base = os.path.split(final)
    # the whole name counts: it tells to which output the folder goes back
    whole = digests.of(os.fsencode(base)).hex()[:8]
    return os.path.join(folder, f".{base[:40]}.{whole}.old.nqz.tmp")


def _may_go(folder: str) -> bool:
    """Whether nothing of others is lost with a folder."""
    return not os.listdir(folder) or has_mark(folder)


@contextlib.contextmanager
def _leftover(path: str) -> Iterator[bool]:
    """Whether a folder is left of a process that has ended; nobody else takes it meanwhile."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = is_at(fd, path)
    except OSError:
        left = False
    try:
        yield left
    finally:
        os.close(fd)


def _remove_leftovers(final: str) -> None:
    for path in (*names(final), _aside(final)):
        with _leftover(path) as left:
            if left:
                shutil.rmtree(path, ignore_errors=True)


def _put_back(final: str) -> None:
    """Put a folder back that went aside for one that never came."""
    old = _aside(final)
    with _leftover(old) as left:
        if left and not os.path.lexists(final):
            rename_new(old, final)
