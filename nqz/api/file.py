"""An open container that tensors share, and how it is found again where it is unpickled."""

from __future__ import annotations

import os
from typing import Any

from nqz.api.arguments import as_target
from nqz.commands.opening import Opened, open_file
from nqz.format.reader import ContainerReader
from nqz.ground.errors import InputError, UnsupportedError


class File:
    """An open container. What is not closed is closed with the last tensor that uses it.

    Parameters
    ----------
    source : path, binary file object, or bytes

    Attributes
    ----------
    opened : Opened
    reader : ContainerReader
    """

    def __init__(self, source: Any) -> None:
        self.opened: Opened = open_file(as_target(source), container=True)
        self.reader: ContainerReader = self.opened.content
        self._address = _address(source, self.opened)

    def __reduce__(self) -> tuple[Any, ...]:
        self.opened.require_open()
        if self._address is None:
            raise UnsupportedError(
                f"{self.reader.name}: was opened from a file object, which cannot be pickled; open it by its path"
            )
        return _reopened, (self._address, self.reader.digest)


def _address(source: Any, opened: Opened) -> str | bytes | None:
    """What it can be opened by again: a path, or the bytes themselves; None for pipes and file objects."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if hasattr(source, "read") or opened.identity is None:
        return None
    path = os.fsdecode(source)
    return None if path == "-" else os.path.abspath(path)


def _reopened(address: str | bytes, digest: bytes) -> File:
    """Open what was pickled; `InputError` if it is another file by now."""
    file = File(address)
    if file.reader.digest != digest:
        file.opened.close()
        raise InputError(f"{file.reader.name}: is not the file that was pickled; it has been replaced since")
    return file
