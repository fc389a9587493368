"""Products of a few vectors with a large side, chunk by chunk as it is decoded, or without ever decoding it.

Where a coding multiplies its chunks itself, vectors are integers of int16: rounded once, where that is nothing beside
the noise of the other side, else taken apart into several.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.threads import Workers
from nqz.product.operand import Operand, Watch
from nqz.product.stream import Stream
from nqz.product.tiles import HELD, Raw

_FEW = 16
"""So many vectors are multiplied with each chunk as it is decoded."""

_FEW_MULTIPLIED = 64
"""So many, where chunks are multiplied as they are coded."""

SHORT = 127 * 128 + 63
"""The largest entry of a vector that a coding multiplies with."""

_UNSEEN = 2.0**-12
"""The share of the variance of noise that rounding a vector may add."""


@dataclass(frozen=True)
class ShortVectors:
    """Vectors as sums of vectors of small entries, each times a power of two.

    Attributes
    ----------
    parts : ndarray of int16, shape (parts * vectors, m)
        The parts of all vectors that have most of them, then what these leave.
    shifts : ndarray of int64, shape (parts, vectors)
        Which powers.
    """

    parts: NDArray[np.int16]
    shifts: NDArray[np.int64]

    @classmethod
    def of(cls, vectors: NDArray[np.int32], noise: float) -> ShortVectors:
        """Vectors that are rounded only if that adds next to nothing to the relative noise of what they multiply."""
        rest, parts, shifts = vectors.astype(np.int64), [], []
        energy = np.square(vectors, dtype=np.float64).sum(axis=1)
        while True:
            shift = np.zeros(len(rest), np.int64)
            peak = np.abs(rest).max(axis=1, initial=0)
            while (large := _rounded(peak, shift) > SHORT).any():
                shift += large
            part = _rounded(rest, shift[:, np.newaxis])
            rest -= part << shift[:, np.newaxis]
            parts.append(part.astype(np.int16))
            shifts.append(shift)
            left = np.square(rest, dtype=np.float64).sum(axis=1)
            if (left <= _UNSEEN * noise * energy).all():
                return cls(np.concatenate(parts), np.array(shifts))

    def whole(self, products: NDArray[np.int64]) -> NDArray[np.int64]:
        """Products with the vectors from those with their parts, shape (columns, vectors)."""
        found: NDArray[np.int64] = (products.reshape(len(products), *self.shifts.shape) << self.shifts).sum(1)
        return found


def _rounded(x: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[np.int64]:
    half: NDArray[np.int64] = (np.int64(1) << shift) >> 1
    return (x + half) >> shift


def few_products(
    small: Operand, large: Operand, turned: bool, pool: Workers, watch: Watch | None
) -> Raw | None:
    """Raw products of a side of few columns with a large one, block by block; None if these are not few.

    Parameters
    ----------
    small, large : Operand
    turned : bool
        Whether the small side is the first one.
    pool : Workers
    watch : Watch, optional
        Told of the points that are read.
    """
    most = _FEW if large.most_point is None else _FEW_MULTIPLIED
    if small.columns > most or small.m != large.m or 4 * small.columns * small.m > HELD:
        return None
    vectors = np.zeros((small.columns, small.m), np.int32)
    for first, last in small.blocks:
        _fill(small, first, last, vectors[first:last], pool, watch)
    weight = float(np.abs(vectors.astype(np.float64)).sum(axis=1).max(initial=0.0))
    short = None
    if large.most_point is not None and large.most_point * weight < 2.0**53:
        short = ShortVectors.of(vectors, large.least_noise())

    def take(stream: Stream, chunk: Any) -> tuple[Any, Any, int]:
        if stream.multiply is not None and short is not None:
            start, products = stream.multiply(chunk, short.parts)
            low = start // large.m
            return stream.order[low : low + len(products)], short.whole(products), large.most_point or 0
        start, points = stream.read(chunk)
        low, high = start // large.m, (start + len(points) - 1) // large.m + 1
        part = np.empty((high - low, small.columns), np.int64)
        return stream.order[low:high], part, kernels.point_products(points, start, vectors, part)

    found: Raw = {}
    for first, last in large.blocks:  # one by one: of very many vectors, what stands beside a block is large
        stream = large.stream(first, last, pool)
        if watch is not None:
            stream = watch.over(stream)
        out, peak = np.zeros((last - first, small.columns), np.int64), 0.0
        for order, part, most_point in pool.map(partial(take, stream), stream.chunks):
            if most_point * weight >= 2.0**53:
                return None
            out[order] += part
            peak = max(peak, most_point * weight)
        raw = np.ascontiguousarray(out.T if turned else out, np.int32 if peak < 2.0**30 else np.float64)
        for i, j in small.blocks:  # as the general path has it: sums of energies run block by block
            found[(i, first) if turned else (first, i)] = raw[i:j] if turned else raw[:, i:j]
    return dict(sorted(found.items()))


def _fill(
    operand: Operand, first: int, last: int, out: NDArray[np.int32], pool: Workers, watch: Watch | None
) -> None:
    """Decode all vectors of a block to the rows of an array."""
    stream = operand.stream(first, last, pool)
    if watch is not None:
        stream = watch.over(stream)

    def copy(chunk: Any) -> None:
        start, points = stream.read(chunk)
        kernels.narrow(points, start, stream.order, out)

    for _ in pool.map(copy, stream.chunks):
        pass
