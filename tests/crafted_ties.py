"""Manifests whose tensors equal what they cannot: none, a later one, one that is unlike them; or have records, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from container_builder import Container
from crafted_case import CARRIED, OPEN, PRODUCT, Case, changed

BASE = "tied"
"""Two matrices, two exact tensors, and what equals number 2, 0 and 2 of them."""

MATRIX, EXACT = 5, 4
"""Numbers of a matrix and of an exact tensor that equal an earlier one."""


def cases() -> Iterator[Case]:
    """All of them."""
    for what, edit in EDITS.items():
        yield Case(BASE, "MANI", what, changed(BASE, edit), 5, OPEN)
    for what, edit in ALLOWED.items():
        yield Case(BASE, "MANI", what, changed(BASE, edit), 0)
    yield Case("slices", "MANI", "equals a slice", changed("slices", _appended(1)), 5, OPEN)
    yield Case("slices", "MANI", "among slices", changed("slices", _among_slices), 5, OPEN)
    yield Case("z", "MANI", "one array that equals itself", changed("z", _alone), 5, OPEN)
    # seen by who opens the tensor
    yield Case(BASE, "EXCT", "a record of its own", changed(BASE, _record(EXACT, "EXCT")), 5, CARRIED)
    yield Case(BASE, "CHNK", "a record of its own", changed(BASE, _record(MATRIX, "CHNK")), 5, OPEN)
    newer = CARRIED - {"inspect"}
    yield Case(BASE, "EXCT", "a newer record", changed(BASE, _record(EXACT, "NEWS")), 6, newer)
    yield Case(BASE, "CHNK", "a newer record", changed(BASE, _record(MATRIX, "NEWS")), 6, newer | PRODUCT)
    for number in (2, EXACT):
        yield Case(
            BASE, "MANI", f"newer codec of {number}", changed(BASE, _set(number, 0, "more-1")), 6, newer
        )


def _set(tensor: int, field: int, value: Any) -> Callable[[Container], None]:
    return lambda parts: parts.manifest["tensors"][tensor].__setitem__(field, value)


def _all(*edits: Callable[[Container], object]) -> Callable[[Container], None]:
    def edit(parts: Container) -> None:
        for one in edits:
            one(parts)

    return edit


def _record(tensor: int, kind: str) -> Callable[[Container], None]:
    return lambda parts: parts.tensors[tensor].append((kind, bytes(12)))


def _removed(number: int) -> Callable[[Container], None]:
    def edit(parts: Container) -> None:
        del parts.manifest["tensors"][number], parts.tensors[number]

    return edit


def _moved(number: int, to: int) -> Callable[[Container], None]:
    def edit(parts: Container) -> None:
        for items in (parts.manifest["tensors"], parts.tensors):
            items.insert(to, items.pop(number))

    return edit


def _appended(number: int) -> Callable[[Container], None]:
    def edit(parts: Container) -> None:
        tensors = parts.manifest["tensors"]
        tensors.append(["tied-1", "another", *tensors[number][2:6], number, {}])
        parts.tensors.append([])

    return edit


def _among_slices(parts: Container) -> None:
    _appended(3)(parts)
    _moved(5, 3)(parts)
    _set(3, 6, 4)(parts)
    _moved(3, 2)(parts)


def _alone(parts: Container) -> None:
    entry = parts.manifest["tensors"][0]
    entry[0], entry[6] = "tied-1", 0


EDITS: dict[str, Callable[[Container], object]] = {
    "equals itself": _set(EXACT, 6, EXACT),
    "equals the next": _set(EXACT, 6, 6),
    "equals one that equals another": _set(6, 6, EXACT),
    "two that equal each other": _all(_set(EXACT, 6, 6), _set(6, 6, EXACT)),
    "equals one beyond all": _set(EXACT, 6, 7),
    "equals number 2**64 - 1": _set(EXACT, 6, 2**64 - 1),
    "equals number -1": _set(EXACT, 6, -1),
    "equals number True": _set(MATRIX, 6, True),
    "equals number 2.0": _set(EXACT, 6, 2.0),
    "equals nil": _set(EXACT, 6, None),
    "equals a name": _set(EXACT, 6, "bias"),
    "equals a list": _set(EXACT, 6, [2]),
    "equals a map": _set(EXACT, 6, {}),
    "parameters of a matrix": lambda parts: _set(MATRIX, 6, parts.manifest["tensors"][0][6])(parts),
    "a matrix equals another": _set(MATRIX, 6, 1),
    "a matrix equals an exact tensor": _set(MATRIX, 6, 2),
    "an exact tensor equals a matrix": _set(EXACT, 6, 0),
    "an exact tensor equals another": _set(EXACT, 6, 3),
    "another shape of the same size": _set(EXACT, 2, [5, 1]),
    "another shape of a matrix": _set(MATRIX, 2, [4, 24]),
    "another dtype of the same size": _set(EXACT, 3, "int32"),
    "another dtype of a matrix": _set(MATRIX, 3, "float16"),
    "a dtype that only a later release knows": _set(EXACT, 3, "float33"),
    "another byte order": _set(EXACT, 5, ">"),
    "another order": _set(MATRIX, 4, "F"),
    "the name of what it equals": _set(EXACT, 1, "bias"),
    "in front of what it equals": _moved(EXACT, 0),
    "what it equals is missing": _removed(0),
    "a value less": lambda parts: parts.manifest["tensors"][EXACT].pop(),
}  # fmt: skip

ALLOWED: dict[str, Callable[[Container], object]] = {
    "another name": _set(MATRIX, 1, "lm_head.weight"),
    "next to what it equals": _moved(EXACT, 3),
    "at another place among those that equal": _moved(6, EXACT),
    "extensions": _set(MATRIX, 7, {"org.example": [1]}),
    "a last one less": _removed(6),
}  # fmt: skip
