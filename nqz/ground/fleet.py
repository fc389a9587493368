"""Work given to the workers of an executor: other processes, on this machine or on others, with whatever they run on.

All that is needed of an executor is `submit` of `concurrent.futures`. What it is given are functions of modules and
plain values, so any engine that can call a function elsewhere will do; what it does about a lost worker is its own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nqz.ground.errors import NqzError, UsageError

_AHEAD = 2  # jobs under way for each worker: while it works on one, the next is there
_UNTOLD = 16  # workers that are reckoned with where an executor does not tell
_ASKED = 1.0  # seconds after which a cluster is asked again how many it has: they come one by one


class Fleet:
    """The workers of an executor.

    Parameters
    ----------
    executor : concurrent.futures.Executor
    threads : int
        Threads that every job may work with.

    Raises
    ------
    UsageError
        It is no executor.
    """

    def __init__(self, executor: Any, threads: int = 1) -> None:
        if not callable(getattr(executor, "submit", None)):
            kind = type(executor).__name__
            raise UsageError(f"executor: one of concurrent.futures, or like one, is needed, and not {kind}")
        self.threads = threads
        self._executor = executor
        self._asked, self._workers = time.monotonic(), _workers(executor)

    @property
    def workers(self) -> int:
        """About how many jobs they can be at, at a time."""
        if time.monotonic() - self._asked > _ASKED:
            self._workers, self._asked = _workers(self._executor), time.monotonic()
        return self._workers

    def map(self, function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Call a function with the arguments of each job; results in order, a few jobs a worker under way.

        Raises
        ------
        NqzError
            What the function raised; or a worker was lost, and the executor did not find another.
        """
        pending: deque[Any] = deque()
        try:
            for job in jobs:
                pending.append(self._submitted(function, job))
                if len(pending) >= _AHEAD * self.workers:
                    yield _result(pending.popleft())
            while pending:
                yield _result(pending.popleft())
        finally:
            for future in pending:
                future.cancel()

    def _submitted(self, function: Callable[..., Any], job: tuple[Any, ...]) -> Any:
        try:
            return self._executor.submit(call, function, job)
        except Exception as error:
            raise _lost(error) from error


def call(function: Callable[..., Any], job: tuple[Any, ...]) -> tuple[bool, Any]:
    """Call a function on a worker: whether it returned, and what; or its error, if that is one for users."""
    try:
        return True, function(*job)
    except NqzError as error:
        return False, (type(error), str(error))


def _result(future: Any) -> Any:
    try:
        done, value = future.result()
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "CancelledError":
            raise _lost(error) from error
        raise
    if done:
        return value
    kind, text = value
    raise kind(text)


def _lost(error: BaseException) -> NqzError:
    """The error for a job that did not come back."""
    said = " ".join(str(error).split())
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return NqzError(
        f"a worker of the executor was lost, or failed ({what}); nothing was written: try again, and see what the "
        "workers have logged"
    )


def _workers(executor: Any) -> int:
    """About how many jobs an executor can be at, at a time."""
    for name in ("_max_workers", "num_workers"):  # of concurrent.futures, of mpi4py
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    client = getattr(executor, "_client", None)  # of Dask
    threads: Any = getattr(client, "nthreads", None)
    return _UNTOLD if threads is None else max(1, sum(map(int, threads().values())))
