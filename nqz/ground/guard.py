"""A lock for what several threads read and keep, and that a forked child may use too."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class Guard:
    """A context manager that one thread at a time is in, as often as it likes.

    A child that is forked while another thread is in it starts anew: nobody would ever leave it there. What it guards
    must bear that: be changed in steps, each of which leaves it in order.
    """

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        _ALL.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def tried(self) -> bool:
        """Enter it if no other thread is in it; whether that is so."""
        found: bool = self._lock.acquire(blocking=False)
        return found

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


_ALL: weakref.WeakSet[Guard] = weakref.WeakSet()


def _anew() -> None:
    for guard in _ALL:
        guard._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)
