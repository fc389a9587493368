"""An open container or model that tensors share, and how it is found again where it is unpickled."""

from __future__ import annotations

import os
from typing import Any

from nqz.api.arguments import as_target, is_stored
from nqz.commands.opening import open_collection
from nqz.ground.errors import InputError, UnsupportedError
from nqz.ground.urls import is_url, local
from nqz.models.collection import Collection


class File:
    """An open container, or those of a model. What is not closed is closed with the last tensor that uses it.

    Parameters
    ----------
    source : path, sequence of paths, binary file object, or bytes

    Attributes
    ----------
    collection : Collection
    """

    def __init__(self, source: Any) -> None:
        self.collection: Collection = open_collection(as_target(source), container=True, sets=True)
        self._address = _address(source, self.collection)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.collection.name

    @property
    def digests(self) -> tuple[bytes, ...]:
        """Digest of each part."""
        return tuple(reader.digest for reader in self.collection.contents)

    def __reduce__(self) -> tuple[Any, ...]:
        for part in self.collection.parts:
            part.opened.require_open()
        if self._address is None:
            raise UnsupportedError(
                f"{self.name}: was opened from a file object or a pipe, which cannot be pickled; open it by its path"
            )
        return _reopened, (self._address, self.digests)


def _address(source: Any, collection: Collection) -> Any:
    """What it can be opened by again: paths, or the bytes themselves; None for pipes and file objects."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (list, tuple)):
        found = [_address(one, collection) for one in source]
        return None if None in found else found
    if is_url(source):
        return source
    if hasattr(source, "pread_into") or (is_stored(source) and None not in collection.identities):
        return collection.parts[0].opened.access
    if hasattr(source, "read") or None in collection.identities:
        return None
    path = os.fsdecode(local(source))
    return None if path == "-" else os.path.abspath(path)


def _reopened(address: Any, digests: tuple[bytes, ...]) -> File:
    """Open what was pickled; `InputError` if it is another file by now."""
    file = File(address)
    if file.digests != digests:
        file.collection.close()
        raise InputError(f"{file.name}: is not the file that was pickled; it has been replaced since")
    return file
