"""What a container holds, as a stable structure, from headers, norms and means alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nqz.commands.described import describe
from nqz.commands.sets.inspect import describe_set
from nqz.format.reader import ContainerReader
from nqz.format.records import VERSION
from nqz.format.tensors import TensorInfo
from nqz.ground.dtypes import data_bytes
from nqz.models.collection import Collection

Item = tuple[ContainerReader, int]
"""A tensor: its container, and its number there."""


def inspect(what: ContainerReader | Collection, brief: bool = False) -> dict[str, Any]:
    """Describe a container, or those of a model.

    Parameters
    ----------
    what : ContainerReader, or Collection of these
    brief : bool
        Leave the summaries of norms and means out; what is read then is less.

    Returns
    -------
    dict
        ``format``, ``file_bytes``, ``source``, ``writer``, ``metadata``, ``set`` (None, or id, number of the part, and
        parts of the set that the file belongs to), ``tensors`` and ``totals`` (see `Totals`), made of JSON types;
        numbers beyond float64 are None. What does not apply to a tensor that is no matrix is None. A model has a
        ``name`` and ``parts`` too (what is said of each file), its tensors each a ``part``. A part set has these, and
        as ``whole`` what is said of the matrix that it is (see `nqz.commands.sets.inspect`).

    Raises
    ------
    CorruptError
        A header, norms or means are damaged; or a part of a set is not the one that the manifest has.
    """
    tensors, totals, parts = [], Totals(), part_names(what)
    for reader, index in items(what):
        found = describe(reader, index, brief)
        totals.add(reader.manifest.tensors[index], found)
        tensors.append({**found, **parts.get(reader, {})})
    outlined = outline(what)
    if isinstance(what, Collection) and what.grid is not None:
        outlined["whole"] = describe_set(what)
    return {**outlined, "tensors": tensors, "totals": totals.found(outlined["file_bytes"])}


def items(what: ContainerReader | Collection) -> list[Item]:
    """The tensors of a container, or of those of a collection, in order; those of a set are what its manifest says."""
    if isinstance(what, Collection) and what.grid is not None:
        from nqz.commands.sets.factor import check_parts

        check_parts(what)
    readers = what.contents if isinstance(what, Collection) else [what]
    return [(reader, index) for reader in readers for index in range(len(reader.manifest.tensors))]


def part_names(what: ContainerReader | Collection) -> dict[ContainerReader, dict[str, str]]:
    """What is said of the tensors of each container of a model beside `describe`: the part that they are in."""
    if not isinstance(what, Collection) or what.lone:
        return {}
    return {part.content: {"part": part.name} for part in what.parts}


@dataclass
class Totals:
    """Sums over tensors that were described.

    Attributes
    ----------
    tensors, matrices, exact, tied : int
        How many there are; those that equal another are tied, and are neither matrices nor exact, as those that only a
        later release can read.
    entries : int
        Of the matrices.
    bits : float
        What the matrices take, as their rates count it.
    bytes : int
        What all tensors take in the container.
    source_bytes : int
        What they take in their original types.
    """

    tensors: int = 0
    matrices: int = 0
    exact: int = 0
    tied: int = 0
    entries: int = 0
    bits: float = 0.0
    bytes: int = 0
    source_bytes: int = 0

    def add(self, info: TensorInfo, found: dict[str, Any]) -> None:
        """Add a tensor, by what `describe` says of it."""
        self.tensors += 1
        self.tied += info.same_as is not None
        self.exact += found["kind"] == "exact" and info.same_as is None
        if found["kind"] == "matrix" and info.same_as is None:
            self.matrices += 1
            self.entries += info.entries
            self.bits += found["rate"] * info.entries
        self.bytes += found["bytes"]["total"]
        self.source_bytes += info.nbytes

    def add_whole(self, found: dict[str, Any]) -> None:
        """Add a part set, by what is said of it as a whole."""
        entries = math.prod(found["shape"])
        self.tensors += 1
        self.matrices += 1
        self.entries += entries
        self.bits += found["rate"] * entries
        self.bytes += found["bytes"]["total"]
        self.source_bytes += data_bytes(tuple(found["shape"]), found["dtype"])

    def found(self, file_bytes: int | None = None) -> dict[str, Any]:
        """The sums, with the rate, and how many times smaller they made the data.

        Parameters
        ----------
        file_bytes : int, optional
            Of the files, if all that is in them was added; then these are what is compared with the original.
        """
        size = self.bytes if file_bytes is None else file_bytes
        return {
            "tensors": self.tensors,
            "matrices": self.matrices,
            "exact": self.exact,
            "tied": self.tied,
            "entries": self.entries,
            "rate": self.bits / self.entries if self.entries else None,
            "bytes": size,
            "source_bytes": self.source_bytes,
            "times_smaller": self.source_bytes / size if size else None,
        }


SORTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda found: found["name"],
    "size": lambda found: -found["bytes"]["total"],
    "entries": lambda found: -math.prod(found["shape"]),
    "rate": lambda found: _descending(found["rate"]),
    "error": lambda found: _descending(found["predicted"] and found["predicted"]["reconstruction"]),
}
"""What tensors can be sorted by: their names in order, the largest of everything else first, what has none last."""


def _descending(value: float | None) -> tuple[bool, float]:
    return value is None, -(value or 0.0)


def in_order(items: Iterable[Item], sort: str | None) -> Sequence[Item]:
    """Tensors sorted by one of `SORTS`; as they are for None."""
    if sort is None:
        return list(items)
    return sorted(items, key=lambda item: SORTS[sort](describe(item[0], item[1], brief=True)))


def outline(what: ContainerReader | Collection) -> dict[str, Any]:
    """What `inspect` says of a file itself, or of a model: what is the same in all its parts."""
    if isinstance(what, Collection):
        if what.lone:
            return outline(what.contents[0])
        parts = [{"name": part.name, **outline(part.content)} for part in what.parts]
        first = parts[0]
        same = {key: first[key] if all(part[key] == first[key] for part in parts) else None for key in first}
        whole = sum(part["file_bytes"] for part in parts)
        return {**same, "name": what.name, "file_bytes": whole, "parts": parts}
    manifest, part = what.manifest, what.manifest.part
    return {
        "format": VERSION,
        "file_bytes": what.size,
        "source": manifest.source,
        "writer": manifest.writer,
        "metadata": manifest.metadata,
        "set": None if part is None else {"id": part.id.hex(), "part": part.number, "parts": part.parts},
    }
