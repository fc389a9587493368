"""Opening an address, or an object of fsspec, for positioned reads."""

from __future__ import annotations

import os
from typing import Any

from nqz.files.access import Access, FileAccess, temporary_access
from nqz.files.remote.access import RemoteAccess, make_item
from nqz.files.remote.items import Item
from nqz.files.remote.stores import find_store, protocol_of, store_of
from nqz.files.remote.trouble import NoRangesError, open_error
from nqz.ground.errors import UsageError
from nqz.ground.notices import tell
from nqz.ground.urls import shown

_LOCAL = ("file", "local")


def open_url(url: str) -> Access:
    """Open an address.

    Raises
    ------
    InputError
        It cannot be read.
    UsageError
        What is needed for such addresses is not installed.
    DiskFullError, OutputError
        It can be read as a whole only, and there is no room for a copy.
    """
    store, path = find_store(url)
    return _opened(make_item(store, path, shown(url)))


def open_object(value: Any) -> Access | str | None:
    """Open an object of fsspec from its position on; a path, if it is one of this machine; None for all others."""
    found = store_of(value)
    if found is None:
        return None
    store, path = found
    mode = str(getattr(value, "mode", "rb"))
    if "b" not in mode or not ("r" in mode or "+" in mode):
        raise UsageError(f"{shown(path)}: the file object must be open for reading, in binary mode")
    if getattr(value, "compression", None) is not None:
        return None
    base = int(value.tell()) if hasattr(value, "tell") else 0
    if protocol_of(store) in _LOCAL:
        return path if base == 0 else None
    return _opened(make_item(store, path), base)


def _opened(item: Item, base: int = 0) -> Access:
    try:
        return RemoteAccess(item, base)
    except NoRangesError:
        pass
    tell(f"{item.name}: the server gives no ranges of bytes; all of it is read into a temporary file first")
    access = temporary_access(item.name)

    def put(piece: bytes | None) -> None:
        if piece is None:
            access.truncate(0)
        else:
            access.pwrite(piece, access.size)

    try:
        item.spool(put)
    except BaseException as error:
        access.close()
        if isinstance(error, Exception):
            raise open_error(item.name, error) from None
        raise
    access.name = item.name
    if not base:
        return access
    try:
        return FileAccess(os.dup(access.fileno()), item.name, base=base)
    finally:
        access.close()
