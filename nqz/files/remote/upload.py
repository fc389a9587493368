"""An object of a store to be written: what stood there before, or the complete new object, never a part.

Stores of objects show one when all of it has come; a large one goes in parts, which are thrown away when one fails.
Nothing is renamed: in such stores that copies.
"""

from __future__ import annotations

import inspect
import os
from typing import Any

from nqz.files.remote.items import patient
from nqz.files.remote.stores import find_store, protocol_of, shown_in, store_of
from nqz.files.remote.trouble import in_words, status_of
from nqz.ground.errors import NqzError, OutputError, OutputExistsError, UsageError
from nqz.ground.urls import is_url, shown

_READ_ONLY = {
    "http": "servers for http give files, and take none; name another output, such as a file here",
    "https": "servers for https give files, and take none; name another output, such as a file here",
    "hf": "the hub takes commits of a repository; write files here, and upload them with `hf upload`",
}
_WHOLE = 32 << 20
"""Bytes up to which an object goes in one request."""


def upload_to(target: Any) -> Upload | str | None:
    """What an output is, if it is an address or an unopened object of fsspec: an upload, or a path of this machine."""
    if is_url(target):
        protocol = target.partition("://")[0].lower()
        if protocol in _READ_ONLY:
            raise OutputError(f"{shown(target)}: cannot write: {_READ_ONLY[protocol]}")
        store, path = find_store(target)
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
        os.lseek(fd, 0, os.SEEK_SET)
        if size <= _WHOLE:
            data = os.pread(fd, size, 0) if size else b""
            if len(data) != size:
                raise OSError("the temporary file has become shorter")
            self._once("pipe_file", new, self.path, data)
        else:
            # by its descriptor: the file has no name
            self._once("put_file", new, f"/dev/fd/{fd}", self.path)

    def _once(self, method: str, new: bool, *arguments: Any) -> None:
        """Call a method that writes; if the store can, only where there is nothing yet."""
        call = getattr(self.store, method)
        if new and "mode" in inspect.signature(call).parameters:
            try:
                call(*arguments, mode="create")
                return
            except FileExistsError:
                raise
            except Exception as error:  # many stores cannot, and say so in ways of their own
                if status_of(error) is None and not isinstance(
                    error, (NotImplementedError, TypeError, ValueError, OSError)
                ):
                    raise
                if self._info() is not None:
                    raise FileExistsError(self.path) from None
        patient(lambda: call(*arguments))

    def withdraw(self) -> None:
        """Remove what was written, unless something else stood there before."""
        if self._done and not self._replaces:
            self._done = False
            try:
                self.store.rm_file(self.path)
            except Exception:  # there is none, or it stays: nobody can do anything about it here
                return
