"""Exact scores of a few vectors of what a corpus was made from, of which only these vectors are read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.commands.factors import Factor, Plain
from nqz.files.vectors import VectorView
from nqz.ground.dtypes import bfloat16_to_float32
from nqz.ground.errors import OperandError, UnsupportedError
from nqz.ground.wording import counted
from nqz.product.likeness import Frame

_GAP = 12 << 10
"""Bytes between two vectors that are read, rather than read twice."""

_ENTRIES = 1 << 18
"""Entries of vectors that are read at a time, and of pairs that are multiplied."""


class Original:
    """What a corpus was made from, and which of its vectors were read.

    Parameters
    ----------
    plain : Plain
        With the vectors along the axis of the corpus.
    corpus : Factor

    Raises
    ------
    OperandError
        It is of another shape.
    """

    def __init__(self, plain: Plain, corpus: Factor):
        if plain.shape != corpus.shape:
            raise OperandError(
                f"{plain.where}: {_shape(plain.shape)} where {corpus.where} is {_shape(corpus.shape)}; give the "
                "array that it was made from"
            )
        self.where, self.corpus = plain.where, corpus.where
        self.view = plain.view
        self._bits = np.zeros(-(-self.view.count // 8), np.uint8)

    @property
    def read(self) -> int:
        """How many different vectors were read."""
        counts = np.array([byte.bit_count() for byte in range(256)], np.int64)
        return int((np.bincount(self._bits, minlength=256) * counts).sum())

    def groups(self, index: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Places in an array of vectors, ascending by vector: so many as are worked on at a time."""
        order = np.argsort(index, kind="stable")
        step = max(1, _ENTRIES // self.view.length)
        for first in range(0, len(order), step):
            yield order[first : first + step]

    def note(self, index: NDArray[np.int64]) -> None:
        """Count vectors as read."""
        np.bitwise_or.at(self._bits, index >> 3, (1 << (index & 7)).astype(np.uint8))

    def rows(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Some vectors, their numbers ascending, one a row.

        Raises
        ------
        UnsupportedError
            An entry is not finite.
        """
        n, view = self.view.length, self.view
        gap = 1 + _GAP // (view.itemsize * (n if view.memory == "vector-major" else 1))
        wide = max(1, _ENTRIES // n)
        out = np.empty((len(index), n))
        edges = [0]
        for place in range(1, len(index)):
            apart = index[place] - index[place - 1] > gap
            if apart or index[place] - index[edges[-1]] >= wide:
                edges.append(place)
        for low, high in pairwise([*edges, len(index)]):
            if low < high:
                block = as_floats(view, int(index[low]), int(index[high - 1]) + 1)
                out[low:high] = block[index[low:high] - index[low]]
        bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
        if len(bad):
            raise UnsupportedError(f"{self.where}: vector {int(index[bad[0]])} is not finite")
        return out


def as_floats(view: VectorView, first: int, last: int) -> NDArray[np.float64]:
    """Vectors of a file, one a row."""
    block = view.read(first, last)
    wide = bfloat16_to_float32(block) if view.bfloat16 else block
    return np.ascontiguousarray(wide.T, np.float64)


def exact(frame: Frame, x: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of pairs of vectors, row by row, as `Frame` has them inside, for `l2` less ‖q‖²/2: -‖x - q‖²/2.

    Sums are halved until nothing is left, so that a score depends on its own pair alone.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        x, q = np.ldexp(x, -frame.left), np.ldexp(q, -frame.right)
        if frame.metric == "l2":
            found: NDArray[np.float64] = -0.5 * _summed(np.square(x - q))
            return found
        found = _summed(x * q)
        if frame.metric == "cosine":
            norm = np.sqrt(_summed(x * x)) * np.sqrt(_summed(q * q))
            found = np.divide(found, norm, out=np.zeros(len(found)), where=norm > 0.0)
    return found


def half_square(frame: Frame, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """What scores of `exact` lack beside those of `Likeness`, for each query."""
    if frame.metric != "l2":
        return np.zeros(len(q))
    with np.errstate(over="ignore"):
        return 0.5 * _summed(np.square(np.ldexp(q, -frame.right)))


def _summed(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of rows, in an order that depends on their length alone."""
    while terms.shape[1] > 1:
        half = (terms.shape[1] + 1) // 2
        low = terms[:, :half].copy()
        low[:, : terms.shape[1] - half] += terms[:, half:]
        terms = low
    found: NDArray[np.float64] = terms[:, 0]
    return found


def refuse_other(original: Original, vector: int, off: float) -> OperandError:
    """The error for an original that does not belong to its corpus."""
    return OperandError(
        f"{original.where}: vector {vector} is {off:.3g} standard deviations from what {original.corpus} says of it; "
        "give the array that it was made from"
    )


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or counted(0, "dimension")
