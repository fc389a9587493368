"""What lies beside the containers of a model: whether the index and what was copied are those of the original."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from nqz.commands.models import Files, files_of, index_bytes, source_sizes
from nqz.files.opening import open_part
from nqz.files.parked import Descriptors
from nqz.files.places import exists
from nqz.ground.urls import base, is_url, joined
from nqz.models.collection import Collection

_PIECE = 1 << 20


def compare_files(collection: Collection, original: Collection) -> list[dict[str, Any]]:
    """Compare the folders of a compressed model and of its original, but for their parts.

    Parameters
    ----------
    collection : Collection of ContainerReader
    original : Collection of Source

    Returns
    -------
    list of dict
        ``name`` and ``problem`` (None, or what is wrong) of the index, and of every other file of the original.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    files = files_of(original)
    found = []
    if files.index is not None:
        found.append({"name": files.index, "problem": _index_problem(collection, original, files)})
    assert collection.directory is not None
    assert original.directory is not None
    descriptors = Descriptors()
    for name in files.tree.files:
        copy, first = (joined(where, name) for where in (collection.directory, original.directory))
        found.append({"name": name, "problem": _problem(copy, first, descriptors)})
    return found


def _index_problem(collection: Collection, original: Collection, files: Files) -> str | None:
    if collection.index is None or base(collection.index.name) != files.index:
        return "is missing"
    sizes: dict[str, int] = {}
    for reader in collection.contents:
        sizes.update(source_sizes(reader))
    same = collection.index.text == index_bytes(original, files, sizes)
    return None if same else "is not that of the original"


def _problem(copy: str, original: str, descriptors: Descriptors) -> str | None:
    """What is wrong with a copy."""
    if not (exists(copy) if is_url(copy) else os.path.isfile(copy)):
        return "is missing"
    with closing(open_part(copy, descriptors)) as first, closing(open_part(original, descriptors)) as second:
        if first.size != second.size:
            return f"has {first.size} bytes, where the original has {second.size}"
        size = min(_PIECE, first.size)
        a, b = memoryview(bytearray(size)), memoryview(bytearray(size))
        for offset in range(0, first.size, _PIECE):
            length = min(_PIECE, first.size - offset)
            first.pread_into(a[:length], offset)
            second.pread_into(b[:length], offset)
            if a[:length] != b[:length]:
                at = offset + next(i for i in range(length) if a[i] != b[i])
                return f"differs from the original, first at byte {at}"
    return None
