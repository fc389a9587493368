"""What a container holds, as a stable structure, from headers, norms and means alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.format.reader import ContainerReader
from nqz.format.records import VERSION
from nqz.format.tensors import TensorInfo
from nqz.ground.arithmetic import GRID, pieces
from nqz.ground.dtypes import data_bytes
from nqz.ground.errors import NewerFormatError
from nqz.ground.ranks import ranked
from nqz.matrix import Matrix, open_matrix
from nqz.models.collection import Collection
from nqz.stages import norms
from nqz.stages.codings.trellis import Water
from nqz.stages.parameters import Parameters

_KEYS = (
    "axis", "lattice", "coding", "rate_asked", "rate", "partner", "kappa", "alpha", "delta", "window",
    "rotation_seed", "dither_key", "norms", "means", "dropped", "chunks", "predicted",
)  # fmt: skip
"""What is said of a matrix alone."""

_PARTS = {"NORM": "norms", "MEAN": "means", "CHNK": "chunks", "GAIN": "gains"}


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
        as ``whole`` what is said of the matrix that it is (see `nqz.commands.set_inspect`).

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
        from nqz.commands.set_inspect import describe_set

        outlined["whole"] = describe_set(what)
    return {**outlined, "tensors": tensors, "totals": totals.found(outlined["file_bytes"])}


def items(what: ContainerReader | Collection) -> list[Item]:
    """The tensors of a container, or of those of a collection, in order; those of a set are what its manifest says."""
    if isinstance(what, Collection) and what.grid is not None:
        from nqz.commands.set_factor import check_parts

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


def describe(reader: ContainerReader, index: int, brief: bool = False) -> dict[str, Any]:
    """What `inspect` says of a tensor."""
    info = reader.manifest.tensors[index]
    part = info.slice
    kind, matrix = _opened(reader, index)
    description = dict.fromkeys(_KEYS) if matrix is None else _matrix(matrix, brief)
    predicted = description.pop("predicted")
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "kind": kind,
        "slice": None
        if part is None
        else {"of": info.whole_name, "index": part.number, "slices": part.slices},
        "same_as": None if info.same_as is None else reader.manifest.tensors[info.same_as].name,
        **description,
        "bytes": _sizes(reader, index, matrix),
        "predicted": predicted,
    }


def _opened(reader: ContainerReader, index: int) -> tuple[str, Matrix | None]:
    """The kind of a tensor, ``"unknown"`` where only a later release can read it, and the matrix, if it is one."""
    kind = reader.manifest.tensors[index].kind
    try:
        reader.span(index)
        return kind, open_matrix(reader, index) if kind == "matrix" else None
    except NewerFormatError:
        return "unknown", None


def _matrix(matrix: Matrix, brief: bool) -> dict[str, Any]:
    header, p = matrix.header, matrix.parameters
    means = _means(matrix) if matrix.centered and not brief else None
    return {
        "axis": header.axis,
        "lattice": None if p.lattice is None else p.lattice.name,
        "coding": p.coding.name,
        "rate_asked": header.rate,
        "rate": matrix.rate,
        "partner": p.partner,
        "kappa": p.kappa,
        "alpha": number(matrix.shrinkage()),
        "delta": None if p.lattice is None else _power_of_two(p.delta / GRID),
        "window": _window(p),
        "rotation_seed": p.rotation_seed,
        "dither_key": p.dither_key.hex(),
        "norms": None if brief else summary_of_norms(matrix.histogram),
        "means": means,
        "dropped": matrix.side.dropped_columns(),
        "chunks": matrix.panels.chunk_count,
        "predicted": {
            "reconstruction": number(matrix.predicted_reconstruction()),
            "product": number(matrix.predicted_product()),
            "others": None if (others := matrix.others()) is None else others._asdict(),
        },
    }


def _window(parameters: Parameters) -> int | str | None:
    """Window of a trellis, "auto" for that which suits the rate; None without one."""
    own = parameters.coding_parameters
    return (own.window or "auto") if isinstance(own, Water) else None


def _sizes(reader: ContainerReader, index: int, matrix: Matrix | None) -> dict[str, int | None]:
    """Bytes that a tensor takes: of its records, framing included, and of its parameters; none if it equals another."""
    if reader.manifest.tensors[index].same_as is not None:
        return {"header": None, **dict.fromkeys(_PARTS.values()), "total": 0}
    header = None if matrix is None else matrix.header.size()
    sizes = {"header": header, **dict.fromkeys(_PARTS.values(), None if matrix is None else 0)}
    whole = sizes["header"] or 0
    for kind, size in reader.sizes(index).items():
        whole += size
        if kind in _PARTS and size and matrix is not None:
            sizes[_PARTS[kind]] = size
    sizes["total"] = whole
    return sizes


def summary_of_norms(histogram: norms.Histogram) -> dict[str, float | None]:
    """Summary of 2 ** (code / 512) from the codes: the norms themselves may be beyond float64."""
    last, count = np.cumsum(histogram.counts), histogram.columns
    middle = histogram.codes[np.searchsorted(last, [(count - 1) // 2, count // 2], side="right")]
    low, high = (_norm(code) for code in middle)
    return {
        "min": _norm(histogram.codes[0]),
        "median": None if low is None or high is None else number(0.5 * low + 0.5 * high),
        "max": _norm(histogram.codes[-1]),
    }


def _norm(code: int) -> float | None:
    return 0.0 if code == norms.ZERO else _power_of_two(int(code) / (2 * norms.STEPS))


def summary_of_means(
    parts: Callable[[], Iterable[NDArray[np.float64]]], count: int
) -> dict[str, float | None]:
    """Summary of so many means, which come in parts as often as they are asked for."""
    least, low, high, greatest = ranked(parts, count, [0, (count - 1) // 2, count // 2, count - 1])
    return {"min": number(least), "median": number(low * 0.5 + high * 0.5), "max": number(greatest)}


def _means(matrix: Matrix) -> dict[str, float | None]:
    """Summary of the means, panel by panel."""

    def parts() -> Iterator[NDArray[np.float64]]:
        return (panel.means.at(c) for panel in matrix.panels for c in pieces(len(panel.codes)))

    return summary_of_means(parts, matrix.parameters.columns)


def _power_of_two(exponent: float) -> float | None:
    try:
        return math.pow(2.0, exponent)
    except OverflowError:
        return None


def number(value: Any) -> float | None:
    """A number as JSON has it: None beyond float64."""
    value = float(value)
    return value if math.isfinite(value) else None
