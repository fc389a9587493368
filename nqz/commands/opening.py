"""Opening what a command is given: a container, or a source of plain matrices, told apart by content; or a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from nqz.files.access import Access
from nqz.files.arrays import ArrayFormat, format_at, read_array
from nqz.files.foreign import refuse_foreign
from nqz.files.memory import MemoryAccess
from nqz.files.opening import open_input, open_part, open_parts
from nqz.files.parked import Descriptors
from nqz.files.places import exists
from nqz.files.source import format_of, read_source
from nqz.format.part_set import MOST_BYTES, PartSet
from nqz.format.part_set import SUFFIX as SET
from nqz.format.reader import ContainerReader
from nqz.format.records import MAGIC
from nqz.ground.errors import (
    CorruptError,
    InputError,
    NewerFormatError,
    NqzError,
    UnsupportedError,
    UsageError,
)
from nqz.ground.notices import tell
from nqz.ground.sources import listed
from nqz.ground.urls import base, folder_of, is_url, joined, named, shown, suffix
from nqz.ground.wording import counted
from nqz.models.collection import Collection, Part, leave
from nqz.models.index import SUFFIX, Index, check_agreement, read_index
from nqz.models.layout import (
    COMPRESSED,
    PLAIN,
    Layout,
    check_distinct,
    check_numbers,
    find_model,
    holds_sets,
    natural,
)
from nqz.models.layout import is_model as is_model
from nqz.models.opened import Opened as Opened
from nqz.models.sets import check_set


def open_file(target: Any, *, container: bool | None = None) -> Opened:
    """Open a container or a file of matrices.

    Parameters
    ----------
    target : path, binary file object, or access
        ``"-"`` is standard input; bytes-like objects other than paths go in as a `MemoryAccess`.
    container : bool, optional
        True: it must be a container; False: it must not be; None: either.

    Raises
    ------
    InputError, CorruptError, NewerFormatError, UnsupportedError
        It cannot be read, or is not what is needed.
    """
    if is_part_set(target):
        _part_set(os.fsdecode(target), container, False)  # refuses it
    known = format_at(target)
    if known is not None:
        return _array(target, known, container)
    access = target if hasattr(target, "pread_into") else open_input(target, in_place=container is True)
    try:
        start = bytearray(min(len(MAGIC), access.size))
        access.pread_into(start, 0)
        if container is None:
            container = start == MAGIC
        elif start == MAGIC and not container:
            raise UnsupportedError(f"{access.name}: is a .nqz container; a {listed()} file is expected here")
        elif start != MAGIC and container:
            _refuse_plain(access)
        content = ContainerReader(access, access.name) if container else read_source(access)
    except BaseException:
        access.close()
        raise
    return Opened(content, access)


def _array(target: Any, known: ArrayFormat, container: bool | None) -> Opened:
    """An array that a package of others keeps in a folder."""
    if container:
        raise UnsupportedError(
            f"{shown(os.fsdecode(target))}: is an array of {known.name}, and not a .nqz container; compress it first, "
            "with nqz encode"
        )
    content = read_array(target, known)
    return Opened(content, MemoryAccess(b"", content.name))


def _refuse_plain(access: Access) -> None:
    """Raise UnsupportedError for a file of another kind, such as a matrix that has not been compressed."""
    refuse_foreign(access, "a .nqz container")
    known = format_of(access)
    start = bytearray(0 if known is None else known.mark_at)
    access.pread_into(start, 0)
    # a short mark proves little, unless the length before it fits
    if known is not None and int.from_bytes(start, "little") <= access.size - len(start):
        raise UnsupportedError(
            f"{access.name}: is a .{known.name} file, and not a .nqz container; compress it first, with nqz encode"
        )


def open_collection(targets: Any, *, container: bool | None = None, sets: bool = False) -> Collection:
    """Open a file, or all files of a model.

    Parameters
    ----------
    targets : as for `open_file`, or a sequence of these
        A file; a folder or an index (``*.index.json``): a model; several files: the parts of one.
    container : bool, optional
        See `open_file`; all parts of a model are of one kind.
    sets : bool
        Whether it may be a part set (``.nqzset``), whose parts are those of one matrix.

    Raises
    ------
    InputError, CorruptError, NewerFormatError, UnsupportedError
        See `open_file`; or a model is not whole, or its index disagrees with its parts.
    UsageError
        Of several files one is no file, or two have the same name.
    """
    several = list(targets) if isinstance(targets, (list, tuple)) else [targets]
    if len(several) > 1:
        return _of_files([_path(target) for target in several], container)
    (target,) = several
    if is_part_set(target):
        return _part_set(os.fsdecode(target), container, sets)
    if not is_model(target):
        opened = open_file(target, container=container)
        name = opened.content.name
        return Collection(name, [Part(base(name), opened)], lone=True)
    layout, descriptors = find_model(os.fsdecode(target), container), Descriptors()
    _refuse_sets(layout)
    index = None
    if layout.index is not None:
        index = _index(joined(layout.directory, layout.index), layout.container, descriptors)
    if index is None:
        paths = {name: joined(layout.directory, name) for name in layout.parts}
    else:
        paths = _paths(layout.name, layout.directory, sorted(index.files, key=natural))
    parts = _parts(paths, layout.container, descriptors)
    return _whole(Collection(layout.name, parts, directory=layout.directory or ".", index=index))


def _refuse_sets(layout: Layout) -> None:
    """Raise UnsupportedError for a folder whose containers all are parts of part sets."""
    held: set[str] = set()
    for name in layout.sets:
        with suppress(NqzError):  # another manifest may have them
            held.update(part.file for part in read_part_set(joined(layout.directory, name)).parts)
    if layout.sets and held.issuperset(layout.parts):
        raise holds_sets(layout.name, layout.sets, True)


def is_part_set(target: Any) -> bool:
    """Whether an input is the manifest of a part set, by its name."""
    return isinstance(target, (str, bytes, os.PathLike)) and suffix(target) == SET


def read_part_set(path: str) -> PartSet:
    """Read the manifest of a part set.

    Raises
    ------
    InputError, CorruptError, NewerFormatError
        It cannot be read, or is damaged.
    """
    access = open_input(path)
    try:
        if access.size > MOST_BYTES:
            raise CorruptError(f"{shown(path)}: is too large for the manifest of a part set")
        text = bytearray(access.size)
        access.pread_into(text, 0)
        return PartSet.unpack(bytes(text), shown(path))
    finally:
        access.close()


def replaced_part_set(path: str) -> PartSet | None:
    """The part set that another is to take the place of; None where none is there, or one that nobody can read.

    Raises
    ------
    InputError
        It cannot be read.
    """
    if not exists(path):
        return None
    try:
        return read_part_set(path)
    except (CorruptError, NewerFormatError) as error:
        tell(f"{error}; it is to be replaced, and its parts, if there are any, stay")
        return None


def _part_set(path: str, container: bool | None, allowed: bool) -> Collection:
    if container is False:
        raise UnsupportedError(
            f"{shown(path)}: is a part set, compressed already; a {listed()} file is expected here: what it was made "
            "from, or what nqz decode makes of it"
        )
    if not allowed:
        raise UnsupportedError(
            f"{shown(path)}: is a part set, where a container by itself is expected; each of its parts is one"
        )
    grid, folder = read_part_set(path), folder_of(path)
    paths = _paths(shown(path), folder, [entry.file for entry in grid.parts])
    try:
        parts = _parts(paths, True, Descriptors(), arrays=True)
    except NqzError as error:
        raise type(error)(f"{shown(path)}: its part {error}") from error
    return Collection(shown(path), parts, directory=folder or ".", grid=grid)


def _paths(where: str, folder: str, names: Sequence[str]) -> dict[str, str]:
    """The paths or addresses of files that an index or a manifest names, all of them in its folder or below."""
    chained = next((name for name in names if "::" in name), None) if is_url(folder) else None
    if chained is not None:  # leads to another store
        raise UnsupportedError(
            f"{where}: names {chained!r:.80}; '::' cannot be in the name of a file of a store"
        )
    return {name: named(folder, name) for name in names}


def _path(target: Any) -> str:
    if is_part_set(target):
        raise UsageError(
            f"{target}: is a part set, among several inputs, which are the files of one model; give it alone, or take "
            "each by itself, with --out-dir"
        )
    if not isinstance(target, (str, bytes, os.PathLike)) or target == "-" or is_model(target):
        what = "no file"
        if is_model(target):
            path = os.fsdecode(target)
            if shown(path).endswith(SUFFIX):
                raise UsageError(
                    f"{path}: is the index of a model, among several inputs; give the folder "
                    f"{folder_of(path) or '.'} or the index alone, or only the files that it names"
                )
            what = "a folder"
        raise UsageError(
            f"{target}: is {what}; several inputs with one output are the files of one model, "
            "and --out-dir takes each by itself"
        )
    return os.fsdecode(target)


def _of_files(paths: Sequence[str], container: bool | None) -> Collection:
    check_distinct(paths)
    check_numbers(map(base, paths), folder_of(paths[0]) or ".")
    if container is None:
        container = base(paths[0]).endswith(COMPRESSED)
    by_name = {base(path): path for path in paths}
    parts = _parts({name: by_name[name] for name in sorted(by_name, key=natural)}, container, Descriptors())
    name = f"{paths[0]} and {counted(len(paths) - 1, 'more file')}"
    folders = {folder_of(path) or "." for path in paths}
    return _whole(Collection(name, parts, origin=folders.pop() if len(folders) == 1 else None))


def _index(path: str, container: bool, descriptors: Descriptors) -> Index:
    access = open_part(path, descriptors)
    try:
        index = read_index(access, path)
    finally:
        access.close()
    if not index.files:
        raise CorruptError(f"{path}: lists no tensor")
    for name in index.files:
        if not name.endswith(COMPRESSED if container else PLAIN):
            raise UnsupportedError(
                f"{path}: names {name!r}; all files must be {COMPRESSED if container else PLAIN}"
            )
        if not is_url(path) and not os.path.lexists(os.path.join(os.path.dirname(path), name)):
            raise InputError(f"{path}: names {name!r}, which is missing")
    return index


def _parts(
    paths: dict[str, str], container: bool, descriptors: Descriptors, *, arrays: bool = False
) -> list[Part]:
    """The parts of a collection, by name; `arrays`: they may be of one array without a name each."""
    parts: list[Part] = []
    accesses = open_parts(list(paths.values()), descriptors)
    try:
        for (name, path), access in zip(paths.items(), accesses, strict=True):
            parts.append(Part(name, open_file(access, container=container)))
            content = parts[-1].content
            kind = content.manifest.kind if container else content.kind
            if kind.alone and not arrays:
                raise UnsupportedError(
                    f"{path}: holds an array without a name, and is no part of a model; "
                    f"nqz {'decode' if container else 'encode'} --out-dir takes such files one by one"
                )
    except BaseException as error:
        accesses.close()
        leave(parts, error)
        raise
    return parts


def _whole(collection: Collection) -> Collection:
    """The same collection, once every tensor is where it should be."""
    try:
        if collection.index is not None:
            held = {part.name: {tensor.whole_name for tensor in part.tensors} for part in collection.parts}
            check_agreement(collection.index, held)
        if isinstance(collection.contents[0], ContainerReader):
            check_set(collection)
        len(collection)  # refuses a tensor in two parts
    except BaseException as error:
        leave(collection.parts, error)
        raise
    return collection


@contextmanager
def open_two(first: Any, second: Any, **second_options: Any) -> Iterator[tuple[Collection, Collection]]:
    """Open two inputs, at most one of them standard input; the same file may be both."""
    if first == "-" and second == "-":
        raise UsageError("standard input can be one of the two inputs, not both")
    with open_collection(first, sets=True) as a, open_collection(second, sets=True, **second_options) as b:
        yield a, b
