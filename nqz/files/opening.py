"""Opening inputs: by path or address, and what is open already, each read where it is if that can be."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Generator, Sequence
from typing import Any

from nqz.files.access import Access, FileAccess, reason, temporary_access
from nqz.files.memory import MemoryAccess
from nqz.files.objects import ObjectAccess, reads_in_place
from nqz.files.parked import Descriptors, ParkedAccess
from nqz.ground.errors import InputError, UsageError
from nqz.ground.urls import is_url, local

_SPOOL_PIECE = 1 << 20
_ONE_SLASH = re.compile(r"(s3|gs|gcs|hf|https?|memory|abfs|az):/[^/]")
"""What pathlib makes of addresses."""
_SIDE_BY_SIDE = 16


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


def open_parts(paths: Sequence[str], descriptors: Descriptors) -> Generator[Access, None, None]:
    """Open files one by one as they are asked for; those at addresses side by side, for each takes a while."""
    if not any(map(is_url, paths)):
        yield from (open_part(path, descriptors) for path in paths)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        found = [pool.submit(open_part, path, descriptors) for path in paths]
        try:
            while found:
                yield found.pop(0).result()
        finally:  # those that nobody asks for any more
            pool.shutdown(cancel_futures=True)
            for one in found:
                if not one.cancelled() and one.exception() is None:
                    one.result().close()


def open_part(path: str, descriptors: Descriptors) -> Access:
    """Open a file of which there may be very many; InputError if it cannot be."""
    if is_url(path):
        return open_input(path)
    path = local(path)
    try:
        return ParkedAccess(path, path, descriptors)
    except (OSError, ValueError) as error:  # the latter for what is no name of a file
        text = reason(error) if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: cannot open: {text}") from error
