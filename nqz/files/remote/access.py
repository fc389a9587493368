"""Positioned reads on an object of a store, by ranges; what will be read soon is fetched ahead."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from typing import Any

from nqz.files.objects import closed_error
from nqz.files.remote.held import MOST, Held
from nqz.files.remote.http import HttpItem
from nqz.files.remote.items import AsyncItem, Item, PlainItem, ThreadedItem
from nqz.files.remote.stores import is_http, protocol_of
from nqz.files.remote.trouble import ChangedError, NoRangesError, open_error, read_error
from nqz.ground.errors import InputError, OutputError
from nqz.ground.guard import Guard
from nqz.ground.wording import counted

FIRST = 64 << 10
"""Bytes that are read at least: a request takes as long as many of them."""

_PIECE, _LARGE = 2 << 20, 16 << 20
"""Bytes of a request for what is read from end to end, and for what is asked for ahead."""
_FEW = 8
"""Ranges asked for ahead that are not made longer: what stands beside more of them is not wanted."""
_STEADY = 1 << 20
"""Bytes that are read one after the other before more is fetched ahead."""
_AHEAD = 32 << 20
_ALL = 2 * MOST
"""Bytes that all objects together hold, about: a model has very many."""
_LARGEST = 1 << 60
_BACK = 8 << 20
"""Threads that read one after the other are as far apart."""


_THREADED = ("hf",)
"""Stores without a loop that are known to be read by several threads at once."""


def make_item(store: Any, path: str, name: str | None = None) -> Item:
    """An object, to be read in the way that suits its store."""
    kind: type[Item] = PlainItem
    if is_http(store):
        kind = HttpItem
    elif getattr(store, "async_impl", False) and not getattr(store, "asynchronous", False):
        kind = AsyncItem
    elif protocol_of(store) in _THREADED:
        kind = ThreadedItem
    return kind(store, path, name)


class RemoteAccess:
    """Positioned reads on an object, from a position on. For several threads at once.

    Parameters
    ----------
    item : Item
    base : int
        Offset in the object that counts as 0.

    Attributes
    ----------
    size : int
        Bytes from `base` to the end, as found when opened.
    name : str
        What messages call it.
    identity : tuple of str
        Its store, and where it is in that.

    Raises
    ------
    InputError
        It cannot be read.
    NoRangesError
        It can be read as a whole only.
    """

    def __init__(self, item: Item, base: int = 0) -> None:
        self._item, self._base = item, base
        self._guard, self._closed, self._pid = Guard(), False, os.getpid()
        self._held = Held(item.submit)
        self._next = self._steady = self._reached = self._window = self._used = 0
        self.name = item.name
        self.identity: tuple[Any, Any] = item.identity
        try:
            start = item.begin(FIRST)
        except NoRangesError:
            raise
        except Exception as error:
            raise open_error(self.name, error) from None
        if not 0 <= item.size <= _LARGEST:
            raise InputError(f"{self.name}: cannot open: the server says that it has {item.size} bytes")
        self.size = max(0, item.size - base)
        if start:
            ready: Future[bytes] = Future()
            ready.set_result(start)
            self._held.put(0, len(start), ready)
        _open.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it by its address, which whoever can read the pickle can read: with what opens it."""
        return _reopened, (self._item.store, self._item.path, self.name, self._base, self._item.facts)

    @property
    def closed(self) -> bool:
        """Whether it is no longer read."""
        return self._closed

    def check(self) -> None:
        """Raise InputError if the object has changed since it was opened, as far as its store tells."""
        if self._closed:
            return
        try:
            self._item.check()
        except Exception as error:
            raise read_error(self.name, 0, self.size, error) from None

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`.

        Raises
        ------
        InputError
            If the object cannot be read or ends before the buffer is full.
        """
        view = memoryview(buffer).cast("B")
        if not len(view):
            return
        start = self._base + offset
        stop = start + len(view)
        if stop > self._item.size:
            short = stop - max(start, self._item.size)
            raise InputError(f"{self.name}: ends at byte {self.size}, {counted(short, 'byte')} short")
        with self._guard:
            if self._closed:
                raise closed_error(self.name)
            self._stay()
            stretches, begun = self._held.cover(start, stop, _PIECE, FIRST, self._item.size)
            self._go_ahead(start, stop, begun)
            self._used = next(_clock)
        if begun:
            _make_room(self)
        for stretch in stretches:
            low, high = max(start, stretch.start), min(stop, stretch.stop)
            try:
                data = stretch.future.result()
            except CancelledError:
                raise closed_error(self.name) from None
            except NoRangesError:
                raise read_error(self.name, low, high, ChangedError()) from None
            except Exception as error:
                raise read_error(self.name, low, high, error) from None
            view[low - start : high - start] = memoryview(data)[low - stretch.start : high - stretch.start]

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Begin to read ranges, given by offset and length, that are about to be asked for, as far as there is room.

        What lies close together is read at once.
        """
        merged: list[list[int]] = []
        for offset, length in sorted(ranges):
            start, stop = self._base + offset, min(self._base + offset + length, self._item.size)
            if merged and start <= merged[-1][1] + FIRST:
                merged[-1][1] = max(stop, merged[-1][1])
            else:
                merged.append([start, stop])
        with self._guard:
            self._stay()
            left, least = MOST, FIRST if len(merged) <= _FEW else 0
            for start, stop in merged:
                if start < stop <= start + left and not self._closed:
                    self._held.cover(start, stop, _LARGE, least, self._item.size)
                    left -= stop - start

    def _go_ahead(self, start: int, stop: int, begun: bool) -> None:
        """Fetch what follows, once an object is read from end to end by one thread or several."""
        if not self._next - _BACK <= start <= self._next + FIRST:
            self._steady = self._window = 0
            self._next = self._reached = stop
            return
        if begun or self._window:
            self._steady += stop - start
        self._next = max(self._next, stop)
        if self._steady < _STEADY or not self._item.background:
            return
        self._reached = max(self._reached, self._next)
        if self._reached - self._next <= self._window // 2:
            self._window = min(_AHEAD, max(2 * self._window, 2 * _PIECE))
            end = min(self._next + self._window, self._item.size)
            if end > self._reached:
                self._held.cover(self._reached, end, _PIECE, 0, self._item.size)
                self._reached = end

    def _stay(self) -> None:
        """After a fork, start anew: what was on its way comes to the other process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._item = self._item.again()
            self._held = Held(self._item.submit)

    def view(self, offset: int, nbytes: int) -> None:
        """Return None: it is not in memory."""

    def pwrite(self, data: Any, offset: int) -> None:
        """Raise `OutputError`."""
        raise OutputError(f"{self.name}: is read only")

    def truncate(self, size: int) -> None:
        """Raise `OutputError`."""
        raise OutputError(f"{self.name}: is read only")

    reserve = require = truncate

    def close(self) -> None:
        """Read no more."""
        with self._guard:
            self._closed = True
            self._held.clear()


_open: weakref.WeakSet[RemoteAccess] = weakref.WeakSet()
_clock = itertools.count(1)


def _make_room(access: RemoteAccess) -> None:
    """Let go of what other objects hold, those first that were read longest ago, if all hold too much."""
    others = [other for other in tuple(_open) if other is not access]
    excess = access._held.nbytes + sum(other._held.nbytes for other in others) - _ALL
    for other in sorted(others, key=lambda other: other._used):
        if excess <= 0:
            return
        if other._guard.tried():
            try:
                before = other._held.nbytes
                other._held.shrink(FIRST)
                excess -= before - other._held.nbytes
            finally:
                other._guard.__exit__()


def _reopened(store: Any, path: str, name: str, base: int, facts: tuple[Any, ...]) -> RemoteAccess:
    """Open an object that was pickled; InputError if it is another by now."""
    store.invalidate_cache(path)  # it may have been looked at long ago
    item = make_item(store, path, name)
    try:
        access = RemoteAccess(item, base)
    except NoRangesError as error:
        raise open_error(name, error) from None
    if not item.is_as(facts):
        raise InputError(f"{name}: is not the object that it was; workers must see the same storage")
    return access
