"""Manifests whose slices are not those of a tensor: some are missing, doubled, elsewhere, or not alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from container_builder import Container
from crafted_case import OPEN, Case, changed
from crafted_manifest import newer_seen

BASE = "slices"
"""Three slices of experts.w, a bias, two of stack."""


def cases() -> Iterator[Case]:
    """All of them."""
    for what, edit in EDITS.items():
        yield Case(BASE, "MANI", what, changed(BASE, edit), 5, OPEN)
    # seen by who opens the matrix
    yield Case(BASE, "MANI", "a matrix that is a map", changed(BASE, _slice(1, 2, {})), 5, OPEN)
    yield Case(BASE, "MANI", "another name", changed(BASE, _renamed), 0)
    for what in ("slice-2", "Slice-1"):
        data = changed(BASE, lambda parts, what=what: _last(parts).__setitem__(0, what))
        # what a later release knows may not be a slice, and the others are not all
        yield Case(BASE, "MANI", f"codec {what} of the last", data, 5, OPEN)
    both = changed(BASE, _newer)
    yield Case(BASE, "MANI", "codec slice-2 of all", both, 6, newer_seen(BASE, 4))


def _last(parts: Container) -> Any:
    return parts.manifest["tensors"][5]


def _set(tensor: int, field: int, value: Any) -> Callable[[Container], None]:
    return lambda parts: parts.manifest["tensors"][tensor].__setitem__(field, value)


def _slice(tensor: int, field: int, value: Any) -> Callable[[Container], None]:
    return lambda parts: parts.manifest["tensors"][tensor][6].__setitem__(field, value)


def _removed(*numbers: int) -> Callable[[Container], None]:
    def edit(parts: Container) -> None:
        for number in sorted(numbers, reverse=True):
            del parts.manifest["tensors"][number], parts.tensors[number]

    return edit


def _moved(number: int, to: int) -> Callable[[Container], None]:
    def edit(parts: Container) -> None:
        for items in (parts.manifest["tensors"], parts.tensors):
            items.insert(to, items.pop(number))

    return edit


def _all(*edits: Callable[[Container], object]) -> Callable[[Container], None]:
    def edit(parts: Container) -> None:
        for one in edits:
            one(parts)

    return edit


def _matrix(parts: Container) -> None:
    _set(1, 6, parts.manifest["tensors"][1][6][2])(parts)


def _renamed(parts: Container) -> None:
    for tensor in (4, 5):
        parts.manifest["tensors"][tensor][1] = f"another[0][{tensor - 4}]"


def _newer(parts: Container) -> None:
    for tensor in (4, 5):
        parts.manifest["tensors"][tensor][0] = "slice-2"


EDITS: dict[str, Callable[[Container], object]] = {
    "the first slice is missing": _removed(0),
    "the second slice is missing": _removed(1),
    "the last slice is missing": _removed(2),
    "the last slice of all is missing": _removed(5),
    "only the last slice is there": _removed(0, 1),
    "a slice is behind another tensor": _moved(2, 3),
    "slices in another order": _moved(0, 1),
    "one slice less": _all(*(_slice(n, 1, 2) for n in (0, 1, 2))),
    "one slice more": _all(*(_slice(n, 1, 4) for n in (0, 1, 2))),
    "more slices than a file can have": _all(*(_slice(n, 1, 2**62) for n in (0, 1, 2))),
    "another number of slices for one": _slice(1, 1, 4),
    "an index twice": _slice(1, 0, 0),
    "an index beyond all": _slice(2, 0, 3),
    "index -1": _slice(0, 0, -1),
    "index True": _slice(1, 0, True),
    "index 1.0": _slice(1, 0, 1.0),
    "index nil": _slice(1, 0, None),
    "slices 0": _slice(0, 1, 0),
    "slices 2**64 - 1": _slice(0, 1, 2**64 - 1),
    "slices nil": _slice(0, 1, None),
    "no parameters": _set(1, 6, None),
    "parameters of a matrix": _matrix,
    "parameters without a matrix": lambda parts: parts.manifest["tensors"][1][6].pop(),
    "one parameter more": lambda parts: parts.manifest["tensors"][1][6].append(None),
    "a matrix nil": _slice(1, 2, None),
    "a name without brackets": _set(1, 1, "experts.w"),
    "a name with a leading zero": _set(1, 1, "experts.w[01]"),
    "a name of another tensor": _set(1, 1, "experts.v[1]"),
    "a name with the index of another slice": _set(1, 1, "experts.w[4]"),
    "the name of the tensor is taken": _set(3, 1, "experts.w"),
    "two tensors of one name": _all(_set(4, 1, "experts.w[0]"), _set(5, 1, "experts.w[1]")),
    "another shape for one": _set(1, 2, [3, 14]),
    "one dimension": _set(4, 2, [60]),
    "64 dimensions": _all(*(_set(n, 2, [1] * 61 + [3, 5, 4]) for n in (4, 5))),
    "another dtype for one": _set(1, 3, "float16"),
    "another order": _set(1, 4, "F"),
    "a matrix among slices": _all(_set(1, 0, "nqz-1"), _matrix),
    "an exact slice": _set(1, 0, "exact-1"),
}  # fmt: skip
