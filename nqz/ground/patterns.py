"""How users name tensors: by name, or by a shell pattern."""

from __future__ import annotations

import fnmatch
import re

_SLICES = re.compile(r"(.*)\[([0-9*?]+)\]", re.DOTALL)


def matches(name: str, pattern: str) -> bool:
    """Whether a tensor is called so, or a shell pattern takes it.

    Brackets at the end are those of a slice, too: ``w[*]`` and ``*.w[1?]`` take ``w[12]``.
    """
    if name == pattern or fnmatch.fnmatchcase(name, pattern):
        return True
    if not name.endswith("]"):
        return False
    found = _SLICES.fullmatch(pattern)
    return found is not None and fnmatch.fnmatchcase(name, f"{found[1]}[[]{found[2]}]")
