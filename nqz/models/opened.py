"""An open input: a container, or a source of plain matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nqz.files.access import Access
from nqz.files.contract import Source
from nqz.files.objects import closed_error
from nqz.format.reader import ContainerReader


class Opened:
    """An open input.

    Attributes
    ----------
    content : ContainerReader or Source
    access : Access
    identity : tuple or None
        Device and inode of a regular file, or where an object is.
    """

    def __init__(self, content: ContainerReader | Source, access: Access) -> None:
        self.content: Any = content
        self.identity = access.identity
        self._closes = content if isinstance(content, Source) else access
        self.access, self._checked = access, False

    def require_open(self) -> None:
        """Raise InputError once it is closed."""
        if self.access.closed:
            raise closed_error(self.access.name)

    def check(self) -> None:
        """Raise InputError if the file has changed since it was opened; to be called when what is needed was read."""
        self.access.check()
        self._checked = True

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise InputError after a block if the file has changed, whatever else is wrong then."""
        try:
            yield
        except Exception:
            self.access.check()
            raise
        self.access.check()

    def close(self) -> None:
        """Close the file, and what a source has beside it."""
        self._closes.close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            # an input that has changed is what is wrong, whatever else came of it
            if isinstance(error, Exception) or (error is None and not self._checked):
                self.check()
        finally:
            self.close()
