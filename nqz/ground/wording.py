"""Words of messages that depend on a number, and names as they can be shown."""

from __future__ import annotations

from collections.abc import Iterable

_PLURAL = {"entry": "entries", "matrix": "matrices", "query": "queries"}
_SINGULAR = {"are": "is"}


def one_of(things: Iterable[str]) -> str:
    """A, b or c."""
    *before, last = things
    return " or ".join([", ".join(before), last] if before else [last])


def counted(number: int, thing: str, verb: str = "") -> str:
    """1 entry, 2 entries; with a verb, as it is in the plural, 1 byte is missing, 2 bytes are missing.

    Parameters
    ----------
    number : int
    thing : str
        In the singular, perhaps of several words; the last one is counted.
    verb : str
        Such as "are", or "follow".
    """
    if number != 1:
        *before, last = thing.split(" ")
        thing = " ".join([*before, _PLURAL.get(last, last + "s")])
    elif verb:
        verb = _SINGULAR.get(verb, verb + "s")
    return f"{number} {thing} {verb}".rstrip()


def escape(text: str) -> str:
    """Replace what does not print (control characters, line ends, direction marks) by escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
