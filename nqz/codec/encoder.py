"""The encoder of Figure 1: center, rotate, project, scale, dither, lattice, mod.

`stream` takes a panel of columns to rotated coordinates; `encode_chunk` takes a chunk of that stream to bytes.
"""

from __future__ import annotations

import struct

import numpy as np

from .. import kernels
from . import dither, entropy, scale
from .mod import digit_bytes, packing
from .panels import Chunk, Panel
from .parameters import Parameters
from .project import project
from .rotate import rotate


class Encoder:
    """Codes the panels of one matrix.

    Parameters
    ----------
    parameters : Parameters
    codes : ndarray of int64, shape (a,)
        Norm codes.
    means : ndarray of float64, shape (a,)
        The stored means, zero for a matrix that is not centered.
    """

    def __init__(self, parameters: Parameters, codes: np.ndarray, means: np.ndarray):
        p = self.parameters = parameters
        self.means = means
        self.exponents = scale.exponents(codes)
        self.forward = scale.forward(codes, p.delta, p.allocate)
        s = scale.scaling(codes, p.n, p.lattice, p.delta, p.allocate, p.lowest_class)
        self.classes = s.classes
        self.key = dither.halves(p.dither_key)
        self.tables = entropy.Tables(p.lattice, s.classes[s.kept]) if p.coding == "entropy" else None

    def rotated(
        self, panel: Panel, block: np.ndarray, bfloat16: bool, first: int, last: int, stream: np.ndarray
    ) -> None:
        """Center, rotate and project columns first … last - 1 of a panel, and put them in their places in the stream.

        Parameters
        ----------
        block : ndarray, shape (n, w)
            The panel's columns as they are stored in the source (bfloat16 as uint16).
        bfloat16 : bool
        stream : ndarray of float32, shape (kept columns, m)
        """
        p = self.parameters
        columns = slice(panel.first + first, panel.first + last)
        u = np.empty((last - first, p.n), np.float32)
        kernels.center(block[:, first:last], bfloat16, self.means[columns], self.exponents[columns], u)
        rotate(u, p.rotation_seed)
        place = panel.place[first:last]
        kept = place >= 0
        stream[place[kept]] = project(u if kept.all() else u[kept], p.rotation_seed, p.m)

    def encode_chunk(self, panel: Panel, chunk: Chunk, u: np.ndarray) -> tuple[bytes, tuple[int, int]]:
        """Code one chunk.

        Parameters
        ----------
        u : ndarray of float32, shape (chunk.count,)
            The chunk's piece of the panel's stream.

        Returns
        -------
        payload : bytes
        moments : tuple of int
            Σ t y and Σ y² over the chunk (Voronoi coding; zeros otherwise), t the scaled entry in fixed point.
        """
        p = self.parameters
        columns = panel.order + panel.first
        lanes = entropy.lanes_of(chunk.count)
        size = entropy.padded(p.lattice, chunk.count, lanes)
        forward = self.forward[columns]
        counter = chunk.number * dither.CHUNK_WORDS
        place = (chunk.start, p.m)
        points = np.empty(size, np.int32)
        if p.nesting is None:
            kernels.nearest(p.lattice.index, u, *place, forward, *self.key, counter, lanes, points)
            coded = kernels.entropy_encode(
                p.lattice.index, points, chunk.count, *place, self.tables.of_columns(self.classes[columns]),
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
    """Lay out an entropy-coded chunk: states, escape size, words, code bits, raw low bits, escapes."""
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
