"""A coded matrix of a container: its records read and checked, its points and columns decoded on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nqz.format import chnk, tens
from nqz.format.head import TensorInfo
from nqz.format.norm_mean import unpack_means, unpack_norms
from nqz.format.reader import ContainerReader
from nqz.format.records import Record
from nqz.ground.arithmetic import pieces
from nqz.ground.dtypes import cast_saturating
from nqz.ground.errors import CorruptError
from nqz.ground.threads import Workers
from nqz.stages import center
from nqz.stages.chunks import Chunk
from nqz.stages.codings import Coder
from nqz.stages.decoder import rebuild
from nqz.stages.estimate import Side, expected_error, reconstruction_error, reconstruction_factor
from nqz.stages.norms import Histogram
from nqz.stages.panels import OpenPanel, Panel, open_panel, panel_columns, panels
from nqz.stages.parameters import Parameters
from nqz.stages.scale import NormScaling

_STEP = 1 << 19
"""Entries that one thread rebuilds at a time."""

Columns: TypeAlias = "slice | npt.NDArray[Any]"
"""Which columns: a range, or their numbers."""

Points: TypeAlias = "npt.NDArray[np.int32]"
Block: TypeAlias = "npt.NDArray[Any] | None"


@dataclass(eq=False)
class Matrix:
    """A coded matrix of a container, made by `open_matrix`.

    Attributes
    ----------
    reader : ContainerReader
    index : int
        Number of the tensor.
    info : TensorInfo
        What the manifest says of it.
    header : TensorHeader
    codes : ndarray of int32, shape (a,)
        Norm codes.
    histogram : Histogram
        Of them.
    norm_scaling : NormScaling
        What the parameters say of the columns of each code.
    panels : list of Panel
    chunks : list of Record
        By the numbers of the chunks.
    kept_means : Means or None
        As they are in the file, once `load_means` has read them.
    """

    reader: ContainerReader
    index: int
    info: TensorInfo
    header: tens.TensorHeader
    codes: npt.NDArray[np.int32]
    histogram: Histogram
    norm_scaling: NormScaling
    panels: list[Panel]
    chunks: list[Record]
    kept_means: center.Means | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Name of the tensor; empty for a single array."""
        return self.info.name

    @property
    def parameters(self) -> Parameters:
        """What it was coded with."""
        return self.header.parameters

    @cached_property
    def coder(self) -> Coder:
        """What decodes chunks, made when the first one is: many a matrix is opened for what its header says."""
        return self.parameters.coding.coder(self.parameters, self.norm_scaling.used)

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
        records = self.reader.records(self.index)
        return records[-1].end - records[0].offset

    @property
    def rate(self) -> float:
        """Bits an entry."""
        return 8.0 * self.coded_bytes / self.entries

    @property
    def side(self) -> Side:
        """The matrix as the estimators see it."""
        p = self.parameters
        return Side(self.histogram, self.norm_scaling.noise, p.n, p.kappa)

    def predicted_reconstruction(self, estimator: str = "mmse") -> float:
        """Expected ‖A - Â‖² / ‖Ā‖² of the decoded matrix."""
        return reconstruction_error(self.side, estimator)

    def predicted_product(self) -> float:
        """Expected error of AᵀB with an unrelated partner coded alike, relative to ‖Ā‖²‖B̄‖²/n."""
        return expected_error(self.side, self.side, "mmse")

    def shrinkage(self) -> float:
        """Energy-weighted mean of w = 1 / (1 + d): the default α of one side."""
        return float((self.side.power() / (1.0 + self.norm_scaling.noise)).sum())

    def load_means(self) -> center.Means:
        """Read the means, unless that was done before; `means` and `mean_steps` need them.

        Raises
        ------
        CorruptError
            They are damaged.
        """
        if self.kept_means is None:
            self.kept_means = _read_means(self)
        return self.kept_means

    def means(self, columns: Columns) -> npt.NDArray[np.float64]:
        """The stored means of columns, zeros where the matrix is not centered."""
        return self.load_means().at(columns)

    def mean_steps(self, columns: Columns, exponent: int = 0) -> npt.NDArray[np.float64]:
        """Steps of their means in units of 2 ** exponent, zeros where these are exact."""
        return self.load_means().steps(columns, exponent)

    def units(self, codes: npt.NDArray[Any], exponent: int = 0) -> npt.NDArray[np.float64]:
        """What one unit of a decoded point is worth in columns of some norm codes, in units of 2 ** exponent."""
        p = self.parameters
        return self.histogram.apply(lambda codes: p.coding.unit(p, codes, exponent), codes)

    def open_panel(self, panel: Panel) -> OpenPanel:
        """A panel with what decoding has to know of its columns."""
        return open_panel(panel, self.codes[panel.first : panel.last], self.norm_scaling, self.coder)

    def chunk_points(self, opened: OpenPanel, chunk: Chunk, out: npt.NDArray[np.int32]) -> None:
        """Decode the points of one chunk of a panel's stream to `out`, of shape (chunk.count,).

        Raises
        ------
        CorruptError
            The chunk is damaged.
        """
        record = self.chunks[chunk.number]
        payload = self.reader.read(record, "CHNK")
        try:
            sizes = self.coder.sizes(chunk, opened.coded)
            sections = chnk.unpack(self.parameters.coding.name, payload, chunk.lanes, sizes)
            self.coder.decode_chunk(chunk, opened.coded, sections, out)
        except ValueError as error:
            raise CorruptError(f"{_where(self.reader, record)}: {error}") from None

    def points(self, opened: OpenPanel, pool: Workers) -> npt.NDArray[np.int32]:
        """Decoded points of a panel in the order of its stream, shape (kept columns, m); valid until the next panel's.

        Raises
        ------
        CorruptError
            A chunk is damaged.
        """
        panel = opened.panel
        out = pool.buffers.array("points of panel", (panel.kept, panel.m), np.int32)
        flat = out.reshape(-1)

        def decode(chunk: Chunk) -> None:
            self.chunk_points(opened, chunk, flat[chunk.start : chunk.start + chunk.count])

        for _ in pool.map(decode, panel.chunks):
            pass
        return out

    def blocks(
        self,
        pool: Workers,
        estimator: str = "mmse",
        dtype: str = "float64",
        into: Callable[[Panel], Block] | None = None,
        work: Callable[[int, npt.NDArray[Any]], Any] | None = None,
        step: int = _STEP,
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

        Yields
        ------
        tuple
            The panel, the array it is in, if any, and what `work` returned for its pieces. With neither `into` nor
            `work` points are decoded, and no columns rebuilt.

        Raises
        ------
        CorruptError
            A record is damaged.
        """
        p = self.parameters
        scale = p.coding.unit(p, self.histogram.codes) * reconstruction_factor(self.side, estimator)
        width = max(1, step // p.n)
        builder = _Builder(self, scale, dtype, work, width, pool)
        for panel in self.panels:
            block = None if into is None else into(panel)
            opened = self.open_panel(panel)
            points = self.points(opened, pool)
            if block is None and work is None:
                yield panel, None, []
                continue
            self.load_means()
            piece = partial(builder.piece, opened, points, block)
            yield panel, block, list(pool.map(piece, range(0, panel.width, width)))


@dataclass(frozen=True, eq=False)
class _Builder:
    """Rebuilds columns of a matrix, `width` at a time; see `Matrix.blocks`.

    Attributes
    ----------
    matrix : Matrix
        With its means.
    scale : ndarray of float64
        What points are multiplied by, by norm code.
    dtype : str
    work : callable or None
    width : int
    pool : Workers
    """

    matrix: Matrix
    scale: npt.NDArray[np.float64]
    dtype: str
    work: Callable[[int, npt.NDArray[Any]], Any] | None
    width: int
    pool: Workers

    def piece(self, opened: OpenPanel, points: Points, block: Block, first: int) -> Any:
        """Rebuild columns of a panel from number `first` on, in its block or in memory of the thread; work on them."""
        columns = slice(first, min(first + self.width, opened.panel.width))
        found = self._rebuilt(opened, points, columns, None if block is None else block[:, columns])
        return None if self.work is None else self.work(opened.panel.first + first, found)

    def _rebuilt(self, opened: OpenPanel, points: Points, columns: slice, target: Block) -> npt.NDArray[Any]:
        matrix, first = self.matrix, opened.panel.first
        here = slice(first + columns.start, first + columns.stop)
        out = target
        # narrower types are rounded once, from float64
        if out is None or self.dtype not in ("float32", "float64"):
            out = self.pool.local.array(
                "rebuilt", (columns.stop - columns.start, matrix.parameters.n), np.float64
            ).T
        scale = matrix.histogram.look_up(self.scale, matrix.codes[here])
        rebuild(matrix.parameters, points, opened.place[columns], scale, matrix.means(here), out)
        if target is None or out is target:
            return out
        target[...] = cast_saturating(out, self.dtype)
        return target


def open_matrix(reader: ContainerReader, index: int) -> Matrix:
    """Read header and norms of tensor `index` of a container, a matrix.

    Raises
    ------
    CorruptError
        A record is damaged or does not agree with the others.
    """
    info = reader.manifest.tensors[index]
    (record,) = reader.find(index, "TENS")
    payload, where = reader.read(record, "TENS"), _where(reader, record)
    header = tens.unpack(payload, lambda axis: _length_and_count(info.shape, axis), where)
    p = header.parameters
    if len(info.shape) == 1 and header.axis != 0:
        raise CorruptError(f"{where}: axis 1 for an array of one dimension")
    codes = np.concatenate(
        [
            unpack_norms(reader.read(record, "NORM"), width, _where(reader, record))
            for record, width in _side(reader, index, "NORM", p)
        ]
    )
    if bool(reader.find(index, "MEAN")) != (p.mean_digits is not None):
        raise CorruptError(f"{reader.name}: tensor {info.name!r}: header and record MEAN disagree")
    histogram = Histogram.of(codes)
    found = p.norm_scaling(histogram)
    cut = list(panels(p, found, lambda first, last: codes[first:last]))
    chunks = reader.find(index, "CHNK")
    wanted = sum(len(panel.chunks) for panel in cut)
    if len(chunks) != wanted:
        raise CorruptError(f"{where}: {len(chunks)} chunks where its norms call for {wanted}")
    return Matrix(reader, index, info, header, codes, histogram, found, cut, chunks)


def _length_and_count(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Length and number of the vectors of a tensor."""
    count = 1 if len(shape) == 1 else shape[-1] if axis == 0 else shape[0]
    return math.prod(shape) // count, count


def _read_means(matrix: Matrix) -> center.Means:
    p, reader = matrix.parameters, matrix.reader
    if p.mean_digits is None:
        return center.Means.none(matrix.codes, p.n)
    found, first = [], 0
    for record, width in _side(reader, matrix.index, "MEAN", p):
        where = _where(reader, record)
        shift, q = unpack_means(reader.read(record, "MEAN"), width, where)
        means = center.Means(matrix.codes[first : first + width], p.n, p.mean_digits, shift, q)
        with np.errstate(over="ignore"):
            for columns in pieces(width):
                if not np.isfinite(means.at(columns)).all():
                    raise CorruptError(f"{where}: a mean is not finite")
        found.append(means)
        first += width
    shift, q = (np.concatenate(parts) for parts in zip(*((m.shift, m.q) for m in found), strict=True))
    return center.Means(matrix.codes, p.n, p.mean_digits, shift, q)


def _side(
    reader: ContainerReader, index: int, kind: str, parameters: Parameters
) -> Iterator[tuple[Record, int]]:
    """The records of one kind that panels have one of each, and how many columns each is of."""
    records, columns = reader.find(index, kind), parameters.columns
    cut = pieces(columns, panel_columns(parameters.n))
    if len(records) != len(cut):
        raise CorruptError(f"{reader.name}: {len(records)} records {kind} where there are {len(cut)} panels")
    return ((record, part.stop - part.start) for record, part in zip(records, cut, strict=True))


def _where(reader: ContainerReader, record: Record) -> str:
    return f"{reader.name}: record {record.type} at byte {record.offset}"
