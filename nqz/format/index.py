"""The index (INDX) and the end record (DONE)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nqz.format import integers
from nqz.format.records import ALIGNMENT, FRAMING, PREAMBLE_SIZE, is_type, record_size
from nqz.ground.errors import CorruptError

_END = struct.Struct("<QQQQ32s")
END_LENGTH = _END.size
END_SIZE = record_size(END_LENGTH)
_COUNT = struct.Struct("<I")
_MAX_TYPES = 256
MAX_RECORDS = 1 << 26
"""Records of a file, all included."""


class EndRecord(NamedTuple):
    """Payload of DONE: length of the file, offsets of MANI and INDX, number of records, digest (docs/format.md)."""

    file_length: int
    manifest_offset: int
    index_offset: int
    records: int
    digest: bytes

    def pack(self) -> bytes:
        """Return the 64 bytes of the payload."""
        return _END.pack(*self)

    @classmethod
    def unpack(cls, payload: bytes) -> EndRecord:
        """Read the 64 bytes of the payload."""
        return cls(*_END.unpack(payload))


class Index(NamedTuple):
    """Where the records lie that belong to tensors, or to the file, one after the other from the preamble on.

    Attributes
    ----------
    types : tuple of str
        The different types.
    numbers : ndarray of int64, shape (r,)
        Which of them each record has.
    lengths : ndarray of int64, shape (r,)
        Of the payloads.
    bounds : ndarray of int64, shape (t + 2,)
        Number of the first record of the file itself, which is 0, of each tensor, and of what comes behind all.
    offsets : ndarray of int64, shape (r + 1,)
        Where each record begins, and where the last one ends.
    """

    types: tuple[str, ...]
    numbers: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]


def pack_index(types: Sequence[str], lengths: Sequence[int], counts: Sequence[int]) -> bytes:
    """Return the payload of INDX.

    Parameters
    ----------
    types, lengths : sequence
        Of all records in front of MANI.
    counts : sequence of int
        How many of them come in front of the first tensor, and how many each tensor has.
    """
    different = tuple(dict.fromkeys(types))
    number = {name: i for i, name in enumerate(different)}
    head = _COUNT.pack(len(different)) + "".join(different).encode("ascii")
    sequences = (counts, [number[name] for name in types], lengths)
    return head + b"".join(integers.pack(np.array(values, np.int64)) for values in sequences)


def max_index_length(tensors: int, records: int) -> int:
    """Return the most bytes that an index of so many tensors and records can take."""
    return _COUNT.size + 4 * _MAX_TYPES + 6 + 8 * (tensors + 1 + 2 * records)


def unpack_index(data: bytes, tensors: int, end: EndRecord, where: str) -> Index:
    """Read the payload of INDX, and check that it accounts for every byte between preamble and manifest.

    Parameters
    ----------
    data : bytes
    tensors : int
        Number of tensors of the manifest.
    end : EndRecord
    where : str
        File, record and offset, for messages.

    Raises
    ------
    CorruptError
        The index is malformed or does not cover the file.
    """
    records = end.records - 3
    try:
        types, rest = _types(data)
        counts, rest = integers.unpack(rest, tensors + 1)
        numbers, rest = integers.unpack(rest, records)
        lengths, rest = integers.unpack(rest, records)
        if rest:
            raise ValueError(f"{len(rest)} bytes are left over")
        if counts.min(initial=0) < 0 or counts.max(initial=0) > records or counts.sum() != records:
            raise ValueError(f"the tensors do not have {records} records together, as the end record counts")
        if numbers.min(initial=0) < 0 or numbers.max(initial=-1) >= len(types):
            raise ValueError("a record of no type")
        if lengths.min(initial=0) < 0 or lengths.max(initial=0) > end.file_length:
            raise ValueError("a record that is longer than the file")
    except ValueError as error:
        raise CorruptError(f"{where}: {error}") from None
    sizes = (lengths + (FRAMING + ALIGNMENT - 1)) & -ALIGNMENT
    offsets = np.concatenate([[PREAMBLE_SIZE], sizes]).cumsum()
    if float(sizes.sum(dtype=np.float64)) > 2.0**62 or offsets[-1] != end.manifest_offset:
        raise CorruptError(
            f"{where}: the records listed do not end at byte {end.manifest_offset}, where the manifest begins"
        )
    return Index(types, numbers, lengths, np.concatenate([[0], counts]).cumsum(), offsets)


def _types(data: bytes) -> tuple[tuple[str, ...], bytes]:
    """The different types, and what follows them."""
    if len(data) < _COUNT.size:
        raise ValueError("the index ends too early")
    (count,) = _COUNT.unpack_from(data)
    end = _COUNT.size + 4 * count
    if count > _MAX_TYPES or len(data) < end:
        raise ValueError("the index ends in its types")
    text = data[_COUNT.size : end].decode("latin-1")
    types = tuple(text[i : i + 4] for i in range(0, len(text), 4))
    if not all(map(is_type, types)) or len(set(types)) != count:
        raise ValueError("the types of the index are not different ones of four letters")
    return types, data[end:]
