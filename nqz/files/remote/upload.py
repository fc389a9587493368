"""An object of a store to be written: what stood there before, or the complete new object, never a part.

Stores of objects show one when all of it has come; a large one goes in parts, which are thrown away when one fails.
Nothing is renamed: in such stores that copies.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from typing import Any

from nqz.files.remote.items import patient
from nqz.files.remote.stores import find_store, protocol_of, shown_in, store_of
from nqz.files.remote.trouble import in_words
from nqz.ground.errors import InputError, NqzError, OutputError, OutputExistsError, UsageError
from nqz.ground.urls import is_url, shown

_READ_ONLY = {
    "http": "servers for http give files, and take none; name another output, such as a file here",
    "https": "servers for https give files, and take none; name another output, such as a file here",
    "hf": "the hub takes commits of a repository; write files here, and upload them with `hf upload`",
}
_WHOLE = 32 << 20
"""Bytes up to which an object goes in one request; of a part at least, where it does not."""
_MOST_PARTS = 9000
_EXCLUSIVE = ("s3", "s3a")
"""Stores that complete an upload in parts only where there is nothing, if they are asked to."""


def upload_to(target: Any) -> Upload | str | None:
    """What an output is, if it is an address or an unopened object of fsspec: an upload, or a path of this machine."""
    if is_url(target):
        protocol = target.partition("://")[0].lower()
        if protocol in _READ_ONLY:
            raise OutputError(f"{shown(target)}: cannot write: {_READ_ONLY[protocol]}")
        try:
            store, path = find_store(target)
        except InputError as error:
            raise OutputError(str(error).replace(": cannot open: ", ": cannot write: ", 1)) from None
        return Upload(store, path, shown(target))
    found = None if hasattr(target, "write") else store_of(target)
    if found is None:
        return None
    store, path = found
    mode = str(getattr(target, "mode", "wb"))
    if "w" not in mode or "b" not in mode or getattr(target, "compression", None) is not None:
        raise UsageError(f"{shown(path)}: the file object must be open for writing, in binary mode")
    if protocol_of(store) in ("file", "local"):
        return path
    return Upload(store, path, shown_in(store, path))


class Upload:
    """An object to be written.

    Parameters
    ----------
    store : fsspec.spec.AbstractFileSystem
    path : str
    name : str
        What messages call it.
    """

    def __init__(self, store: Any, path: str, name: str) -> None:
        self.store, self.path, self.name = store, path, name
        self._replaces = self._done = False
        self._file: Any = None
        protocol = protocol_of(store)
        if protocol in _READ_ONLY:
            raise OutputError(f"{name}: cannot write: {_READ_ONLY[protocol]}")
        if path.endswith("/") or name.endswith("/"):
            raise OutputError(f"{name}: is a directory; name a file in it")

    @property
    def identity(self) -> tuple[Any, Any]:
        """What it is known by among all objects."""
        return protocol_of(self.store), self.path

    def look(self, force: bool) -> None:
        """Refuse what stands there, if it may not be replaced.

        Raises
        ------
        OutputExistsError
            Something does.
        OutputError
            The store does not tell.
        """
        there = self._info()
        if there is None:
            return
        if there.get("type") == "directory":
            raise OutputError(f"{self.name}: is a directory; name a file in it")
        if not force:
            raise OutputExistsError(f"{self.name}: exists already; use --force (-f) to replace it")
        self._replaces = True

    def _info(self) -> dict[str, Any] | None:
        try:
            self.store.invalidate_cache(self.store._parent(self.path))
            found: dict[str, Any] = patient(lambda: self.store.info(self.path))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self.error(error) from None
        return found

    def error(self, error: Exception) -> NqzError:
        """The error of nqz for one of the store."""
        if isinstance(error, NqzError):
            return error
        if isinstance(error, FileExistsError):
            return OutputExistsError(f"{self.name}: appeared meanwhile; use --force (-f) to replace it")
        if isinstance(error, FileNotFoundError):
            return OutputError(f"{self.name}: cannot write: there is no such bucket or folder")
        if isinstance(error, NotImplementedError):
            return OutputError(
                f"{self.name}: cannot write: {protocol_of(self.store)}:// is read only; write elsewhere"
            )
        return OutputError(f"{self.name}: cannot write: {in_words(error)}")

    def put(self, fd: int, size: int, force: bool) -> None:
        """Write the content of a file, given by its descriptor, to the object.

        Raises
        ------
        OutputError, OutputExistsError
            It cannot be written, or appeared meanwhile.
        """
        try:
            if not force and self._info() is not None:
                raise FileExistsError(self.path)
            self._done = True
            self._send(fd, size, new=not force)
            there = self._info()
        except Exception as error:
            self._done = self._done and not isinstance(error, FileExistsError)
            raise self.error(error) from None
        if there is None or there.get("size") not in (None, size):
            raise OutputError(f"{self.name}: cannot write: not all of it has arrived; try again")

    def _send(self, fd: int, size: int, new: bool) -> None:
        if size > _WHOLE and protocol_of(self.store) != "memory":
            self._in_parts(fd, size, new)
            return
        data = _piece(fd, 0, size)
        call = self.store.pipe_file
        if new and "mode" in inspect.signature(call).parameters:
            try:
                call(self.path, data, mode="create")
                return
            except FileExistsError:
                raise
            except (NotImplementedError, TypeError, ValueError, OSError):
                # a store that cannot, says so in a way of its own
                if self._info() is not None:
                    raise FileExistsError(self.path) from None
        patient(lambda: call(self.path, data))

    def _in_parts(self, fd: int, size: int, new: bool) -> None:
        part = max(_WHOLE, -(-size // _MOST_PARTS))
        exclusive = new and protocol_of(self.store) in _EXCLUSIVE
        self._file = self.store.open(self.path, "xb" if exclusive else "wb", block_size=part)
        try:
            for offset in range(0, size, part):
                self._file.write(_piece(fd, offset, min(part, size - offset)))
            self._file.close()
            self._file = None
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Throw away the parts of an upload that is not complete."""
        file, self._file = self._file, None
        if file is not None:
            discard(file)

    def withdraw(self) -> None:
        """Remove what was written, unless something else stood there before."""
        if self._done and not self._replaces:
            self._done = False
            try:
                self.store.rm_file(self.path)
            except Exception:  # there is none, or it stays: nobody can do anything about it here
                return


def discard(file: Any) -> None:
    """Throw away what was written to an open object of fsspec, whatever becomes of it then."""
    with contextlib.suppress(Exception):
        file.discard()
    with contextlib.suppress(AttributeError):
        file.closed = True  # what is left of it is not sent when it is closed


def _piece(fd: int, offset: int, size: int) -> bytes:
    pieces, stop = [], offset + size
    while offset < stop:
        found = os.pread(fd, stop - offset, offset)
        if not found:
            raise OSError("the temporary file has become shorter")
        pieces.append(found)
        offset += len(found)
    return b"".join(pieces)
