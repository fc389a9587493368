"""Verification of all parts of a collection, as if they were one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nqz.commands.verify import verify
from nqz.ground.threads import Workers
from nqz.models.collection import Collection


def verify_parts(
    collection: Collection,
    original: Collection | None,
    pool: Workers,
    progress: Callable[[str | None, float], object] | None = None,
) -> dict[str, Any]:
    """Check every part, and compare its tensors with those of equal name in all parts of the original.

    Parameters
    ----------
    collection : Collection of ContainerReader
    original : Collection of Source, optional
        What it was made from.
    pool : Workers
    progress : callable, optional
        See `nqz.commands.verify.verify`.

    Returns
    -------
    dict
        See `nqz.commands.verify.verify`; every tensor of a model has a ``part`` too; and where folders are compared
        ``files``: for the index and each file that is copied its name, and ``problem`` (None, or what is wrong).
    """
    if collection.grid is not None:
        from nqz.commands.sets.verify import verify_set

        return verify_set(collection, original, pool, progress)
    found = [verify(part.content, original, pool, progress) for part in collection.parts]
    if collection.lone:
        return found[0]
    named = zip(collection.parts, found, strict=True)
    files = None
    if original is not None and original.directory is not None and collection.directory is not None:
        from nqz.commands.beside import compare_files

        files = compare_files(collection, original)
    report = {
        "file_bytes": sum(one["file_bytes"] for one in found),
        "ok": all(one["ok"] for one in found) and not any(file["problem"] for file in files or ()),
        "problem": next((one["problem"] for one in found if one["problem"] is not None), None),
        "tensors": [{**tensor, "part": part.name} for part, one in named for tensor in one["tensors"]],
    }
    return report if files is None else {**report, "files": files}
