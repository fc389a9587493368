"""Publishing an output: what stood there before, or the complete new file, never a part."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nqz.files.access import FileAccess, output_error, temporary_access
from nqz.files.flush import flush, sync_folder
from nqz.files.unfinished import is_at, kept
from nqz.files.unpublished import Unpublished
from nqz.ground.errors import NqzError, OutputError, OutputExistsError, UsageError
from nqz.ground.urls import is_url, local

if TYPE_CHECKING:
    from nqz.files.remote.upload import Upload

_COPY_PIECE = 1 << 20
_STANDARD_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


class Output:
    """A file to be written through `access` and published by `commit`.

    A regular file is written in the folder that it will be in and appears there when it is whole; leaving the context
    without `commit` removes it and touches nothing else. Standard output, pipes, devices and file objects get a copy
    of a temporary file.

    Parameters
    ----------
    target : str, path-like or binary file object
        ``"-"`` is standard output. A file object is written to from its position, and left open.
    force : bool
        Whether an existing regular file may be replaced.
    inputs : iterable of (device, inode) or None
        Identities of the inputs, none of which may be the output.
    check : callable, optional
        Called by `commit` before anything is published; may raise an NqzError.

    Attributes
    ----------
    access : FileAccess
        Where to write; starts empty.
    name : str
        What messages call the output.

    Raises
    ------
    OutputExistsError
        If the target exists and `force` is not set, or if it is one of the inputs.
    OutputError
        If it cannot be created: a directory, a missing or unwritable folder.
    UsageError
        If standard output is a terminal, or the target is of another type.
    """

    def __init__(
        self,
        target: Any,
        *,
        force: bool = False,
        inputs: Iterable[tuple[int, int] | None] = (),
        check: Callable[[], object] | None = None,
    ) -> None:
        self._force = force
        self._check = check
        self._inputs = {identity for identity in inputs if identity is not None}
        self._stream: Any = None  # a file object to write to
        self._fd = -1  # a descriptor to write to, owned
        self._final: str | None = None  # the path to publish at, all links followed
        self._file: Unpublished | None = None
        self._upload: Upload | None = None
        self._old: str | None = None  # where the file to be replaced is kept
        self._mode: int | None = None  # permissions and owner of the file to be replaced
        self._owner: tuple[int, int] | None = None
        if is_url(target) or hasattr(target, "fs"):
            target = self._use_store(target)
        target = local(target)
        if self._upload is not None:
            pass
        elif hasattr(target, "write"):
            self._use_stream(target, _stream_name(target))
        elif isinstance(target, (str, bytes)) and os.fsdecode(target) == "-":
            if sys.stdout is None:
                raise OutputError("<stdout>: standard output is closed")
            if sys.stdout.isatty():
                raise UsageError("<stdout>: will not write binary data to a terminal; give -o FILE or a pipe")
            self._use_stream(sys.stdout.buffer, "<stdout>")
        else:
            try:
                path = os.fsdecode(target)
            except TypeError as error:
                kind = type(target).__name__
                raise UsageError(f"an output must be a path or a binary file object, not {kind}") from error
            self.name = path
            try:
                self._use_path(path)
            except OSError as error:
                raise output_error(path, error) from error
            except ValueError as error:  # a NUL in the path
                raise OutputError(f"{path!r}: cannot write: {error}") from error
        if self._file is None:
            try:
                self.access = temporary_access(self.name)
            except NqzError:
                self._close_target()
                raise

    def _use_store(self, target: Any) -> Any:
        from nqz.files.remote.upload import upload_to

        found = upload_to(target)
        if found is None or isinstance(found, str):
            return found or target
        if found.identity in self._inputs:
            raise OutputExistsError(f"{found.name}: is the same file as an input; write to another")
        found.look(self._force)
        self._upload, self.name = found, found.name
        return target

    def _use_stream(self, stream: Any, name: str) -> None:
        if isinstance(stream, io.TextIOBase):
            raise UsageError(f"{name}: the file object must be open in binary mode")
        self.name = name
        self._stream = stream
        try:
            status = os.fstat(stream.fileno())
        except (OSError, ValueError, AttributeError, TypeError):
            return  # no file behind it
        self._refuse_input(status)

    def _use_path(self, path: str) -> None:
        if not path:
            raise OutputError("'': cannot write: the name is empty")
        number = _descriptor_number(path)
        if number is not None:
            # Opening such a path anew would start at offset 0 of a redirected file.
            self._fd = os.dup(number)
            self._refuse_input(os.fstat(self._fd))
            if os.isatty(self._fd):
                self._close_target()
                raise UsageError(f"{path}: will not write binary data to a terminal")
            return
        final = os.path.realpath(path)
        try:
            status = os.stat(final)
        except FileNotFoundError:
            status = None
        if path.endswith("/") or (status is not None and stat.S_ISDIR(status.st_mode)):
            raise OutputError(f"{path}: is a directory; name a file in it")
        if status is not None and not stat.S_ISREG(status.st_mode):
            self._fd = os.open(final, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
            if os.isatty(self._fd):
                self._close_target()
                raise UsageError(f"{path}: will not write binary data to a terminal")
            return
        if status is not None:
            self._refuse_input(status)
            if not self._force:
                raise OutputExistsError(f"{path}: exists already; use --force (-f) to replace it")
            self._mode = stat.S_IMODE(status.st_mode) & 0o777
            self._owner = (status.st_uid, status.st_gid)
        self._final = final
        self._create()

    def _refuse_input(self, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) in self._inputs:
            self._close_target()
            raise OutputExistsError(f"{self.name}: is the same file as an input; write to another")

    def _create(self) -> None:
        assert self._final is not None
        # The kernel applies the umask, so that a new file has ordinary permissions from the start.
        mode = 0o666 if self._mode is None else self._mode | stat.S_IWUSR
        try:
            self._file = Unpublished(self._final, mode)
        except FileNotFoundError as error:
            folder = os.path.dirname(self._final)
            there = os.path.isdir(folder)  # as /proc is, where nothing can be created
            text = f"no file can be created in {folder}" if there else f"there is no folder {folder}"
            raise OutputError(f"{self.name}: cannot write: {text}") from error
        try:
            self.access = FileAccess(os.dup(self._file.fd), self.name)
        except OSError:
            self._file.discard()
            raise

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close_target()
        if self._upload is not None:
            self._upload.abandon()
        with contextlib.suppress(OutputError):
            self.access.close()
        if self._file is not None:
            self._file.discard()

    def commit(self, size: int | None = None) -> None:
        """Publish what was written: `prepare` and `publish`."""
        self.prepare(size)
        self.publish()

    def prepare(self, size: int | None = None) -> None:
        """Bring what was written to the disk, so that little is left that can fail.

        Parameters
        ----------
        size : int, optional
            Bytes of the output; by default up to the furthest byte written.

        Raises
        ------
        DiskFullError, OutputError
            If the output cannot be written.
        """
        if self._check is not None:
            self._check()
        # What was rolled back is given back here.
        self.access.truncate(self.access.size if size is None else size)
        if self._file is None:
            return
        fd = self.access.fileno()
        try:
            if self._owner is not None:
                with contextlib.suppress(OSError):
                    os.fchown(fd, *self._owner)
            if self._mode is not None:
                os.fchmod(fd, self._mode)
            flush(fd, self.access.size)
            self.access.close()
        except OSError as error:
            raise output_error(self.name, error) from error

    @property
    def appears(self) -> bool:
        """Whether it is a file that appears, and that `withdraw` takes back."""
        return self._file is not None or self._upload is not None

    def publish(self, keep: bool = False) -> None:
        """Publish what `prepare` has brought to the disk.

        Parameters
        ----------
        keep : bool
            Keep a file that is replaced until `settle`, where the file system can, for `withdraw` to bring back.

        Raises
        ------
        DiskFullError, OutputError
            If the output cannot be written.
        OutputExistsError
            If a file appeared at the target meanwhile, and `force` is not set.
        BrokenPipeError
            If the reader of a pipe has gone.
        """
        if self._upload is not None:
            self._upload.put(self.access.fileno(), self.access.size, self._force)
            return
        if self._file is None:
            self._copy_out()
            return
        assert self._final is not None
        if keep and self._force:
            self._old = kept(self._final)
        try:
            try:
                self._file.publish(self._force)
            except FileExistsError as error:
                text = "appeared meanwhile; use --force (-f) to replace it"
                raise OutputExistsError(f"{self.name}: {text}") from error
            sync_folder(os.path.dirname(self._final))
        except OSError as error:
            raise output_error(self.name, error) from error

    def settle(self) -> None:
        """Give up the file that was replaced."""
        old, self._old = self._old, None
        if old is not None:
            with contextlib.suppress(OSError):
                os.unlink(old)

    def withdraw(self) -> None:
        """Take back a file that `publish` let appear: what stood there before stands there again, if it was kept."""
        if self._upload is not None:
            self._upload.withdraw()
        if self._final is None or self._file is None:
            return
        with contextlib.suppress(OSError):
            if self._old is not None:
                os.replace(self._old, self._final)
            elif self._mode is None and is_at(self._file.fd, self._final):
                os.unlink(self._final)
            sync_folder(os.path.dirname(self._final))
        self.settle()  # where nothing was replaced yet, both names are of one file, and both still there

    def _copy_out(self) -> None:
        buffer = memoryview(bytearray(min(_COPY_PIECE, max(1, self.access.size))))
        try:
            fd = self._raw_descriptor()
            for offset in range(0, self.access.size, _COPY_PIECE):
                piece = buffer[: min(_COPY_PIECE, self.access.size - offset)]
                self.access.pread_into(piece, offset)
                done = 0
                while done < len(piece):
                    rest = piece[done:]
                    done += os.write(fd, rest) if fd >= 0 else _write(self._stream, rest)
            if fd < 0 and hasattr(self._stream, "flush"):
                self._stream.flush()
            if self._fd >= 0:
                owned, self._fd = self._fd, -1
                os.close(owned)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise output_error(self.name, error) from error
        except ValueError as error:  # a closed file object
            raise OutputError(f"{self.name}: cannot write: {error}") from error
        finally:
            if self._stream is not None and hasattr(self._stream, "fs") and sys.exc_info()[0] is not None:
                from nqz.files.remote.upload import discard

                discard(self._stream)  # or its owner would complete it by closing it

    def _raw_descriptor(self) -> int:
        """Return a descriptor to write to, or -1 where only the file object knows how to."""
        if self._fd >= 0:
            return self._fd
        if isinstance(self._stream, io.BufferedWriter) and isinstance(self._stream.raw, io.FileIO):
            # Past the object's buffer: nothing is left in it to fail again when the interpreter exits.
            self._stream.flush()
            return self._stream.fileno()
        return -1

    def _close_target(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)


def publish_together(outputs: Sequence[Output]) -> None:
    """Publish several outputs that belong together: all of them, or none where one of them cannot be.

    What a stream was given is not taken back; so it is given first, and no file appears where it cannot take that.
    """
    for output in outputs:
        output.prepare()
    begun = []
    try:
        for output in sorted(outputs, key=lambda output: output.appears):
            begun.append(output)
            output.publish(keep=True)
    except BaseException:  # an interrupt, too
        for output in begun:
            output.withdraw()
        raise
    for output in begun:
        output.settle()


def _write(stream: Any, data: memoryview) -> int:
    written = stream.write(data)
    if isinstance(written, int):
        return written  # a raw file object may take less than it is given
    if isinstance(stream, io.RawIOBase):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return len(data)


def _stream_name(stream: Any) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "<file object>"


def _descriptor_number(path: str) -> int | None:
    """Return N if the path names the open descriptor N of this process."""
    absolute = os.path.abspath(path)
    if absolute in _STANDARD_STREAMS:
        return _STANDARD_STREAMS[absolute]
    match = re.fullmatch(rf"/(?:dev/fd|proc/(?:self|{os.getpid()})/fd)/(\d+)", absolute)
    return int(match.group(1)) if match else None
