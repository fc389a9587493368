"""What can go wrong with a server, what is worth another try, and how it is said without what nobody should see."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from nqz.ground.errors import InputError, NqzError
from nqz.ground.urls import redacted

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before a request is tried again, each time longer; after the last it has failed."""

LONGEST = 10.0
"""Seconds that a server can ask for."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_AGAIN = (408, 425, 429)
_FINAL = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    TypeError,
    AttributeError,
    ImportError,
)
_TRIED = ("EndpointConnectionError", "ConnectTimeoutError")
"""What clients say that have tried several times by themselves."""
_BROKEN = (
    "ClientPayloadError",
    "ServerDisconnectedError",
    "IncompleteReadError",
    "IncompleteRead",
    "ReadError",
)
_ASTRAY = {
    "TooManyRedirects": "the server redirects without end",
    "NonHttpUrlRedirectClientError": "the server redirects to what is no address for http",
    "InvalidUrlRedirectClientError": "the server redirects to what is no address",
}
"""Answers that the library follows no further."""
_SPACES = re.compile(r"\s+")


class ShortError(Exception):
    """Fewer bytes came than were asked for."""


class NoRangesError(Exception):
    """The server gives a whole object only."""


class ChangedError(Exception):
    """The object is not what it was."""


def worth_another_try(error: BaseException) -> bool:
    """Whether a request that failed so may succeed a moment later."""
    if isinstance(error, (NqzError, NoRangesError, ChangedError, *_FINAL)) or not isinstance(
        error, Exception
    ):
        return False
    if "Credential" in (name := type(error).__name__) or name in _TRIED or name in _ASTRAY:
        return False
    status = status_of(error)
    return status is None or not 400 <= status < 500 or status in _AGAIN


def status_of(error: BaseException) -> int | None:
    """The status that a server answered with."""
    response: Any = getattr(error, "response", None)
    for found in (getattr(error, "status", None), getattr(response, "status_code", None)):
        if isinstance(found, int):
            return found
    return None


def in_words(error: BaseException) -> str:
    """What an error of a library says, on one line, without secrets."""
    if (astray := _ASTRAY.get(type(error).__name__)) is not None:
        return astray
    status = status_of(error)
    if status is not None and type(error.__cause__).__module__.startswith("aiohttp.http"):
        return "what the server answers is not http, or too long"
    if status is not None:
        return f"the server answers {status} {_line(getattr(error, 'message', '') or '')}".rstrip()
    if isinstance(error, FileNotFoundError):
        return "no such object"
    if isinstance(error, PermissionError):
        return "access denied; are credentials set, and do they allow it?"
    if isinstance(error, ConnectionRefusedError):
        return "the server refuses the connection"
    if isinstance(error, ConnectionError) or type(error).__name__ in _BROKEN:
        return "the connection breaks"
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "the server does not answer"
    return _line(error) or type(error).__name__


def pause(error: BaseException, usual: float) -> float:
    """Seconds to wait before another try: as many as the server asks for, as far as that is not long."""
    asked: Any = getattr(error, "headers", None)
    said = str(asked.get("Retry-After", "")) if hasattr(asked, "get") else ""
    return max(usual, min(float(said), LONGEST)) if _NUMBER.fullmatch(said) else usual


def _line(said: object) -> str:
    text = _SPACES.sub(" ", redacted(str(said))).strip()
    return text[:197] + "..." if len(text) > 200 else text


def read_error(name: str, start: int, stop: int, error: BaseException) -> NqzError:
    """The error of nqz for a range that could not be read."""
    if isinstance(error, NqzError):
        return error
    if isinstance(error, ChangedError):
        return InputError(f"{name}: changed while it was being read")
    tries = f" (tried {len(PAUSES) + 1} times)" if worth_another_try(error) else ""
    return InputError(f"{name}: cannot read bytes {start} to {stop}: {in_words(error)}{tries}")


def open_error(name: str, error: BaseException) -> NqzError:
    """The error of nqz for an object that could not be opened."""
    if isinstance(error, NqzError):
        return error
    if isinstance(error, ChangedError):
        return InputError(f"{name}: changed while it was being read")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{name}: is a directory, not a file")
    tries = f" (tried {len(PAUSES) + 1} times)" if worth_another_try(error) else ""
    return InputError(f"{name}: cannot open: {in_words(error)}{tries}")
