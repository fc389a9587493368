"""One side of a product: integers that are decoded chunk by chunk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nqz.stages import norms
from nqz.stages.columns import Lazy
from nqz.stages.estimate import Side


@dataclass(frozen=True)
class Stream:
    """The points of a block of columns as they are stored: column after column, cut into chunks anywhere.

    Attributes
    ----------
    order : ndarray of int64
        Which column of the block each vector of points is; columns that are missing are zero.
    chunks : sequence
        What `read` takes.
    read : callable
        read(chunk) gives the position of the chunk's first point in the stream, and its points, int32 of one dimension,
        which are valid until the same thread reads again. Called from several threads.
    """

    order: np.ndarray
    chunks: Sequence[Any]
    read: Callable[[Any], tuple[int, np.ndarray]]


@dataclass
class Operand:
    """One side of a product.

    Attributes
    ----------
    name : str
        For messages.
    side : Side
    m : int
        Kept coordinates.
    rotation_seed : int
    means : ndarray of float64, or Lazy, of shape (a,)
    mean_step : ndarray of float64, or Lazy, of shape (a,)
        Steps to which the means were rounded, in units of 2 ** exponent; 0 for exact ones.
    unit : ndarray of float64, or Lazy, of shape (a,)
        Worth of an integer in each column, in units of 2 ** exponent.
    exponent : int
        A power of two near the norm of the loudest column.
    blocks : list of tuple of int
        Ranges of columns that are stored together.
    stream : callable
        stream(first, last) gives the points of a block.
    """

    name: str
    side: Side
    m: int
    rotation_seed: int
    means: np.ndarray | Lazy
    mean_step: np.ndarray | Lazy
    unit: np.ndarray | Lazy
    exponent: int
    blocks: list[tuple[int, int]]
    stream: Callable[[int, int], Stream]

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.unit)

    def energies(self, columns=slice(None)) -> np.ndarray:
        """Energies of columns in units of 4 ** exponent."""
        return norms.energy(self.side.codes[columns], 512 * self.exponent)

    def spread(self, first: int, last: int) -> float:
        """Root mean square of the points of the loudest of some columns, as the norms have it."""
        unit, noise = self.unit[first:last], self.side.noise[first:last]
        coded = np.isfinite(noise) & (unit > 0)
        if not coded.any():
            return 0.0
        energy = self.energies(slice(first, last))[coded] * (1.0 + noise[coded]) / self.side.n
        return float(np.max(np.sqrt(energy) / unit[coded]))


def watched(operands: Sequence[Operand], progress: Callable[[float], Any]) -> list[Operand]:
    """The same operands; as their points are first read, `progress` is told what share of all of them it was.

    It is called from the threads that read, one at a time.
    """
    lock = threading.Lock()
    points = sum(int(np.isfinite(x.side.noise).sum()) * x.m for x in operands)
    left = 1.0

    def tell(count: int) -> None:
        nonlocal left
        with lock:
            share = min(left, count / points)
            if share > 0.0:
                left -= share
                progress(share)

    def watch(operand: Operand) -> Operand:
        def stream(first: int, last: int) -> Stream:
            inner = operand.stream(first, last)

            def read(chunk):
                start, found = inner.read(chunk)
                tell(len(found))
                return start, found

            return replace(inner, read=read)

        return replace(operand, stream=stream)

    return [watch(x) for x in operands]
