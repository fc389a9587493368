"""Worker threads: one pool a command, kernels release the GIL, and the same limit for BLAS."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nqz.ground.errors import NqzError, UsageError
from nqz.ground.fleet import Fleet


def available() -> int:
    """Number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


SMALL = 1 << 21
"""Entries up to which tensors are worked on side by side, each by one thread: none of them takes long."""


MAX_THREADS = 4096
"""More than a machine has processors."""

_MANY = 32  # small items that are worth copies of the process

THREADS_NEEDED = f"an integer from 1 to {MAX_THREADS} is needed"


class Buffers:
    """Working memory by purpose, kept from use to use.

    A page touched for the first time costs more than the work on it. An array is valid until the next one of its name
    is asked for.
    """

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def array(
        self, name: str, shape: tuple[int, ...], dtype: Any, order: Literal["C", "F"] = "C"
    ) -> NDArray[Any]:
        """Return an array, not initialized, that begins at a multiple of 64 bytes."""
        count = int(np.prod(shape, dtype=np.int64))
        nbytes = count * np.dtype(dtype).itemsize
        kept = self._kept.get(name)
        if kept is None or kept.nbytes < nbytes:
            self._kept.pop(name, None)
            raw = np.empty(nbytes + 64, np.uint8)
            start = -raw.ctypes.data % 64
            kept = self._kept[name] = raw[start : start + nbytes]
        array: NDArray[Any] = kept[:nbytes].view(dtype).reshape(shape, order=order)
        return array


class Workers:
    """A pool of threads that keeps the order of its results.

    Parameters
    ----------
    threads : int or None
        Number of threads, by default the processors available.
    copies : bool
        Whether many small items may be given to copies of the process: it forks, and whatever is at work in it must
        stand that.
    executor : concurrent.futures.Executor, optional
        Whose workers take what is large.

    Attributes
    ----------
    buffers : Buffers
        Working memory of the thread that gives out the work.
    fleet : Fleet or None
        The workers of the executor, which are given what is large.
    """

    def __init__(self, threads: int | None, copies: bool = False, executor: Any = None):
        if threads is not None and not (isinstance(threads, Integral) and 1 <= threads <= MAX_THREADS):
            raise UsageError(f"--threads {threads}: {THREADS_NEEDED}")
        self.threads = threads or available()
        self.fleet = None if executor is None else Fleet(executor, threads or 1)
        self.buffers = Buffers()
        self._thread = threading.local()
        self._pool: Any = None
        self._closed = threading.Event()
        # an executor has threads of its own, which do not stand that
        self._may_copy = copies and executor is None and sys.platform == "linux"
        self._copies: Any = None
        self._told: Callable[..., object] | None = None
        self._relayed: list[Callable[..., object]] = []

    @property
    def local(self) -> Buffers:
        """Working memory of the calling thread."""
        buffers = getattr(self._thread, "buffers", None)
        if buffers is None:
            buffers = self._thread.buffers = Buffers()
        return buffers

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply a function to items; results in order, at most two per thread in flight.

        The calling thread works too, rather than wait for the others. An error in the items is raised after the
        results of those before it, as with one thread.
        """
        if self.threads == 1:
            for item in items:
                if self._closed.is_set():
                    raise NqzError("interrupted")
                yield function(item)
            return
        pool = self._executor()
        pending: deque[Any] = deque()
        source, failed = iter(items), None
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:
                failed = error
                break
            pending.append((pool.submit(function, item), function, item))
            if len(pending) >= 2 * self.threads:
                yield _first(pending)
        while pending:
            yield _first(pending)
        if failed is not None:
            raise failed

    def aside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function while the calling thread goes on, if there are others; `result()` waits for it."""
        if self.threads == 1:
            return _Call(function, *arguments)
        return self._executor().submit(function, *arguments)

    def _executor(self) -> Any:
        if self._pool is None:
            # takes a moment to load, and some commands need no pool
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.threads - 1)
        return self._pool

    @property
    def alone(self) -> Workers:
        """The calling thread as a pool of its own."""
        alone = getattr(self._thread, "alone", None)
        if alone is None:
            alone = self._thread.alone = Workers(1)
            alone._closed = self._closed  # whoever works alone stops when all do
        return alone

    def each(
        self, work: Callable[[Any, Workers], Any], items: Sequence[Any], small: Callable[[Any], bool]
    ) -> Iterator[Any]:
        """Apply work(item, pool) to items; results in order.

        Small items are worked on side by side, each by one thread and with a pool of that alone; the others, and a
        single item, one after the other, each with this pool. Many small ones may be worked on by copies of this
        process, where only what is `relayed` has an effect here.
        """
        several = self.threads > 1 and len(items) > 1
        for together, group in groupby(items, lambda item: several and small(item)):
            if together and self._may_copy:
                yield from self._apart(work, list(group))
            elif together:
                yield from self.map(lambda item: work(item, self.alone), group)
            else:
                for item in group:
                    yield work(item, self)

    def relayed(self, function: Callable[..., object]) -> Callable[..., object]:
        """A function that is called in this process, though a copy of it calls it."""
        number = len(self._relayed)
        self._relayed.append(function)

        def call(*arguments: Any) -> object:
            return function(*arguments) if self._told is None else self._told(number, *arguments)

        return call

    def _apart(self, work: Callable[[Any, Workers], Any], items: list[Any]) -> Iterator[Any]:
        """Apply work to small items in copies of this process, or in threads if they are few."""
        if len(items) > _MANY:
            from nqz.ground.copies import Copies

            def one(item: Any, report: Callable[..., object]) -> Any:
                self._told = report
                return work(item, self.alone)

            yield work(items[0], self.alone)  # so that a copy finds loaded what it needs
            items = items[1:]
            with suppress(OSError):  # no more processes can be had
                self._copies = Copies(
                    min(self.threads, 2 * available()),
                    one,
                    lambda number, *rest: self._relayed[number](*rest),
                )
            if self._copies is not None:
                try:
                    yield from self._copies.map(items)
                finally:
                    self._end_copies()
                return
        yield from self.map(lambda item: work(item, self.alone), items)

    def _end_copies(self) -> None:
        if self._copies is not None:
            self._copies.close()
            self._copies = None

    def close(self) -> None:
        """Give up what has not started, and wait for what has: a step of it, where it has several."""
        self._closed.set()
        self._end_copies()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _first(pending: deque[Any]) -> Any:
    """Result of the first of some calls; while it is under way, do what no thread has begun."""
    for number, (future, function, item) in enumerate(pending):
        if pending[0][0].done():
            break
        if future.cancel():  # it is ours now
            pending[number] = _Call(function, item), function, item
    return pending.popleft()[0].result()


class _Call:
    """What came of a call in this thread, in the manner of a future."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self._value, self._error = None, None
        try:
            self._value = function(*arguments)
        except Exception as error:
            self._error = error

    def done(self) -> bool:
        """It is."""
        return True

    def cancel(self) -> bool:
        """Too late."""
        return False

    def result(self) -> Any:
        """The value, or the exception."""
        if self._error is not None:
            raise self._error
        return self._value


@contextmanager
def workers(threads: int | None, copies: bool = False, executor: Any = None) -> Iterator[Workers]:
    """A pool for the duration of a command, BLAS held to the same number of threads; see `Workers`."""
    pool = Workers(threads, copies, executor)
    try:
        if threads is None:
            yield pool
        else:
            from threadpoolctl import threadpool_limits

            with threadpool_limits(limits=pool.threads):
                yield pool
    finally:
        pool.close()
