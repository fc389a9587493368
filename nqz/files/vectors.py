"""Reading and writing the vectors of a matrix in a file, by positioned reads and writes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from nqz.files.access import has_address
from nqz.files.bands import BandReader, BandWriter, ahead, worthwhile
from nqz.files.layout import COORDINATE_MAJOR, VECTOR_MAJOR, Layout, tensor_index, vector_layout
from nqz.ground import float8
from nqz.ground.cached import cached_property
from nqz.ground.dtypes import storage_dtype, working_type
from nqz.ground.errors import UsageError

# Runs of bytes closer together than this are cheaper to read in one go than by a system call each.
_READ_GAP = 12 << 10
# The same for writing, which has to read what lies between and write it back.
_WRITE_GAP = 4 << 10
_BLOCK = 1 << 20


class VectorView:
    """The matrix of a tensor as `count` vectors of `length` coordinates.

    Attributes
    ----------
    length, count : int
        Coordinates of a vector (n), and number of vectors (a).
    memory : str
        ``"vector-major"``: each vector is contiguous in the file; ``"coordinate-major"``: coordinate i of all
        vectors is.
    entries : str
        Name of the type of the entries given: that of the tensor, or float16 for float8.
    dtype : numpy.dtype
        Native type of the arrays given: that of the entries, or uint16 for bfloat16.
    bfloat16 : bool
        Whether uint16 entries are bfloat16.
    itemsize : int
        Bytes of an entry in the file.
    """

    def __init__(
        self,
        access: Any,
        offset: int,
        shape: tuple[int, ...],
        dtype: str,
        *,
        axis: int,
        fortran_order: bool,
        byte_order: str,
    ) -> None:
        self._layout = vector_layout(shape, axis, fortran_order)
        self._access = access
        self._offset = offset
        self._shape = shape
        self._axis = axis
        self._stored = storage_dtype(dtype)
        self._swapped = not storage_dtype(dtype, byte_order).isnative
        self._name = dtype
        self.entries = working_type(dtype)
        self._narrow = self.entries != dtype
        self.dtype = storage_dtype(self.entries)
        self.itemsize = self._stored.itemsize
        self.bfloat16 = dtype == "bfloat16"
        self.length = self._layout.length
        self.count = self._layout.count
        self.memory = self._layout.memory
        self._bands: BandReader | None = None

    def __getstate__(self) -> dict[str, Any]:
        # what is opened or found out here is so again elsewhere
        return {**{k: v for k, v in self.__dict__.items() if k != "_resident"}, "_bands": None}

    @property
    def has_address(self) -> bool:
        """Whether workers elsewhere can read it: see `nqz.files.access.has_address`."""
        return has_address(self._access)

    @cached_property
    def _resident(self) -> np.ndarray | None:
        """All entries in file order where they are, if they are in memory and in native byte order."""
        count = self.length * self.count
        view = None if self._swapped else self._access.view(self._offset, count * self.itemsize)
        array = None if view is None else np.frombuffer(view, self._stored)
        return array if array is not None and array.flags.aligned else None

    def span(
        self, first: int, last: int, buffer: np.ndarray | None = None
    ) -> tuple[memoryview, list[tuple[int, int, np.ndarray]]]:
        """Read entries `first` to `last` - 1, numbered in file order.

        Parameters
        ----------
        first, last : int
            Range of entries, not empty.
        buffer : numpy.ndarray, optional
            uint8, to read into if it is large enough; then the result is valid until it is used again.

        Returns
        -------
        raw : memoryview
            The bytes as in the file.
        blocks : list of (first_coordinate, first_vector, block)
            The same entries, in order, as at most three blocks: whole runs (vectors, or rows of one coordinate), and
            what is left of a run before and after them. A block is a numpy.ndarray of shape [coordinates,
            vectors], in native byte order and any strides; its first entry has the position given. In a
            Fortran-order tensor of three or more dimensions, coordinates are numbered in memory order here;
            `index` translates.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        count, itemsize = last - first, self.itemsize
        if self._resident is not None:
            data = self._resident[first:last]
        else:
            if buffer is not None and buffer.nbytes >= count * itemsize:
                data = buffer[: count * itemsize].view(self._stored)
            else:
                data = np.empty(count, self._stored)
            self._access.pread_into(data, self._offset + first * itemsize)
        raw = data.view(np.uint8).data
        if self._swapped:
            data = data.byteswap()
        if self._narrow:
            wide = np.empty(count, self.dtype)
            float8.widen(data, self._name, wide)
            data = wide
        by_coordinate = self.memory == COORDINATE_MAJOR
        run = self.count if by_coordinate else self.length
        blocks, at = [], first
        while at < last:
            number, begin = divmod(at, run)
            whole = (last - at) // run if begin == 0 else 0
            height, width = (whole, run) if whole else (1, min(run - begin, last - at))
            block = data[at - first : at - first + height * width].reshape(height, width)
            blocks.append((number, begin, block) if by_coordinate else (begin, number, block.T))
            at += height * width
        return raw, blocks

    def in_place(self, first: int, last: int) -> np.ndarray | None:
        """Return what `read` would without reading: a read-only view of the memory, None where that is not possible."""
        if self._resident is None or self._narrow or self._layout.reversed_dims:
            return None
        if self.memory == VECTOR_MAJOR:
            part: np.ndarray = self._resident.reshape(self.count, self.length)[first:last].T
        else:
            part = self._resident.reshape(self.length, self.count)[:, first:last]
        return part

    @property
    def by_rows(self) -> bool:
        """Whether `read` can take some of the coordinates only, and that pays."""
        return self.memory == COORDINATE_MAJOR and not self._layout.reversed_dims

    def index(self, coordinate: int, vector: int) -> tuple[int, ...]:
        """Return the index in the tensor of an entry, `coordinate` numbered as in `span`."""
        return tensor_index(self._shape, self._axis, self._layout.logical_coordinate(coordinate), vector)

    def read(
        self,
        first: int,
        last: int,
        out: np.ndarray | None = None,
        rows: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Read the vectors `first` to `last` - 1.

        Parameters
        ----------
        first, last : int
            Range of vectors.
        out : numpy.ndarray, optional
            One-dimensional contiguous buffer of type `dtype` and at least length * (last - first) entries, to
            read into.
        rows : tuple of int, optional
            Range of coordinates, all by default; where `by_rows` only.

        Returns
        -------
        numpy.ndarray, shape [length, last - first], or as many rows as asked for
            In native byte order and any strides; the coordinates are in C order of the logical indices.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        width = last - first
        if not 0 <= first <= last <= self.count:
            raise UsageError(f"vectors {first} to {last} are not among {self.count}")
        row, stop = (0, self.length) if rows is None else rows
        if not (0 <= row <= stop <= self.length and (rows is None or self.by_rows)):
            raise UsageError(f"coordinates {row} to {stop} of vectors of {self.length} cannot be read alone")
        height = stop - row
        given = np.empty(height * width, self.dtype) if out is None else out[: height * width]
        # of a narrow type, entries are read into the last bytes of their place
        data = given.view(np.uint8)[height * width :] if self._narrow else given
        if width and (self.memory == VECTOR_MAJOR or width == self.count):
            start = first * self.length if self.memory == VECTOR_MAJOR else row * self.count
            self._access.pread_into(data, self._offset + start * self.itemsize)
        elif width:
            self._read_rows(data.reshape(height, width), row, first)
        if self._swapped:
            data.byteswap(inplace=True)
        if self._narrow:
            float8.widen(data, self._name, given)
            data = given
        if self.memory == VECTOR_MAJOR:
            return self._layout.to_logical(data.reshape(width, self.length).T)
        block = data.reshape(height, width)
        return block if rows is not None else self._layout.to_logical(block)

    def _read_rows(self, rows: np.ndarray, begin: int, first: int) -> None:
        """Read a piece of every row of the file from row `begin` on into the rows of a contiguous array."""
        itemsize = self.itemsize
        if worthwhile(self.count, rows.shape[1], itemsize, self._access):
            if self._bands is None:
                self._bands = BandReader(self._access, self._offset, self.length, self.count, self._stored)
            if self._bands.read(rows, begin, first):
                return
        stride = self.count * itemsize
        segment = rows.shape[1] * itemsize
        start = self._offset + first * itemsize + begin * stride
        if stride - segment >= _READ_GAP:
            read = self._access.pread_into
            flat = rows.reshape(-1).view(np.uint8).data
            for position, place in ahead(self._access, start, stride, segment, len(rows)):
                read(flat[position : position + segment], place)
            return
        width = rows.shape[1]
        step = _rows_per_block(stride, segment, len(rows))
        block = np.empty(step * self.count, self._stored)
        for row in range(0, len(rows), step):
            height = min(step, len(rows) - row)
            # What follows the last piece is not read; it might lie beyond the end of the file.
            needed = (height - 1) * self.count + width
            self._access.pread_into(block[:needed], start + row * stride)
            table = block[: height * self.count].reshape(height, self.count)
            rows[row : row + height] = table[:, :width]


class VectorWriter:
    """Writes the vectors of a matrix into a tensor of a file, the mirror image of `VectorView.read`.

    Several threads may write different vectors at once. Where vectors are long, what was written may reach its place
    only when all vectors have been written.
    """

    def __init__(
        self,
        access: Any,
        offset: int,
        layout: Layout,
        dtype: str,
        byte_order: str,
        lock: threading.Lock,
    ) -> None:
        self._access = access
        self._offset = offset
        self._layout = layout
        self._stored = storage_dtype(dtype, byte_order)
        self._lock = lock
        self.dtype = storage_dtype(dtype)
        self.length = layout.length
        self.count = layout.count
        self._bands = BandWriter(access, offset, layout.length, layout.count, self._stored)
        self.memory = layout.memory

    def write(self, first: int, block: np.ndarray) -> None:
        """Write the vectors from number `first` on.

        Parameters
        ----------
        first : int
            Number of the first vector.
        block : numpy.ndarray, shape [length, w]
            In storage type (`dtype`), any strides; coordinates in C order of the logical indices.

        Raises
        ------
        DiskFullError, OutputError
            If the file cannot be written.
        """
        if block.ndim != 2 or block.shape[0] != self.length or not 0 <= first <= self.count - block.shape[1]:
            matrix = f"a {self.length} x {self.count} matrix"
            raise UsageError(f"a block of shape {block.shape} does not fit at vector {first} of {matrix}")
        if block.dtype != self.dtype:
            raise UsageError(f"a block of type {block.dtype} cannot be written as {self.dtype}")
        if block.shape[1] == 0:
            return
        block = self._layout.to_memory(block)
        if self._layout.memory == VECTOR_MAJOR:
            self._write_runs(block.T, first * self.length)
        elif block.shape[1] == self.count:
            self._write_runs(block, 0)
        else:
            self._write_rows(block, first)

    def _write_runs(self, runs: np.ndarray, start: int) -> None:
        """Write a [runs, entries] array to one contiguous range that begins at entry `start`."""
        step = max(1, _BLOCK // (runs.shape[1] * self._stored.itemsize))
        for first in range(0, runs.shape[0], step):
            data = np.ascontiguousarray(runs[first : first + step], dtype=self._stored)
            self._access.pwrite(data, self._offset + (start + first * runs.shape[1]) * self._stored.itemsize)

    def _write_rows(self, block: np.ndarray, first: int) -> None:
        """Write row i of the block into row i of the file, from column `first` on."""
        with self._lock:
            if self._bands.write(block, first):
                return
        itemsize = self._stored.itemsize
        width = block.shape[1]
        stride = self.count * itemsize
        segment = width * itemsize
        start = self._offset + first * itemsize
        between = stride - segment < _WRITE_GAP
        step = _rows_per_block(stride if between else segment, segment, self.length)
        around = np.empty(step * self.count, self._stored) if between else None
        for row in range(0, self.length, step):
            height = min(step, self.length - row)
            position = start + row * stride
            if around is not None:
                needed = (height - 1) * self.count + width
                # Nobody else may write what lies between while it is read and written back.
                with self._lock:
                    self._access.pread_into(around[:needed], position)
                    table = around[: height * self.count].reshape(height, self.count)
                    table[:, :width] = block[row : row + height]
                    self._access.pwrite(around[:needed], position)
                continue
            piece = np.ascontiguousarray(block[row : row + height], dtype=self._stored)
            flat = piece.reshape(-1).view(np.uint8).data
            with self._lock:
                for begin in range(0, len(flat), segment):
                    self._access.pwrite(flat[begin : begin + segment], position)
                    position += stride


def _rows_per_block(stride: int, segment: int, rows: int) -> int:
    """Return how many rows of `stride` bytes to hold at once: at most 1 MiB, and no more than the panel."""
    return min(rows, max(1, min(_BLOCK, segment * rows) // stride))
