"""How users name tensors: by name, or by a shell pattern."""

from __future__ import annotations

import fnmatch


def matches(name: str, pattern: str) -> bool:
    """Whether a tensor is called so, or a shell pattern takes it."""
    return name == pattern or fnmatch.fnmatchcase(name, pattern)
