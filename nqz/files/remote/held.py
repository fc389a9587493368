"""Ranges of an object that are in memory, or on their way there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from concurrent.futures import Future

MOST = 64 << 20
"""Bytes that are held."""


class Span:
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
        self._spans: dict[int, Span] = {}
        self._clock = 0
        self.nbytes = 0

    def cover(self, start: int, stop: int, step: int, least: int, size: int) -> tuple[list[Span], bool]:
        """Spans that hold a range, in order, those that are missing begun; and whether some were.

        Parameters
        ----------
        start, stop : int
        step : int
            Bytes of a span that is begun, at most.
        least : int
            Bytes of one at least, where nothing is in the way.
        size : int
            Bytes of the object.
        """
        spans, at, begun = [], start, False
        while at < stop:
            span = self._at(at)
            if span is None:
                end = min(max(stop, at + least), at + step, size, self._next(at))
                span, begun = self._begin(at, end), True
            self._clock += 1
            span.used = self._clock
            spans.append(span)
            at = span.stop
        self._shrink(spans)
        return spans, begun

    def _at(self, position: int) -> Span | None:
        number = bisect_right(self._starts, position)
        span = self._spans[self._starts[number - 1]] if number else None
        if span is None or span.stop <= position:
            return None
        if span.future.done() and (span.future.cancelled() or span.future.exception() is not None):
            self._drop(span)  # whoever waits for it has its error; a later reader tries again
            return None
        return span

    def _next(self, position: int) -> int:
        number = bisect_left(self._starts, position)
        return self._starts[number] if number < len(self._starts) else 1 << 63

    def _begin(self, start: int, stop: int) -> Span:
        return self.put(start, stop, self._fetch(start, stop))

    def put(self, start: int, stop: int, future: Future[bytes]) -> Span:
        """Hold a range."""
        span = self._spans[start] = Span(start, stop, future)
        insort(self._starts, start)
        self.nbytes += stop - start
        return span

    def _drop(self, span: Span) -> None:
        del self._spans[span.start]
        self._starts.remove(span.start)
        self.nbytes -= span.stop - span.start

    def _shrink(self, kept: list[Span]) -> None:
        while self.nbytes > MOST:
            old = [span for span in self._spans.values() if span.future.done() and span not in kept]
            if not old:
                return
            self._drop(min(old, key=lambda span: span.used))

    def clear(self) -> None:
        """Hold nothing any more, and give up what is on its way."""
        for span in self._spans.values():
            span.future.cancel()
        self._spans, self._starts, self.nbytes = {}, [], 0
