"""Some bytes of a file in memory, as access to all of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from nqz.format.records import Access, pread


class HeldAccess:
    """What lies in some ranges of a file; the file itself is not needed.

    Parameters
    ----------
    access : Access
    ranges : iterable of tuple of int
        Ascending, apart from each other.
    """

    def __init__(self, access: Access, ranges: Iterable[tuple[int, int]]) -> None:
        self.size = access.size
        self._starts, self._parts = list[int](), list[bytes]()
        for start, stop in ranges:
            self._starts.append(start)
            self._parts.append(bytes(pread(access, start, stop - start)))

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return sum(map(len, self._parts))

    def pread_into(self, buffer: memoryview, offset: int) -> None:
        """See `Access`; what is asked for lies in one of the ranges."""
        place = bisect_right(self._starts, offset) - 1
        first = offset - self._starts[place]
        buffer[:] = self._parts[place][first : first + len(buffer)]
