"""The ``config.json`` of a model: what kind of network it is."""

from __future__ import annotations

import os
from typing import Any

from nqz.files.access import reason
from nqz.files.parked import Descriptors, ParkedAccess
from nqz.ground.errors import InputError
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
    if not os.path.lexists(path):
        return None
    try:
        access = ParkedAccess(path, path, Descriptors())
    except OSError as error:
        raise InputError(f"{path}: cannot open: {reason(error)}") from error
    try:
        return parse_object(read_text(access, path), path, strict=False)
    finally:
        access.close()
