"""Copies of this process that work side by side, for what is mostly Python: its threads take turns."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

from nqz.ground.errors import NqzError

_AHEAD = 2  # items that a copy has been given: while it works on one, the next is there
_WINDOW = 4  # items a copy that are under way, or done before their turn
_RESULT, _ERROR, _REPORT = range(3)

Report = Callable[..., object]


class Copies:
    """Forked copies of this process, each with everything as it was at that moment.

    A copy never returns to what called it: it works on items, and ends with this process, or at `close`.

    Parameters
    ----------
    count : int
    work : callable
        Called in a copy as work(item, report), where report(...) calls the function of that name in this process.
    report : callable

    Raises
    ------
    OSError
        No more processes can be had.
    """

    def __init__(self, count: int, work: Callable[[Any, Report], Any], report: Report):
        self._report = report
        self._ends: dict[Connection, int] = {}
        try:
            for _ in range(count):
                here, there = Pipe()
                self._ends[here] = self._fork(there, [here, *self._ends], work)
                there.close()
        except BaseException:
            self.close()
            raise

    def _fork(self, end: Connection, others: list[Connection], work: Callable[[Any, Report], Any]) -> int:
        # a signal in the copy, before it ignores them, would make it clean up as if it were this process
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                _serve(end, others, work, held)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def map(self, items: Sequence[Any]) -> Iterator[Any]:
        """Results of the items in order; an error in its turn."""
        found: dict[int, tuple[int, Any]] = {}
        under_way: dict[Connection, list[int]] = {end: [] for end in self._ends}
        given = 0
        for turn in range(len(items)):
            while True:
                most = min(len(items), turn + _WINDOW * len(self._ends))
                while (
                    given < most
                    and len(under_way[end := min(under_way, key=lambda e: len(under_way[e]))]) < _AHEAD
                ):
                    _sent(end, items[given])
                    under_way[end].append(given)
                    given += 1
                if turn in found:
                    break
                for ready in wait([end for end, numbers in under_way.items() if numbers]):
                    assert isinstance(ready, Connection)
                    kind, value = _received(ready)
                    if kind == _REPORT:
                        self._report(*value)
                    else:
                        found[under_way[ready].pop(0)] = kind, value
            kind, value = found.pop(turn)
            if kind == _ERROR:
                raise value
            yield value

    def close(self) -> None:
        """End the copies, whatever they are at."""
        for end, pid in self._ends.items():
            end.close()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._ends = {}


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _serve(
    end: Connection, others: list[Connection], work: Callable[[Any, Report], Any], held: set[Any]
) -> NoReturn:
    """Work on the items that come, until nobody sends any."""
    try:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:  # whoever sends the items tells when to stop
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for other in others:  # or they would not see that this process is gone
            other.close()
        while True:
            item = end.recv()
            try:
                answer = _RESULT, work(item, lambda *arguments: end.send((_REPORT, arguments)))
            except Exception as error:
                answer = _ERROR, error
            try:
                end.send(answer)
            except (TypeError, AttributeError, ValueError):  # cannot be pickled, as some errors
                end.send((_ERROR, NqzError(f"{type(answer[1]).__name__}: {answer[1]}")))
    except BaseException:
        os._exit(0)
    os._exit(0)


def _sent(end: Connection, item: Any) -> None:
    try:
        end.send(item)
    except OSError:
        raise _lost() from None


def _received(end: Connection) -> tuple[int, Any]:
    try:
        kind, value = end.recv()
    except (EOFError, OSError):
        raise _lost() from None
    return kind, value


def _lost() -> NqzError:
    return NqzError("a process that this one had started was killed; try again, or with --threads 1")
