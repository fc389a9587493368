"""Writing a container, record by record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from nqz.format.index import END_SIZE, EndRecord, pack_index
from nqz.format.manifest import Manifest
from nqz.format.msgpack import pack
from nqz.format.order import check_order, check_tied_records
from nqz.format.records import (
    PREAMBLE_SIZE,
    Sealed,
    WritableAccess,
    framed,
    is_optional,
    is_type,
    preamble,
    record_size,
    seal,
)
from nqz.format.tensors import EXACT
from nqz.ground import digests
from nqz.ground.errors import NqzError

Buffer = bytes | bytearray | memoryview

_LEADING = -1
"""Stands for the tensor of optional records in front of the first tensor."""


class _Mark(NamedTuple):
    size: int
    records: int
    tensors: int
    own: int
    tensor_start: int


def listed_size(lengths: Iterable[int]) -> int:
    """About the bytes that records with payloads of these lengths take in a file, with their entries in the index."""
    return sum(record_size(length) + 3 for length in lengths)


class Draft:
    """Records and parameters of one tensor that are kept in memory, to be appended to a container later.

    Attributes
    ----------
    records : list of Sealed
    parameters : list or None
        What the manifest will have.
    """

    def __init__(self) -> None:
        self.records: list[Sealed] = []
        self.parameters: list[Any] | None = None

    def carry(self) -> None:
        """Have the tensor, which has no records yet, carried exactly."""
        self.parameters = None

    def write(self, type: str, *payload: Buffer) -> None:
        """Append a record; see `ContainerWriter.write`."""
        self.add(seal(type, *payload))

    def add(self, record: Sealed) -> None:
        """Append a record that is sealed already."""
        self.records.append(record)

    def tensor_bytes(self) -> int:
        """Return the bytes of all records, framing included, and of the parameters."""
        return sum(len(record.data) for record in self.records) + _packed_size(self.parameters)

    def tensor_records(self) -> list[tuple[str, int]]:
        """Return the type of each record, and the length of its payload."""
        return [(record.type, record.length) for record in self.records]

    def mark(self) -> int:
        """Return the present state, for `rollback`."""
        return len(self.records)

    def rollback(self, mark: int) -> None:
        """Forget every record since `mark`."""
        del self.records[mark:]


class ContainerWriter:
    """Append records to a new file: those of the tensors in order, then MANI, INDX and DONE.

    Parameters
    ----------
    access : WritableAccess
        An empty file. It needs ``truncate(size)`` too if `rollback` is used or space was reserved.
    manifest : Manifest
        Without the parameters of the matrices.

    Raises
    ------
    UnsupportedError
        The manifest breaks a rule of the format.

    Notes
    -----
    Calls out of order are faults of the caller and raise NqzError. Not for several threads at once.
    """

    def __init__(self, access: WritableAccess, manifest: Manifest) -> None:
        self.manifest = manifest
        self.size = PREAMBLE_SIZE
        self._access = access
        self._types: list[str] = []
        self._lengths: list[int] = []
        self._counts = [0]  # records in front of the first tensor, and of each tensor
        self._parameters: list[list[Any] | None] = []
        self._tensor_start = 0
        self._finished = False
        # what does not fit is refused before the work
        manifest.check()
        access.pwrite(memoryview(preamble()), 0)
        self._digests = bytearray(digests.of(preamble()))

    @property
    def _tensor(self) -> int:
        return len(self._counts) - 2

    @property
    def parameters(self) -> list[Any] | None:
        """What the manifest will have for the current tensor."""
        return self._parameters[-1] if self._parameters else None

    @parameters.setter
    def parameters(self, values: list[Any] | None) -> None:
        self._parameters[-1] = values

    def begin(self, index: int) -> None:
        """Begin tensor `index`; the one before must be complete."""
        if index != self._tensor + 1 or index >= len(self.manifest.tensors):
            raise NqzError(f"internal error: tensor {index} begun after tensor {self._tensor}")
        self._end_tensor()
        self._counts.append(0)
        self._parameters.append(None)
        self._tensor_start = self.size

    def carry(self) -> None:
        """Have the current tensor, which has no records yet, and those tied to it carried exactly."""
        number, self.parameters = self._tensor, None
        tensors = [
            info._replace(codec=EXACT) if number in (at, info.same_as) else info
            for at, info in enumerate(self.manifest.tensors)
        ]
        self.manifest = self.manifest._replace(tensors=tuple(tensors))

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
        if self._finished or (self._tensor == _LEADING and not is_optional(record.type)):
            raise NqzError(f"internal error: a record {record.type!r} cannot be written here")
        self._types.append(record.type)
        self._lengths.append(record.length)
        self._counts[-1] += 1
        self._append(record)

    def tensor_bytes(self) -> int:
        """Return the bytes written since `begin`, framing included, and those of the parameters."""
        return self.size - self._tensor_start + _packed_size(self.parameters)

    def tensor_records(self) -> list[tuple[str, int]]:
        """Return the type of each record written since `begin`, and the length of its payload."""
        start = len(self._types) - self._counts[-1]
        return list(zip(self._types[start:], self._lengths[start:], strict=True))

    def mark(self) -> object:
        """Return the present state, for `rollback`."""
        return _Mark(self.size, len(self._types), len(self._counts), self._counts[-1], self._tensor_start)

    def rollback(self, mark: object) -> None:
        """Forget every record, and every tensor begun, since `mark`."""
        if not isinstance(mark, _Mark) or mark.size > self.size or self._finished:
            raise NqzError("internal error: no such mark")
        self.size = mark.size
        del self._types[mark.records :], self._lengths[mark.records :]
        del self._digests[digests.SIZE * (1 + mark.records) :]
        del self._counts[mark.tensors :], self._parameters[mark.tensors - 1 :]
        self._counts[-1] = mark.own
        self._tensor_start = mark.tensor_start

    def projected_size(self, extra_lengths: Iterable[int] = (), extra: int = 0) -> int:
        """Return the size in bytes of the finished file.

        Parameters
        ----------
        extra_lengths : iterable of int
            Payload lengths of the records that are still to come, all of them of the current tensor.
        extra : int
            Bytes by which the manifest will grow.
        """
        lengths = list(extra_lengths)
        counts = [*self._counts[:-1], self._counts[-1] + len(lengths)]
        counts += [0] * (len(self.manifest.tensors) + 1 - len(counts))
        index = pack_index([*self._types, *["CHNK"] * len(lengths)], [*self._lengths, *lengths], counts)
        manifest = self._complete_manifest().size() + extra
        return self.size + framed(*lengths, manifest, len(index)) + END_SIZE

    def identity(self) -> bytes:
        """Digest of all that is in the file but for its place in a set, once all records of tensors are written."""
        self._end_tensor()
        manifest = self._complete_manifest()._replace(part=None)
        return digests.of(manifest.pack() + self._digests)

    def join(self, set_id: bytes) -> None:
        """Make the file, whose manifest has a place in a set, a part of the set with this id."""
        assert self.manifest.part is not None
        self.manifest = self.manifest._replace(part=self.manifest.part._replace(id=set_id))

    def finish(self) -> int:
        """Write MANI, INDX and DONE, cut off what was rolled back, and return the size of the file in bytes."""
        if self._finished or self._tensor != len(self.manifest.tensors) - 1:
            raise NqzError(f"internal error: finished after tensor {self._tensor}")
        self._end_tensor()
        offsets = [self.size]
        self._append(seal("MANI", self._complete_manifest().pack()))
        offsets.append(self.size)
        self._append(seal("INDX", pack_index(self._types, self._lengths, self._counts)))
        end = EndRecord(
            file_length=self.size + END_SIZE,
            manifest_offset=offsets[0],
            index_offset=offsets[1],
            records=len(self._types) + 3,
            digest=digests.of(self._digests),
        )
        self._append(seal("DONE", end.pack()))
        self._finished = True
        if self._access.size > self.size:
            self._access.truncate(self.size)  # type: ignore[attr-defined]
        return self.size

    def _complete_manifest(self) -> Manifest:
        tensors = list(self.manifest.tensors)
        for number, parameters in enumerate(self._parameters):
            if parameters is not None:
                tensors[number] = tensors[number]._replace(parameters=parameters)
        return self.manifest._replace(tensors=tuple(tensors))

    def _end_tensor(self) -> None:
        if self._tensor == _LEADING:
            return
        info, count = self.manifest.tensors[self._tensor], self._counts[-1]
        try:
            types = self._types[len(self._types) - count :]
            if info.same_as is None:
                check_order(info, types)
            else:
                check_tied_records(types)
            needed = info.kind == "matrix" and info.same_as is None
            if needed is (self.parameters is None):
                raise ValueError("a matrix needs parameters, and nothing else has them")
        except (ValueError, NqzError) as error:
            raise NqzError(f"internal error: tensor {self._tensor}: {error}") from None

    def _append(self, record: Sealed) -> None:
        self._access.pwrite(memoryview(record.data), self.size)
        self.size += len(record.data)
        self._digests += record.digest


def _packed_size(parameters: list[Any] | None) -> int:
    return 0 if parameters is None else len(pack(parameters))
