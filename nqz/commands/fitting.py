"""Encoding to a number of bytes: the highest rate, in all, with which the files fit into it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nqz.commands.contents import Record, container_size, manifest
from nqz.commands.options import EncodeOptions
from nqz.commands.sharing import CLOSE, Infeasible, Sharing, Targets
from nqz.commands.treatment import EXACT, TIED, Treatment
from nqz.files.contract import Tensors
from nqz.format.exct import exact_pieces
from nqz.format.records import framed
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.ground.wording import counted
from nqz.models.sets import numbered
from nqz.plan.search import lower_rate, rate_within
from nqz.stages.panels import chunk_counts

_TRIES = 6
_AIM = 0.999  # of the bytes allowed, between too few and too many
Foresee = Callable[[Targets], list[str]]
"""Tells the names of matrices that will take less as they are than as codes with a target for each tensor."""

Encode = Callable[[Targets], dict[str, Any]]
"""Encodes everything with a target for each tensor, and reports."""


def exact_bytes(one: Treatment, pool: Workers) -> int:
    """Bytes of the records of a tensor that is carried exactly."""
    return sum(framed(len(piece)) for piece in exact_pieces(one.tensor.pieces(), each=pool.map))


def beside(sources: Sequence[Tensors], parts: Sequence[Sequence[Treatment]], options: EncodeOptions) -> int:
    """Bytes that containers take beside the records and the parameters of their tensors, about."""
    size = 0
    for source, chosen, place in zip(sources, parts, numbered(list(map(len, parts))), strict=True):
        records = [_records(one) for one in chosen]
        whole = container_size(manifest(source, chosen, options.metadata, place), records)
        size += whole - framed(*(length for own in records for _, length in own))
    return size


def _records(one: Treatment) -> list[Record]:
    """Records such as a tensor may have."""
    if one.kind == TIED:
        return []
    if one.kind == EXACT:
        return [("EXCT", 4 << 20)] * -(-one.tensor.nbytes >> 22)
    n, count = one.entries // one.vectors, one.vectors
    chunks = sum(number for _, number in chunk_counts(n, n, count, count))
    return [("NORM", count), ("MEAN", 2 * count), *[("CHNK", 1 << 19)] * chunks]


def encode_within(
    wanted: int, sharing: Sharing, beside: int, pool: Workers, encode: Encode, foresee: Foresee
) -> dict[str, Any]:
    """Encode tensors that share `wanted` bytes, close to them.

    Parameters
    ----------
    wanted : int
    sharing : Sharing
    beside : int
        Bytes that the containers take beside the records of tensors, and what else counts.
    pool : Workers
    encode : callable
    foresee : callable
        Asked where the bytes are too few unless some tensors are smaller as they are.

    Raises
    ------
    UsageError
        They do not fit; the least number of bytes is named.
    """
    other = sharing.options.other_bytes

    def fixed(sharing: Sharing) -> int:
        return sum(exact_bytes(one, pool) for one in sharing.tensors if one.kind == EXACT) + beside + other

    bits, beyond = 8.0 * (wanted - fixed(sharing)), False
    fit: tuple[float, int] | None = None  # bits that left too much, and the size of what came of them
    for tried in range(_TRIES):
        try:
            targets = sharing.for_bits(bits)
        except Infeasible as found:
            more = sharing.beyond(found)
            rest = sharing if more is None else sharing.carrying(foresee(more))
            if len(rest.matrices) == len(sharing.matrices):
                raise refuse_unfit(sharing, wanted, fixed(sharing), found) from None
            sharing, bits = rest, 8.0 * (wanted - fixed(rest))
            continue
        report = encode(targets)
        excess = report["file_bytes"] + other - wanted
        if excess <= 0 and (fit or wanted + excess >= CLOSE * wanted or is_most(sharing, targets)):
            return report
        if not sharing.matrices:
            raise _refused(sharing, wanted, wanted + excess)
        rest = sharing.carrying(report["carried"])
        if len(rest.matrices) < len(sharing.matrices) and tried < _TRIES // 2:
            # what is left of their share is for the others
            sharing, bits, beyond, fit = rest, 8.0 * (wanted - fixed(rest)), False, None
            continue
        if excess > 0 and fit is not None:  # what is wanted lies in between
            bits = fit[0] + (bits - fit[0]) * (_AIM * wanted - fit[1]) / (wanted + excess - fit[1])
            continue
        fit = (bits, wanted + excess) if excess <= 0 else None
        if (
            excess > 0
        ):  # what is set aside for headers is not all used: only if it is too much again does that count
            bits = (min(bits, report["bits"]) if beyond or is_most(sharing, targets) else bits) - 8.0
        beyond = beyond or excess > 0
        bits -= 8.0 * excess
    raise _refused(sharing, wanted, wanted + max(1, excess))


def is_most(sharing: Sharing, targets: Targets) -> bool:
    """Whether no matrix can get more."""
    return all(
        target is None or one.rate is not None or target.rate >= MAX_RATE
        for one, target in zip(sharing.tensors, targets, strict=True)
    )


def refuse_unfit(sharing: Sharing, wanted: int, fixed: int, found: Infeasible) -> UsageError:
    """The error for matrices that do not fit into so many bytes beside `fixed` ones."""
    return _refused(sharing, wanted, fixed + math.ceil(max(found.bits, sharing.least_bits) / 8.0))


def _refused(sharing: Sharing, wanted: int, least: int) -> UsageError:
    return UsageError(
        f"{sharing.where}: does not fit into {counted(wanted, 'byte')}; {counted(least, 'byte')} are enough"
    )


def encode_array_within(
    wanted: int, sharing: Sharing, beside: int, pool: Workers, encode: Encode, foresee: Foresee
) -> dict[str, Any]:
    """Encode a single array, at the highest rate with which the file fits into so many bytes; see `encode_within`."""
    entries, options = sharing.entries, sharing.options
    exact = sum(exact_bytes(one, pool) for one in sharing.tensors if one.kind == EXACT) + options.other_bytes
    rate = rate_within(wanted, exact, entries)
    least = exact + beside + math.ceil(sharing.least_bits / 8.0)
    for _ in range(_TRIES):
        if entries and rate < MIN_RATE:
            break
        report = encode(sharing.at_rate(rate))
        size = report["file_bytes"] + options.other_bytes
        if size <= wanted:
            return report
        least = size
        if not entries:
            break
        rate = lower_rate(rate, report["bits"], size - wanted, entries)
    raise _refused(sharing, wanted, max(least, wanted + 1))
