"""Which tensors of containers are taken: slices joined again where all of a tensor are."""

from __future__ import annotations

from collections.abc import Sequence

from nqz.commands.select import select, select_parts
from nqz.format.slices import Whole, wholes
from nqz.format.tensors import TensorInfo


def numbers_taken(tensors: Sequence[TensorInfo], patterns: Sequence[str], where: str) -> list[int]:
    """Numbers of the items of manifests that a list of names or shell patterns takes, by their names or their tensor's.

    Raises
    ------
    UsageError
        A pattern takes nothing.
    """
    if not patterns:
        return list(range(len(tensors)))
    names = [*(info.name for info in tensors), *(info.whole_name for info in tensors)]
    return sorted({number % len(tensors) for number in select(names, patterns, where)})


def taken(tensors: Sequence[TensorInfo], patterns: Sequence[str], where: str) -> list[Whole]:
    """What a list of names or shell patterns takes of a container, in order; all for an empty list.

    The name of a tensor takes all its slices. Of a tensor of which only some are taken, each is one by itself.

    Raises
    ------
    UsageError
        A pattern takes nothing.
    """
    return taken_parts([tensors], patterns, where)[0]


def taken_parts(
    parts: Sequence[Sequence[TensorInfo]], patterns: Sequence[str], where: str
) -> list[list[Whole]]:
    """The same for the tensors of several containers: each pattern must take one of any of them."""
    found = [wholes(tensors) for tensors in parts]
    if not patterns:
        return found
    sliced = [[whole for whole in every if whole.sliced] for every in found]
    names = [
        [*(info.name for info in tensors), *(whole.name for whole in some)]
        for tensors, some in zip(parts, sliced, strict=True)
    ]
    result = []
    for tensors, every, some, numbers in zip(
        parts, found, sliced, select_parts(names, patterns, where), strict=True
    ):
        single = {number for number in numbers if number < len(tensors)}
        single.update(
            n for number in numbers if number >= len(tensors) for n in some[number - len(tensors)].members
        )
        result.append([one for whole in every for one in _joined(tensors, whole, single)])
    return result


def _joined(tensors: Sequence[TensorInfo], whole: Whole, numbers: set[int]) -> list[Whole]:
    """A tensor if all of it is taken, else what is."""
    some = [number for number in whole.members if number in numbers]
    if len(some) == len(whole.members):
        return [whole]
    return [Whole(tensors[n].name, tensors[n].shape, range(n, n + 1), False) for n in some]
