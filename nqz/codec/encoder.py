"""The encoder of Figure 1: center, rotate, project, scale, dither, lattice, mod.

`rotated` (or `centered` and `turn`) takes columns of a panel to rotated coordinates; `encode_chunk` takes a chunk of that stream to bytes.
"""

from __future__ import annotations

import struct

import numpy as np

from .. import kernels
from . import dither, entropy, scale
from .columns import Columns
from .mod import digit_bytes, packing
from .panels import Chunk, Panel, panels
from .parameters import Parameters
from .project import project
from .rotate import rotate, signs


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
        self._known: tuple = (None, None)
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
        self, panel: Panel, block: np.ndarray, bfloat16: bool, first: int, stream: np.ndarray
    ) -> None:
        """Center, rotate and project columns of a panel, and put them in their places in the stream.

        Parameters
        ----------
        block : ndarray, shape (n, w)
            Columns first, first + 1, … of the panel as they are stored in the source (bfloat16 as uint16).
        bfloat16 : bool
        stream : ndarray of float32, shape (kept columns, m)
        """
        p = self.parameters
        width = block.shape[1]
        columns = slice(panel.first + first, panel.first + first + width)
        place, out = panel.place[first : first + width], stream
        kept = place[place >= 0]
        if p.m < p.n:
            place, out = (
                np.where(place >= 0, np.cumsum(place >= 0) - 1, -1),
                np.empty((len(kept), p.n), np.float32),
            )
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
            stream[kept] = project(out, p.rotation_seed, p.m)

    def _columns(self, panel: Panel) -> tuple[np.ndarray, np.ndarray | None]:
        """Factors to fixed point and coder tables of a panel's columns in the order of the stream."""
        known, columns = self._known
        if known is not panel:
            here, order = slice(panel.first, panel.last), panel.order
            classes = self._scales.classes[here][order]
            tables = None if self.tables is None else self.tables.of_columns(classes)
            columns = self.forward[here][order], tables
            self._known = panel, columns
        return columns

    def working_points(self, chunk: Chunk) -> int:
        """Points of a chunk, rounded up to whole groups on all lanes."""
        return entropy.padded(self.parameters.lattice, chunk.count, entropy.lanes_of(chunk.count))

    def encode_chunk(
        self, panel: Panel, chunk: Chunk, u: np.ndarray, points: np.ndarray | None = None
    ) -> tuple[bytes, tuple[int, int]]:
        """Code one chunk.

        Parameters
        ----------
        u : ndarray of float32, shape (chunk.count,)
            The chunk's piece of the panel's stream.
        points : ndarray of int32, optional
            Working memory, at least as many entries as `working_points` says.

        Returns
        -------
        payload : bytes
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


def pack_entropy(states, words, code, low, escapes) -> bytes:
    """Lay out an entropy-coded chunk: states, sizes of words and escapes, words, code bits, raw low bits, escapes."""
    return b"".join(
        [states.astype("<u4").tobytes(), struct.pack("<II", len(words), len(escapes)), words.astype("<u2").tobytes(),
         code.tobytes(), low.tobytes(), escapes.tobytes()]
    )  # fmt: skip


def pack_voronoi(q, choice, digits, beta, lanes) -> bytes:
    """Lay out a Voronoi-coded chunk: frequencies of the scale index, its rANS stream, digits of each q."""
    count = np.bincount(beta, minlength=4)
    frequency = np.maximum(1, count * entropy.TOTAL // len(beta))
    frequency[count.argmax()] += entropy.TOTAL - frequency.sum()
    cumulative = np.concatenate([[0], np.cumsum(frequency)]).astype(np.uint16)
    states, words = kernels.rans_encode(beta, cumulative, lanes)
    parts = [
        frequency[:3].astype("<u2").tobytes(),
        states.astype("<u4").tobytes(),
        struct.pack("<I", len(words)),
    ]
    parts.append(words.astype("<u2").tobytes())
    rows = digits.reshape(len(choice), -1)
    for which, ratio in enumerate(q):
        chosen = np.ascontiguousarray(rows[choice == which]).ravel()
        packed = kernels.pack_digits(chosen, ratio, *packing(ratio))
        assert len(packed) == digit_bytes(len(chosen), ratio)
        parts.append(packed.tobytes())
    return b"".join(parts)
