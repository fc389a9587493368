"""Part sets joined and taken apart: manifests alone are written, parts stay where they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nqz.commands.sets.source import CONTRACTED
from nqz.format.part_set import PartEntry, PartSet, common, is_part_name, settings
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.urls import folder_of, is_url, joined, local
from nqz.matrix import open_matrix
from nqz.models.collection import Collection


def as_set(collection: Collection, path: str) -> PartSet:
    """A part set, or a container of one matrix as a set of one part.

    Raises
    ------
    UnsupportedError
        It is neither.
    """
    if collection.grid is not None:
        return collection.grid
    reader = collection.contents[0]
    infos = reader.manifest.tensors
    if not collection.lone or len(infos) != 1 or infos[0].kind != "matrix" or len(infos[0].shape) != 2:
        raise UnsupportedError(
            f"{collection.name}: is neither a part set nor a container of one matrix of two dimensions"
        )
    header = open_matrix(reader, 0).header
    p = header.parameters
    entry = PartEntry(os.path.basename(path), reader.size, reader.digest.hex())
    return PartSet(header.axis, infos[0].dtype, (p.n,), (p.columns,), settings(p), (entry,))


def concatenated(sets: Sequence[tuple[PartSet, str]], to: str, along: str) -> PartSet:
    """One set of several, whose parts follow one another along the contracted axis or across it.

    Parameters
    ----------
    sets : sequence of (PartSet, str)
        Each with the path of its manifest.
    to : str
        Path of the new manifest, in whose folder or below all parts have to be.
    along : {"contracted", "vectors"}

    Raises
    ------
    OperandError
        They do not fit together.
    UsageError
        A part is elsewhere.
    """
    (first, name), *others = sets
    for other, path in others:
        kept = "coordinates" if along != CONTRACTED else "vectors"
        if (first.axis, first.dtype, getattr(first, kept)) != (other.axis, other.dtype, getattr(other, kept)):
            raise OperandError(
                f"{name} and {path}: to follow one another along the "
                f"{'contracted axis' if along == CONTRACTED else 'vectors'} both need the same axis and type, and the "
                f"same cut of the other axis"
            )
    moved = [_moved(one, path, to) for one, path in sets]
    grids = [one for one, _ in sets]
    if along == CONTRACTED:
        parts = [part for own in moved for part in own]
        made = replace(first, coordinates=tuple(x for one in grids for x in one.coordinates))
    else:
        parts = [
            part
            for k in range(len(first.coordinates))
            for one, own in zip(grids, moved, strict=True)
            for part in own[k * len(one.vectors) : (k + 1) * len(one.vectors)]
        ]
        made = replace(first, vectors=tuple(x for one in grids for x in one.vectors))
    seen = set[str]()
    for part in parts:
        if part.file in seen:
            raise OperandError(f"{to}: {part.file} would be a part twice; a file is one part of a set")
        seen.add(part.file)
    return replace(made, plan=common(one.plan for one in grids), parts=tuple(parts))


def split(grid: PartSet, along: str) -> list[PartSet]:
    """A set for each of the parts that follow one another along an axis."""
    across = len(grid.vectors)
    if along == CONTRACTED:
        return [
            replace(grid, coordinates=(n,), parts=grid.parts[k * across : (k + 1) * across])
            for k, n in enumerate(grid.coordinates)
        ]
    return [
        replace(grid, vectors=(count,), parts=grid.parts[j::across]) for j, count in enumerate(grid.vectors)
    ]


def _moved(grid: PartSet, path: str, to: str) -> list[PartEntry]:
    """The parts of a set by their names from the folder of another manifest."""
    path, to = local(path), local(to)
    here, there = folder_of(path), folder_of(to)
    found = []
    for part in grid.parts:
        if is_url(path) or is_url(to):
            whole, root = joined(here, part.file), there.rstrip("/") + "/"
            name = whole.removeprefix(root) if whole.startswith(root) else ""
        else:
            name = os.path.relpath(os.path.join(here or ".", part.file), there or ".").replace(os.sep, "/")
        if not is_part_name(name):
            raise UsageError(
                f"{to}: the part {joined(here, part.file)} is not in its folder or below; put the new manifest into a "
                "folder above all parts"
            )
        found.append(part._replace(file=name))
    return found


def described(made: PartSet) -> dict[str, Any]:
    """A part set as JSON has it."""
    return {
        "shape": list(made.shape), "axis": made.axis, "dtype": made.dtype, "coordinates": list(made.coordinates),
        "vectors": list(made.vectors), "plan": made.plan, "parts": [part._asdict() for part in made.parts],
        "bytes": made.file_bytes, "digest": made.digest,
    }  # fmt: skip
