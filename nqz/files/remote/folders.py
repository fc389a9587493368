"""Folders of stores: what is in them."""

from __future__ import annotations

import os
import stat
from typing import Any

from nqz.files.remote.items import patient
from nqz.files.remote.stores import find_store, protocol_of
from nqz.files.remote.trouble import in_words
from nqz.ground.errors import InputError, NqzError
from nqz.ground.sources import READ
from nqz.ground.urls import shown, suffix


def is_folder(url: str) -> bool:
    """Whether an address is that of a folder; asked of the store only where the name does not tell."""
    place = shown(url)
    if place.endswith("/"):
        return True
    if suffix(url) in (*READ, "nqz", "json") or url.startswith(("http://", "https://")):
        return False
    store, path = find_store(url)
    return bool(_asked(url, store.isdir, path))


def names_in(url: str) -> list[str]:
    """The names of what is in a folder.

    Raises
    ------
    InputError
        It cannot be read, or there is none.
    """
    store, path = find_store(url)
    folder = path.rstrip("/")
    store.invalidate_cache(folder)
    # the listing of a server for http is a page of links, relative to a name that ends in /
    asked = f"{folder}/" if protocol_of(store) in ("http", "https") else folder
    found = _asked(url, store.ls, asked, detail=False)
    return sorted({os.path.basename(shown(str(one)).rstrip("/")) for one in found} - {""})


def exists(url: str) -> bool:
    """Whether there is an object."""
    store, path = find_store(url)
    return bool(_asked(url, store.exists, path))


def remove(url: str) -> None:
    """Remove an object."""
    store, path = find_store(url)
    _asked(url, store.rm_file, path)


def files_below(url: str) -> tuple[dict[str, os.stat_result], list[str]]:
    """Files in a folder and below it, by names relative to it, with their sizes; and the folders."""
    store, path = find_store(url)
    top = path.rstrip("/")
    found = _asked(url, store.find, top, withdirs=True, detail=True)
    files, folders = {}, []
    for key, info in sorted(found.items()):
        name = str(key).removeprefix(top).strip("/")
        if name and any(step in ("", ".", "..") for step in name.split("/")):
            raise InputError(f"{shown(url)}: holds {name!r}, which is no name of a file in a folder")
        if info.get("type") == "directory":
            folders.append(name)
        elif name:
            size = int(info.get("size") or 0)
            files[name] = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, size, 0, 0, 0))
    return files, [name for name in folders if name]


def matching(pattern: str) -> list[str]:
    """The addresses of objects that a pattern takes, in order.

    Raises
    ------
    InputError
        There is none.
    """
    store, path = find_store(pattern)
    found = _asked(pattern, store.glob, path)
    if not found:
        raise InputError(f"{shown(pattern)}: nothing is called so")
    return sorted(str(store.unstrip_protocol(one)) for one in found)


def _asked(url: str, method: Any, *arguments: Any, **options: Any) -> Any:
    """What a store says of an address."""
    try:
        return patient(lambda: method(*arguments, **options))
    except NqzError:
        raise
    except Exception as error:
        raise InputError(f"{shown(url)}: cannot read the folder: {in_words(error)}") from None
