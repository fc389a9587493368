"""Models: every part of one encoded or decoded, its index rewritten, and everything else copied, into a new folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nqz.commands.decode import DecodeOptions, check_records, decode, decoded_bytes
from nqz.commands.encode import encode_parts
from nqz.commands.joining import taken_parts
from nqz.commands.opening import open_collection
from nqz.commands.options import EncodeOptions
from nqz.files.folder import OutputFolder
from nqz.files.mark import BYTES as MARK_BYTES
from nqz.files.places import output_folder
from nqz.files.tree import Tree, list_tree
from nqz.format.reader import ContainerReader
from nqz.format.slices import Whole
from nqz.ground.errors import UnsupportedError, UsageError
from nqz.ground.sources import SOURCES
from nqz.ground.threads import Workers
from nqz.ground.urls import base, joined
from nqz.models.collection import Collection, Part
from nqz.models.index import SUFFIX
from nqz.models.layout import COMPRESSED, PLAIN

Progress = Callable[[Any, float], object]
Report = dict[str, Any]

_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".safetensors", ".gguf", ".h5", ".msgpack", ".onnx", ".nqz")
_LARGE = 1 << 20


@dataclass(frozen=True)
class Files:
    """What becomes of the files of a model.

    Attributes
    ----------
    parts : dict of str to str
        Names of the parts, and of what they become.
    index : str or None
        What the index is to be called.
    suffixes : tuple of str
        Those of parts and index that are replaced, and what with.
    tree : Tree
        What is copied.
    inputs : list of str
        Folders and files that are read.
    """

    parts: dict[str, str]
    index: str | None
    suffixes: tuple[str, str]
    tree: Tree
    inputs: list[str]

    @property
    def skipped(self) -> list[str]:
        """What the user should know of what is not copied."""
        return [f"{what}, and is left out" for what in self.tree.skipped]

    @property
    def notes(self) -> list[str]:
        """What the user should know of the other files of a model that is encoded."""
        found = self.skipped
        large = [
            name
            for name, status in self.tree.files.items()
            if name.lower().endswith(_WEIGHTS) and status.st_size >= _LARGE
        ]
        if large:
            size = sum(self.tree.files[name].st_size for name in large)
            more = "" if len(large) == 1 else f" and {len(large) - 1} more"
            found.append(f"{large[0]}{more} ({size} bytes): no part of this model, copied as it is")
        return found


def files_of(collection: Collection) -> Files:
    """Name the files that a model becomes: compressed, if it is not, and what it was, if it is.

    Raises
    ------
    UsageError
        Two of them would have the same name.
    InputError
        The folder of the model cannot be read.
    """
    compressed = isinstance(collection.contents[0], ContainerReader)
    parts = {part.name: renamed(part) for part in collection.parts}
    old, new = (COMPRESSED, PLAIN) if compressed else (PLAIN, COMPRESSED)
    index, taken = None, set(parts)
    inputs = [] if collection.directory is None else [collection.directory]
    inputs += [part.content.name for part in collection.parts]
    if collection.index is not None:
        name = base(collection.index.name)
        index = name.removesuffix(old + SUFFIX) + new + SUFFIX
        taken.add(name)
        other = next((part for part in parts.values() if not part.endswith(new)), None)
        if other is not None:
            raise UnsupportedError(
                f"{collection.index.name}: its parts become {other}, where {new} files are needed"
            )
    tree = Tree()
    if collection.directory is not None:
        tree = list_tree(collection.directory, taken)
        if not compressed:
            _leave_out_compressed(collection.directory, tree)
    seen: dict[str, str] = {}
    made = {**{new: old for old, new in parts.items()}, **({} if index is None else {index: "the index"})}
    for old_name, new_name in parts.items():
        other = seen.setdefault(new_name, old_name)
        if other != old_name:
            raise UsageError(f"{collection.name}: {other} and {old_name} would both become {new_name}")
    for name in (*tree.files, *tree.folders):
        if name in made:
            raise UsageError(
                f"{joined(collection.directory or '', name)}: is in the way: what {made[name]} becomes has the "
                "same name; move it elsewhere"
            )
    return Files(parts, index, (old, new), tree, inputs)


def _leave_out_compressed(directory: str, tree: Tree) -> None:
    """Do not copy what is compressed already: among the containers of the model, it would be taken for one of them."""
    for name in list(tree.files):
        if "/" not in name and name.endswith((COMPRESSED, COMPRESSED + SUFFIX)):
            del tree.files[name]
            tree.skipped.append(f"{joined(directory, name)}: is compressed already")


def renamed(part: Part) -> str:
    """What a part is to be called: compressed, if it is not, and what it was, if it is."""
    stem, suffix = os.path.splitext(part.name)
    if isinstance(part.content, ContainerReader):
        origin = part.content.manifest.source
        return f"{stem if suffix == COMPRESSED else part.name}.{origin}"
    return (stem if suffix[1:] in SOURCES else part.name) + COMPRESSED


def other_bytes(collection: Collection, files: Files) -> int:
    """Bytes of the index, of what is copied, and of a mark where the file system keeps it in a file."""
    return MARK_BYTES + kept_bytes(collection, files)


def kept_bytes(collection: Collection, files: Files, sizes: dict[str, int] | None = None) -> int:
    """Bytes of the index, and of what is copied; for `sizes` see `index_bytes`."""
    index = index_bytes(collection, files, sizes)
    return files.tree.nbytes + (0 if index is None else len(index))


def encode_model(
    collection: Collection,
    files: Files,
    folder: OutputFolder,
    options: EncodeOptions,
    pool: Workers,
    progress: Progress | None = None,
) -> Report:
    """Fill a folder with the containers of a model, its index, and copies of its other files.

    Parameters
    ----------
    collection : Collection of Source
    files : Files
    folder : OutputFolder
        Not published yet when this returns.
    options : EncodeOptions
        `max_bytes` counts all files.
    pool, progress
        See `nqz.commands.encode.encode_parts`.

    Returns
    -------
    dict
        What `encode_parts` returns, of the containers that are kept; ``readers``: these, open until the folder is
        published; ``other_bytes``: of the index and of what was copied.

    Raises
    ------
    NqzError
        See `encode_parts`; or a file cannot be copied.
    """
    _copy(collection, files, folder)
    other = other_bytes(collection, files)
    options = replace(options, other_bytes=options.other_bytes + other)
    accesses = [folder.create(files.parts[part.name]) for part in collection.parts]
    report = encode_parts(collection.contents, accesses, options, pool, progress)
    readers, written, kept = [], [], dict[str, int]()
    for part, access, size in zip(collection.parts, accesses, report["files"], strict=True):
        folder.finish(access, size)
        reader = ContainerReader(access, access.name)
        sizes = source_sizes(reader)
        if not sizes and collection.index is not None:
            # all its tensors are left out, and the index does not name it; without one, a number would be missing
            folder.drop(files.parts[part.name])
            continue
        readers.append(reader)
        written.append(size)
        kept.update(sizes)
    _write_index(folder, files, index_bytes(collection, files, kept))
    return {**report, "files": written, "file_bytes": sum(written), "readers": readers, "other_bytes": other}


def decode_model(
    collection: Collection,
    files: Files,
    folder: OutputFolder,
    options: DecodeOptions,
    pool: Workers,
    progress: Progress | None = None,
) -> Report:
    """Fill a folder with what a compressed model was made from.

    Parameters
    ----------
    collection : Collection of ContainerReader
    files : Files
    folder : OutputFolder
        Not published yet when this returns.
    options : DecodeOptions
        Parts of which no tensor is taken are left out; the kind of each file is that of its source.
    pool : Workers
    progress : callable, optional
        Called as progress(name, bytes): None and bytes of containers checked, or a tensor and bytes written.

    Returns
    -------
    dict
        ``matrices``, ``exact``: how many of each; ``bytes`` of all parts; ``files``: how many of them.
    """
    chosen = chosen_parts(collection, options)
    for part, wholes in chosen:
        check_records(part.content, wholes)
    _copy(collection, files, folder)
    kept: dict[str, int] = {}
    outputs = []
    for part, wholes in chosen:
        access = folder.create(files.parts[part.name])
        # before anything that takes long; a file is no smaller than its data
        sizes = {whole.name: decoded_bytes(part.content, whole, options) for whole in wholes}
        access.reserve(sum(sizes.values()))
        kept.update(sizes)
        outputs.append((part.content, wholes, access))
    report: Report = {"matrices": 0, "exact": 0, "bytes": 0, "files": len(outputs)}
    for reader, wholes, access in outputs:
        if not options.tensors:
            reader.verify(progress and partial(progress, None), pool.map)
        names = [glob.escape(whole.name) for whole in wholes] if options.tensors else ()
        found = decode(reader, access, replace(options, kind=None, tensors=names), pool, progress)
        folder.finish(access, found["bytes"])
        for key, value in found.items():
            report[key] += value
    _write_index(folder, files, index_bytes(collection, files, kept, resized=options.dtype is not None))
    return report


def chosen_parts(collection: Collection, options: DecodeOptions) -> list[tuple[Part, list[Whole]]]:
    """The parts of which tensors are taken, with these."""
    chosen = taken_parts([part.tensors for part in collection.parts], options.tensors, collection.name)
    for part, wholes in zip(collection.parts, chosen, strict=True):
        for whole in wholes if collection.index is not None else ():
            info = part.tensors[whole.members[0]]
            if info.slice is not None and not whole.sliced:
                raise UsageError(
                    f"{collection.name}: {whole.name!r} is one slice of a tensor, which the index does not list; "
                    f"take all of {info.whole_name!r}, or decode {part.name} by itself"
                )
    pairs = zip(collection.parts, chosen, strict=True)
    return [(part, wholes) for part, wholes in pairs if wholes or not options.tensors]


def _copy(collection: Collection, files: Files, folder: OutputFolder) -> None:
    for name in files.tree.folders:
        folder.make(name)
    for name, status in files.tree.files.items():
        assert collection.directory is not None
        folder.copy(joined(collection.directory, name), name, status.st_mode)


def source_sizes(reader: ContainerReader) -> dict[str, int]:
    """The tensors of a container, and the bytes of each in its source."""
    sizes: dict[str, int] = {}
    for info in reader.manifest.tensors:
        sizes[info.whole_name] = sizes.get(info.whole_name, 0) + info.nbytes
    return sizes


def index_bytes(
    collection: Collection, files: Files, sizes: dict[str, int] | None = None, *, resized: bool = False
) -> bytes | None:
    """The index that a model gets, if it has one; `sizes` are the bytes of the tensors that are kept."""
    if collection.index is None:
        return None
    return collection.index.renamed(*files.suffixes, sizes, resized=resized)


def _write_index(folder: OutputFolder, files: Files, data: bytes | None) -> None:
    if data is not None and files.index is not None:
        folder.write(files.index, data)


def convert(
    targets: Any,
    out: str | os.PathLike[str],
    options: EncodeOptions | DecodeOptions,
    pool: Workers,
    *,
    force: bool = False,
    notes: Callable[[str], object] = lambda text: None,
) -> Mapping[str, Any]:
    """Encode or decode a model into a folder, for who has no use for the steps in between.

    Parameters
    ----------
    targets
        See `nqz.commands.opening.open_collection`.
    out : str or path-like
        The folder to write.
    options : EncodeOptions or DecodeOptions
    pool : Workers
    force : bool
        Whether a folder that nqz wrote may be replaced.
    notes : callable
        Called with what the user should know.

    Returns
    -------
    dict
        See `encode_model` and `decode_model`; without ``readers``.
    """
    decodes = isinstance(options, DecodeOptions)
    with open_collection(targets, container=decodes) as collection:
        files = files_of(collection)
        for note in files.skipped if decodes else files.notes:
            notes(note)
        with output_folder(out, force=force, inputs=files.inputs, check=collection.check) as folder:
            if isinstance(options, DecodeOptions):
                report = decode_model(collection, files, folder, options, pool)
            else:
                options = replace(options, config=collection.config, where=collection.name)
                report = encode_model(collection, files, folder, options, pool)
                del report["readers"]
            folder.commit()
    return report
