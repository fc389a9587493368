"""Work given to the workers of an executor: other processes, on this machine or on others, with whatever they run on.

All that is needed of an executor is `submit` of `concurrent.futures`. What it is given are functions of modules and
plain values, so any engine that can call a function elsewhere will do; what it does about a lost worker is its own.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from nqz._version import __version__
from nqz.ground.errors import NqzError, UsageError
from nqz.ground.notices import tell
from nqz.ground.patience import patient
from nqz.ground.wording import counted

_AHEAD = 2  # jobs under way for each worker: while it works on one, the next is there
_HELD = 1 << 30  # bytes of results that may be waiting
_UNTOLD = 16  # workers that are reckoned with where an executor does not tell
_ASKED = 1.0  # seconds after which a cluster is asked again how many it has: they come one by one
_SETTLED = 120.0  # seconds that jobs which nobody waits for any more have to end

Tag = tuple[str, int]
"""What tells the result of a job from everything else: the release, and the number of the job."""


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
        self._executor, self._numbers = executor, itertools.count()
        self._under_way: set[Any] = set()
        self._asked, self._workers = time.monotonic(), _workers(executor)

    @property
    def workers(self) -> int:
        """About how many jobs they can be at, at a time."""
        if time.monotonic() - self._asked > _ASKED:
            with suppress(Exception):  # if it is gone, the next job says so
                self._workers = _workers(self._executor)
            self._asked = time.monotonic()
        return self._workers

    def map(
        self, function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], size: int = 0
    ) -> Iterator[Any]:
        """Call a function with the arguments of each job; results in order, a few jobs a worker under way.

        Parameters
        ----------
        function : callable
        jobs : iterable of tuple
        size : int
            Bytes of a result: where all that are under way would take more than 1 GiB, fewer are.

        Raises
        ------
        NqzError
            What the function raised; or a worker was lost, and the executor did not find another.
        """
        pending: deque[tuple[Tag, Any]] = deque()
        try:
            for job in jobs:
                pending.append(self._submitted(function, job))
                if len(pending) >= min(_AHEAD * self.workers, max(2, _HELD // max(1, size))):
                    yield self._result(*pending.popleft())
            while pending:
                yield self._result(*pending.popleft())
        finally:
            for _, future in pending:
                if _cancel(future):
                    self._under_way.discard(future)

    def settle(self, seconds: float = _SETTLED) -> None:
        """Give up what is under way, and wait, but not for ever, for what workers are at: they may be writing.

        Raises
        ------
        BaseException
            Nobody wants to wait: what an interrupt raises.
        """
        under_way, self._under_way = self._under_way, set()
        end = time.monotonic() + seconds
        left = [future for future in under_way if not _cancel(future) and not _is_done(future)]
        if not left:
            return
        with patient():
            with suppress(Exception):  # where warnings are errors
                tell(
                    f"waiting for {counted(len(left), 'job')} that workers are at, as they may be writing, for "
                    f"{seconds:g} s at most; interrupt to leave at once"
                )
            for future in left:
                with suppress(Exception):
                    future.exception(max(0.0, end - time.monotonic()))

    def _submitted(self, function: Callable[..., Any], job: tuple[Any, ...]) -> tuple[Tag, Any]:
        tag = __version__, next(self._numbers)
        try:
            future = self._executor.submit(call, tag, function, job)
            self._under_way.add(future)
        except Exception as error:
            raise _lost(error) from error
        return tag, future

    def _result(self, tag: Tag, future: Any) -> Any:
        found = _found(future)
        self._under_way.discard(future)
        if type(found) is tuple and len(found) == 3 and type(found[0]) is tuple and found[0] == tag:
            if found[1] is True:
                return found[2]
            kind, text = found[2]
            raise kind(text)
        raise NqzError(
            f"a worker gave what is no result of its job in nqz {__version__}; all need the same release; nothing was "
            "written"
        )


def call(tag: Tag, function: Callable[..., Any], job: tuple[Any, ...]) -> tuple[Tag, bool, Any]:
    """Call a function on a worker: whether it returned, and what; or its error, if that is one for users."""
    try:
        if tag[0] != __version__:
            raise NqzError(
                f"a worker has nqz {__version__}, and who asks it nqz {tag[0]}; all need the same release"
            )
        return tag, True, function(*job)
    except NqzError as error:
        return tag, False, (type(error), str(error))


def _cancel(future: Any) -> bool:
    """Whether a job is given up before a worker is at it."""
    try:
        return bool(future.cancel())
    except Exception:  # it is no future
        return True


def _is_done(future: Any) -> bool:
    try:
        return bool(future.done())
    except Exception:
        return False


def _found(future: Any) -> Any:
    try:
        return future.result()
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "CancelledError":
            raise _lost(error) from error
        raise


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
    if threads is None:
        return _UNTOLD
    try:
        return max(1, sum(map(int, threads().values())))
    except Exception:  # one that is closed says so when it is given a job
        return _UNTOLD
