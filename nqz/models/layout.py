"""Which files a model consists of: those that an index names, or all of one kind in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nqz.files.arrays import format_at
from nqz.files.places import is_folder, names_in
from nqz.format.part_set import SUFFIX as SET
from nqz.ground.errors import InputError, NqzError, UnsupportedError, UsageError
from nqz.ground.urls import base, folder_of, is_url, joined, shown
from nqz.ground.wording import counted
from nqz.models.index import SUFFIX

PLAIN, COMPRESSED = ".safetensors", ".nqz"
"""The suffix of the parts of a model, as it is and compressed."""

_SET = "." + SET

_NUMBERED = re.compile(r"(.*)-(\d{1,9})-of-(\d{1,9})\.[a-z]+")
_DIGITS = re.compile(r"([0-9]+)")
_MOST_PARTS = 100_000

_TORCH_INDEX = ".bin" + SUFFIX
_CONVERT = "convert each of them to .safetensors, with safetensors.torch.save_file of what torch.load gives"
_TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
_TORCH = (
    "from safetensors.torch import save_file; import torch; "
    "save_file(torch.load({file!r}, map_location='cpu', weights_only=True), {to!r})"
)


@dataclass(frozen=True)
class Layout:
    """The files of a model.

    Attributes
    ----------
    name : str
        The model, as messages call it.
    directory : str
    container : bool
        Whether it is compressed.
    index : str or None
        Name of its index in the directory.
    parts : list of str
        Names of its parts in the directory, unless an index has them.
    sets : list of str
        Names of manifests of part sets in the directory, whose parts they may be instead.
    """

    name: str
    directory: str
    container: bool
    index: str | None
    parts: list[str]
    sets: list[str] = field(default_factory=list)


def is_model(target: object) -> bool:
    """Whether an input is a folder or an index, and no file of matrices."""
    if not isinstance(target, (str, bytes, os.PathLike)):
        return False
    path = os.fsdecode(target)
    if format_at(path) is not None:
        return False
    if is_url(path):
        return shown(path).endswith(SUFFIX) or is_folder(path)
    try:
        return os.path.isdir(path) or (path.endswith(SUFFIX) and os.path.exists(path))
    except ValueError:  # a NUL in the path
        return False


def find_model(path: str, container: bool | None) -> Layout:
    """Find the files of a model in a folder, or by its index.

    Parameters
    ----------
    path : str
        A folder, or an index.
    container : bool, optional
        Whether it must be compressed or must not; None: either.

    Raises
    ------
    InputError
        The folder cannot be read, or a part is missing.
    UnsupportedError
        There is no model in it, or only one of another kind, or more than one.
    """
    if shown(path).endswith(SUFFIX) or not is_folder(path):
        index = base(path)
        kind = index.endswith(COMPRESSED + SUFFIX)
        if index.endswith(_TORCH_INDEX):
            raise UnsupportedError(f"{path}: is the index of files of PyTorch; {_CONVERT}")
        if not kind and not index.endswith(PLAIN + SUFFIX):
            raise UnsupportedError(
                f"{path}: the name of an index ends in {PLAIN}{SUFFIX}, or {COMPRESSED}{SUFFIX} if it is compressed"
            )
        _require_kind(path, kind, container)
        return Layout(path, folder_of(path), kind, index, [])
    names = sorted(names_in(path), key=natural)
    compressed, plain = (_of_kind(names, suffix) for suffix in (COMPRESSED, PLAIN))
    kind = bool(compressed) if container is None else container
    found = compressed if kind else plain
    if not found:
        raise _nothing(path, names, kind)
    indexes = [name for name in found if name.endswith(SUFFIX)]
    if len(indexes) > 1:
        listed = " and ".join(joined(path, name) for name in indexes[:3])
        raise UnsupportedError(
            f"{path}: holds {len(indexes)} models; give the index of one of them: {listed}"
        )
    if indexes:
        return Layout(path, path, kind, indexes[0], [])
    check_numbers(found, path)
    return Layout(path, path, kind, None, found, _of_kind(names, _SET) if kind else [])


def natural(name: str) -> tuple[tuple[object, ...], str]:
    """What names are sorted by so that their numbers are in order."""
    pieces = _DIGITS.split(name)
    digits = [piece.lstrip("0") for piece in pieces[1::2]]
    keys = [
        key
        for text, number in zip(pieces, [*digits, ""], strict=False)
        for key in (text, len(number), number)
    ]
    return tuple(keys), name


def _of_kind(names: Iterable[str], suffix: str) -> list[str]:
    return [name for name in names if name.endswith((suffix, suffix + SUFFIX)) and not name.startswith(".")]


def _require_kind(path: str, kind: bool, container: bool | None) -> None:
    if container is not None and kind != container:
        raise UnsupportedError(
            f"{path}: is the index of a compressed model; a plain one is expected here"
            if kind
            else f"{path}: is the index of a model that is not compressed; compress it first, with nqz encode"
        )


def _nothing(path: str, names: list[str], container: bool) -> NqzError:
    """Why there is no model in a folder, and what to do."""
    other = _of_kind(names, PLAIN if container else COMPRESSED)
    if other and container:
        return UnsupportedError(
            f"{path}: holds {other[0]}, and no {COMPRESSED} file; compress the model first, with nqz encode"
        )
    if any(name.endswith(SUFFIX) for name in other):
        return UnsupportedError(f"{path}: is a compressed model; one of {PLAIN} files is expected here")
    none = f"is a directory that holds no {COMPRESSED if container else PLAIN} file"
    by_suffix = {os.path.splitext(name)[1].lower(): joined(path, name) for name in reversed(names)}
    torch = next((by_suffix[suffix] for suffix in _TORCH_SUFFIXES if suffix in by_suffix), None)
    if torch is not None and not container and any(name.endswith(_TORCH_INDEX) for name in names):
        return UnsupportedError(f"{path}: {none}, but files of PyTorch; {_CONVERT}")
    if torch is not None and not container:
        program = _TORCH.format(file=torch, to=os.path.splitext(torch)[0] + PLAIN)
        return UnsupportedError(
            f'{path}: {none}, but {os.path.basename(torch)}; convert it: python -c "{program}"'
        )
    alone = next((suffix for suffix in (".npy", ".npz", ".gguf") if suffix in by_suffix), None)
    if alone is not None and not container:
        each = joined(path, "*" + alone)
        return UnsupportedError(
            f"{path}: {none}; {alone} files are encoded one by one: nqz encode {each} --out-dir OUT"
        )
    if sets := _of_kind(names, _SET):
        return holds_sets(path, sets, container)
    if other:
        more = f" and {counted(len(other) - 1, 'more file')}" if len(other) > 1 else ""
        return UnsupportedError(
            f"{path}: {none}, but {other[0]}{more}, compressed already; give what is to be compressed, or decompress "
            "them first, with nqz decode"
        )
    if is_url(path):
        return InputError(f"{path}: {none}")
    # the cache of the hub has models in a folder of snapshots
    below = [*names, *(os.path.join("snapshots", name) for name in _listed(os.path.join(path, "snapshots")))]
    folders = (os.path.join(path, name) for name in below)
    found = next((f for f in folders if _of_kind(_listed(f), COMPRESSED if container else PLAIN)), None)
    hint = "" if found is None else f"; {found} holds some"
    return InputError(f"{path}: {none}{hint}")


def holds_sets(path: str, sets: Sequence[str], container: bool) -> UnsupportedError:
    """The error for a folder that holds part sets, where a model is expected, compressed or plain."""
    which = f"the part set {sets[0]}" if len(sets) == 1 else f"{len(sets)} part sets, such as {sets[0]}"
    manifest = joined(path, sets[0])
    if container:
        return UnsupportedError(f"{path}: holds {which}, and no model; give the manifest: {manifest}")
    return UnsupportedError(
        f"{path}: holds {which}, compressed already; give what is to be compressed, or decompress it first, with "
        f"nqz decode {manifest}"
    )


def _listed(path: str) -> list[str]:
    """The names in a folder; none if it is no folder."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def check_numbers(names: Iterable[str], where: str) -> None:
    """Raise InputError where files that are numbered, such as model-00001-of-00002, are not all there."""
    found: dict[tuple[str, str], set[int]] = {}
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            found.setdefault((match[1], match[3]), set()).add(int(match[2]))
    for (stem, of), numbers in found.items():
        most = min(int(of), _MOST_PARTS)
        missing = next((number for number in range(1, most + 1) if number not in numbers), None)
        if missing is not None and 0 not in numbers:
            raise InputError(f"{where}: {stem}-{missing:0{len(of)}}-of-{of} is missing")


def check_distinct(paths: Iterable[str]) -> None:
    """Raise UsageError where two files have one name, and would be one part of a model."""
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(base(path), path)
        if other is not path:
            raise UsageError(f"{other} and {path}: two files of one name cannot be parts of one model")
