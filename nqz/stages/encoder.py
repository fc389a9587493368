"""The encoder of Figure 1: center, rotate, project, scale, dither, lattice, mod.

`rotated` (or `centered` and `turn`) takes columns of a panel to rotated coordinates; `encode_chunk` takes a chunk of that stream to bytes.
"""

from __future__ import annotations

import struct

import numpy as np

from nqz import kernels
from nqz.stages import dither, scale
from nqz.stages.codings import entropy
from nqz.stages.codings.voronoi import digit_bytes, packing
from nqz.stages.columns import Columns
from nqz.stages.panels import Chunk, Panel, Recent, panels
from nqz.stages.parameters import Parameters
from nqz.stages.project import project
from nqz.stages.rotate import rotate, signs


class Encoder:
    """Codes the panels of one matrix.

    Parameters
    ----------
    parameters : Parameters
    codes : ndarray of int32, shape (a,)
        Norm codes.
    means : ndarray of float64, shape (a,)
        The stored means, zero for a matrix that is not centered.
    """

    def __init__(self, parameters: Parameters, codes: np.ndarray, means: np.ndarray):
        p = self.parameters = parameters
        self.means = means
        columns = Columns(codes)
        self.exponents = columns.of(scale.exponents)
        self.forward = columns.of(lambda codes: scale.forward(codes, p.delta, p.allocate))
        self._scales = s = scale.Scales(columns, p)
        self.panels = panels(p.n, p.m, s.classes, s.kept)
        self._known = Recent()
        self.key = dither.halves(p.dither_key)
        self.tables = entropy.Tables(p.lattice, s.used) if p.coding == "entropy" else None

    @property
    def classes(self) -> np.ndarray:
        """Class of the coder of each column; int16 of shape (a,)."""
        return np.asarray(self._scales.classes)

    def centered(
        self, panel: Panel, block: np.ndarray, bfloat16: bool, first: int, row: int, stream: np.ndarray
    ) -> None:
        """Center rows of a panel and put them in their places in the stream, where `turn` has to rotate the columns.

        Parameters
        ----------
        block : ndarray, shape (rows, w)
            Entries row, row + 1, … of columns first, first + 1, … of the panel as they are stored in the source
            (bfloat16 as uint16).
        bfloat16 : bool
        stream : ndarray of float32, shape (kept columns, n)
        """
        rows, width = block.shape
        columns = slice(panel.first + first, panel.first + first + width)
        place = panel.place[first : first + width]
        out = stream[:, row : row + rows]
        kernels.center(block, bfloat16, self.means[columns], self.exponents[columns], out, place)

    def turn(self, stream: np.ndarray) -> None:
        """Rotate centered rows of the stream in place."""
        rotate(stream, self.parameters.rotation_seed)

    def rotated(
        self,
        columns: slice | np.ndarray,
        block: np.ndarray,
        bfloat16: bool,
        place: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        """Center, rotate and project columns, and put them in their places in rows of a stream.

        Parameters
        ----------
        columns : slice or ndarray of int64
            Which columns of the matrix they are.
        block : ndarray, shape (n, w)
            Their entries as they are stored in the source (bfloat16 as uint16).
        bfloat16 : bool
        place : ndarray of int64, shape (w,)
            Row of each column; those with a negative one are passed over.
        rows : ndarray of float32, shape (r, m)
        """
        p = self.parameters
        out, kept = rows, place
        if p.m < p.n:
            here = place >= 0
            kept = place[here]
            place, out = np.where(here, np.cumsum(here) - 1, -1), np.empty((len(kept), p.n), np.float32)
        kernels.center(
            block,
            bfloat16,
            self.means[columns],
            self.exponents[columns],
            out,
            place,
            signs(p.rotation_seed, p.n),
        )
        if p.m < p.n:
            rows[kept] = project(out, p.rotation_seed, p.m)

    def _columns(self, panel: Panel) -> tuple[np.ndarray, np.ndarray | None]:
        """Factors to fixed point and coder tables of a panel's columns in the order of the stream."""

        def columns():
            here, order = slice(panel.first, panel.last), panel.order
            classes = self._scales.classes[here][order]
            tables = None if self.tables is None else self.tables.of_columns(classes)
            return self.forward[here][order], tables

        return self._known.of(panel.first, columns)

    def working_points(self, chunk: Chunk) -> int:
        """Points of a chunk, rounded up to whole groups on all lanes."""
        return entropy.padded(self.parameters.lattice, chunk.count, entropy.lanes_of(chunk.count))

    def encode_chunk(
        self, panel: Panel, chunk: Chunk, u: np.ndarray, points: np.ndarray | None = None
    ) -> tuple[list[bytes | np.ndarray], tuple[int, int]]:
        """Code one chunk.

        Parameters
        ----------
        u : ndarray of float32, shape (chunk.count,)
            The chunk's piece of the panel's stream.
        points : ndarray of int32, optional
            Working memory, at least as many entries as `working_points` says.

        Returns
        -------
        payload : list of bytes-like
            Its sections, to be stored one after the other.
        moments : tuple of int
            Σ t y and Σ y² over the chunk (Voronoi coding; zeros otherwise), t the scaled entry in fixed point.
        """
        p = self.parameters
        forward, tables = self._columns(panel)
        lanes = entropy.lanes_of(chunk.count)
        size = entropy.padded(p.lattice, chunk.count, lanes)
        counter = chunk.number * dither.CHUNK_WORDS
        place = (chunk.start, p.m)
        points = np.empty(size, np.int32) if points is None else points[:size]
        if p.nesting is None:
            kernels.nearest(p.lattice.index, u, *place, forward, *self.key, counter, lanes, points)
            coded = kernels.entropy_encode(
                p.lattice.index, points, chunk.count, *place, tables,
                lanes, *self.key, counter, *self.tables.arguments,
            )  # fmt: skip
            return pack_entropy(*coded), (0, 0)
        choice = p.nesting.choice(size // (p.lattice.group * lanes))
        digits, beta = np.empty(size, np.uint16), np.empty(size // p.lattice.group, np.uint8)
        moments = kernels.voronoi_encode(
            p.lattice.index, u, *place, forward, *self.key, counter, lanes,
            np.array(p.nesting.q, np.int32), np.array(p.nesting.multipliers, np.int32), choice, digits, beta, points,
        )  # fmt: skip
        return pack_voronoi(p.nesting.q, choice, digits, beta, lanes), moments


def pack_entropy(states, words, code, low, escapes) -> list[bytes | np.ndarray]:
    """Lay out an entropy-coded chunk: states, sizes of words and escapes, words, code bits, raw low bits, escapes."""
    sizes = struct.pack("<II", len(words), len(escapes))
    return [_little(states), sizes, _little(words), code, low, escapes]


def _little(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def pack_voronoi(q, choice, digits, beta, lanes) -> list[bytes | np.ndarray]:
    """Lay out a Voronoi-coded chunk: frequencies of the scale index, its rANS stream, digits of each q."""
    count = np.bincount(beta, minlength=4)
    frequency = np.maximum(1, count * entropy.TOTAL // len(beta))
    frequency[count.argmax()] += entropy.TOTAL - frequency.sum()
    cumulative = np.concatenate([[0], np.cumsum(frequency)]).astype(np.uint16)
    states, words = kernels.rans_encode(beta, cumulative, lanes)
    parts = [frequency[:3].astype("<u2"), _little(states), struct.pack("<I", len(words)), _little(words)]
    rows = digits.reshape(len(choice), -1)
    for which, ratio in enumerate(q):
        chosen = np.ascontiguousarray(rows[choice == which]).ravel()
        packed = kernels.pack_digits(chosen, ratio, *packing(ratio))
        assert len(packed) == digit_bytes(len(chosen), ratio)
        parts.append(packed)
    return parts
