"""Reading a container: at random through its index, or from end to end to verify it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from nqz.format.diagnose import check_preamble, end_error
from nqz.format.head import MAX_HEAD_BYTES, Manifest
from nqz.format.index import END_LENGTH, END_SIZE, EndRecord, max_index_length, unpack_index
from nqz.format.order import RecordSequence
from nqz.format.records import (
    FRAMING,
    PREAMBLE_SIZE,
    Access,
    Record,
    checksum_error,
    pread,
    read_header,
    read_record,
)
from nqz.ground import digests
from nqz.ground.errors import CorruptError

_SCAN_BYTES = 1 << 20


class ContainerReader:
    """Open a container. Reads its preamble, end record, index and manifest, and nothing else.

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
        Written by a later version of the format.

    Notes
    -----
    Methods may be called from several threads at once if `access` allows it.
    """

    def __init__(self, access: Access, name: str) -> None:
        self.name = name
        self.size = access.size
        self._access = access
        check_preamble(access, name)
        self._end = self._read_end()
        head = read_header(access, PREAMBLE_SIZE, self._end.index_offset, name)
        where = self._where(head)
        if head.type != "HEAD":
            raise CorruptError(f"{where}: the first record must be HEAD")
        if head.length > MAX_HEAD_BYTES:
            raise CorruptError(f"{where}: {head.length} bytes where at most {MAX_HEAD_BYTES} are allowed")
        self.manifest = Manifest.unpack(read_record(access, head, name), where)
        self._lengths = self._read_index(head.end)
        self._starts = [head.end]
        for lengths in self._lengths:
            self._starts.append(self._starts[-1] + sum(lengths) + FRAMING * len(lengths))
        self._records: dict[int, list[Record]] = {}

    def records(self, tensor_index: int) -> list[Record]:
        """Return the records of a tensor, in order; their headers are read and checked on the first call.

        Raises
        ------
        CorruptError
            A record is not where the index says, or the records are not those of such a tensor.
        """
        if tensor_index not in self._records:
            self._records[tensor_index] = self._read_records(tensor_index)
        return self._records[tensor_index]

    def find(self, tensor_index: int, type: str) -> list[Record]:
        """Return the records of one type of a tensor, in order; see `records`."""
        return [record for record in self.records(tensor_index) if record.type == type]

    def read(self, record: Record, expected_type: str | None = None) -> bytes:
        """Return the payload of a record, once its type, length and CRC-32 are found right.

        Raises
        ------
        CorruptError
            The record is damaged, or not of `expected_type`.
        """
        if expected_type not in (None, record.type):
            raise CorruptError(f"{self._where(record)}: expected a record {expected_type}")
        if not PREAMBLE_SIZE <= record.offset <= record.end <= self.size:
            raise CorruptError(f"{self._where(record)}: outside of the file")
        return read_record(self._access, record, self.name)

    def verify(
        self, progress: Callable[[int, int], object] | None = None, each: Callable[..., Iterator[Any]] = map
    ) -> None:
        """Check the whole file from end to end: every record, their order, index, counts and digest.

        Parameters
        ----------
        progress : callable, optional
            Called with the bytes checked so far and the size of the file, at most once per MiB.
        each : callable
            Takes the place of `map`, to check records side by side.

        Raises
        ------
        CorruptError
            The file is not exactly as it was written.
        """
        sequence = RecordSequence(self.manifest.tensors)
        found: list[list[int]] = [[] for _ in self._lengths]
        hashed = bytearray(digests.of(pread(self._access, 0, PREAMBLE_SIZE)))
        offset = PREAMBLE_SIZE
        reported = 0
        digested = each(lambda record: (record, self._digest(record)), self._scan())
        for count, (record, digest) in enumerate(digested):
            hashed += digest
            last = record.end == self._done.offset
            if (record.type == "HEAD") != (count == 0) or (record.type == "INDX") != last:
                raise CorruptError(f"{self._where(record)}: out of order")
            if count and not last:
                try:
                    found[sequence.accept(record.type) + 1].append(record.length)
                except ValueError as error:
                    raise CorruptError(f"{self._where(record)}: {error}") from None
            offset = record.end
            if progress and offset - reported >= _SCAN_BYTES:
                reported = offset
                progress(offset, self.size)
        try:
            sequence.finish()
        except ValueError as error:
            raise CorruptError(f"{self.name}: {error}, at byte {self._end.index_offset}") from None
        if found != self._lengths:
            raise CorruptError(f"{self.name}: the index does not list the records found, at byte {offset}")
        if digests.of(hashed) != self._end.digest:
            raise CorruptError(f"{self.name}: damaged: the digest at byte {self._done.end - 36} is wrong")
        # The end record again: the file may have changed since it was opened.
        if EndRecord.unpack(read_record(self._access, self._done, self.name)) != self._end:
            raise CorruptError(f"{self._where(self._done)}: changed while it was being read")
        if progress:
            progress(self.size, self.size)

    def _scan(self) -> Iterator[Record]:
        """All records but the last, as they follow one another in the file."""
        offset = PREAMBLE_SIZE
        while offset < self._done.offset:
            record = read_header(self._access, offset, self._done.offset, self.name)
            yield record
            offset = record.end

    def _where(self, record: Record) -> str:
        return f"{self.name}: record {record.type} at byte {record.offset}"

    def _read_end(self) -> EndRecord:
        self._done = Record("DONE", self.size - END_SIZE, END_LENGTH)
        if self._done.offset < PREAMBLE_SIZE:
            raise end_error(self._access, self.name)
        try:
            end = EndRecord.unpack(read_record(self._access, self._done, self.name))
        except CorruptError:
            raise end_error(self._access, self.name) from None
        if end.file_length != self.size:
            raise end_error(self._access, self.name)
        if not PREAMBLE_SIZE + FRAMING <= end.index_offset <= self._done.offset - FRAMING:
            raise CorruptError(f"{self._where(self._done)}: places the index at byte {end.index_offset}")
        if not 3 <= end.records <= (self.size - PREAMBLE_SIZE) // FRAMING:
            raise CorruptError(f"{self._where(self._done)}: counts {end.records} records")
        return end

    def _read_index(self, first: int) -> list[list[int]]:
        offset = self._end.index_offset
        record = Record("INDX", offset, self._done.offset - offset - FRAMING)
        tensors = len(self.manifest.tensors)
        if record.length > max_index_length(tensors, self._end.records):
            raise CorruptError(f"{self._where(record)}: {record.length} bytes, more than an index takes")
        payload = read_record(self._access, record, self.name)
        return unpack_index(payload, tensors, first, offset, self._end.records, self._where(record))

    def _read_records(self, tensor_index: int) -> list[Record]:
        info = self.manifest.tensors[tensor_index]
        sequence = RecordSequence([info])
        offset = self._starts[tensor_index + 1]
        limit = self._starts[tensor_index + 2]
        records = []
        for length in self._lengths[tensor_index + 1]:
            record = read_header(self._access, offset, limit, self.name)
            try:
                if record.length != length:
                    raise ValueError(f"{record.length} bytes where the index says {length}")
                if sequence.accept(record.type) != 0:
                    raise ValueError("an optional record in front of the first one of a tensor")
            except ValueError as error:
                raise CorruptError(f"{self._where(record)}: {error}") from None
            records.append(record)
            offset = record.end
        try:
            sequence.finish()
        except ValueError as error:
            raise CorruptError(f"{self.name}: {error}, at byte {self._starts[tensor_index + 1]}") from None
        return records

    def _digest(self, record: Record) -> bytes:
        """Check the CRC-32 of a record, piece by piece; return the SHA-256 of its bytes."""
        buffer = memoryview(bytearray(min(_SCAN_BYTES, record.end - record.offset)))
        digest = digests.begun()
        crc = 0
        offset = record.offset
        body_end = record.end - 4
        while offset < body_end:
            piece = buffer[: min(len(buffer), body_end - offset)]
            self._access.pread_into(piece, offset)
            crc = zlib.crc32(piece, crc)
            digest.update(piece)
            offset += len(piece)
        stored = pread(self._access, body_end, 4)
        digest.update(stored)
        if crc != int.from_bytes(stored, "little"):
            raise checksum_error(record, self.name)
        return digest.digest()
