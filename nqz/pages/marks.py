"""What is remarkable about a tensor: in a word for a label, and in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.wording import counted
from nqz.pages.numbers import bits, percent, plain, share

OVER = 4.0
"""Errors that are so many times the median are marked: what a bit an entry is worth."""

FAR = 0.25
"""Bits over the median distance from the limit, and over the limit, that are marked."""

UNUSED = 0.05
"""Share of the rate that was asked for which may be unused."""

OVERHEAD = 0.25
"""Share of the bytes of a matrix that may be anything but its entries."""

EXACT_SHARE = 0.02
"""Share of all bytes that a tensor carried exactly may take."""

_SEVERAL = 4  # matrices of which one can be unlike the rest


class Mark(NamedTuple):
    """Something remarkable: a word for a label, a sentence, and whether something is wrong."""

    word: str
    text: str
    serious: bool = False


class Usual(NamedTuple):
    """What is usual in a container: its median error and distance from the limit, None if few have one; all bytes."""

    error: float | None
    excess: float | None
    bytes: int

    @classmethod
    def of(cls, errors: Sequence[float], excesses: Sequence[float], size: int) -> Usual:
        """What is usual of these."""
        return cls(
            median(errors) if len(errors) >= _SEVERAL else None,
            median(excesses) if len(excesses) >= _SEVERAL else None,
            size,
        )


def marks(
    tensor: dict[str, Any], excess: float | None, measured: dict[str, Any] | None, usual: Usual
) -> list[Mark]:
    """What is remarkable about a tensor.

    Parameters
    ----------
    tensor : dict
        What `inspect` says of it.
    excess : float, optional
        Bits from the limit.
    measured : dict, optional
        What `compare` says of it.
    usual : Usual
    """
    found = [] if measured is None else _wrong(measured)
    if tensor["kind"] == "unknown" and not found:
        found.append(Mark("newer", "only a later release can read it", True))
    if tensor["same_as"] is not None:
        return found
    if tensor["kind"] == "exact":
        return found + _exact(tensor, usual)
    if tensor["kind"] != "matrix":
        return found
    return found + _error(tensor, excess, usual) + _coded(tensor)


def _wrong(measured: dict[str, Any]) -> list[Mark]:
    if measured["ok"]:
        return []
    word = "damaged" if measured["damaged"] else "newer" if measured["newer"] else "off"
    return [Mark(word, str(measured["problem"] or "not as it should be"), True)]


def _exact(tensor: dict[str, Any], usual: Usual) -> list[Mark]:
    part = tensor["bytes"]["total"] / usual.bytes if usual.bytes else 0.0
    if part < EXACT_SHARE:
        return []
    why = "" if is_matrix_dtype(tensor["dtype"]) else f": {tensor['dtype']} is not compressed"
    return [Mark("exact", f"carried exactly, {share(part)} of all bytes{why}")]


def _error(tensor: dict[str, Any], excess: float | None, usual: Usual) -> list[Mark]:
    found, error = [], tensor["predicted"]["product"]
    if error is None:
        found.append(Mark("range", "its error is beyond float64"))
    elif usual.error and error > OVER * usual.error:
        ratio = math.sqrt(error / usual.error)
        found.append(Mark("error", f"products are off by {percent(error)}, {plain(ratio)} times the median"))
    if excess is not None and usual.excess is not None and excess > max(usual.excess, 0.0) + FAR:
        found.append(
            Mark("far", f"{bits(excess)} bits an entry from the limit; the median is {bits(usual.excess)}")
        )
    return found


def vectors(tensor: dict[str, Any]) -> int:
    """How many vectors a matrix has."""
    shape = tensor["shape"]
    return 1 if len(shape) == 1 else int(shape[-1] if tensor["axis"] == 0 else shape[0])


def _coded(tensor: dict[str, Any]) -> list[Mark]:
    found, sizes, others = [], tensor["bytes"], tensor["predicted"]["others"]
    columns = vectors(tensor)
    if tensor["rate_asked"] is not None and tensor["rate"] < tensor["rate_asked"] * (1.0 - UNUSED):
        left = tensor["rate_asked"] - tensor["rate"]
        found.append(
            Mark(
                "unused",
                f"{bits(left)} of the {bits(tensor['rate_asked'])} bits an entry asked for are unused",
            )
        )
    if tensor["dropped"]:
        found.append(
            Mark(
                "quiet",
                f"{tensor['dropped']} of {counted(columns, 'vector')} too quiet to be coded: taken for zero",
            )
        )
    if others is not None:
        rest = (
            ""
            if others["product"] is None
            else f"; products of the others are off by {percent(others['product'])}"
        )
        found.append(
            Mark(
                "loud",
                f"{others['loud']} of {counted(others['columns'], 'vector')} far louder than the rest{rest}",
            )
        )
    beside = sizes["total"] - (sizes["chunks"] or 0)
    if sizes["total"] and beside > OVERHEAD * sizes["total"]:
        found.append(
            Mark("overhead", f"{share(beside / sizes['total'])} of its bytes are norms, means and parameters")
        )
    return found
