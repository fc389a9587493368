"""From the arrays of a chunk back to lattice points, and from points to columns."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from nqz.stages import scale
from nqz.stages.codings import Coder, Sections
from nqz.stages.columns import Columns, Lazy
from nqz.stages.panels import Chunk, Panel, Recent, panels
from nqz.stages.parameters import Parameters
from nqz.stages.project import embed


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

    @property
    def kept(self) -> np.ndarray:
        """False for columns that were not coded; bool of shape (a,)."""
        return np.asarray(self._scales.kept)

    @cached_property
    def coder(self) -> Coder:
        """What decodes chunks."""
        return self.parameters.coding.coder(self.parameters, self._scales.used)

    def unit(self, exponent: int = 0) -> Lazy:
        """What one unit of a decoded point is worth in each column, in units of 2 ** exponent; float64."""
        p = self.parameters
        return self.columns.of(lambda codes: p.coding.unit(p, codes, exponent))

    def _coded_columns(self, panel: Panel) -> np.ndarray:
        """What the coder has to know of a panel's columns, in the order of the stream."""
        return self._known.of(
            panel.first,
            lambda: self.coder.columns(self._scales.classes[panel.first : panel.last][panel.order]),
        )

    def chunk_count(self) -> int:
        """Number of chunks of the tensor."""
        return sum(len(panel.chunks) for panel in self.panels)

    def sizes(self, panel: Panel, chunk: Chunk) -> tuple[int, ...]:
        """Lengths of the sections of a chunk that follow from the parameters and the norms."""
        return self.coder.sizes(chunk, self._coded_columns(panel))

    def decode_chunk(self, panel: Panel, chunk: Chunk, sections: Sections, out: np.ndarray) -> None:
        """Decode a chunk into `out`, int32 of shape (chunk.count,); ValueError if the sections are inconsistent."""
        self.coder.decode_chunk(chunk, self._coded_columns(panel), sections, out)

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
        p.transform.restore(points, p.rotation_seed, scale[columns], self.means[columns], out, place)

