"""The encoder of Figure 1: center, rotate, project, scale, dither, lattice, mod.

`rotated` (or `centered` and `turn`) takes columns of a panel to rotated coordinates; `encode_chunk` takes a chunk of that stream to arrays.
"""

from __future__ import annotations

import numpy as np

from nqz import kernels
from nqz.stages import scale
from nqz.stages.codings import Sections
from nqz.stages.columns import Columns
from nqz.stages.panels import Chunk, Panel, Recent, panels
from nqz.stages.parameters import Parameters
from nqz.stages.project import project


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
        self.forward = columns.of(lambda codes: p.coding.forward(p, codes))
        self._scales = s = scale.Scales(columns, p)
        self.panels = panels(p.n, p.m, s.classes, s.kept)
        self._known = Recent()
        self.coder = p.coding.coder(p, s.used)

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
        self.parameters.transform.rotate(stream, self.parameters.rotation_seed)

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
        means, exponents = self.means[columns], self.exponents[columns]
        p.transform.center_rotate(block, bfloat16, means, exponents, p.rotation_seed, out, place)
        if p.m < p.n:
            rows[kept] = project(out, p.rotation_seed, p.m)

    def _columns(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Factors to fixed point, and what the coder has to know, of a panel's columns in the order of the stream."""

        def columns():
            here, order = slice(panel.first, panel.last), panel.order
            classes = self._scales.classes[here][order]
            return self.forward[here][order], self.coder.columns(classes)

        return self._known.of(panel.first, columns)

    def working_points(self, chunk: Chunk) -> int:
        """Points of a chunk, rounded up to whole groups on all lanes."""
        return self.coder.working_points(chunk)

    def encode_chunk(
        self, panel: Panel, chunk: Chunk, u: np.ndarray, points: np.ndarray | None = None
    ) -> tuple[Sections, tuple[int, int]]:
        """Code one chunk.

        Parameters
        ----------
        u : ndarray of float32, shape (chunk.count,)
            The chunk's piece of the panel's stream.
        points : ndarray of int32, optional
            Working memory, at least as many entries as `working_points` says.

        Returns
        -------
        sections : tuple of ndarray
            Its arrays, for `nqz.format.chnk` to lay out.
        moments : tuple of int
            Σ t y and Σ y² over the chunk (Voronoi coding; zeros otherwise), t the scaled entry in fixed point.
        """
        factors, columns = self._columns(panel)
        size = self.working_points(chunk)
        points = np.empty(size, np.int32) if points is None else points[:size]
        return self.coder.encode_chunk(chunk, columns, factors, u, points)
