"""Addresses of objects that are not files of this machine, as people may see them: without what opens them."""

from __future__ import annotations

import os
import re
from typing import Any

_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]+://", re.DOTALL)
_BEGIN = r"[A-Za-z0-9+.:-]{1,64}://"  # of a bounded length: it is sought in texts of any length
_INSIDE = re.compile(
    rf"(?<='){_BEGIN}[^\s']+|(?<=\"){_BEGIN}[^\s\"]+|(?<=<){_BEGIN}[^\s>]+|{_BEGIN}[^\s]*[^\s:,.;)]"
)
"""Addresses in a text: to the quotation mark, where one stands before, else to a space."""
_READ_ONLY = ("http://", "https://", "hf://")
_LOCAL = ("file://", "local://")


def is_url(target: object) -> bool:
    """Whether it is the address of an object that is not a file of this machine."""
    return isinstance(target, str) and _URL.match(target) is not None and not target.startswith(_LOCAL)


def takes_nothing(url: str) -> bool:
    """Whether nothing can be written where an address leads."""
    return url.lower().startswith(_READ_ONLY)


def local(target: Any) -> Any:
    """The path of a ``file://`` address; everything else as it is."""
    if isinstance(target, str) and target.startswith(_LOCAL):
        return target.partition("://")[2] or "/"
    return target


def shown(target: str) -> str:
    """A path or address as people may see it: without user and password, and without a query, such as a signature."""
    return _bare(target) if is_url(target) else target


def redacted(text: str) -> str:
    """A text, all addresses in it as people may see them."""
    if "://" not in text:
        return text
    return _INSIDE.sub(lambda found: found[0] if found[0].startswith(_LOCAL) else _bare(found[0]), text)


def _bare(url: str) -> str:
    """An address as people may see it, chained ones too; in time that is linear in its length.

    A password may have ``@`` in it, ``?`` and ``#``; and ``/``, where what follows the colon is no port.
    """
    end = next((at for at, c in enumerate(url) if c in "?#"), len(url))
    first, *places = url[:end].split("://")
    if places and "/" not in places[-1] and "@" in url[end:].partition("/")[0]:
        places[-1] = ""  # nobody knows what of it is a password
    return "://".join([first, *map(_without_user, places)])


def _without_user(place: str) -> str:
    host, slash, path = place.partition("/")
    if "@" in host:
        return host.rpartition("@")[2] + slash + path
    _, colon, port = host.partition(":")
    if (
        colon
        and port
        and not port.isdecimal()
        and not host.startswith("[")
        and "::" not in host
        and "@" in path
    ):
        return path.partition("@")[2]
    return place


def suffix(target: Any) -> str:
    """What the name of a path or address ends in, in lower case and without the dot."""
    return os.path.splitext(base(os.fsdecode(target)))[1].lower()[1:]


def joined(folder: str, name: str) -> str:
    """The path or address of what is in a folder; a query stays at its end."""
    if not is_url(folder):
        return os.path.join(folder, name)
    place, query = _parted(folder)
    return f"{place.rstrip('/')}/{name}{query}"


def named(folder: str, name: str) -> str:
    """The path or address of a file in a folder, or below it, by its name, none of which is read as part of an address.

    Examples
    --------
    >>> print(named("https://host/a", "b#%2e.nqz"), named("s3://bucket/a", "b#.nqz"))
    https://host/a/b%23%252e.nqz s3://bucket/a/b#.nqz
    """
    if folder.startswith(("http://", "https://")):
        from urllib.parse import quote

        name = quote(name, safe="/", errors="surrogateescape")
    return joined(folder, name)


def folder_of(target: str) -> str:
    """The path or address of the folder that something is in; a query stays at its end."""
    if not is_url(target):
        return os.path.dirname(target)
    place, query = _parted(target)
    return place.rpartition("/")[0] + query


def base(target: str) -> str:
    """The name that a path or address ends in."""
    return os.path.basename(_parted(target)[0] if is_url(target) else target)


def with_suffix(target: str, known: Any, new: str) -> str:
    """A path or address with another suffix in place of one of those known, or behind its name."""
    place, query = _parted(target) if is_url(target) else (target, "")
    stem, found = os.path.splitext(place)
    return f"{stem if found.lower()[1:] in known else place}.{new}{query}"


def absolute(target: str) -> str:
    """What a path or address is called wherever one is; the same for all ways to a file."""
    return target if is_url(target) else os.path.realpath(local(target))


def _parted(url: str) -> tuple[str, str]:
    """What names an object, and what follows: a query, and what it is in where addresses are chained by ``::``."""
    first = re.match(r"(?:[^:]+::)*?[^:]+://(?:(?!::)[^?#])*", url)
    place = url if first is None else first[0]
    return place, url[len(place) :]
