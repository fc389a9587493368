"""Files and folders by path or address: what is where, for who need not know which of the two it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nqz.files.access import reason
from nqz.ground.errors import InputError, NqzError
from nqz.ground.urls import is_url, local

if TYPE_CHECKING:
    from nqz.files.folder import OutputFolder


def is_folder(path: str) -> bool:
    """Whether there is a folder; ValueError for a NUL in a path."""
    if is_url(path):
        from nqz.files.remote import folders

        return folders.is_folder(path)
    return os.path.isdir(local(path))


def names_in(path: str) -> list[str]:
    """The names of what is in a folder, in any order; InputError if it cannot be read."""
    if is_url(path):
        from nqz.files.remote import folders

        return folders.names_in(path)
    try:
        return os.listdir(local(path))
    except OSError as error:
        raise InputError(f"{path}: cannot read the folder: {reason(error)}") from error


def exists(path: str) -> bool:
    """Whether there is a file, or a link to nothing."""
    if is_url(path):
        from nqz.files.remote import folders

        return folders.exists(path)
    return os.path.lexists(local(path))


def remove(path: str) -> None:
    """Remove a file that nobody is to have, if it can be removed: there is a better error on its way."""
    with contextlib.suppress(OSError, NqzError):
        if is_url(path):
            from nqz.files.remote import folders

            folders.remove(path)
        else:
            os.unlink(local(path))


def output_folder(
    target: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[str] = (),
    check: Callable[[], object] | None = None,
) -> OutputFolder:  # fmt: skip
    """A folder to be filled; see `OutputFolder`."""
    if is_url(target):
        from nqz.files.remote.folder import StoreFolder

        return StoreFolder(str(target), force=force, inputs=inputs, check=check)
    from nqz.files.folder import OutputFolder

    return OutputFolder(target, force=force, inputs=inputs, check=check)
