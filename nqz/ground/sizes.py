"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

from nqz.ground.errors import UsageError

SIZE_HELP = "bytes, or kB, MB, GB (powers of 1000), KiB, MiB, GiB (of 1024)"
"""What sizes look like, for the help of options."""

_SIZE = re.compile(r"([0-9]+|[0-9]*\.[0-9]+)(?:e\+?([0-9]{1,2}))?\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = ("", "k", "m", "g", "t")
_MOST = (1 << 63) - 1
_DIGITS = 100  # more make a number too large, or nothing of it


def read_size(text: str) -> int:
    """The bytes that a text with a number, and perhaps a unit, stands for; a fraction of one is left out.

    Raises
    ------
    UsageError
        It is none, or beyond all bounds.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no size in {SIZE_HELP}")
    number, exponent, power, binary = found.groups()
    unit = (1024 if binary else 1000) ** _POWERS.index(power.lower()) * 10 ** int(exponent or 0)
    whole, _, fraction = number[:_DIGITS].partition(".")
    size: int = int(whole or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
    if size > _MOST or (binary and not power):
        why = "is beyond 2**63 - 1 bytes" if size > _MOST else f"is no size in {SIZE_HELP}"
        raise UsageError(f"{text!r} {why}")
    return size
