"""Ctrl-C and SIGTERM.

They raise an exception in the main thread, so that everything is cleaned up. Where the main thread sits in a
long kernel and does not get to it, a watchdog removes unfinished outputs and leaves. While cleaning up has to wait for
others, the watchdog waits, too, and the next signal ends that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nqz.ground.patience import given_up, waiting

MEANING: dict[int, tuple[str, int]] = {
    signal.SIGINT: ("interrupted", 130),
    signal.SIGTERM: ("terminated", 143),
    signal.SIGHUP: ("hung up", 129),
}

GRACE = 0.25
"""Seconds for the main thread to clean up by itself."""

_MOST = 5.0  # seconds that the watchdog takes at most, once it has begun to leave

_SHOW_CURSOR = "\x1b[?25h"


class Signalled(BaseException):
    """A signal to end arrived; not an Exception, so that nobody takes it for an error to recover from."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


_done = threading.Event()
_told = threading.Lock()
_cleanups: list[Any] = []


class _Putting:
    """How many stretches of statements put signals off now, and the signal that came meanwhile; whether one is raised.

    It is raised once: what cleans up, and what tells of it, is not interrupted again, unless it waits for others.
    """

    off = 0
    pending: int | None = None
    raised = False


def install() -> None:
    """Handle the signals that are not ignored, as in a background job they may be."""
    handled = [number for number in MEANING if signal.getsignal(number) != signal.SIG_IGN]
    receive, send = socket.socketpair()
    send.setblocking(False)
    for number in handled:
        signal.signal(number, _handle)
    signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
    sys.unraisablehook = _unraisable
    # the thread keeps both ends open
    threading.Thread(target=_watch, args=(receive, send), daemon=True).start()


def finished() -> None:
    """Call the watchdog off: the command has come to its end."""
    _done.set()


def first() -> bool:
    """Whether nobody tells of a signal yet; who asks does: the main thread, which else waits for the watchdog."""
    if _told.acquire(blocking=False):
        return True
    return _done.wait(_MOST)  # the process ends meanwhile


def ignore() -> None:
    """Ignore from now on the signals that were handled: the interpreter is about to exit."""
    for number in MEANING:
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_IGN)


def _handle(number: int, frame: FrameType | None) -> None:
    if _Putting.off:
        _Putting.pending = number
    elif not _Putting.raised or given_up():
        _Putting.raised = True
        raise Signalled(number)


def _unraisable(what: Any) -> None:
    """Say nothing of a signal that was raised where nobody can catch it, as in a finalizer: the watchdog leaves."""
    if what.exc_type is not Signalled:
        sys.__unraisablehook__(what)


@contextmanager
def held() -> Iterator[None]:
    """Put signals off until the end of a few statements that belong together."""
    _Putting.off += 1
    try:
        yield
    finally:
        _Putting.off -= 1
    number = _Putting.pending
    if number is not None and not _Putting.off:
        _Putting.pending = None
        _handle(number, None)


@contextmanager
def cleaned(make: Any) -> Iterator[Any]:
    """Enter the context manager that `make()` gives, and leave it whatever happens, the watchdog included."""
    with held():
        manager = make()
        _cleanups.append(manager)
    try:
        yield manager
    finally:
        with held():
            _cleanups.remove(manager)
            manager.__exit__(*sys.exc_info())


def _watch(receive: socket.socket, send: socket.socket) -> None:
    while True:
        for number in receive.recv(16):
            if number in MEANING and not _ends():
                _leave(number)


def _ends() -> bool:
    """Whether the main thread comes to its end by itself, after what it has to wait for."""
    while True:
        waited = waiting()
        if _done.wait(GRACE):
            return True
        if not waited and not waiting():
            return False


def _leave(number: int) -> None:
    if not _told.acquire(blocking=False):  # the main thread is about to leave
        return
    for manager in _cleanups.copy():  # the main thread may still take some out
        try:
            manager.__exit__(None, None, None)
        except Exception:  # the others have to be cleaned up as well
            continue
    what, code = MEANING[number]
    try:
        cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
        os.write(2, f"{cursor}nqz: error: {what}\n".encode())
    finally:
        os._exit(code)
