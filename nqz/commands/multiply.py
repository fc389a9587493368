"""Products computed and written, and their standard deviations beside them, small ones side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.commands.advice import Advice, advice
from nqz.commands.advice import told as advised_text
from nqz.commands.matmul import MatmulOptions, Prepared, check, outline, prepare, tiles
from nqz.commands.pairs import Pair
from nqz.files.access import FileAccess, MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.sink import MatrixSink
from nqz.ground.sources import SOURCES
from nqz.ground.threads import SMALL, Workers
from nqz.ground.wording import counted
from nqz.product.deviation import Deviations

_FEW = 3
"""Products that a note names one by one."""

_COARSE = 0.01
"""Share of the entries, mostly off by the rounding to their type, that a note is made of."""


class Target(NamedTuple):
    """Where products are written: access to a file, and its kind, a key of `SOURCES`."""

    access: FileAccess | MemoryAccess
    kind: str


def multiply(
    pairs: list[Pair],
    access: FileAccess | MemoryAccess,
    kind: str,
    options: MatmulOptions,
    pool: Workers,
    progress: Callable[[str, float], object] | None = None,
    sigma: Target | None = None,
) -> dict[str, Any]:
    """Compute products and write them, small ones side by side.

    Parameters
    ----------
    pairs : list of Pair
    access
        Where the file is written.
    kind : str
        A key of `SOURCES`.
    options : MatmulOptions
    pool : Workers
    progress : callable, optional
        Called as progress(name, share of the work done): half of it is what `prepare` does.
    sigma : Target, optional
        Where the standard deviations are written.

    Returns
    -------
    dict
        ``shapes``, ``rates`` (of both sides), ``errors`` (expected), ``bands`` of these, and ``sigmas`` (see `told`,
        None if they are not wanted) of the products; ``notes`` and ``warnings``: list of str.

    Raises
    ------
    OperandError, UnsupportedError
        See `check`; or an entry does not fit the type of the product.
    """
    for pair in pairs:
        check(pair, options)
    outlines = [outline(pair, options) for pair in pairs]
    target = Target(access, kind)
    sink, beside = (None if one is None else _sink(one, pairs, outlines) for one in (target, sigma))
    assert sink is not None

    def work(index: int, inner: Workers) -> _Made:
        try:
            return made(pairs[index], index, inner)
        finally:
            pairs[index].release()

    def made(pair: Pair, index: int, inner: Workers) -> _Made:
        def report(share: float) -> None:
            if progress is not None:
                progress(pair.name, share / 2 / len(pairs))

        left = 1.0

        def watch(share: float) -> None:
            nonlocal left
            left -= share
            report(share)

        prepared = prepare(pair, options, inner, watch)
        report(left)  # what was not decoded: shares add up to 1
        deviations = None
        if beside is not None:
            deviations = prepared.product.deviations(
                prepared.measured, partial(_put, beside, index, prepared)
            )
        for share, _ in tiles(prepared, partial(_put, sink, index, prepared), inner, deviations):
            report(share)
        known = None if deviations is None else told(prepared, deviations)
        said = None if prepared.same else advice(pair)
        return _Made(
            prepared.rates, prepared.error, prepared.band, prepared.notes, prepared.same, known, said
        )

    found: dict[str, Any] = {
        "shapes": [shape for shape, _ in outlines],
        "rates": [],
        "errors": [],
        "bands": [],
        "sigmas": [],
        "notes": [],
    }
    small = [
        max(math.prod(pair.a.shape), math.prod(pair.b.shape), math.prod(shape)) <= SMALL
        for pair, (shape, _) in zip(pairs, outlines, strict=True)
    ]
    same, advised = [], []
    for pair, one in zip(pairs, pool.each(work, range(len(pairs)), small.__getitem__), strict=True):
        found["rates"].append(one.rates)
        found["errors"].append(one.error)
        found["bands"].append(one.band)
        found["sigmas"].append(one.sigma)
        found["notes"] += one.notes
        same += [pair.name] * one.same
        advised.append(one.advice)
    found["notes"] = list(dict.fromkeys([*_gram(same), *found["notes"], *advised_text(advised)]))
    found["warnings"] = coarse(outlines, found["sigmas"])
    for one in (sink, beside):
        if one is not None:
            one.finish()
    return found


def _sink(
    target: Target, pairs: Sequence[Pair], outlines: Sequence[tuple[tuple[int, ...], str]]
) -> MatrixSink:
    names = ["" if SOURCES[target.kind].alone else pair.name or "product" for pair in pairs]
    specs = [TensorSpec(name, *outlined) for name, outlined in zip(names, outlines, strict=True)]
    return MatrixSink(target.access, target.kind, specs)


def told(prepared: Prepared, deviations: Deviations) -> dict[str, Any]:
    """What there is to tell of the standard deviations of a product.

    ``least`` and ``greatest`` of those that are known, None if there are none; ``unknown``, the number of entries
    without one, and ``bound``, what these are off by at most, None if there are none; ``rounding``, the share of all
    entries of which more than half of the variance is rounding to their type.
    """
    found, entries = deviations.found, math.prod(prepared.shape)
    known = entries > found.unknown
    return {
        "least": found.least if known else None,
        "greatest": found.greatest if known else None,
        "unknown": found.unknown,
        "bound": deviations.bound(prepared.dtype) if found.unknown else None,
        "rounding": found.coarse / entries,
    }


def coarse(
    outlines: Sequence[tuple[tuple[int, ...], str]], sigmas: Sequence[dict[str, Any] | None]
) -> list[str]:
    """A warning where the type is what limits the estimates."""
    found = []
    for dtype, hint in (
        ("float32", "; --dtype float64 is more exact"),
        ("float64", ", the finest type there is"),
    ):
        shares = [
            (math.prod(shape), one["rounding"])
            for (shape, name), one in zip(outlines, sigmas, strict=True)
            if one is not None and name == dtype
        ]
        entries = sum(count for count, _ in shares)
        share = sum(count * share for count, share in shares) / max(1, entries)
        if share >= _COARSE:
            found.append(f"{share:.0%} of the entries are off by their rounding to {dtype} above all{hint}")
    return found


class _Made(NamedTuple):
    """What is to be told of a product, when nothing else of it is held any more."""

    rates: tuple[float, float]
    error: float
    band: tuple[float, float]
    notes: list[str]
    same: bool
    sigma: dict[str, Any] | None
    advice: Advice | None


def _gram(names: Sequence[str]) -> list[str]:
    """A note on the products whose two sides are one matrix."""
    if not any(names):  # none, or one product without a name
        return ["both sides are the same matrix: its diagonal comes from the norms"] * len(names)
    which = f" ({', '.join(names)})" if len(names) <= _FEW else ""
    diagonals = "its diagonal comes" if len(names) == 1 else "their diagonals come"
    what = f"both sides of {counted(len(names), 'product')}{which} are the same matrix"
    return [f"{what}: {diagonals} from the norms"]


def _put(sink: MatrixSink, index: int, prepared: Prepared, i: int, j: int, tile: NDArray[Any]) -> None:
    """Write a tile of product number `index`, of which it has rows i, … and columns j, …."""
    columns, size = prepared.product.b.columns, np.dtype(prepared.dtype).itemsize
    if tile.shape[1] == columns:
        sink.write_bytes(index, i * columns * size, tile)
        return
    for row in tile:
        sink.write_bytes(index, (i * columns + j) * size, row)
        i += 1
