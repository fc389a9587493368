"""Text that is HTML already, and everything else, which becomes harmless on its way into it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape as quoted

from nqz.ground.wording import escape

LONGEST = 160
"""Characters of a name that are shown; in the middle of longer ones some are left out."""


class Markup(str):
    """HTML; whatever is no `Markup` is text."""


def element(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """An element, its children text unless they are `Markup`; attributes that are None are left out.

    Examples
    --------
    >>> element("b", {"title": '"', "hidden": None}, "<i>", element("br"))
    '<b title="&quot;">&lt;i&gt;<br></b>'
    """
    given = "".join(
        f' {key}="{quoted(str(value))}"' for key, value in (attributes or {}).items() if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    if name in _DRAWN and not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


_VOID = {"br", "meta", "link", "input"}
_DRAWN = {"rect", "circle", "line", "path", "use"}


def joined(*parts: object) -> Markup:
    """Parts one after the other, text unless they are `Markup`."""
    return Markup("".join(part if isinstance(part, Markup) else quoted(str(part)) for part in parts))


def shown(name: str, longest: int = LONGEST) -> str:
    r"""A name as it can be shown: what does not print is an escape, and one that is very long is shortened.

    Examples
    --------
    >>> print(shown("a" + chr(0x202E) + "b"), shown("0123456789", 4))
    a\u202eb 01…89
    """
    text = escape(name)
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[len(text) - longest // 2 :]}"
    return text
