"""Worker threads: one pool a command, kernels release the GIL, and the same limit for BLAS."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from numbers import Integral
from typing import Any

from nqz.errors import UsageError


def available() -> int:
    """Number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class Workers:
    """A pool of threads that keeps the order of its results.

    Parameters
    ----------
    threads : int or None
        Number of threads, by default the processors available.
    """

    def __init__(self, threads: int | None):
        if threads is not None and not (isinstance(threads, Integral) and threads >= 1):
            raise UsageError(f"--threads {threads}: an integer of at least 1 is needed")
        self.threads = threads or available()
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply a function to items; results in order, at most two per thread in flight."""
        if self._pool is None:
            yield from map(function, items)
            return
        pending: deque[Any] = deque()
        for item in items:
            pending.append(self._pool.submit(function, item))
            if len(pending) >= 2 * self.threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Give up what has not started, and wait for what has."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def workers(threads: int | None) -> Iterator[Workers]:
    """A pool for the duration of a command, BLAS held to the same number of threads."""
    pool = Workers(threads)
    try:
        if threads is None:
            yield pool
        else:
            from threadpoolctl import threadpool_limits

            with threadpool_limits(limits=pool.threads):
                yield pool
    finally:
        pool.close()
