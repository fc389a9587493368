"""A coded matrix of a container: its records read and checked, its points and columns decoded on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.format import chnk, header
from nqz.format.reader import ContainerReader
from nqz.format.tensors import TensorInfo
from nqz.ground.cached import cached_property
from nqz.ground.errors import CorruptError
from nqz.ground.threads import Workers
from nqz.matrix.builder import STEP, Block, Builder, Points
from nqz.matrix.panels import CodedPanel, Columns, Panels
from nqz.stages.chunks import Chunk
from nqz.stages.codings import Sections
from nqz.stages.estimate import Side, reconstruction_error, reconstruction_factor
from nqz.stages.loud import Others, others
from nqz.stages.norms import Histogram
from nqz.stages.panels import Panel
from nqz.stages.parameters import Parameters
from nqz.stages.partner import product_error
from nqz.stages.scale import NormScaling


@dataclass(eq=False)
class Matrix:
    """A coded matrix of a container, made by `open_matrix`; what its records say is read when it is used.

    Attributes
    ----------
    reader : ContainerReader
    index : int
        Number of the tensor.
    info : TensorInfo
        What the manifest says of it.
    header : TensorHeader
    panels : Panels
    """

    reader: ContainerReader
    index: int
    info: TensorInfo
    header: header.TensorHeader
    panels: Panels

    @property
    def name(self) -> str:
        """Name of the tensor; empty for a single array."""
        return self.info.name

    @property
    def parameters(self) -> Parameters:
        """What it was coded with."""
        return self.header.parameters

    @cached_property
    def histogram(self) -> Histogram:
        """The norm codes of all columns, counted; all of them are read for it."""
        return Histogram.gathered(self.panels.histograms())

    @cached_property
    def norm_scaling(self) -> NormScaling:
        """What the parameters say of columns of each of the norm codes."""
        return self.parameters.norm_scaling(self.histogram)

    @property
    def centered(self) -> bool:
        """Whether the means of the columns are kept apart."""
        return self.parameters.mean_digits is not None

    @property
    def entries(self) -> int:
        """Number of entries."""
        return math.prod(self.info.shape)

    @property
    def coded_bytes(self) -> int:
        """What the rate counts: the whole file for a container of a single array, else the records of the tensor."""
        if self.reader.manifest.kind.alone:
            return self.reader.size
        return sum(self.reader.sizes(self.index).values()) + self.header.size()

    @property
    def rate(self) -> float:
        """Bits an entry."""
        return 8.0 * self.coded_bytes / self.entries

    @cached_property
    def side(self) -> Side:
        """The matrix as the estimators see it."""
        p = self.parameters
        return Side(self.histogram, self.norm_scaling.noise, p.n, p.kappa, p.coding.dependence(p))

    def predicted_reconstruction(self, estimator: str = "mmse") -> float:
        """Expected ‖A - Â‖² / ‖Ā‖² of the decoded matrix."""
        return reconstruction_error(self.side, estimator)

    def predicted_product(self) -> float:
        """Expected error of AᵀB with an unrelated partner that it was coded for, relative to ‖Ā‖²‖B̄‖²/n."""
        return product_error(self.side, self.parameters.partner)

    def others(self) -> Others | None:
        """What is to be said of its columns without a few loud ones, if it has such."""
        return others(self.parameters, self.side)

    def shrinkage(self) -> float:
        """Energy-weighted mean of w = 1 / (1 + d): the default α of one side."""
        return float((self.side.power() / (1.0 + self.norm_scaling.noise)).sum())

    def codes(self, columns: Columns = slice(None)) -> npt.NDArray[np.int32]:
        """Norm codes of columns."""
        return self._gathered(columns, np.int32, lambda panel, chosen: panel.codes[chosen])

    def means(self, columns: Columns = slice(None)) -> npt.NDArray[np.float64]:
        """The stored means of columns, zeros where the matrix is not centered."""
        return self._gathered(columns, np.float64, lambda panel, chosen: panel.means.at(chosen))

    def mean_steps(self, columns: Columns, exponent: int = 0) -> npt.NDArray[np.float64]:
        """Steps of their means in units of 2 ** exponent, zeros where these are exact."""
        return self._gathered(columns, np.float64, lambda panel, chosen: panel.means.steps(chosen, exponent))

    def units(self, codes: npt.NDArray[Any], exponent: int = 0) -> npt.NDArray[np.float64]:
        """What one unit of a decoded point is worth in columns of norm codes that occur, in units of 2 ** exponent.

        Where columns have `gains` it is that times these.
        """
        p = self.parameters
        return self.histogram.apply(lambda found: p.coding.unit(p, found, exponent), codes)

    def gains(self, columns: Columns = slice(None)) -> npt.NDArray[np.float64] | None:
        """Factors on the units of columns; None where the coding has none."""
        if not self.parameters.coding.gains:
            return None
        return self._gathered(
            columns,
            np.float64,
            lambda panel, chosen: np.ones(1) if panel.gains is None else panel.gains[chosen],
        )

    def _gathered(
        self, columns: Columns, dtype: Any, take: Callable[[CodedPanel, Columns], npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """What `take` gives of columns, panel by panel."""
        count = len(
            range(*columns.indices(self.parameters.columns)) if isinstance(columns, slice) else columns
        )
        out = np.empty(count, dtype)
        for panel, chosen, places in self.panels.split(columns):
            out[places] = take(panel, chosen)
        return out

    def chunk_points(self, panel: CodedPanel, chunk: Chunk, out: npt.NDArray[Any]) -> None:
        """Decode the points of one chunk of a panel's stream to `out`, of shape (chunk.count,); see `Coder`.

        Raises
        ------
        CorruptError
            The chunk is damaged.
        """
        self._chunk(
            panel, chunk, lambda sections: panel.coder.decode_chunk(chunk, panel.opened.coded, sections, out)
        )

    def chunk_products(
        self, panel: CodedPanel, chunk: Chunk, vectors: npt.NDArray[np.int16]
    ) -> npt.NDArray[np.int64]:
        """Products of the columns of one chunk with vectors; see `Coder.multiply_chunk`.

        Raises
        ------
        CorruptError
            The chunk is damaged.
        """
        coder, coded = panel.coder, panel.opened.coded
        found: npt.NDArray[np.int64] = self._chunk(
            panel, chunk, lambda sections: coder.multiply_chunk(chunk, coded, sections, vectors)
        )
        return found

    def chunk_sections(self, panel: CodedPanel, chunk: Chunk) -> Sections:
        """The arrays of one chunk, on memory that is not to be kept; `CorruptError` if they are damaged."""
        found: Sections = self._chunk(panel, chunk, lambda sections: sections)
        return found

    def _chunk(self, panel: CodedPanel, chunk: Chunk, use: Callable[[Sections], Any]) -> Any:
        """What comes of the sections of a chunk."""
        record = self.panels.chunk(chunk.number)
        payload = self.reader.view(record, "CHNK")
        try:
            sizes = panel.coder.sizes(chunk, panel.opened.coded)
            return use(chnk.unpack(self.parameters.coding.name, payload, chunk.lanes, sizes))
        except ValueError as error:
            raise CorruptError(f"{self.reader.name}: record CHNK at byte {record.offset}: {error}") from None

    def points(self, panel: CodedPanel, pool: Workers) -> npt.NDArray[np.int32]:
        """Decoded points of a panel in the order of its stream, shape (kept columns, m); valid until the next panel's.

        Raises
        ------
        CorruptError
            A chunk is damaged.
        """
        shape, chunks = (panel.panel.kept, panel.panel.m), panel.panel.chunks
        out = pool.buffers.array("points of panel", shape, np.int32)
        flat = out.reshape(-1)

        self.reader.prefetch(self.panels.chunk(chunk.number) for chunk in chunks)

        def decode(chunk: Chunk) -> None:
            self.chunk_points(panel, chunk, flat[chunk.start : chunk.start + chunk.count])

        for _ in pool.map(decode, chunks):
            pass
        return out

    def blocks(
        self,
        pool: Workers,
        estimator: str = "mmse",
        dtype: str = "float64",
        into: Callable[[Panel], Block] | None = None,
        work: Callable[[int, npt.NDArray[Any]], Any] | None = None,
        step: int = STEP,
        panels: Iterable[int] | None = None,
    ) -> Iterator[tuple[Panel, Block, list[Any]]]:
        """Decode the matrix panel by panel, and rebuild its columns piece by piece; all that is decoded passes here.

        Parameters
        ----------
        pool : Workers
            Whose threads decode chunks and rebuild pieces.
        estimator : {"mmse", "unbiased"}
        dtype : str
            Canonical name of the type of the arrays of `into`. Pieces in memory of a thread are float64.
        into : callable, optional
            into(panel) is called before a panel is decoded, and may return an array to rebuild it in, of shape (n, w)
            and any strides, in the storage type of `dtype`. Without one each piece is rebuilt in memory of its
            thread.
        work : callable, optional
            work(first column, piece) is called with each piece, in the threads. A piece in memory of its thread is
            valid during the call only, and may be used up.
        step : int
            Entries of a piece, about.
        panels : iterable of int, optional
            Numbers of the panels that are wanted; all by default.

        Yields
        ------
        tuple
            The panel, the array it is in, if any, and what `work` returned for its pieces. With neither `into` nor
            `work` all records are read and decoded, and no columns rebuilt.

        Raises
        ------
        CorruptError
            A record is damaged.
        """
        width = max(1, step // self.parameters.n)
        for panel in self.panels if panels is None else map(self.panels.__getitem__, panels):
            cut = panel.panel
            block = None if into is None else into(cut)
            means, gains = panel.means, panel.gains
            scale, points = self._scale(panel, estimator), self.points(panel, pool)
            if block is None and work is None:
                yield cut, None, []
                continue
            builder = Builder(self.parameters, panel, means, gains, scale, dtype, work, width, pool)
            piece = partial(builder.piece, points, block)
            yield cut, block, list(pool.map(piece, range(0, cut.width, width)))

    def columns(
        self, chosen: npt.NDArray[np.int64], pool: Workers, estimator: str = "mmse"
    ) -> npt.NDArray[np.float64]:
        """Decode some columns, from the chunks that they lie in and no others; shape (n, number of them).

        Raises
        ------
        CorruptError
            A record is damaged.
        """
        out = np.empty((self.parameters.n, len(chosen)))

        def put(places: Columns, piece: npt.NDArray[Any]) -> None:
            out[:, places] = piece

        self.some(chosen, pool, put, estimator)
        return out

    def some(
        self,
        chosen: Columns,
        pool: Workers,
        put: Callable[[Columns, npt.NDArray[Any]], object],
        estimator: str = "mmse",
    ) -> None:
        """Decode some columns, from the chunks that they lie in and no others, and hand them on piece by piece.

        Parameters
        ----------
        chosen : slice or ndarray of int64
            A range of columns, or their numbers.
        pool : Workers
        put : callable
            put(places, piece) is called in the threads: where in `chosen` the columns stand, and these in float64, of
            shape (n, number of them), in memory that is valid during the call only.
        estimator : {"mmse", "unbiased"}

        Raises
        ------
        CorruptError
            A record is damaged.
        """
        p = self.parameters
        width = max(1, STEP // p.n)
        for panel, local, places in self.panels.split(chosen):
            at = np.arange(places.start, places.stop) if isinstance(places, slice) else places
            means, gains, scale = panel.means, panel.gains, self._scale(panel, estimator)
            numbers, place = None, None
            if isinstance(local, slice) and local == slice(0, panel.panel.width):
                points, start = self.points(panel, pool), panel.panel.first  # all of it
            else:
                numbers = np.arange(local.start, local.stop) if isinstance(local, slice) else local
                rows = panel.opened.place[numbers]
                kept = np.flatnonzero(rows >= 0)
                place = np.full(len(rows), -1)
                place[kept] = np.arange(len(kept))
                points, start = self._rows(panel, rows[kept], pool), 0

            def work(
                first: int, piece: npt.NDArray[Any], at: npt.NDArray[Any] = at, start: int = start
            ) -> None:
                put(at[first - start : first - start + piece.shape[1]], piece)

            builder = Builder(p, panel, means, gains, scale, "float64", work, width, pool, numbers, place)
            for _ in pool.map(partial(builder.piece, points, None), range(0, len(at), width)):
                pass

    def _rows(self, panel: CodedPanel, rows: npt.NDArray[np.int64], pool: Workers) -> Points:
        """Points of some rows of a panel's stream."""
        m = panel.panel.m
        out = np.empty((len(rows), m), np.int32)
        first, last, steps = rows * m, rows * m + m, np.arange(m)

        def take(chunk: Chunk) -> None:
            start, stop = chunk.start, chunk.start + chunk.count
            points = pool.local.array("points", (chunk.count,), np.int32)
            self.chunk_points(panel, chunk, points)
            whole = (first >= start) & (last <= stop)
            here = np.flatnonzero(whole)
            out[here] = points[(first[here] - start)[:, None] + steps]
            # what goes over an edge of the chunk
            for number in np.flatnonzero(~whole & (first < stop) & (last > start)).tolist():
                row = int(first[number]) - start
                low, high = max(row, 0), min(row + m, chunk.count)
                out[number, low - row : high - row] = points[low:high]

        wanted = [c for c in panel.panel.chunks if ((first < c.start + c.count) & (last > c.start)).any()]
        self.reader.prefetch(self.panels.chunk(c.number) for c in wanted)
        for _ in pool.map(take, wanted):
            pass
        return out

    def _scale(self, panel: CodedPanel, estimator: str) -> npt.NDArray[np.float64]:
        """What points are multiplied by, by the norm codes of a panel."""
        p, scaling = self.parameters, panel.scaling
        side = Side(scaling.histogram, scaling.noise, p.n, p.kappa)
        with np.errstate(over="ignore", invalid="ignore"):
            scale = p.coding.unit(p, scaling.histogram.codes) * reconstruction_factor(side, estimator)
        # as the entries themselves: the largest number stands for what is beyond it
        scale = np.minimum(scale, np.finfo(np.float64).max)
        return np.where(scaling.kept, scale, 0.0)
