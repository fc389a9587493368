"""How users name tensors: by name, or by a shell pattern."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from itertools import islice

_SLICES = re.compile(r"(.*)\[([0-9*?]+)\]", re.DOTALL)


def matches(name: str, pattern: str) -> bool:
    """Whether a tensor is called so, or a shell pattern takes it.

    Brackets at the end are those of a slice, too: ``w[*]`` and ``*.w[1?]`` take ``w[12]``.
    """
    if name == pattern or fnmatch.fnmatchcase(name, pattern):
        return True
    if not name.endswith("]"):
        return False
    found = _SLICES.fullmatch(pattern)
    return found is not None and fnmatch.fnmatchcase(name, f"{found[1]}[[]{found[2]}]")


def literal(name: str) -> str:
    """A pattern that takes the tensor of a name, and no other."""
    return re.sub(r"[*?[]", r"[\g<0>-\g<0>]", name)  # ranges, which no brackets of slices have


_FEW = 500
"""Names among which similar ones are sought: that takes some microseconds for each."""


def no_tensor(wanted: str, names: Iterable[str], *, pattern: bool = True) -> str:
    """That there is no tensor of a name, or none that a pattern takes, and which may be meant.

    Names that contain what is wanted come first; among few there may be similar ones.

    Parameters
    ----------
    wanted : str
    names : iterable of str
        Of all tensors.
    pattern : bool
        Whether a pattern may be given.
    """
    text, known, core = f"no tensor is called {wanted!r}", list(names), wanted.strip("*")
    near = list(islice((name for name in known if core and core.lower() in name.lower()), 3))
    if len(near) > 2 and pattern and all(matches(name, f"*{core}*") for name in near):
        return f"{text}; did you mean '*{core}*'?"
    if not pattern and ("*" in wanted or "?" in wanted):
        near = near or list(islice((name for name in known if matches(name, wanted)), 2))
        text += "; a name is needed here, no pattern"
    if not near and len(known) <= _FEW:
        import difflib

        near = difflib.get_close_matches(wanted, known, n=2, cutoff=0.6)
    return f"{text}; did you mean {' or '.join(map(repr, near[:2]))}?" if near else text
