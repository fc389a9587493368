"""From a chunk's bytes back to lattice points, and from points to columns."""

from __future__ import annotations

import struct
from functools import cached_property

import numpy as np

from nqz import kernels
from nqz.stages import dither, scale
from nqz.stages.codings import entropy
from nqz.stages.codings.voronoi import digit_bytes, packing
from nqz.stages.columns import Columns, Lazy
from nqz.stages.panels import Chunk, Panel, Recent, panels
from nqz.stages.parameters import Parameters
from nqz.stages.project import embed
from nqz.stages.rotate import signs


class Decoder:
    """Decodes the panels of one matrix.

    Parameters
    ----------
    parameters : Parameters
    codes : ndarray of int32, shape (a,)
        Norm codes.
    means : ndarray of float64, or Lazy, of shape (a,)
        The stored means.

    Attributes
    ----------
    panels : list of Panel
    noise : Lazy of float64, shape (a,)
        Relative noise d of each column, infinite where not kept.
    """

    def __init__(self, parameters: Parameters, codes: np.ndarray, means: np.ndarray):
        p = self.parameters = parameters
        self.codes, self.means = codes, means
        self.columns = Columns(codes)
        self._scales = scale.Scales(self.columns, p)
        self.noise = self._scales.noise
        self.panels = panels(p.n, p.m, self._scales.classes, self._scales.kept)
        self._known = Recent()
        self.key = dither.halves(p.dither_key)

    @property
    def kept(self) -> np.ndarray:
        """False for columns that were not coded; bool of shape (a,)."""
        return np.asarray(self._scales.kept)

    @cached_property
    def tables(self) -> entropy.Tables | None:
        """Tables of the entropy coder."""
        return (
            entropy.Tables(self.parameters.lattice, self._scales.used)
            if self.parameters.coding == "entropy"
            else None
        )

    def unit(self, exponent: int = 0) -> Lazy:
        """What one unit of a decoded point is worth in each column, in units of 2 ** exponent; float64."""
        p = self.parameters
        gain = 1.0 if p.nesting is None else p.nesting.gain
        return self.columns.of(
            lambda codes: scale.backward(codes, p.delta, p.allocate, p.lattice, exponent) / gain
        )

    def _tables_of(self, panel: Panel) -> np.ndarray:
        """Coder tables of a panel's columns in the order of the stream."""
        return self._known.of(
            panel.first,
            lambda: self.tables.of_columns(self._scales.classes[panel.first : panel.last][panel.order]),
        )

    def chunk_count(self) -> int:
        """Number of chunks of the tensor."""
        return sum(len(panel.chunks) for panel in self.panels)

    def decode_chunk(self, panel: Panel, chunk: Chunk, payload: bytes, out: np.ndarray) -> None:
        """Decode a chunk into `out`, int32 of shape (chunk.count,); ValueError if the payload is inconsistent."""
        p = self.parameters
        lanes = entropy.lanes_of(chunk.count)
        size = entropy.padded(p.lattice, chunk.count, lanes)
        counter = chunk.number * dither.CHUNK_WORDS
        points = out if size == chunk.count else np.empty(size, np.int32)
        if p.nesting is None:
            table_of_column = self._tables_of(panel)
            sizes = entropy.section_sizes(p.lattice, self.tables, table_of_column, chunk, p.m, lanes)
            kernels.entropy_decode(
                p.lattice.index, chunk.count, chunk.start, p.m, table_of_column, lanes, *self.key, counter,
                *self.tables.arguments, *unpack_entropy(payload, lanes, *sizes), points,
            )  # fmt: skip
        else:
            choice = p.nesting.choice(size // (p.lattice.group * lanes))
            digits, beta = unpack_voronoi(payload, p.nesting.q, choice, p.lattice.group, lanes)
            kernels.voronoi_decode(
                p.lattice.index, chunk.count, lanes, *self.key, counter, np.array(p.nesting.q, np.int32),
                np.array(p.nesting.multipliers, np.int32), choice, digits, beta, points,
            )  # fmt: skip
        if points is not out:
            out[:] = points[: chunk.count]

    def reconstruct(
        self, panel: Panel, points: np.ndarray, first: int, scale: np.ndarray, out: np.ndarray
    ) -> None:
        """Columns first, first + 1, … of a panel from its points; a column that was dropped is its mean.

        Parameters
        ----------
        points : ndarray of int32, shape (kept columns, m)
            All of the panel. Those of the columns are overwritten.
        scale : ndarray of float64, or Lazy, of shape (a,)
            Factor from the points of every column to its centered part.
        out : ndarray of float32 or float64, shape (n, w)
            Written; any strides.
        """
        p = self.parameters
        width = out.shape[1]
        place = panel.place[first : first + width]
        columns = slice(panel.first + first, panel.first + first + width)
        if p.m < p.n:
            points = embed(points[place[place >= 0]], p.rotation_seed, p.n)
            place = np.where(place >= 0, np.cumsum(place >= 0) - 1, -1)
        kernels.restore(points, signs(p.rotation_seed, p.n), scale[columns], self.means[columns], out, place)


class _Cursor:
    def __init__(self, data: bytes):
        self.data, self.at = memoryview(data), 0

    def take(self, size: int) -> memoryview:
        if size > len(self.data) - self.at:
            raise ValueError("the chunk is shorter than its sections")
        self.at += size
        return self.data[self.at - size : self.at]

    def array(self, count: int, dtype: str) -> np.ndarray:
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def end(self) -> None:
        if self.at != len(self.data):
            raise ValueError("the chunk is longer than its sections")


def unpack_entropy(payload: bytes, lanes: int, code_size: int, low_size: int) -> tuple[np.ndarray, ...]:
    """Sections of an entropy-coded chunk: states, words, code bits, raw low bits, escapes."""
    cursor = _Cursor(payload)
    states = cursor.array(lanes, "<u4").astype(np.uint32)
    words, escaped = struct.unpack("<II", cursor.take(8))
    stream = cursor.array(words, "<u2").astype(np.uint16)
    code, low = cursor.array(code_size, "u1"), cursor.array(low_size, "u1")
    escapes = cursor.array(escaped, "u1")
    cursor.end()
    return states, stream, code, low, escapes


def unpack_voronoi(
    payload: bytes, q, choice: np.ndarray, group: int, lanes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Digits (uint16, one an entry) and scale indices (uint8, one a group) of a Voronoi-coded chunk."""
    cursor = _Cursor(payload)
    frequency = cursor.array(3, "<u2").astype(np.int64)
    cumulative = np.concatenate([[0], np.cumsum(frequency), [entropy.TOTAL]])
    if (np.diff(cumulative) < 1).any():
        raise ValueError("the frequencies of the scale index are invalid")
    states = cursor.array(lanes, "<u4").astype(np.uint32)
    (words,) = struct.unpack("<I", cursor.take(4))
    stream = cursor.array(words, "<u2").astype(np.uint16)
    beta = kernels.rans_decode(len(choice) * lanes, cumulative.astype(np.uint16), lanes, states, stream)
    digits = np.empty((len(choice), group * lanes), np.uint16)
    for which, ratio in enumerate(q):
        chosen = choice == which
        count = int(chosen.sum()) * digits.shape[1]
        data = cursor.array(digit_bytes(count, ratio), "u1")
        digits[chosen] = kernels.unpack_digits(data, count, ratio, *packing(ratio)).reshape(
            -1, digits.shape[1]
        )
    cursor.end()
    return digits.ravel(), beta
