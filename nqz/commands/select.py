"""Which tensors a command takes."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from nqz.ground.errors import UsageError


def select(names: Sequence[str], patterns: Sequence[str], where: str) -> list[int]:
    """Indices of the names that a list of names or shell patterns takes; all for an empty list."""
    if not patterns:
        return list(range(len(names)))
    taken: set[int] = set()
    for pattern in patterns:
        found = [i for i, n in enumerate(names) if n == pattern or fnmatch.fnmatchcase(n, pattern)]
        if not found:
            raise UsageError(f"{where}: no tensor is called {pattern!r}")
        taken.update(found)
    return sorted(taken)
