"""The encoder of Figure 1: center, rotate, project, scale, dither, lattice, mod.

`Encoder.center_rotate_project` (or `center_rows` and then `rotate_rows`) takes columns of a panel to rotated
coordinates: the stream that chunks are cut from. The `Coder` of the coding takes a chunk of it to arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.stages.center import Means, center
from nqz.stages.codings import Coder
from nqz.stages.norms import Histogram
from nqz.stages.panels import OpenPanel, Panel, open_panel
from nqz.stages.parameters import Parameters
from nqz.stages.project import project
from nqz.stages.scale import NormScaling, exponents


@dataclass(frozen=True, eq=False)
class SourcePanel(OpenPanel):
    """An open panel, and what its columns in the source are centered and scaled with.

    Attributes
    ----------
    kept_means : Means
        Of its columns, with their norm codes.
    means : ndarray of float64, shape (width,)
    exponents : ndarray of int32, shape (width,)
        Powers of two that columns are divided by.
    factors : ndarray of float32, shape (kept,)
        From rotated columns to what the coder takes, in the order of the stream.
    """

    kept_means: Means
    means: npt.NDArray[np.float64]
    exponents: npt.NDArray[np.int32]
    factors: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Encoder:
    """What the panels of one matrix are coded with.

    Attributes
    ----------
    parameters : Parameters
    norm_scaling : NormScaling
    coder : Coder
    """

    parameters: Parameters
    norm_scaling: NormScaling
    coder: Coder

    def open_panel(self, panel: Panel, kept_means: Means) -> SourcePanel:
        """Prepare the coding of a panel, by the norm codes and means of its columns."""
        p, codes = self.parameters, kept_means.codes
        found = open_panel(panel, codes, self.norm_scaling, self.coder)
        factors = self.norm_scaling.histogram.apply(partial(p.coding.forward, p), codes[found.order])
        return SourcePanel(
            panel, found.order, found.place, found.coded,
            kept_means, kept_means.at(slice(None)), exponents(codes), factors,
        )  # fmt: skip

    def center_rows(
        self,
        opened: SourcePanel,
        block: npt.NDArray[Any],
        bfloat16: bool,
        row: int,
        stream: npt.NDArray[np.float32],
    ) -> None:
        """Center rows of a panel and put them in their places in the stream, for `rotate_rows` to rotate.

        Parameters
        ----------
        block : ndarray, shape (rows, width)
            Entries row, row + 1, … of all columns of the panel as they are stored in the source (bfloat16 as uint16).
        bfloat16 : bool
        stream : ndarray, shape (kept columns, n)
        """
        out = stream[:, row : row + len(block)]
        center(block, bfloat16, opened.means, opened.exponents, out, opened.place)

    def rotate_rows(self, stream: npt.NDArray[np.float32]) -> None:
        """Rotate centered rows of the stream in place."""
        self.parameters.transform.rotate(stream, self.parameters.rotation_seed)

    def center_rotate_project(
        self,
        opened: SourcePanel,
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


def make_encoder(parameters: Parameters, histogram: Histogram) -> Encoder:
    """What a matrix with these norm codes is coded with."""
    found = parameters.norm_scaling(histogram)
    return Encoder(parameters, found, parameters.coding.coder(parameters, found.used))
