"""One object of a store: its size, what it is known by, and its bytes by ranges; as fsspec has it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from nqz.files.remote import trouble
from nqz.files.remote.stores import protocol_of, shown_in
from nqz.files.remote.trouble import ChangedError, NoRangesError, ShortError, worth_another_try

_MARKS = (
    "size", "ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "generation", "md5Hash", "crc32c",
    "created", "VersionId", "blob_id", "oid",
)  # fmt: skip
"""What stores say of an object that changes with its content."""


class Item(ABC):
    """An object of a store, to be read from any thread.

    Attributes
    ----------
    store : fsspec.spec.AbstractFileSystem
    path : str
        Where it is in that.
    name : str
        What messages call it.
    size : int
        Once it is `begun`.
    background : bool
        Whether `submit` returns before the bytes are there.
    """

    background = True

    def __init__(self, store: Any, path: str, name: str | None = None) -> None:
        self.store, self.path = store, path
        self.name = shown_in(store, path) if name is None else name
        self.size = 0

    @property
    def identity(self) -> tuple[str, str]:
        """What it is known by among all objects."""
        return protocol_of(self.store), self.path

    @abstractmethod
    def begin(self, length: int) -> bytes:
        """Find its size, and read its first bytes, as many as it has up to `length`.

        Raises
        ------
        NoRangesError
            It can only be read as a whole: see `spool`.
        """

    @abstractmethod
    def submit(self, start: int, stop: int) -> Future[bytes]:
        """Begin to read a range that is in it."""

    @abstractmethod
    def check(self) -> None:
        """Raise ChangedError if it is not what it was when it was begun."""

    @property
    @abstractmethod
    def facts(self) -> tuple[Any, ...]:
        """What tells it from another in its place, as far as its store does; its size first."""

    def is_as(self, facts: tuple[Any, ...]) -> bool:
        """Whether it is the object of these facts."""
        return self.facts == facts

    def spool(self, put: Callable[[bytes | None], object]) -> None:
        """Read all of it in pieces, each of which goes to `put`; None tells that it begins anew."""
        raise NoRangesError(self.name)

    def again(self) -> Item:
        """The same object in a process that was forked: the connections are those of the other."""
        kind = type(self.store)
        with contextlib.suppress(AttributeError):
            kind.clear_instance_cache()
        found = copy.copy(self)
        found.store = kind(*self.store.storage_args, **self.store.storage_options)
        return found

    def waited(self, work: Callable[[], Awaitable[Any]]) -> Future[Any]:
        """Do something in the loop of the store, again if it fails by chance."""
        return asyncio.run_coroutine_threadsafe(_patient(work), self.store.loop)


async def _patient(work: Callable[[], Awaitable[Any]]) -> Any:
    for usual in trouble.PAUSES:
        try:
            return await work()
        except Exception as error:
            if not worth_another_try(error):
                raise
            seconds = trouble.pause(error, usual)
        await asyncio.sleep(seconds)
    return await work()


def patient(work: Callable[[], Any]) -> Any:
    """Do something, again if it fails by chance."""
    for usual in trouble.PAUSES:
        try:
            return work()
        except Exception as error:
            if not worth_another_try(error):
                raise
            seconds = trouble.pause(error, usual)
        time.sleep(seconds)
    return work()


class _Known(Item):
    """An object that its store can tell the facts of."""

    def __init__(self, store: Any, path: str, name: str | None = None) -> None:
        super().__init__(store, path, name)
        self._marks: dict[str, str] = {}

    def begin(self, length: int) -> bytes:
        """See `Item.begin`."""
        info = self.info()
        if info.get("type") == "directory":
            raise IsADirectoryError(self.path)
        if info.get("size") is None:
            raise ShortError("the store does not tell its size")
        self._marks, self.size = _marks(info), int(info["size"])
        wanted = min(length, self.size)
        return self.submit(0, wanted).result() if wanted else b""

    @property
    def facts(self) -> tuple[Any, ...]:
        """See `Item.facts`."""
        return self.size, self._marks

    def check(self) -> None:
        """See `Item.check`."""
        self.store.invalidate_cache(self.path)
        if _marks(self.info()) != self._marks:
            raise ChangedError(self.name)

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """What the store says of it."""


def _marks(info: dict[str, Any]) -> dict[str, str]:
    return {key: str(info[key]) for key in _MARKS if info.get(key) is not None}


class AsyncItem(_Known):
    """An object of a store with a loop of its own: many ranges are on their way at once."""

    def info(self) -> dict[str, Any]:
        """See `_Known.info`."""
        found: dict[str, Any] = self.waited(lambda: self.store._info(self.path)).result()
        return found

    def submit(self, start: int, stop: int) -> Future[bytes]:
        """See `Item.submit`."""

        async def read() -> bytes:
            return whole(await self.store._cat_file(self.path, start=start, end=stop), start, stop)

        return self.waited(read)


class PlainItem(_Known):
    """An object of a store that one waits for; one range at a time, as little is known of it."""

    background = False

    def __init__(self, store: Any, path: str, name: str | None = None) -> None:
        super().__init__(store, path, name)
        self._lock = threading.Lock()
        plain = getattr(sys.modules.get("fsspec.spec"), "AbstractFileSystem", None)
        self._cats = getattr(type(store), "cat_file", None) is not getattr(plain, "cat_file", None)

    def again(self) -> Item:
        """See `Item.again`."""
        found = super().again()
        assert isinstance(found, PlainItem)
        found._lock = threading.Lock()  # this one may be held for ever
        return found

    def info(self) -> dict[str, Any]:
        """See `_Known.info`."""
        with self._lock:
            found: dict[str, Any] = patient(lambda: self.store.info(self.path))
        return found

    def submit(self, start: int, stop: int) -> Future[bytes]:
        """See `Item.submit`."""
        future: Future[bytes] = Future()
        try:
            with self._lock:
                future.set_result(patient(lambda: self.read(start, stop)))
        except Exception as error:
            future.set_exception(error)
        return future

    def read(self, start: int, stop: int) -> bytes:
        """Read a range."""
        if self._cats:
            [found] = self.store.cat_ranges([self.path], [start], [stop], on_error="raise")
        else:  # by a file, whose cache would read more than what is asked for
            with self.store.open(self.path, "rb", cache_type="none") as file:
                file.seek(start)
                found = file.read(stop - start)
        return whole(found, start, stop)


class ThreadedItem(PlainItem):
    """An object of a store that one waits for, as long as one likes in several threads."""

    background = True

    def submit(self, start: int, stop: int) -> Future[bytes]:
        """See `Item.submit`."""
        pool = _pools.get(os.getpid())
        if pool is None:  # the threads of another process are not here
            pool = _pools[os.getpid()] = ThreadPoolExecutor(_THREADS, "nqz-remote")
        return pool.submit(patient, partial(self.read, start, stop))


_THREADS = 8
_pools: dict[int, ThreadPoolExecutor] = {}


def whole(data: Any, start: int, stop: int) -> bytes:
    """The bytes of a range, once they are found to be as many as were asked for."""
    if len(data) != stop - start:
        raise ShortError(f"{len(data)} bytes came where {stop - start} were asked for")
    return bytes(data)
