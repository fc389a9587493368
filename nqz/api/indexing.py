"""What an index of NumPy needs of an array that is not in memory: some entries of each axis, and what is left to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Selection: TypeAlias = "slice | npt.NDArray[np.int64]"
"""Some entries of an axis, in increasing order: a range with a positive step, or their numbers."""

Array: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True)
class Lookup:
    """An index, in two steps.

    Attributes
    ----------
    needed : tuple of Selection
        For each axis, what it takes.
    rest : tuple
        The index of NumPy that gives the result, of the array of these entries alone.
    """

    needed: tuple[Selection, ...]
    rest: tuple[Any, ...]


def lookup(index: Any, shape: tuple[int, ...]) -> Lookup:
    """Split an index.

    Raises
    ------
    IndexError
        The one of NumPy.
    """
    np.broadcast_to(np.uint8(0), shape)[index]  # raises what an array of this shape would
    items = _expanded(index if isinstance(index, tuple) else (index,), len(shape))
    needed: list[Selection] = []
    rest: list[Any] = []
    for item in items:
        if item is None or item is Ellipsis or _is_truth(item):  # takes up no axis
            rest.append(item)
            continue
        taken, left = select(item, shape[len(needed)])
        needed.append(taken)
        rest.append(left)
    return Lookup(tuple(needed), tuple(rest))


def select(item: Any, extent: int) -> tuple[Selection, Any]:
    """What an item of an index takes of its axis, and the item that picks the same from that."""
    if isinstance(item, slice):
        found = range(*item.indices(extent))
        if not found:
            return slice(0, 0, 1), slice(None)
        low, high = min(found[0], found[-1]), max(found[0], found[-1])
        step = abs(found.step) if len(found) > 1 else 1  # it may be beyond any integer of NumPy
        return slice(low, high + 1, step), slice(None, None, 1 if found.step > 0 else -1)
    numbers = np.asarray(item, np.int64)
    numbers = np.where(numbers < 0, numbers + extent, numbers)
    if isinstance(item, (int, np.integer)):
        return slice(int(numbers), int(numbers) + 1, 1), 0
    taken, places = np.unique(numbers, return_inverse=True)
    return taken, places.reshape(numbers.shape)


def length(selection: Selection) -> int:
    """How many entries it has."""
    if isinstance(selection, slice):
        return len(range(selection.start, selection.stop, selection.step))
    return len(selection)


def cut(array: Array, axis: int, selection: Selection) -> Array:
    """Some entries of one axis of an array in memory; a view where it can be."""
    found: Array = array[(slice(None),) * axis + (selection,)]
    return found


def _expanded(items: tuple[Any, ...], rank: int) -> list[Any]:
    """An item for every axis: masks as the numbers of what they choose, the ellipsis as slices."""
    found: list[Any] = []
    for item in items:
        if item is None or item is Ellipsis or isinstance(item, slice) or _is_truth(item):
            found.append(item)
        elif isinstance(item, (int, np.integer)):
            found.append(int(item))
        else:
            array = np.asarray(item)
            if array.size == 0 and not isinstance(item, np.ndarray) and array.dtype != bool:
                array = array.astype(np.int64)  # an empty list
            found += array.nonzero() if array.dtype == bool else [array]
    taken = sum(item is not None and item is not Ellipsis and not _is_truth(item) for item in found)
    fill = [slice(None)] * (rank - taken)
    for place, item in enumerate(found):
        if item is Ellipsis:
            return found[:place] + fill + found[place:]  # itself too: with it, a single entry is an array
    return found + fill


def _is_truth(item: Any) -> bool:
    """Whether it is True or False, an index that adds an axis."""
    return isinstance(item, (bool, np.bool_)) or (
        isinstance(item, np.ndarray) and item.ndim == 0 and item.dtype == bool
    )
