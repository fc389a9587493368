"""The payload of a chunk (record CHNK): the arrays that a coding makes of it, laid out one after the other.

First the array with an entry for each lane, then, in 32 bits each, how many entries every counted array has, then the
other arrays: from wide entries to narrow ones, so that all of them are aligned.
All numbers are little-endian. A coding has one line in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LANES, COUNTED, DERIVED = "lanes", "counted", "derived"


class Section(NamedTuple):
    """One array of a chunk.

    Attributes
    ----------
    name : str
    dtype : str
        Little-endian type of its entries.
    length : int or str
        Number of entries: fixed, ``LANES`` (one for each lane), ``COUNTED`` (stated in the payload) or ``DERIVED``
        (known to the reader from headers and norms).
    """

    name: str
    dtype: str
    length: int | str


LAYOUTS: dict[str, tuple[Section, ...]] = {
    "entropy": (
        Section("states", "<u4", LANES),
        Section("words", "<u2", COUNTED),
        Section("code bits", "u1", DERIVED),
        Section("low bits", "u1", DERIVED),
        Section("escapes", "u1", COUNTED),
    ),
    "voronoi": (
        Section("states", "<u4", LANES),
        Section("frequencies", "<u2", 3),
        Section("words", "<u2", COUNTED),
        Section("digits to the smaller base", "u1", DERIVED),
        Section("digits to the larger base", "u1", DERIVED),
    ),
    "trellis": (Section("rings", "u1", DERIVED),),
}
"""The sections of a chunk by coding, in the order in which codings give and take them."""


def pack(coding: str, sections: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Lay out a chunk.

    Parameters
    ----------
    coding : str
        A key of `LAYOUTS`.
    sections : sequence of ndarray
        One for each section, of one dimension.

    Returns
    -------
    list of ndarray
        Pieces of the payload, to be stored one after the other.
    """
    layout = list(zip(LAYOUTS[coding], sections, strict=True))
    counts = np.array([len(array) for section, array in layout if section.length == COUNTED], "<u4")
    leading = [_stored(section, array) for section, array in layout if _leads(section)]
    return [*leading, counts, *(_stored(section, array) for section, array in layout if not _leads(section))]


def unpack(
    coding: str, payload: bytes | memoryview, lanes: int, derived: Sequence[int]
) -> tuple[NDArray[Any], ...]:
    """Find the sections of a chunk.

    Parameters
    ----------
    coding : str
        A key of `LAYOUTS`.
    payload : bytes-like
    lanes : int
    derived : sequence of int
        Lengths of the derived sections, in order.

    Returns
    -------
    tuple of ndarray
        The sections in the order of the layout, in native byte order; not writable, for they may share memory with
        the payload.

    Raises
    ------
    ValueError
        The payload is shorter or longer than its sections.
    """
    layout, lengths, at = LAYOUTS[coding], iter(derived), 0
    found: dict[str, NDArray[Any]] = {}

    def take(dtype: str, count: int) -> NDArray[Any]:
        nonlocal at
        size = count * np.dtype(dtype).itemsize
        if size > len(payload) - at:
            raise ValueError("the chunk is shorter than its sections")
        at += size
        array: NDArray[Any] = np.frombuffer(payload, dtype, count, at - size)
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    for section in filter(_leads, layout):
        found[section.name] = take(section.dtype, lanes)
    counted = [section.name for section in layout if section.length == COUNTED]
    counts = dict(zip(counted, take("<u4", len(counted)).tolist(), strict=True))
    for section in layout:
        if not _leads(section):
            fixed = section.length if isinstance(section.length, int) else None
            found[section.name] = take(
                section.dtype, counts[section.name] if section.name in counts else fixed or next(lengths)
            )
    if at != len(payload):
        raise ValueError("the chunk is longer than its sections")
    return tuple(found[section.name] for section in layout)


def _leads(section: Section) -> bool:
    return section.length == LANES


def _stored(section: Section, array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, section.dtype)
