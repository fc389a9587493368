"""Which tensors a command takes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from nqz.ground.errors import UsageError
from nqz.ground.patterns import matches, no_tensor


def select(names: Sequence[str], patterns: Sequence[str], where: str) -> list[int]:
    """Indices of the names that a list of names or shell patterns takes; all for an empty list."""
    return select_parts([names], patterns, where)[0]


def select_parts(names: Sequence[Sequence[str]], patterns: Sequence[str], where: str) -> list[list[int]]:
    """The same for the names of several parts: each pattern must take one of any part."""
    if not patterns:
        return [list(range(len(part))) for part in names]
    taken: list[set[int]] = [set() for _ in names]
    for pattern in patterns:
        found = [{i for i, name in enumerate(part) if matches(name, pattern)} for part in names]
        if not any(found):
            raise UsageError(f"{where}: {no_tensor(pattern, chain.from_iterable(names))}")
        taken = [before | more for before, more in zip(taken, found, strict=True)]
    return [sorted(part) for part in taken]
