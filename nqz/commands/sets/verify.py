"""A part set verified, part by part, here or by workers elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from nqz.commands.elsewhere.address import Address, check_address
from nqz.commands.sets.factor import check_parts
from nqz.commands.verify import verify
from nqz.files.access import Access
from nqz.files.contract import Source, SourceTensor
from nqz.files.cutout import cut_out
from nqz.files.npy import NPY
from nqz.ground.errors import CorruptError, InputError
from nqz.ground.threads import Workers
from nqz.models.collection import Collection

Report = dict[str, Any]


def verify_set(
    collection: Collection,
    original: Collection | None,
    pool: Workers,
    progress: Callable[[str | None, float], object] | None = None,
) -> Report:
    """Check the manifest against its parts, and every part; and compare each with its place in the original.

    Parameters
    ----------
    collection : Collection
        Of a part set.
    original : Collection, optional
        Of one matrix.
    pool : Workers
        With workers elsewhere a part is a job of theirs.
    progress : callable, optional
        See `nqz.commands.verify.verify`; with workers elsewhere not called.

    Returns
    -------
    dict
        As of a model: a tensor for every part, called as its file.
    """
    problem = None
    try:
        check_parts(collection)
    except CorruptError as error:
        problem = str(error)
    tensors: list[Report] = []
    problems = [] if problem is None else [problem]
    for part, found in zip(collection.parts, _found(collection, original, pool, progress), strict=True):
        problems += [] if found["problem"] is None else [found["problem"]]
        tensors += ({**tensor, "name": part.name, "part": part.name} for tensor in found["tensors"])
    good = not problems and all(tensor["ok"] for tensor in tensors)
    size = sum(reader.size for reader in collection.contents)
    return {"file_bytes": size, "ok": good, "problem": problems[0] if problems else None, "tensors": tensors}


def _found(
    collection: Collection,
    original: Collection | None,
    pool: Workers,
    progress: Callable[[str | None, float], object] | None,
) -> Iterator[Report]:
    cuts = _cuts(collection, original)
    if pool.fleet is None:
        for part, cut in zip(collection.parts, cuts, strict=True):
            yield verify(part.content, _source(cut), pool, _named(progress, part.name))
        return
    if original is not None:
        check_address(original.tensors[0].access, original.name)
    jobs = (
        (Address.of(reader), cut, pool.fleet.threads)
        for reader, cut in zip(collection.contents, cuts, strict=True)
    )
    yield from pool.fleet.map(verify_part, jobs)


def _named(
    progress: Callable[[str | None, float], object] | None, name: str
) -> Callable[[str | None, float], object] | None:
    """Progress on the one tensor of a part, which has no name, under that of the part."""
    return None if progress is None else lambda tensor, size: progress(name if tensor == "" else tensor, size)


def _cuts(collection: Collection, original: Collection | None) -> list[SourceTensor | None]:
    """The places of the parts in the original."""
    grid = collection.grid
    assert grid is not None
    if original is None:
        return [None] * len(grid.parts)
    tensors = original.tensors
    if len(tensors) != 1 or tuple(tensors[0].shape) != grid.shape or tensors[0].dtype != grid.dtype:
        shape = "x".join(map(str, grid.shape))
        raise InputError(
            f"{original.name}: is not one matrix of {shape} {grid.dtype}, as {collection.name} is"
        )
    return [cut_out(tensors[0], grid.axis, *place) for place in grid.places()]


def _source(cut: SourceTensor | None) -> Source | None:
    return None if cut is None else Source(NPY.kind, "the original", [cut], None, cast(Access, cut.access))


def verify_part(address: Address, cut: SourceTensor | None, threads: int) -> Report:
    """Verify a part on a worker."""
    (reader, access), pool = address.open(), Workers(threads)
    try:
        return verify(reader, _source(cut), pool)
    finally:
        pool.close()
        access.close()
