"""Ranges of an object that are in memory, or on their way there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from concurrent.futures import Future

MOST = 64 << 20
"""Bytes of an object that are held."""


class Stretch:
    """A range, and what will be its bytes."""

    __slots__ = ("future", "start", "stop", "used")

    def __init__(self, start: int, stop: int, future: Future[bytes]) -> None:
        self.start, self.stop, self.future = start, stop, future
        self.used = 0


class Held:
    """Ranges that do not overlap, those used last; for one thread at a time.

    Parameters
    ----------
    fetch : callable
        fetch(start, stop) begins to read a range.
    """

    def __init__(self, fetch: Callable[[int, int], Future[bytes]]) -> None:
        self._fetch = fetch
        self._starts: list[int] = []
        self._stretches: dict[int, Stretch] = {}
        self._clock = 0
        self.nbytes = 0

    def cover(self, start: int, stop: int, step: int, least: int, size: int) -> tuple[list[Stretch], bool]:
        """Stretches that hold a range, in order, those that are missing begun; and whether some were.

        Parameters
        ----------
        start, stop : int
        step : int
            Bytes of a stretch that is begun, at most.
        least : int
            Bytes of one at least, where nothing is in the way.
        size : int
            Bytes of the object.
        """
        stretches, at, begun = [], start, False
        while at < stop:
            stretch = self._at(at)
            if stretch is None:
                end = min(max(stop, at + least), at + step, size, self._next(at))
                stretch, begun = self._begin(at, end), True
            self._clock += 1
            stretch.used = self._clock
            stretches.append(stretch)
            at = stretch.stop
        self.shrink(MOST, stretches)
        return stretches, begun

    def _at(self, position: int) -> Stretch | None:
        number = bisect_right(self._starts, position)
        stretch = self._stretches[self._starts[number - 1]] if number else None
        if stretch is None or stretch.stop <= position:
            return None
        if stretch.future.done() and (stretch.future.cancelled() or stretch.future.exception() is not None):
            self._drop(stretch)  # whoever waits for it has its error; a later reader tries again
            return None
        return stretch

    def _next(self, position: int) -> int:
        number = bisect_left(self._starts, position)
        return self._starts[number] if number < len(self._starts) else 1 << 63

    def _begin(self, start: int, stop: int) -> Stretch:
        return self.put(start, stop, self._fetch(start, stop))

    def put(self, start: int, stop: int, future: Future[bytes]) -> Stretch:
        """Hold a range."""
        stretch = self._stretches[start] = Stretch(start, stop, future)
        insort(self._starts, start)
        self.nbytes += stop - start
        return stretch

    def _drop(self, stretch: Stretch) -> None:
        del self._stretches[stretch.start]
        self._starts.remove(stretch.start)
        self.nbytes -= stretch.stop - stretch.start

    def shrink(self, most: int, kept: Sequence[Stretch] = ()) -> None:
        """Hold at most so many bytes beside what is on its way, and what is kept."""
        while self.nbytes > most:
            old = [
                stretch
                for stretch in self._stretches.values()
                if stretch.future.done() and stretch not in kept
            ]
            if not old:
                return
            self._drop(min(old, key=lambda stretch: stretch.used))

    def clear(self) -> None:
        """Hold nothing any more, and give up what is on its way."""
        for stretch in self._stretches.values():
            stretch.future.cancel()
        self._stretches, self._starts, self.nbytes = {}, [], 0
