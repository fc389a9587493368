"""The box "mod Λc" of the entropy coding: Λc = q Zⁿ, with q so large that no point is ever reduced.

So points are coded as they are, by static rANS tables (see `tables`), with an escape for those beyond a table.

In a block of Leech the parity of the last k follows from the others. Of that entry Y >> 1 is coded, in the class of
half its σ; the context of Y >> 1 holds the parity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.stages import dither
from nqz.stages.chunks import Chunk
from nqz.stages.codings.coding import LatticeCoder, LatticeCoding, MatrixParameters, Sections, lattice_of
from nqz.stages.codings.tables import Tables, least_bits, tables


class _Entropy(LatticeCoding):
    name = "entropy"
    allocations = ("matrix", "column")

    def check_own(self, parameters: MatrixParameters) -> None:
        if parameters.coding_parameters is not None:
            raise ValueError("the coding and its parameters disagree")

    def least_bits(
        self, parameters: MatrixParameters, classes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        used, index = np.unique(classes, return_inverse=True)
        return np.array([least_bits(lattice_of(parameters), int(c)) for c in used])[index]

    def coder(self, parameters: MatrixParameters, classes: npt.NDArray[Any]) -> EntropyCoder:
        p = parameters
        lattice = lattice_of(p)
        return EntropyCoder(lattice, p.m, dither.halves(p.dither_key), tables(lattice, classes))


ENTROPY = _Entropy()


@dataclass(frozen=True, eq=False)
class EntropyCoder(LatticeCoder):
    """Codes chunks with the tables of a matrix."""

    tables: Tables

    def columns(self, classes: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Numbers of the columns' tables."""
        return self.tables.of_columns(classes)

    def encode_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        factors: npt.NDArray[np.float32],
        u: npt.NDArray[np.float32],
        points: npt.NDArray[np.int32],
    ) -> tuple[Sections, tuple[int, ...]]:
        """Find the nearest points, and code these: states, words, code bits, low bits, escapes."""
        place, key = self.place(chunk), kernels.Key(*self.key)
        kernels.dither_quantize(place, key, u, factors, points)
        return kernels.entropy_encode(place, key, self.tables.bound, columns, points), ()

    def sizes(self, chunk: Chunk, columns: npt.NDArray[np.int32]) -> tuple[int, ...]:
        """Bytes of the raw code bits and of the raw low bits."""
        lattice, m, lanes, found = self.lattice, self.m, chunk.lanes, self.tables
        size, row = self.working_points(chunk), lattice.group * lanes
        rows = np.arange(0, size, row, dtype=np.int64)
        raw_rows = int((found.modelled[columns[(chunk.start + rows) // m]] == 0).sum())
        code = round(raw_rows * row * lattice.code_bits)
        first, last = chunk.start // m, (chunk.start + chunk.count - 1) // m
        edges = np.clip(np.arange(first, last + 2, dtype=np.int64) * m - chunk.start, 0, chunk.count)
        edges[-1] = size
        used = columns[first : last + 1]
        low = int((np.diff(edges) * found.raw[used]).sum())
        if lattice.last_follows:
            # last entries of blocks up to the edges
            ends = edges // row * lanes + np.maximum(edges % row - (row - lanes), 0)
            low += int((np.diff(ends) * (found.raw[found.last[used]] - found.raw[used])).sum())
        return (code + 7) // 8, (low + 7) // 8

    def decode_chunk(
        self, chunk: Chunk, columns: npt.NDArray[np.int32], sections: Sections, out: npt.NDArray[np.int32]
    ) -> None:
        """See `Coder`."""
        size = self.working_points(chunk)
        points = out if size == chunk.count else np.empty(size, np.int32)
        place, key = self.place(chunk), kernels.Key(*self.key)
        states, words, code, low, escapes = sections
        streams = states, words, code, low, escapes
        kernels.entropy_decode(place, key, self.tables.bound, columns, streams, points)
        if points is not out:
            out[:] = points[: chunk.count]
