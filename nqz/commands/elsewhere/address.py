"""Where workers elsewhere find what they read: a container by how its file is opened, and the digest that it has."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from nqz.files.access import has_address
from nqz.files.opening import open_part
from nqz.files.parked import Descriptors, ParkedAccess
from nqz.format.reader import ContainerReader
from nqz.ground.errors import InputError, UsageError


class Address(NamedTuple):
    """Where a container is.

    Attributes
    ----------
    opened : str or tuple
        A path, of files of which few are open at a time; else a function, and what it is called with.
    name : str
        What messages call it.
    digest : bytes
    """

    opened: str | tuple[Any, ...]
    name: str
    digest: bytes

    @classmethod
    def of(cls, reader: ContainerReader) -> Address:
        """That of an open container; UsageError if it has none."""
        access: Any = reader.access
        check_address(access, reader.name)
        parked = isinstance(access, ParkedAccess)
        opened = os.path.abspath(access.name) if parked else access.__reduce__()[:2]
        return cls(opened, reader.name, reader.digest)

    def open(self, descriptors: Descriptors | None = None) -> tuple[ContainerReader, Any]:
        """The container, and what is to be closed; `descriptors` are shared by those that have a path.

        Raises
        ------
        InputError
            It cannot be read, or is another one.
        """
        access: Any
        if isinstance(self.opened, str):
            access = open_part(self.opened, descriptors or Descriptors())
        else:
            access = self.opened[0](*self.opened[1])
        try:
            reader = ContainerReader(access, self.name)
            if reader.digest != self.digest:
                raise InputError(
                    f"{self.name}: is not the file that it was; workers must see the same storage"
                )
        except BaseException:
            access.close()
            raise
        return reader, access


def check_address(access: Any, where: str) -> None:
    """Raise UsageError unless other processes can open what is read."""
    if not has_address(access):
        raise UsageError(
            f"{where}: the workers of an executor read it by its path, which no pipe, no array in memory and nothing "
            "packed has; give files that all of them can read"
        )
