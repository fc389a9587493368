"""A collection: named parts, each an open file, and the part that every tensor is in.

A lone file is a collection of one part. A *model* is a collection in a folder, with an index or without one. Whoever
works on a collection need not know which it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from nqz.ground.cached import cached_property
from nqz.ground.errors import CorruptError, UsageError
from nqz.ground.patterns import no_tensor
from nqz.ground.urls import joined
from nqz.models.opened import Opened

if TYPE_CHECKING:
    from nqz.format.part_set import PartSet
    from nqz.models.index import Index


class Part:
    """A file of a collection.

    Attributes
    ----------
    name : str
        Relative to the model.
    opened : Opened
    """

    def __init__(self, name: str, opened: Opened) -> None:
        self.name, self.opened = name, opened

    @property
    def content(self) -> Any:
        """What it holds: a ContainerReader or a Source."""
        return self.opened.content

    @property
    def tensors(self) -> list[Any]:
        """Its tensors, in order: of a container a TensorInfo each, else a SourceTensor."""
        found = getattr(self.content, "manifest", self.content)
        return list(found.tensors)


class Collection:
    """Parts that belong together, open; a context manager that closes them.

    Parameters
    ----------
    name : str
        What messages call it.
    parts : list of Part
    lone : bool
        Whether it is a file that was given by itself, and no model.
    directory : str, optional
        Where a model is, if it is all that is there.
    index : Index, optional
    grid : PartSet, optional
        The manifest of a part set, whose parts are those of one matrix.
    origin : str, optional
        Where the configuration of a model is looked for; by default `directory`.

    Raises
    ------
    CorruptError
        A tensor is in two parts.
    """

    def __init__(
        self, name: str, parts: list[Part], *, lone: bool = False, directory: str | None = None,
        index: Index | None = None, origin: str | None = None, grid: PartSet | None = None,
    ) -> None:  # fmt: skip
        self.name, self.parts, self.lone = name, parts, lone
        self.directory, self.index, self.grid = directory, index, grid
        self._origin = directory if origin is None else origin

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The ``config.json`` of a model, if it has one.

        Raises
        ------
        InputError, CorruptError
            It cannot be read, or is no JSON.
        """
        if self._origin is None:
            return None
        from nqz.models.config import read_config

        return read_config(joined(self._origin, "config.json"))

    @property
    def contents(self) -> list[Any]:
        """What the parts hold, each a ContainerReader or a Source."""
        return [part.content for part in self.parts]

    @property
    def identities(self) -> list[tuple[int, int] | None]:
        """Device and inode of each part that is a regular file."""
        return [part.opened.identity for part in self.parts]

    @property
    def tensors(self) -> list[Any]:
        """The tensors of all parts, in order."""
        return [tensor for part in self.parts for tensor in part.tensors]

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        places: dict[str, tuple[int, int]] = {}
        owners: dict[str, int] = {}  # of the tensors of sources, in slices or not
        for number, part in enumerate(self.parts):
            for index, tensor in enumerate(part.tensors):
                name = getattr(tensor, "whole_name", tensor.name)
                if owners.setdefault(name, number) != number and not (self.lone or self.grid):
                    other = self.parts[owners[name]].name
                    which = f"tensor {name!r}" if name else "an array without a name"
                    raise CorruptError(
                        f"{self.name}: {which} is in {other} and in {part.name}; give the files that belong together"
                    )
                places[tensor.name] = number, index
        return places

    @cached_property
    def by_name(self) -> dict[str, Any]:
        """The tensors of all parts by name."""
        return {tensor.name: tensor for tensor in self.tensors}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    def find(self, name: str) -> tuple[Part, int]:
        """The part that a tensor is in, and its number there.

        Raises
        ------
        UsageError
            There is none of that name.
        """
        if name not in self._places:
            raise UsageError(f"{self.name}: {no_tensor(name, self._places, pattern=False)}")
        number, index = self._places[name]
        return self.parts[number], index

    def check(self) -> None:
        """Raise InputError if a part has changed since it was opened; to be called when what is needed was read."""
        for part in self.parts:
            part.opened.check()

    def close(self) -> None:
        """Close all parts."""
        for part in self.parts:
            part.opened.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        leave(self.parts, error)


def leave(parts: Iterable[Part], error: BaseException | None) -> None:
    """Close parts; an input that has changed meanwhile is what is wrong, whatever `error` says."""
    changed: BaseException | None = None
    for part in parts:
        try:
            part.opened.__exit__(None, error, None)
        except Exception as found:
            changed = changed or found
    if changed is not None:
        raise changed
