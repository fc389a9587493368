"""Panels of long vectors in files where every coordinate of all vectors stands together.

A panel then is a few bytes of every row of the file: to read or write one costs nearly as much as the whole file, and
there are many. So a band of many panels is taken at once, in runs of many bytes, and kept on disk panel by panel: every
byte of the matrix is read and written once more, whatever the number of panels.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.files.access import temporary_access
from nqz.ground.errors import DiskFullError, OutputError

_NARROW = 4 << 10
"""Bytes of a row below which panels go by bands."""
_PANELS = 32
"""Fewer panels than this are not worth a band: from the cache, a file is read faster than a copy of it is made."""
_RUN = 64 << 10
"""Bytes of a row in a band."""
_BLOCK = 8 << 20
_FAR = 64 << 10, 4, 256 << 10
"""The same three for what is read from afar, where a request for a row takes as long as many of its bytes."""
_AHEAD = 32 << 20
"""Bytes of rows that are asked for at once there."""


def _measures(access: Any) -> tuple[int, int, int]:
    return _FAR if hasattr(access, "prefetch") else (_NARROW, _PANELS, _RUN)


def worthwhile(count: int, width: int, itemsize: int, access: Any = None) -> bool:
    """Whether panels of `width` of `count` vectors should go by bands."""
    narrow, panels, _ = _measures(access)
    return width * itemsize < narrow and count > panels * width


def ahead(access: Any, start: int, stride: int, segment: int, rows: int) -> Iterator[tuple[int, int]]:
    """Where pieces of rows go, and where they lie in a file; what is read from afar is asked for many rows at once."""
    prefetch, batch = getattr(access, "prefetch", None), max(1, _AHEAD // max(segment, _FAR[0]))
    for row in range(rows):
        if prefetch is not None and row % batch == 0:
            prefetch((start + i * stride, segment) for i in range(row, min(row + batch, rows)))
        yield row * segment, start + row * stride


class _Band:
    """Vectors first … last - 1 in panels of `width`, each a contiguous [length, its width] block from `base` on."""

    def __init__(self, access: Any, base: int, first: int, width: int, matrix: _Matrix):
        self.access, self.base, self.first, self.width = access, base, first, width
        columns = max(width, _measures(matrix.access)[2] // matrix.itemsize // width * width)
        self.last = min(first + columns, matrix.count)
        self.matrix = matrix

    def place(self, first: int, row: int) -> int:
        """Offset of a row of the panel that begins with vector `first`."""
        return self.base + self.matrix.itemsize * (
            (first - self.first) * self.matrix.length + row * self.panel_width(first)
        )

    def panel_width(self, first: int) -> int:
        """Number of vectors of a panel."""
        return min(self.width, self.last - first)

    def holds(self, first: int, width: int) -> bool:
        """Whether one of its panels is this one."""
        known = self.first <= first < self.last and (first - self.first) % self.width == 0
        return known and width == self.panel_width(first)

    def blocks(self) -> Iterator[tuple[int, int, range]]:
        """Pieces of rows: (first row, rows, the panels' first vectors)."""
        m = self.matrix
        step = max(1, _BLOCK // ((self.last - self.first) * m.itemsize))
        for row in range(0, m.length, step):
            yield row, min(step, m.length - row), range(self.first, self.last, self.width)


class _Matrix:
    """Where a [length, count] matrix lies in a file."""

    def __init__(self, access: Any, offset: int, length: int, count: int, dtype: np.dtype[Any]) -> None:
        self.access, self.offset, self.length, self.count, self.dtype = access, offset, length, count, dtype
        self.itemsize = dtype.itemsize

    def runs(self, first: int, row: int, table: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Pieces of a [rows, columns] table, and their offsets in the file: one where they are whole rows."""
        start = self.offset + self.itemsize * (row * self.count + first)
        if table.shape[1] == self.count:
            yield start, table
            return
        for line in table:
            yield start, line
            start += self.itemsize * self.count


class BandReader:
    """Reads panels, through a temporary copy of a band of them."""

    def __init__(self, access: Any, offset: int, length: int, count: int, dtype: np.dtype[Any]) -> None:
        self._matrix = _Matrix(access, offset, length, count, dtype)
        self._lock = threading.Lock()
        self._band: _Band | None = None
        self._copy: Any = None
        self._usable = True

    def read(self, rows: NDArray[Any], begin: int, first: int) -> bool:
        """Fill a contiguous array with rows of a panel from row `begin` on; False if there is no room for a copy."""
        width = rows.shape[1]
        with self._lock:
            band = self._band
            if band is None or not band.holds(first, width):
                band = self._fill(first, width)
            if band is None:
                return False
            band.access.pread_into(rows, band.place(first, begin))
        return True

    def _fill(self, first: int, width: int) -> _Band | None:
        m = self._matrix
        self._band = None
        if not self._usable:
            return None
        try:
            if self._copy is None:
                self._copy = temporary_access(m.access.name)
                weakref.finalize(self, self._copy.close)
            band = _Band(self._copy, 0, first, width, m)
            for row, height, panels in band.blocks():
                table = np.empty((height, band.last - first), m.dtype)
                prefetch = getattr(m.access, "prefetch", None)
                if prefetch is not None:
                    stride, size = m.itemsize * m.count, table.itemsize * table.shape[1]
                    start = m.offset + m.itemsize * first + row * stride
                    prefetch((start + i * stride, size) for i in range(height))
                for place, piece in m.runs(first, row, table):
                    m.access.pread_into(piece, place)
                for panel in panels:
                    part = table[:, panel - first : panel - first + band.panel_width(panel)]
                    band.access.pwrite(np.ascontiguousarray(part), band.place(panel, row))
        except (DiskFullError, OutputError):
            if self._copy is not None:
                self._copy.truncate(0)
            self._usable = False
            return None
        self._band = band
        return band


class BandWriter:
    """Collects panels behind the end of the file, and writes them into their rows once a band is complete.

    For panels that come in order and without gaps, from the first vector on; after others there are no more bands.
    While a band is open, nothing else may be written behind the end of the file.
    """

    def __init__(self, access: Any, offset: int, length: int, count: int, dtype: np.dtype[Any]) -> None:
        self._matrix = _Matrix(access, offset, length, count, dtype)
        self._band: _Band | None = None
        self._next = 0

    def write(self, block: NDArray[Any], first: int) -> bool:
        """Take a [length, width] block of vectors; False if it does not continue what was taken before."""
        m, width = self._matrix, block.shape[1]
        band = self._band
        if band is None:
            if first != self._next or not worthwhile(m.count, width, m.itemsize):
                self._next = -1
                return False
            band = self._band = _Band(m.access, m.access.size, first, width, m)
        elif first != self._next or width != band.panel_width(first):
            band.last, self._band, self._next = self._next, None, -1
            self._spread(band)
            return False
        step = max(1, _BLOCK // (width * m.itemsize))
        for row in range(0, m.length, step):
            piece = np.ascontiguousarray(block[row : row + step], dtype=m.dtype)
            m.access.pwrite(piece, band.place(first, row))
        self._next = first + width
        if self._next == band.last:
            self._spread(band)
            self._band = None
        return True

    def _spread(self, band: _Band) -> None:
        m = self._matrix
        for row, height, panels in band.blocks():
            table = np.empty((height, band.last - band.first), m.dtype)
            for panel in panels:
                part = np.empty((height, band.panel_width(panel)), m.dtype)
                band.access.pread_into(part, band.place(panel, row))
                table[:, panel - band.first : panel - band.first + part.shape[1]] = part
            for place, piece in m.runs(band.first, row, table):
                m.access.pwrite(piece, place)
        m.access.truncate(band.base)
