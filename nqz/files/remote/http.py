"""Objects of servers for http, through the session of fsspec: every answer is checked to be the range asked for.

fsspec takes whatever a server sends for the range; one that knows of no ranges sends all of the object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from nqz.files.remote.items import Item, whole
from nqz.files.remote.trouble import ChangedError, NoRangesError

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_EMPTY = re.compile(r"bytes \*/0+")
_PIECE = 1 << 20


class HttpItem(Item):
    """An object of a server; every answer tells whether it is still the same object."""

    def __init__(self, store: Any, path: str, name: str | None = None) -> None:
        super().__init__(store, path, name)
        self._tag: str | None = None
        self._date: str | None = None
        self._begun = False

    def begin(self, length: int) -> bytes:
        """See `Item.begin`."""

        async def read() -> bytes:
            return await self._get(0, length)

        found: bytes = self.waited(read).result()
        return found

    def submit(self, start: int, stop: int) -> Future[bytes]:
        """See `Item.submit`."""

        async def read() -> bytes:
            return whole(await self._get(start, stop), start, stop)

        return self.waited(read)

    def check(self) -> None:
        """See `Item.check`; all that was read was of one object, or its reading failed."""

    async def _get(self, start: int, stop: int) -> bytes:
        session, options = await self._session({"Range": f"bytes={start}-{stop - 1}"})
        async with session.get(self.store.encode_url(self.path), **options) as answer:
            headers = answer.headers
            if answer.status == 404:
                raise FileNotFoundError(self.name)
            if answer.status == 416 and not self._begun and _EMPTY.fullmatch(_said(headers)):
                self._same(headers, 0)
                return b""
            if answer.status == 416 and self._begun:
                raise ChangedError(self.name)
            answer.raise_for_status()
            found = _RANGE.fullmatch(_said(headers))
            if (
                answer.status != 206
                or found is None
                or headers.get("Content-Encoding", "identity") != "identity"
            ):
                raise NoRangesError(self.name)
            self._same(headers, int(found[3]))
            if int(found[1]) != start or int(found[2]) + 1 != min(stop, self.size):
                raise NoRangesError(self.name)
            # no more than was asked for, whatever it sends
            return bytes(await answer.content.readexactly(min(stop, self.size) - start))

    @property
    def facts(self) -> tuple[Any, ...]:
        """See `Item.facts`."""
        return self.size, self._tag, self._date

    def is_as(self, facts: tuple[Any, ...]) -> bool:
        """See `Item.is_as`; servers beside each other may have tags of their own for one object."""
        size, tag, date = facts
        return size == self.size and (tag == self._tag or (date is not None and date == self._date))

    def _same(self, headers: Mapping[str, str], size: int) -> None:
        """Remember what the first answer says of the object; ChangedError if a later one says something else."""
        facts = size, headers.get("ETag"), headers.get("Last-Modified")
        if not self._begun:
            (self.size, self._tag, self._date), self._begun = facts, True
        elif not self.is_as(facts):
            raise ChangedError(self.name)

    async def _session(self, headers: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
        options = dict(self.store.kwargs)
        options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity", **headers}
        return await self.store.set_session(), options

    def spool(self, put: Callable[[bytes | None], object]) -> None:
        """See `Item.spool`; None tells that it begins anew."""

        async def read() -> None:
            session, options = await self._session({})
            put(None)
            async with session.get(self.store.encode_url(self.path), **options) as answer:
                answer.raise_for_status()
                while piece := await answer.content.read(_PIECE):
                    put(piece)

        self.waited(read).result()


def _said(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Range", "")
