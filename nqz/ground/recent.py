"""What a thread opened last and keeps for its next job: a few things, and what is let go of is closed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The last few things that each thread has opened, by a key.

    Parameters
    ----------
    most : int
        How many a thread keeps.
    close : callable
        Called with one that is let go of.
    """

    def __init__(self, most: int, close: Callable[[T], object]) -> None:
        self._most, self._close = most, close
        self._thread = threading.local()

    def get(self, key: object, make: Callable[[], T]) -> T:
        """What was made for a key, or is made now; the one asked for longest ago goes."""
        kept: OrderedDict[object, T] = self._thread.__dict__.setdefault("kept", OrderedDict())
        found = kept[key] if key in kept else make()
        kept[key] = found
        kept.move_to_end(key)
        while len(kept) > self._most:
            self._close(kept.popitem(last=False)[1])
        return found
