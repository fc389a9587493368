"""The index (INDX) and the end record (DONE)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from nqz.format import msgpack as maps
from nqz.format.records import FRAMING
from nqz.ground.errors import CorruptError

_END = struct.Struct("<QQQ32s")
END_LENGTH = _END.size
END_SIZE = END_LENGTH + FRAMING


class EndRecord(NamedTuple):
    """Payload of DONE: length of the file, offset of INDX, number of records, digest (docs/format.md)."""

    file_length: int
    index_offset: int
    records: int
    digest: bytes

    def pack(self) -> bytes:
        """Return the 56 bytes of the payload."""
        return _END.pack(*self)

    @classmethod
    def unpack(cls, payload: bytes) -> EndRecord:
        """Read the 56 bytes of the payload."""
        return cls(*_END.unpack(payload))


def pack_index(lengths: list[list[int]]) -> bytes:
    """Return the payload of INDX.

    Parameters
    ----------
    lengths : list of lists of int
        Payload lengths: of the records in front of the first tensor, then of those of every tensor.
    """
    return maps.pack(lengths)


def max_index_length(tensors: int, records: int) -> int:
    """Return the most bytes that an index of so many tensors and records can take."""
    return 9 * records + 5 * (tensors + 2)


def unpack_index(
    data: bytes, tensors: int, first: int, index_offset: int, records: int, where: str
) -> list[list[int]]:
    """Read the payload of INDX, and check that it accounts for every byte between HEAD and itself.

    Parameters
    ----------
    data : bytes
    tensors : int
        Number of tensors of the manifest.
    first : int
        Offset of the first record after HEAD.
    index_offset : int
        Offset of INDX.
    records : int
        Number of records in the file, HEAD, INDX and DONE included.
    where : str
        File, record and offset, for messages.

    Raises
    ------
    CorruptError
        The index is not canonical or does not cover the file.
    """
    lengths = maps.unpack(data, where, max_index_length(tensors, records), tensors + records + 1)
    if not isinstance(lengths, list) or len(lengths) != tensors + 1:
        raise CorruptError(f"{where}: expected {tensors + 1} lists, one more than there are tensors")
    if not all(isinstance(part, list) and all(map(maps.is_uint, part)) for part in lengths):
        raise CorruptError(f"{where}: expected lists of lengths")
    count = sum(map(len, lengths))
    if count + 3 != records:
        raise CorruptError(f"{where}: {count + 3} records, but the end record counts {records}")
    end = first + sum(map(sum, lengths)) + FRAMING * count
    if end != index_offset:
        raise CorruptError(f"{where}: the records listed end at byte {end}, not at byte {index_offset}")
    return lengths
