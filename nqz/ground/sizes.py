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


def size_text(size: float) -> str:
    """A number of bytes in the largest unit of which there is one, to three digits.

    Examples
    --------
    >>> size_text(999), size_text(262144), size_text(2.5e12)
    ('999 B', '262 kB', '2.5 TB')
    """
    power = 0
    while size >= 999.5 and power < len(_POWERS) - 1:
        size, power = size / 1000.0, power + 1
    return f"{size:.3g} {_POWERS[power] if power < 2 else _POWERS[power].upper()}B"
