"""The encoder of Figure 1: center, rotate, project, scale, dither, lattice, mod.

`rotated` (or `centered` and `turn`) takes columns of a panel to rotated coordinates; `encode_chunk` takes a chunk of
that stream to arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nqz.stages.center import Means, center
from nqz.stages.chunks import Chunk
from nqz.stages.codings import Sections
from nqz.stages.norms import Histogram
from nqz.stages.panels import Panel, arrange, panels
from nqz.stages.parameters import Parameters
from nqz.stages.project import project
from nqz.stages.scale import exponents


@dataclass(frozen=True, eq=False)
class OpenPanel:
    """A panel, and what coding has to know of its columns.

    Attributes
    ----------
    panel : Panel
    order : ndarray of int64, shape (kept,)
        The kept columns, relative to the panel's first, in the order of the stream.
    place : ndarray of int64, shape (width,)
        Row of the stream of each column, -1 for dropped ones.
    means : ndarray of float64, shape (width,)
    exponents : ndarray of int32, shape (width,)
        Powers of two that columns are divided by.
    factors : ndarray of float32, shape (kept,)
        From rotated columns to what the coder takes.
    coded : ndarray of int32, shape (kept,)
        What the coder has to know.
    """

    panel: Panel
    order: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]
    exponents: npt.NDArray[np.int32]
    factors: npt.NDArray[np.float32]
    coded: npt.NDArray[np.int32]

    def columns_of(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """The columns that a chunk has entries of, in the order of the stream."""
        return self.order[self.panel.rows_of(chunk)]


class Encoder:
    """Codes the panels of one matrix.

    Parameters
    ----------
    parameters : Parameters
    codes : ndarray of int32, shape (a,)
        Norm codes.
    means : Means
        The stored means.
    """

    def __init__(self, parameters: Parameters, codes: npt.NDArray[np.int32], means: Means):
        p = self.parameters = parameters
        self.codes, self.means = codes, means
        self.scales = p.scales(Histogram.of(codes))
        self.panels = panels(p, codes, self.scales)
        self.coder = p.coding.coder(p, self.scales.used)

    def open_panel(self, panel: Panel) -> OpenPanel:
        """Prepare the coding of a panel."""
        p, order = self.parameters, arrange(panel, self.codes, self.scales)
        codes = self.codes[panel.first : panel.last]
        means = self.means.at(slice(panel.first, panel.last))
        factors = p.coding.forward(p, codes[order.columns].astype(np.int64))
        coded = self.coder.columns(order.classes)
        return OpenPanel(panel, order.columns, order.place, means, exponents(codes), factors, coded)

    def centered(
        self, panel: OpenPanel, block: np.ndarray, bfloat16: bool, first: int, row: int, stream: np.ndarray
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
        columns = slice(first, first + width)
        out = stream[:, row : row + rows]
        center(block, bfloat16, panel.means[columns], panel.exponents[columns], out, panel.place[columns])

    def turn(self, stream: np.ndarray) -> None:
        """Rotate centered rows of the stream in place."""
        self.parameters.transform.rotate(stream, self.parameters.rotation_seed)

    def rotated(
        self,
        panel: OpenPanel,
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
            Which columns of the panel they are.
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
        means, exponent = panel.means[columns], panel.exponents[columns]
        p.transform.center_rotate(block, bfloat16, means, exponent, p.rotation_seed, out, place)
        if p.m < p.n:
            rows[kept] = project(out, p.rotation_seed, p.m)

    def working_points(self, chunk: Chunk) -> int:
        """Points of a chunk, rounded up to whole groups on all lanes."""
        return self.coder.working_points(chunk)

    def encode_chunk(
        self, panel: OpenPanel, chunk: Chunk, u: np.ndarray, points: np.ndarray | None = None
    ) -> tuple[Sections, tuple[int, ...]]:
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
            What the coding measured: Σ t y and Σ y² (Voronoi coding), t the scaled entry in fixed point.
        """
        size = self.working_points(chunk)
        points = np.empty(size, np.int32) if points is None else points[:size]
        return self.coder.encode_chunk(chunk, panel.coded, panel.factors, u, points)
