"""What a user should know of an input, found out far below whoever talks to users."""

from __future__ import annotations

import warnings
from collections.abc import Callable

_told: list[Callable[[str], object]] = []


def tell(text: str) -> None:
    """Say it, on the command line as a note, else as a warning of Python."""
    if _told:
        _told[-1](text)
    else:
        warnings.warn(text, stacklevel=2)


def told_by(function: Callable[[str], object] | None) -> None:
    """Have a function called with what is to be said, from now on; None: nobody's."""
    _told[:] = [] if function is None else [function]
