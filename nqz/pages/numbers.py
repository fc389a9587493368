"""Numbers as pages show them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nqz.ground.sizes import size_text

NONE = "–"
"""Where there is no number."""


def percent(error: float | None) -> str:
    """The root of a relative squared error in per cent.

    Examples
    --------
    >>> percent(0.0289), percent(1.0), percent(1e-12)
    ('17.0 %', '100 %', '0.000100 %')
    """
    return NONE if error is None else share(math.sqrt(max(error, 0.0)))


def share(value: float) -> str:
    """A share in per cent, to three digits."""
    return "0 %" if value == 0.0 else f"{_digits(100.0 * value)} %"


def plain(value: float | None) -> str:
    """A number to three digits, without an exponent where that is readable.

    Examples
    --------
    >>> plain(1234.5), plain(0.012), plain(1e-9), plain(-0.5), plain(3.0)
    ('1230', '0.012', '1e-9', '−0.5', '3')
    """
    if value is None:
        return NONE
    text = _digits(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _digits(value: float) -> str:
    """Three digits, zeros at the end included."""
    if value == 0.0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = int(exponent)
    if -5 < power < 7:
        text = f"{float(f'{value:.2e}'):.{max(2 - power, 0)}f}"
    else:
        text = f"{mantissa.rstrip('0').rstrip('.')}e{power}"
    return text.replace("-", "−", 1) if value < 0.0 else text


def bits(value: float | None) -> str:
    """Bits, to two places."""
    return NONE if value is None else f"{value:.2f}".replace("-", "−")


def size(value: float) -> str:
    """A number of bytes in a handy unit."""
    return size_text(value)


def grouped(value: int) -> str:
    """An integer, its digits in groups of three, a narrow space between them."""
    return f"{value:,}".replace(",", "\u202f")


def shape(dimensions: Iterable[int]) -> str:
    """A shape as 4096 × 1024; "scalar" for none."""
    return " × ".join(map(str, dimensions)) or "scalar"


def times(value: float) -> str:
    """How many times smaller something is."""
    return f"{value:.3g}×"
