"""Opening what a command is given: a container, or a source of plain matrices, told apart by content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nqz.files.access import Access, MemoryAccess, open_input
from nqz.files.contract import Source
from nqz.files.foreign import refuse_foreign
from nqz.files.objects import closed_error
from nqz.files.source import format_of, read_source
from nqz.format.reader import ContainerReader
from nqz.format.records import MAGIC
from nqz.ground.errors import UnsupportedError, UsageError
from nqz.ground.sources import listed


class Opened:
    """An open input.

    Attributes
    ----------
    content : ContainerReader or Source
    identity : tuple of int or None
        Device and inode of a regular file.
    """

    def __init__(self, content: ContainerReader | Source, access: Access) -> None:
        self.content: Any = content
        self.identity = access.identity
        self._closes = content if isinstance(content, Source) else access
        self._access, self._checked = access, False

    def require_open(self) -> None:
        """Raise InputError once it is closed."""
        if self._access.closed:
            raise closed_error(self._access.name)

    def check(self) -> None:
        """Raise InputError if the file has changed since it was opened; to be called when what is needed was read."""
        self._access.check()
        self._checked = True

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise InputError after a block if the file has changed, whatever else is wrong then."""
        try:
            yield
        except Exception:
            self._access.check()
            raise
        self._access.check()

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


def open_file(target: Any, *, container: bool | None = None) -> Opened:
    """Open a container or a file of matrices.

    Parameters
    ----------
    target : path, binary file object, or access
        ``"-"`` is standard input; bytes-like objects other than paths go in as a `MemoryAccess`.
    container : bool, optional
        True: it must be a container; False: it must not be; None: either.

    Raises
    ------
    InputError, CorruptError, NewerFormatError, UnsupportedError
        It cannot be read, or is not what is needed.
    """
    access = target if isinstance(target, MemoryAccess) else open_input(target, in_place=container is True)
    try:
        start = bytearray(min(len(MAGIC), access.size))
        access.pread_into(start, 0)
        if container is None:
            container = start == MAGIC
        elif start == MAGIC and not container:
            raise UnsupportedError(f"{access.name}: is a .nqz container; a {listed()} file is expected here")
        elif start != MAGIC and container:
            _refuse_plain(access)
        content = ContainerReader(access, access.name) if container else read_source(access)
    except BaseException:
        access.close()
        raise
    return Opened(content, access)


def _refuse_plain(access: Access) -> None:
    """Raise UnsupportedError for a file of another kind, such as a matrix that has not been compressed."""
    refuse_foreign(access, "a .nqz container")
    known = format_of(access)
    start = bytearray(0 if known is None else known.kind.mark_at)
    access.pread_into(start, 0)
    # a short mark proves little, unless the length before it fits
    if known is not None and int.from_bytes(start, "little") <= access.size - len(start):
        raise UnsupportedError(
            f"{access.name}: is a .{known.kind.name} file, and not a .nqz container; compress it first, with nqz encode"
        )


@contextmanager
def open_two(first: Any, second: Any, **second_options: Any) -> Iterator[tuple[Opened, Opened]]:
    """Open two inputs, at most one of them standard input; the same file may be both."""
    if first == "-" and second == "-":
        raise UsageError("standard input can be one of the two inputs, not both")
    with open_file(first) as a, open_file(second, **second_options) as b:
        yield a, b
