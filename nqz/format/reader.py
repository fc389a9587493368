"""Reading a container: at random through its index, or from end to end to verify it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.format.diagnose import check_preamble, end_error
from nqz.format.held import HeldAccess
from nqz.format.index import END_LENGTH, END_SIZE, MAX_RECORDS, EndRecord, max_index_length, unpack_index
from nqz.format.manifest import LEAST_ENTRY, MAX_BYTES, Manifest
from nqz.format.order import check_file_records, check_order, check_tied_records
from nqz.format.records import (
    FRAMING,
    PREAMBLE_SIZE,
    Access,
    Header,
    Record,
    check_padding,
    checksum_error,
    pread,
    read_header,
    read_record,
    record_size,
    view_record,
)
from nqz.ground import digests
from nqz.ground.errors import CorruptError, NewerFormatError

_SCAN_BYTES = 1 << 20
_FEW = 64  # records that are counted one by one
_TAIL = 64 << 10
"""Bytes at the end of a file that are read at once: manifest, index and end record of most are among them."""


class ContainerReader:
    """Open a container. Reads its preamble, and end record, index and manifest at its end, and nothing else.

    Parameters
    ----------
    access : Access
        The file; its `size` is taken as the truth about the bytes present.
    name : str
        Name of the file, for messages.

    Attributes
    ----------
    manifest : Manifest
    name : str
    size : int
        Bytes in the file.

    Raises
    ------
    CorruptError
        Not a container, truncated, damaged, or followed by other bytes.
    NewerFormatError
        Written by a later version of the format, or with features that this release does not know.

    Notes
    -----
    Methods may be called from several threads at once if `access` allows it.
    """

    def __init__(self, access: Access, name: str) -> None:
        self.name = name
        self.size = access.size
        self._access = access
        check_preamble(access, name)
        tail = _Tail(access, _TAIL)
        self._done = Record("DONE", self.size - END_SIZE, END_LENGTH)
        self._end = self._read_end(tail)
        tail = tail.from_offset(self._end.manifest_offset, self._done.offset)
        mani = self._last_record(tail, "MANI", self._end.manifest_offset, self._end.index_offset, MAX_BYTES)
        payload, where = read_record(tail, mani, name), self._where(mani)
        self.manifest = Manifest.unpack(payload, where)
        tensors = len(self.manifest.tensors)
        most = max_index_length(tensors, self._end.records)
        indx = self._last_record(tail, "INDX", self._end.index_offset, self._done.offset, most)
        self._index = unpack_index(read_record(tail, indx, name), tensors, self._end, self._where(indx))
        self._last = mani, indx
        self._check_types(check_file_records, range(int(self._index.bounds[1])), name)
        self._checked: set[int] = set()

    @property
    def access(self) -> Access:
        """The file."""
        return self._access

    @property
    def digest(self) -> bytes:
        """Digest of all of the file, by its end record."""
        return self._end.digest

    def record(self, number: int) -> Record:
        """The record of a number, by the index."""
        index = self._index
        return Record(
            index.types[index.numbers[number]], int(index.offsets[number]), int(index.lengths[number])
        )

    def span(self, tensor_index: int) -> range:
        """Numbers of the records of a tensor.

        Raises
        ------
        CorruptError
            The records are not those of such a tensor, by the index.
        NewerFormatError
            The tensor, or one of its records, is of a kind that this release does not know.
        """
        numbers = self.listed(tensor_index)
        if tensor_index not in self._checked:
            self._check(tensor_index, numbers)
            self._checked.add(tensor_index)
        return numbers

    def held(self, tensor_index: int, apart: str) -> ContainerReader:
        """The same container in memory, of the records of a tensor only those that are not of a type; see `span`."""
        held = copy(self)
        held._access = HeldAccess(self._access, self._ranges(tensor_index, apart))
        return held

    def held_bytes(self, tensor_index: int, apart: str) -> int:
        """How many bytes of the file that takes."""
        return sum(stop - start for start, stop in self._ranges(tensor_index, apart))

    def _ranges(self, tensor_index: int, apart: str) -> Iterator[tuple[int, int]]:
        yield 0, PREAMBLE_SIZE
        for record in self.records(tensor_index):
            if record.type != apart:
                yield record.offset, record.end
        yield self._end.manifest_offset, self.size

    def counts(self) -> list[int]:
        """How many records the index has for each tensor."""
        counts: list[int] = np.diff(self._index.bounds[1:]).tolist()
        return counts

    def listed(self, tensor_index: int) -> range:
        """Numbers of the records that the index has for a tensor, or the one that it equals, whatever they are."""
        same = self.manifest.tensors[tensor_index].same_as
        return self._own(tensor_index if same is None else same)

    def _own(self, tensor_index: int) -> range:
        bounds = self._index.bounds
        return range(int(bounds[tensor_index + 1]), int(bounds[tensor_index + 2]))

    def records(self, tensor_index: int) -> list[Record]:
        """Return the records of a tensor, in order; see `span`."""
        return [self.record(number) for number in self.span(tensor_index)]

    def numbers(self, tensor_index: int, type: str) -> npt.NDArray[np.int64]:
        """Numbers of the records of one type of a tensor, in order; see `span`."""
        span, index = self.span(tensor_index), self._index
        wanted = index.types.index(type) if type in index.types else -1
        return span.start + np.flatnonzero(index.numbers[span.start : span.stop] == wanted)

    def find(self, tensor_index: int, type: str) -> list[Record]:
        """Return the records of one type of a tensor, in order; see `span`."""
        return list(map(self.record, self.numbers(tensor_index, type)))

    def sizes(self, tensor_index: int) -> dict[str, int]:
        """Bytes that all records of each type of a tensor take by the index, framing included."""
        span, index = self.listed(tensor_index), self._index
        if not span:
            return {}
        here = index.numbers[span.start : span.stop]
        sizes = np.diff(index.offsets[span.start : span.stop + 1])
        if len(span) <= _FEW:
            found: dict[str, int] = {}
            for number, size in zip(here.tolist(), sizes.tolist(), strict=True):
                found[index.types[number]] = found.get(index.types[number], 0) + size
            return found
        return {index.types[n]: int(sizes[here == n].sum()) for n in np.flatnonzero(np.bincount(here))}

    def read(self, record: Record, expected_type: str | None = None) -> bytes:
        """Return the payload of a record; see `view`."""
        return bytes(self.view(record, expected_type))

    def view(self, record: Record, expected_type: str | None = None) -> memoryview:
        """Return the payload of a record where it was read, once its type, length and CRC-32 are found right.

        Raises
        ------
        CorruptError
            The record is damaged, or not of `expected_type`.
        """
        if expected_type not in (None, record.type):
            raise CorruptError(f"{self._where(record)}: expected a record {expected_type}")
        if not PREAMBLE_SIZE <= record.offset <= record.end <= self.size:
            raise CorruptError(f"{self._where(record)}: outside of the file")
        return view_record(self._access, record, self.name)

    def prefetch(self, records: Iterable[Record]) -> None:
        """Say that records are about to be read; whoever reads them from afar may begin at once."""
        begin = getattr(self._access, "prefetch", None)
        if begin is not None:
            begin((record.offset, record.end - record.offset) for record in records)

    def verify(
        self, progress: Callable[[int], object] | None = None, each: Callable[..., Iterator[Any]] = map
    ) -> None:
        """Check the whole file from end to end: every record, their order, index, counts and digest.

        Parameters
        ----------
        progress : callable, optional
            Called with the bytes checked since the last call, at most once per MiB.
        each : callable
            Takes the place of `map`, to check records side by side.

        Raises
        ------
        CorruptError
            The file is not exactly as it was written.
        """
        hashed = bytearray(digests.of(pread(self._access, 0, PREAMBLE_SIZE)))
        reported = 0
        for header, digest in each(lambda header: (header, self._digest(header)), self._scan()):
            hashed += digest
            if progress and header.record.end - reported >= _SCAN_BYTES:
                progress(header.record.end - reported)
                reported = header.record.end
        for tensor in range(len(self.manifest.tensors)):
            with suppress(NewerFormatError):  # not damaged
                self.span(tensor)
        if digests.of(hashed) != self._end.digest:
            raise CorruptError(f"{self.name}: damaged: the digest at byte {self._done.end - 32} is wrong")
        # The end record again: the file may have changed since it was opened.
        if EndRecord.unpack(read_record(self._access, self._done, self.name)) != self._end:
            raise CorruptError(f"{self._where(self._done)}: changed while it was being read")
        if progress:
            progress(self.size - reported)

    def _scan(self) -> Iterator[Header]:
        """All records but the last, as they follow one another in the file."""
        offset, listed = PREAMBLE_SIZE, self._end.records - 3
        for number in range(listed + 2):
            header = read_header(self._access, offset, self._done.offset, self.name)
            expected = self.record(number) if number < listed else self._last[number - listed]
            if header.record != expected:
                raise CorruptError(
                    f"{self._where(header.record)}: {header.record.length} bytes; "
                    f"the index has {expected.type} of {expected.length} bytes"
                )
            yield header
            offset = header.record.end

    def _where(self, record: Record) -> str:
        return f"{self.name}: record {record.type} at byte {record.offset}"

    def _read_end(self, access: Access) -> EndRecord:
        if self._done.offset < PREAMBLE_SIZE:
            raise end_error(self._access, self.name)
        try:
            end = EndRecord.unpack(read_record(access, self._done, self.name))
        except CorruptError:
            raise end_error(self._access, self.name) from None
        if end.file_length != self.size:
            raise end_error(self._access, self.name)
        places = (PREAMBLE_SIZE, end.manifest_offset, end.index_offset, self._done.offset)
        if any(
            a % 8 or b - a < least
            for a, b, least in zip(places, places[1:], (0, FRAMING, FRAMING), strict=False)
        ):
            raise CorruptError(
                f"{self._where(self._done)}: places manifest and index at bytes {places[1]} and {places[2]}"
            )
        most = max_index_length((places[2] - places[1]) // LEAST_ENTRY, min(end.records, MAX_RECORDS))
        if places[2] - places[1] > record_size(MAX_BYTES) or places[3] - places[2] > record_size(most):
            raise CorruptError(
                f"{self._where(self._done)}: leaves more room for manifest or index than they take"
            )
        if not 3 <= end.records <= min(MAX_RECORDS, 3 + (places[1] - PREAMBLE_SIZE) // FRAMING):
            raise CorruptError(f"{self._where(self._done)}: counts {end.records} records")
        return end

    def _last_record(self, access: Access, type: str, offset: int, limit: int, most: int) -> Record:
        """The record between two offsets, of a type and not too long."""
        record = read_header(access, offset, limit, self.name).record
        if record.type != type or record.end != limit:
            raise CorruptError(
                f"{self._where(record)}: the record {type} must be here, and end at byte {limit}"
            )
        if record.length > most:
            raise CorruptError(
                f"{self._where(record)}: {record.length} bytes where at most {most} are allowed"
            )
        return record

    def _check(self, tensor_index: int, numbers: range) -> None:
        info = self.manifest.tensors[tensor_index]
        where = f"{self.name}: tensor {info.name!r}" if info.name else self.name
        if info.newer is not None:
            raise NewerFormatError(
                f"{where}: {info.newer} is not known to this release of nqz; a later one is needed"
            )
        if info.same_as is not None:
            self._check_types(check_tied_records, self._own(tensor_index), where)
        self._check_types(partial(check_order, info), numbers, where)

    def _check_types(self, check: Callable[[list[str]], None], numbers: range, where: str) -> None:
        """Check the types of some records."""
        index = self._index
        try:
            check([index.types[number] for number in index.numbers[numbers.start : numbers.stop].tolist()])
        except ValueError as error:
            raise CorruptError(f"{where}: {error}, at byte {index.offsets[numbers.start]}") from None
        except NewerFormatError as error:
            raise NewerFormatError(f"{where}: {error}") from None

    def _digest(self, header: Header) -> bytes:
        """Check the CRC-32 of a record, piece by piece; return the digest of its bytes."""
        record = header.record
        buffer = memoryview(bytearray(min(_SCAN_BYTES, record.end - record.offset)))
        digest, crc, offset = digests.begun(), header.start, record.offset
        while offset < record.end:
            piece = buffer[: min(len(buffer), record.end - offset)]
            self._access.pread_into(piece, offset)
            digest.update(piece)
            crc = kernels.crc32(piece[FRAMING:] if offset == record.offset else piece, crc)
            offset += len(piece)
        if crc != header.crc:
            raise checksum_error(record, self.name)
        padding = record_size(record.length) - FRAMING - record.length
        if padding:
            check_padding(piece[-padding:], record, self.name)
        return digest.digest()


class _Tail:
    """The end of a file, read at once; what stands before it is read as asked for."""

    def __init__(self, access: Access, length: int, stop: int | None = None) -> None:
        self._access = access
        self.size = access.size
        self._start = max(0, self.size - length)
        self._held = memoryview(
            pread(access, self._start, (self.size if stop is None else stop) - self._start)
        )

    def from_offset(self, offset: int, stop: int) -> _Tail:
        """The same, from an offset on."""
        return self if offset >= self._start else _Tail(self._access, self.size - offset, stop)

    def pread_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with what lies from `offset` on."""
        first = offset - self._start
        if first < 0 or first + len(buffer) > len(self._held):
            self._access.pread_into(buffer, offset)
        else:
            buffer[:] = self._held[first : first + len(buffer)]
