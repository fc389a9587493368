"""What is in a folder beside the parts of a model: the files that are copied with it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass, field

from nqz.files.access import reason
from nqz.files.mark import FILE as MARK
from nqz.ground.errors import InputError
from nqz.ground.urls import is_url

_UNFINISHED = re.compile(r"\..*\.nqz\.tmp")


@dataclass
class Tree:
    """Files and folders, by names relative to the folder that they are in.

    Attributes
    ----------
    files : dict of str to os.stat_result
        Regular files, all links followed.
    folders : list of str
        Each after the one that it is in.
    skipped : list of str
        What is left out, and why, for people: pipes, devices, and links to folders.
    """

    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(status.st_size for status in self.files.values())


def list_tree(directory: str, taken: Collection[str]) -> Tree:
    """List all that is in a folder, but for the files taken and for folders whose name begins with a dot.

    Raises
    ------
    InputError
        Something cannot be read, or is a link to nothing.
    """
    if is_url(directory):
        return _of_store(directory, taken)
    tree, left = Tree(), [""]
    while left:
        where = left.pop(0)
        try:
            with os.scandir(os.path.join(directory, where)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(
                f"{os.path.join(directory, where)}: cannot read the folder: {reason(error)}"
            ) from error
        for entry in found:
            name = os.path.join(where, entry.name)
            if name in taken or name == MARK or _UNFINISHED.fullmatch(entry.name):
                continue
            _add(tree, left, entry, name)
    return tree


def _of_store(directory: str, taken: Collection[str]) -> Tree:
    from nqz.files.remote.folders import files_below

    def counts(name: str) -> bool:
        return (
            name not in taken
            and name != MARK
            and not any(step.startswith(".") for step in name.split("/")[:-1])
        )

    files, folders = files_below(directory)
    return Tree(
        {name: status for name, status in files.items() if counts(name)},
        [name for name in folders if counts(f"{name}/.")],
    )


def _add(tree: Tree, left: list[str], entry: os.DirEntry[str], name: str) -> None:
    try:
        status = os.stat(entry.path)
    except OSError as error:
        what = "is a link to nothing" if entry.is_symlink() else f"cannot read: {reason(error)}"
        raise InputError(f"{entry.path}: {what}; it would be copied with the model") from error
    if stat.S_ISREG(status.st_mode):
        tree.files[name] = status
    elif stat.S_ISDIR(status.st_mode):
        if entry.is_symlink():
            tree.skipped.append(f"{entry.path}: is a link to a folder")
        elif not entry.name.startswith("."):
            tree.folders.append(name)
            left.append(name)
    else:
        tree.skipped.append(f"{entry.path}: is no regular file")
