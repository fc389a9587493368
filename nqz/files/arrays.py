"""Arrays that packages of others keep in folders: what tells them, and reading them, each a file and a line here.

They are read by slices, through a temporary file: see `nqz.files.rectangle`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from nqz.files.access import Access
from nqz.files.contract import Source
from nqz.files.memory import MemoryAccess
from nqz.files.rectangle import is_sliceable, sliceable_tensor
from nqz.files.zarr import open_zarr
from nqz.ground.errors import InputError, NqzError, UsageError
from nqz.ground.sources import SOURCES
from nqz.ground.urls import is_url, local, shown


@dataclass(frozen=True)
class ArrayFormat:
    """Arrays of a package.

    Attributes
    ----------
    name : str
        That of the package.
    suffix : str
        What the name of a folder of them ends in, as a rule.
    marks : tuple of str
        Files of which one is in the folder of every array, and of every group of arrays.
    extra : str
        What of nqz brings the package.
    open : callable
        open(path) gives an array that is read by slices, or the names of those in a group; ImportError without the
        package.
    """

    name: str
    suffix: str
    marks: tuple[str, ...]
    extra: str
    open: Callable[[str], Any]


FORMATS = (ArrayFormat("Zarr", "zarr", ("zarr.json", ".zarray", ".zgroup"), "zarr", open_zarr),)
"""All of them."""


def format_at(target: Any) -> ArrayFormat | None:
    """The format of the array, or of the group of arrays, at a path or an address; None for everything else.

    Of a folder here its files tell, of an address the name of one of its folders: stores are slow to ask.
    """
    if not isinstance(target, (str, bytes, os.PathLike)):
        return None
    path = local(os.fsdecode(target))
    for known in FORMATS:
        if is_url(path):
            if any(step.endswith(f".{known.suffix}") for step in shown(path).split("/")):
                return known
        elif "\0" not in path and any(os.path.isfile(os.path.join(path, mark)) for mark in known.marks):
            return known
    return None


def beside(path: str, known: ArrayFormat) -> str:
    """What an array is called where the folder that all arrays are in is: the stem of names of what is made of it."""
    steps = path.rstrip("/").split("/")
    ends = [at for at, step in enumerate(steps) if step.endswith(f".{known.suffix}")]
    top = ends[0] if ends else len(steps) - 1
    return "/".join([*steps[:top], steps[-1].removesuffix(f".{known.suffix}")])


def read_array(target: Any, known: ArrayFormat) -> Source:
    """An array in a folder as a source.

    Raises
    ------
    InputError
        It cannot be opened.
    UnsupportedError
        It is no matrix of two dimensions, or of a type that is not known.
    UsageError
        The package is not installed, or it is a group of arrays.
    """
    path = local(os.fsdecode(target))
    name = shown(path).rstrip("/")
    try:
        found = known.open(path)
    except ImportError:
        raise UsageError(
            f"{name}: is an array of {known.name}, which takes that package to be read: pip install "
            f"'nqz[{known.extra}]'"
        ) from None
    except (NqzError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{name}: cannot open: there is no array of {known.name}") from None
    except Exception as error:  # of the other package
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{name}: cannot open: {said}") from error
    if not is_sliceable(found):
        members = sorted(found)
        some = (
            f": {name}/{members[0]}"
            if len(members) == 1
            else f", such as {name}/{members[0]}"
            if members
            else ""
        )
        raise UsageError(
            f"{name}: is a group of {len(members)} arrays of {known.name}; name one of them{some}"
        )
    tensor = sliceable_tensor(found, name)
    return Source(SOURCES["npy"], name, [tensor], None, MemoryAccess(b"", name), cast(Access, tensor.access))
