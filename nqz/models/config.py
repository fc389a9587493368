"""The ``config.json`` of a model: what kind of network it is."""

from __future__ import annotations

from typing import Any

from nqz.files.opening import open_part
from nqz.files.parked import Descriptors
from nqz.files.places import exists
from nqz.models.index import parse_object, read_text


def read_config(path: str) -> dict[str, Any] | None:
    """The object in a file of JSON; None if there is no such file.

    Raises
    ------
    InputError, UnsupportedError
        It cannot be read, or is too large.
    CorruptError
        It is no object of JSON.
    """
    if not exists(path):
        return None
    access = open_part(path, Descriptors())
    try:
        return parse_object(read_text(access, path), path, strict=False)
    finally:
        access.close()
