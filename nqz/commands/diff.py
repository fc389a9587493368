"""What differs between two containers: tensors, sizes, rates, errors, settings, and what is coded.

The engine is that of `compare` where there is an original to measure against.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from nqz.commands.compare import compare
from nqz.commands.described import describe
from nqz.commands.inspect import Item, items, outline, part_names
from nqz.commands.inspect import Totals as Sums
from nqz.commands.report import Progress
from nqz.commands.sets.factor import check_parts
from nqz.commands.sets.inspect import describe_set
from nqz.commands.verify import limit_errors
from nqz.format.exct import decode_exact
from nqz.format.records import Record, is_optional
from nqz.ground.threads import Workers
from nqz.matrix import open_matrix
from nqz.models.collection import Collection

SETTINGS = (
    "shape", "dtype", "kind", "slice", "same_as", "part", "axis", "lattice", "coding", "window", "rate_asked",
    "partner", "kappa", "rotation_seed", "cut", "coordinates", "vectors",
)  # fmt: skip
"""What was chosen, for people to read; everything else follows from that and from the data."""

_MEASURED = ("measured", "share", "energy_share", "ok")
_OF_SETS = ("file_bytes", "metadata")
_OF_FILES = ("format", "source", "writer", "metadata", "set", "file_bytes", "parts")


def diff(
    a: Collection,
    b: Collection,
    pool: Workers,
    original: Collection | None = None,
    progress: Progress | None = None,
    limit: float | None = None,
) -> dict[str, Any]:
    """Find what differs between two containers, or two models of them.

    Parameters
    ----------
    a, b : Collection of ContainerReader
    pool : Workers
    original : Collection of Source, optional
        What both were made from: what was measured against it is told of what differs.
    progress : callable, optional
        See `compare`; it is called for both.
    limit : float, optional
        See `limit_errors`.

    Returns
    -------
    dict
        ``same``, whether nothing differs; ``files``, what differs of them as a whole, and ``removed`` and ``added``,
        the names of tensors that only the first or only the second has; ``reordered``, whether those of both are in
        another order; ``changed``, for each that differs its ``name``, ``changes`` (what `inspect` says of both, where
        that differs, the keys of nested values joined by dots), ``original`` and ``coded``, whether the data that was
        encoded and what became of it differ, and both ``rates``, ``bytes``, ``reconstruction``, ``product`` and
        ``measured``; ``unchanged``, how many do not differ; ``totals`` of both; what `compare` says of both, as
        ``compared``; and a limit, if there is one, as ``max_error``.

    Raises
    ------
    CorruptError, NewerFormatError
        A header, norms, means, or an exact tensor are damaged, or only a later release reads them.
    """
    whole = any(one.grid is not None for one in (a, b))
    sides = [_side(one, a if one is b else b, whole) for one in (a, b)]
    left, right = sides
    compared = None
    if original is not None:
        compared = [compare(one, original, pool, progress) for one in (a, b)]
        for side, result in zip(sides, compared, strict=True):
            limit_errors(result, limit)
            side.take(result)
    both = [name for name in left.items if name in right.items]
    changed = []
    for name in both:
        first, second = left.describe(name), right.describe(name)
        one = _changes(left.data(name, right), first, second)
        if one is not None:
            changed.append(one)
    removed, added = (
        [name for name in x.items if name not in y.items] for x, y in ((left, right), (right, left))
    )
    for side, names in zip(sides, (removed, added), strict=True):
        for name in names:
            side.describe(name)
    outlines = [outline(one) for one in (a, b)]
    first, second = outlines
    told = _OF_SETS if whole else _OF_FILES
    files = {key: [first.get(key), second.get(key)] for key in told if first.get(key) != second.get(key)}
    reordered = both != [name for name in right.items if name in left.items]
    return {
        "same": not (files or removed or added or changed or reordered),
        "files": files,
        "removed": removed,
        "added": added,
        "reordered": reordered,
        "changed": changed,
        "unchanged": len(both) - len(changed),
        "totals": [side.totals.found(one["file_bytes"]) for side, one in zip(sides, outlines, strict=True)],
        "compared": compared,
        **({} if limit is None else {"max_error": limit}),
    }


class _Side:
    """One of two containers: where its tensors are, and the sums over those that were described."""

    def __init__(self, collection: Collection) -> None:
        self.items: dict[str, Item] = {
            reader.manifest.tensors[index].name: (reader, index) for reader, index in items(collection)
        }
        self._parts = part_names(collection)
        self.totals = Sums()
        self.measured: dict[str, dict[str, Any]] = {}

    def take(self, compared: dict[str, Any]) -> None:
        """What `compare` says."""
        self.measured = {tensor["name"]: tensor for tensor in compared["tensors"]}

    def describe(self, name: str) -> dict[str, Any]:
        """What is said of a tensor."""
        reader, index = self.items[name]
        found = describe(reader, index)
        self.totals.add(reader.manifest.tensors[index], found)
        measured = {key: self.measured[name][key] for key in _MEASURED} if self.measured else {}
        return {**found, **self._parts.get(reader, {}), **measured}

    def data(self, name: str, other: _Side) -> tuple[bool | None, bool]:
        """See `_data`; a container and a set have nothing to tell it by."""
        if not name and isinstance(other, _Whole):
            return None, True
        return _data(self.items[name], other.items[name])


class _Whole(_Side):
    """A part set: the matrix that it is, without a name, and its parts by their places if the other is cut alike.

    Its totals are those of the whole.
    """

    def __init__(self, collection: Collection, other: Collection) -> None:
        grid = collection.grid
        assert grid is not None
        self.collection, self.totals = collection, Sums()
        self.measured, self.items, self._names = {}, {"": items(collection)[0]}, {}
        self._parts = {}
        self.alike = other.grid is not None and (grid.axis, grid.coordinates, grid.vectors) == (
            other.grid.axis, other.grid.coordinates, other.grid.vectors,
        )  # fmt: skip
        check_parts(collection)
        if self.alike:
            across = len(grid.vectors)
            for number, (item, part) in enumerate(zip(items(collection), collection.parts, strict=True)):
                name = "part {},{}".format(*divmod(number, across))
                self.items[name], self._names[name] = item, part.name

    def take(self, compared: dict[str, Any]) -> None:
        """What `compare` says of the parts, and what they come to."""
        found = {tensor["name"]: tensor for tensor in compared["tensors"]}
        self.measured = {name: found[part] for name, part in self._names.items()}
        good = all(tensor["ok"] for tensor in compared["tensors"])
        error = compared["totals"]["energy_error"]
        self.measured[""] = {"measured": error, "share": 1.0, "energy_share": 1.0, "ok": good}

    def describe(self, name: str) -> dict[str, Any]:
        """What is said of the matrix, or of a part."""
        if name:
            found = {**describe(*self.items[name]), "name": name}
        else:
            found = describe_set(self.collection)
            self.totals.add_whole(found)
        return {**found, **({key: self.measured[name][key] for key in _MEASURED} if self.measured else {})}

    def data(self, name: str, other: _Side) -> tuple[bool | None, bool]:
        """See `_data`; of matrices that are cut differently nothing tells whether they were made from the same."""
        if name:
            return super().data(name, other)
        if not (isinstance(other, _Whole) and self.alike):
            return None, True
        found = [super(_Whole, self).data(part, other) for part in self._names]
        return any(differs for differs, _ in found), any(coded for _, coded in found)


def _side(collection: Collection, other: Collection, whole: bool) -> _Side:
    """A container; beside a set what has one matrix is that matrix, whatever it is called."""
    if collection.grid is not None:
        return _Whole(collection, other)
    side = _Side(collection)
    if whole and len(side.items) == 1:
        side.items = {"": next(iter(side.items.values()))}
    return side


def _changes(
    data: tuple[bool | None, bool], first: dict[str, Any], second: dict[str, Any]
) -> dict[str, Any] | None:
    """What differs between two tensors of one name, by what is said of them, and of `_data`; None if nothing does."""
    flat = dict(_flat(first)), dict(_flat(second))
    changes = {
        key: [side.get(key) for side in flat]
        for key in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(key) != flat[1].get(key)
    }
    original, coded = data
    if not (changes or original or coded):
        return None
    predicted = [side["predicted"] or {} for side in (first, second)]
    return {
        "name": first["name"],
        "changes": changes,
        "original": original,
        "coded": coded,
        "rates": [first["rate"], second["rate"]],
        "bytes": [first["bytes"]["total"], second["bytes"]["total"]],
        **{key: [side.get(key) for side in predicted] for key in ("reconstruction", "product")},
        "measured": [side.get("measured") for side in (first, second)],
    }


def _flat(found: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _data(one: Item, other: Item) -> tuple[bool | None, bool]:
    """Whether what was encoded differs, None where that cannot be told, and whether what became of it does."""
    first, second = (describe(*item, brief=True) for item in (one, other))
    if first["kind"] != second["kind"] or first["kind"] == "unknown" or first["same_as"] != second["same_as"]:
        return None, first["kind"] != second["kind"] or not _equal_records(one, other)
    if first["same_as"] is not None:
        return None, False
    if first["kind"] == "exact":
        differs = not _equal_records(one, other) and not _equal_contents(one, other)
        return differs, differs
    headers = [open_matrix(*item).header for item in (one, other)]
    coded = headers[0] != headers[1] or not _equal_records(one, other)
    return headers[0].digest != headers[1].digest, coded


def _equal_records(one: Item, other: Item) -> bool:
    """Whether two tensors consist of the same bytes, but for records that may be ignored."""

    def equal(x: Record | None, y: Record | None) -> bool:
        return x is not None and y is not None and one[0].read(x) == other[0].read(y)

    return all(equal(x, y) for x, y in zip_longest(_critical(one), _critical(other)))


def _critical(item: Item) -> Iterator[Record]:
    reader, index = item
    records = map(reader.record, reader.span(index))
    return (record for record in records if not is_optional(record.type))


def _equal_contents(one: Item, other: Item) -> bool:
    """Whether two exact tensors hold the same; both come in equal pieces."""
    infos = [reader.manifest.tensors[index] for reader, index in (one, other)]
    if len({(info.dtype, tuple(info.shape), info.order, info.byte_order) for info in infos}) > 1:
        return False
    return all(x == y for x, y in zip_longest(decode_exact(*one), decode_exact(*other)))
