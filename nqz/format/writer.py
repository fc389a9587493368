"""Writing a container, record by record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nqz.format.head import Manifest
from nqz.format.index import END_SIZE, EndRecord, pack_index
from nqz.format.order import LEADING, RecordSequence
from nqz.format.records import FRAMING, PREAMBLE_SIZE, Access, Sealed, framed, is_type, preamble, seal
from nqz.ground.errors import NqzError

Buffer = bytes | bytearray | memoryview


class _Mark(NamedTuple):
    size: int
    records: int
    leading: int
    tensor: int
    tensor_records: int
    tensor_start: int
    sequence: tuple[int, dict[str, int], str]


def listed_size(lengths: Sequence[int]) -> int:
    """About the bytes that records with payloads of these lengths take in a file, with their entries in the index."""
    return framed(*lengths) + 2 * len(lengths)


class Draft:
    """Records of one tensor that are kept in memory, to be appended to a container later.

    Attributes
    ----------
    records : list of Sealed
    """

    def __init__(self) -> None:
        self.records: list[Sealed] = []

    def write(self, type: str, *payload: Buffer) -> None:
        """Append a record; see `ContainerWriter.write`."""
        self.add(seal(type, *payload))

    def add(self, record: Sealed) -> None:
        """Append a record that is sealed already."""
        self.records.append(record)

    def tensor_bytes(self) -> int:
        """Return the bytes of all records, framing included."""
        return sum(len(record.data) for record in self.records)

    def mark(self) -> int:
        """Return the present state, for `rollback`."""
        return len(self.records)

    def rollback(self, mark: int) -> None:
        """Forget every record since `mark`."""
        del self.records[mark:]


class ContainerWriter:
    """Append records to a new file: HEAD at once, then the tensors in order, then INDX and DONE.

    Parameters
    ----------
    access : Access
        An empty file. It needs ``truncate(size)`` too if `rollback` is used or space was reserved.
    manifest : Manifest

    Raises
    ------
    UnsupportedError
        The manifest breaks a rule of the format.

    Notes
    -----
    Calls out of order are faults of the caller and raise NqzError. Not for several threads at once.
    """

    def __init__(self, access: Access, manifest: Manifest) -> None:
        self.manifest = manifest
        self.size = PREAMBLE_SIZE
        self._access = access
        self._sequence = RecordSequence(manifest.tensors)
        self._lengths: list[list[int]] = [[] for _ in range(len(manifest.tensors) + 1)]
        self._tensor = LEADING
        self._tensor_start = 0
        self._finished = False
        head = manifest.pack()
        access.pwrite(memoryview(preamble()), 0)
        self._digests = bytearray(hashlib.sha256(preamble()).digest())
        self._append(seal("HEAD", head))

    def begin(self, index: int) -> None:
        """Begin tensor `index`; the one before must be complete."""
        if index != self._tensor + 1 or index >= len(self.manifest.tensors):
            raise NqzError(f"internal error: tensor {index} begun after tensor {self._tensor}")
        self._end_tensor()
        self._tensor = index
        self._tensor_start = self.size

    def write(self, type: str, *payload: Buffer) -> None:
        """Append a record to the current tensor.

        Parameters
        ----------
        type : str
            Four letters; the first is lowercase for a record that readers may skip.
        payload : bytes-like
            C-contiguous; several buffers are written one after the other.
        """
        if not is_type(type):
            raise NqzError(f"internal error: a record {type!r} cannot be written here")
        self.add(seal(type, *payload))

    def add(self, record: Sealed) -> None:
        """Append a record that is sealed already to the current tensor."""
        if self._finished:
            raise NqzError(f"internal error: a record {record.type!r} cannot be written here")
        state = self._sequence.state
        try:
            owner = self._sequence.accept(record.type)
        except ValueError as error:
            raise NqzError(f"internal error: {error}") from None
        if owner != self._tensor:
            # Such as an optional record in front of a tensor's first one: a scan would give it to another.
            self._sequence.state = state
            raise NqzError(f"internal error: a record {record.type} where tensor {self._tensor} is written")
        self._lengths[owner + 1].append(record.length)
        self._append(record)

    def tensor_bytes(self) -> int:
        """Return the bytes written since `begin`, framing included."""
        return self.size - self._tensor_start

    def mark(self) -> object:
        """Return the present state, for `rollback`."""
        lengths = self._lengths[self._tensor + 1]
        return _Mark(
            self.size,
            len(self._digests),
            len(self._lengths[0]),
            self._tensor,
            len(lengths),
            self._tensor_start,
            self._sequence.state,
        )

    def rollback(self, mark: object) -> None:
        """Forget every record, and every tensor begun, since `mark`."""
        if not isinstance(mark, _Mark) or mark.size > self.size or self._finished:
            raise NqzError("internal error: no such mark")
        self.size = mark.size
        del self._digests[mark.records :]
        for tensor in range(mark.tensor + 1, self._tensor + 1):
            self._lengths[tensor + 1].clear()
        del self._lengths[mark.tensor + 1][mark.tensor_records :]
        del self._lengths[0][mark.leading :]
        self._tensor = mark.tensor
        self._tensor_start = mark.tensor_start
        self._sequence.state = mark.sequence

    def projected_size(self, extra_lengths: Iterable[int] = ()) -> int:
        """Return the size in bytes of the finished file.

        Parameters
        ----------
        extra_lengths : iterable of int
            Payload lengths of the records that are still to come, all of them of the current tensor.
        """
        extra = list(extra_lengths)
        lengths = list(self._lengths)
        lengths[self._tensor + 1] = lengths[self._tensor + 1] + extra
        return self.size + framed(*extra) + len(pack_index(lengths)) + FRAMING + END_SIZE

    def finish(self) -> int:
        """Write INDX and DONE, cut off what was rolled back, and return the size of the file in bytes."""
        if self._finished or self._tensor != len(self.manifest.tensors) - 1:
            raise NqzError(f"internal error: finished after tensor {self._tensor}")
        self._end_tensor()
        index_offset = self.size
        self._append(seal("INDX", pack_index(self._lengths)))
        end = EndRecord(
            file_length=self.size + END_SIZE,
            index_offset=index_offset,
            records=len(self._digests) // 32,  # the preamble's digest stands in for DONE, which has none
            digest=hashlib.sha256(self._digests).digest(),
        )
        self._append(seal("DONE", end.pack()))
        self._finished = True
        if self._access.size > self.size:
            self._access.truncate(self.size)  # type: ignore[attr-defined]
        return self.size

    def _end_tensor(self) -> None:
        state = self._sequence.state
        try:
            if self._tensor != LEADING:
                info = self.manifest.tensors[self._tensor]
                if (info.kind == "matrix" or info.nbytes) and state[0] != self._tensor:
                    raise ValueError(f"tensor {self._tensor} has no records")
            self._sequence.finish_tensor()
        except ValueError as error:
            raise NqzError(f"internal error: {error}") from None

    def _append(self, record: Sealed) -> None:
        self._access.pwrite(memoryview(record.data), self.size)
        self.size += len(record.data)
        self._digests += record.digest
