"""The encoder of Figure 1: center, rotate, project, scale, dither, lattice, mod.

`rotated` (or `centered` and `turned`) takes columns of a panel to rotated coordinates: the stream that chunks are cut
from. The `Coder` of the coding takes a chunk of it to arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.stages.center import Means, center
from nqz.stages.chunks import Chunk
from nqz.stages.codings import Coder
from nqz.stages.panels import Panel, arrange, panels
from nqz.stages.parameters import Parameters
from nqz.stages.project import project
from nqz.stages.scale import Scales, exponents
from nqz.stages.statistics import Statistics


@dataclass(frozen=True, eq=False)
class OpenPanel:
    """A panel, and what coding has to know of its columns, in the order of the stream or in their own.

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


@dataclass(frozen=True, eq=False)
class Encoder:
    """What the panels of one matrix are coded with.

    Attributes
    ----------
    parameters : Parameters
    codes : ndarray of int32, shape (a,)
        Norm codes.
    means : Means
    scales : Scales
    panels : list of Panel
    coder : Coder
    """

    parameters: Parameters
    codes: npt.NDArray[np.int32]
    means: Means
    scales: Scales
    panels: list[Panel]
    coder: Coder

    def open_panel(self, panel: Panel) -> OpenPanel:
        """Prepare the coding of a panel."""
        p, order = self.parameters, arrange(panel, self.codes, self.scales)
        here = slice(panel.first, panel.last)
        codes = self.codes[here]
        factors = self.scales.histogram.apply(partial(p.coding.forward, p), codes[order.columns])
        coded = self.coder.columns(order.classes)
        return OpenPanel(
            panel, order.columns, order.place, self.means.at(here), exponents(codes), factors, coded
        )

    def centered(
        self,
        opened: OpenPanel,
        block: npt.NDArray[Any],
        bfloat16: bool,
        row: int,
        stream: npt.NDArray[np.float32],
    ) -> None:
        """Center rows of a panel and put them in their places in the stream, where `turned` has to rotate the columns.

        Parameters
        ----------
        block : ndarray, shape (rows, width)
            Entries row, row + 1, … of all columns of the panel as they are stored in the source (bfloat16 as uint16).
        bfloat16 : bool
        stream : ndarray, shape (kept columns, n)
        """
        out = stream[:, row : row + len(block)]
        center(block, bfloat16, opened.means, opened.exponents, out, opened.place)

    def turned(self, stream: npt.NDArray[np.float32]) -> None:
        """Rotate centered rows of the stream in place."""
        self.parameters.transform.rotate(stream, self.parameters.rotation_seed)

    def rotated(
        self,
        opened: OpenPanel,
        columns: slice | npt.NDArray[np.int64],
        block: npt.NDArray[Any],
        bfloat16: bool,
        place: npt.NDArray[np.int64],
        rows: npt.NDArray[np.float32],
    ) -> None:
        """Center, rotate and project columns, and put them in their places in rows of a stream.

        Parameters
        ----------
        columns : slice or ndarray
            Which columns of the panel they are.
        block : ndarray, shape (n, w)
            Their entries as they are stored in the source (bfloat16 as uint16).
        bfloat16 : bool
        place : ndarray, shape (w,)
            Row of each column; those with a negative one are passed over.
        rows : ndarray, shape (r, m)
        """
        p = self.parameters
        out, kept = rows, place
        if p.m < p.n:
            here = place >= 0
            kept = place[here]
            place, out = np.where(here, np.cumsum(here) - 1, -1), np.empty((len(kept), p.n), np.float32)
        means, exponent = opened.means[columns], opened.exponents[columns]
        p.transform.center_rotate(block, bfloat16, means, exponent, p.rotation_seed, out, place)
        if p.m < p.n:
            rows[kept] = project(out, p.rotation_seed, p.m)


def encoder(parameters: Parameters, statistics: Statistics) -> Encoder:
    """What a matrix is coded with, by its statistics with rounded means."""
    p, codes = parameters, statistics.codes
    found = p.scales(statistics.histogram)
    coder = p.coding.coder(p, found.used)
    return Encoder(p, codes, statistics.means, found, panels(p, codes, found), coder)
