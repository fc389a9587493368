"""A coded matrix in a container: its header, norms and means checked and unpacked, its points decoded on request."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from nqz.files.layout import vector_layout
from nqz.format import chnk
from nqz.format import tens as header
from nqz.format.norm_mean import unpack_means, unpack_norms
from nqz.format.reader import ContainerReader
from nqz.ground.arithmetic import pieces
from nqz.ground.dtypes import cast_saturating
from nqz.ground.errors import CorruptError
from nqz.stages import center
from nqz.stages.columns import Lazy
from nqz.stages.decoder import Decoder
from nqz.stages.estimate import Side, expected_error, reconstruction_error, reconstruction_factor
from nqz.stages.panels import Chunk, Panel


class CodedMatrix:
    """Tensor `index` of a container, a matrix.

    Parameters
    ----------
    reader : ContainerReader
    index : int

    Raises
    ------
    CorruptError
        A record is damaged or does not agree with the others.
    """

    def __init__(self, reader: ContainerReader, index: int):
        self.reader, self.index = reader, index
        self.info = reader.manifest.tensors[index]
        self.name = self.info.name
        (record,) = reader.find(index, "TENS")
        payload = reader.read(record, "TENS")
        where = self._where(record)
        self.header = header.unpack(payload, self._layout, where)
        self.parameters = self.header.parameters
        if len(self.info.shape) == 1 and self.header.axis != 0:
            raise CorruptError(f"{where}: axis 1 for an array of one dimension")
        self.codes = self._norms()
        if bool(reader.find(index, "MEAN")) != self.centered:
            raise CorruptError(f"{reader.name}: tensor {self.name!r}: header and record MEAN disagree")
        if len(reader.find(index, "CHNK")) != self.decoder.chunk_count():
            raise CorruptError(
                f"{where}: {len(reader.find(index, 'CHNK'))} chunks where its norms call for {self.decoder.chunk_count()}"
            )

    def _layout(self, axis: int) -> tuple[int, int]:
        # axis 1 of an array of one dimension is refused afterwards
        layout = vector_layout(
            self.info.shape, 0 if len(self.info.shape) == 1 else axis, self.info.order == "F"
        )
        return layout.length, layout.count

    def _where(self, record) -> str:
        return f"{self.reader.name}: record {record.type} at byte {record.offset}"

    def _norms(self) -> np.ndarray:
        (record,) = self.reader.find(self.index, "NORM")
        payload = self.reader.read(record, "NORM")
        return unpack_norms(payload, self.parameters.columns, self._where(record))

    @cached_property
    def _steps(self) -> center.Steps:
        """What the means are kept as."""
        (record,) = self.reader.find(self.index, "MEAN")
        p, where = self.parameters, self._where(record)
        shift, q = unpack_means(self.reader.read(record, "MEAN"), p.columns, where)
        with np.errstate(over="ignore"):
            for c in pieces(p.columns):
                if not np.isfinite(center.restore(shift[c], q[c], self.codes[c], p.n, p.mean_digits)).all():
                    raise CorruptError(f"{where}: a mean is not finite")
        return center.Steps(shift, q)

    @property
    def centered(self) -> bool:
        """Whether the means of the columns are kept apart."""
        return self.parameters.mean_digits is not None

    @cached_property
    def means(self) -> Lazy:
        """The stored means, zeros where the matrix is not centered; float64 of shape (a,)."""
        p = self.parameters
        if not self.centered:
            return Lazy(p.columns, lambda c: np.zeros(np.shape(self.codes[c])))
        return self._steps.means(self.codes, p.n, p.mean_digits)

    def mean_step(self, exponent: int) -> Lazy:
        """Steps of the means in units of 2 ** exponent; zeros where the matrix is not centered."""
        p = self.parameters
        if not self.centered:
            return Lazy(p.columns, lambda c: np.zeros(np.shape(self.codes[c])))
        shift = self._steps.shift
        return Lazy(p.columns, lambda c: center.step(shift[c], self.codes[c], p.n, p.mean_digits, exponent))

    @cached_property
    def decoder(self) -> Decoder:
        """The decoder of the matrix."""
        # the means are unpacked when they are first used
        means = Lazy(self.parameters.columns, lambda columns: self.means[columns])
        return Decoder(self.parameters, self.codes, means)

    @cached_property
    def side(self) -> Side:
        """The matrix as the estimators see it."""
        return Side(self.codes, self.decoder.noise, self.parameters.n, self.parameters.kappa)

    @property
    def entries(self) -> int:
        """Number of entries."""
        return math.prod(self.info.shape)

    @cached_property
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

    def predicted_reconstruction(self, estimator: str = "mmse") -> float:
        """Expected ‖A - Â‖² / ‖Ā‖² of the decoded matrix."""
        return reconstruction_error(self.side, estimator)

    def predicted_product(self) -> float:
        """Expected error of AᵀB with an unrelated partner coded alike, relative to ‖Ā‖²‖B̄‖²/n."""
        return expected_error(self.side, self.side, "mmse")

    def shrinkage(self) -> float:
        """Energy-weighted mean of w = 1 / (1 + d): the default α of one side."""
        power, noise = self.side.groups()
        return float((power / (1.0 + noise)).sum())

    def points(self, panel: Panel, pool, out: np.ndarray | None = None) -> np.ndarray:
        """Decoded points of a panel in the order of its stream, int32 of shape (kept columns, m).

        Raises
        ------
        CorruptError
            A chunk is damaged.
        """
        m = self.parameters.m
        if out is None:
            out = np.empty((panel.kept, m), np.int32)
        flat = out.reshape(-1)

        def decode(chunk):
            self.chunk_points(panel, chunk, flat[chunk.start : chunk.start + chunk.count])

        for _ in pool.map(decode, panel.chunks):
            pass
        return out

    @cached_property
    def _chunk_records(self) -> list:
        return self.reader.find(self.index, "CHNK")

    def chunk_points(self, panel: Panel, chunk: Chunk, out: np.ndarray) -> None:
        """Decode the points of one chunk of a panel's stream to `out`, int32 of shape (chunk.count,).

        Raises
        ------
        CorruptError
            The chunk is damaged.
        """
        record = self._chunk_records[chunk.number]
        payload = self.reader.read(record, "CHNK")
        try:
            sizes = self.decoder.sizes(panel, chunk)
            sections = chnk.unpack(self.parameters.coding.name, payload, chunk.lanes, sizes)
            self.decoder.decode_chunk(panel, chunk, sections, out)
        except ValueError as error:
            raise CorruptError(f"{self._where(record)}: {error}") from None

    def scale(self, factor: Lazy | np.ndarray) -> Lazy:
        """What points are multiplied by where the centered part of each column is multiplied by `factor`."""
        unit = self.decoder.unit()
        return Lazy(self.parameters.columns, lambda columns: unit[columns] * factor[columns])

    def reconstruct(self, panel: Panel, pool, factor: Lazy | np.ndarray, dtype: str, out: np.ndarray) -> None:
        """Rebuild the columns of a panel.

        Parameters
        ----------
        factor : ndarray of float64, or Lazy, of shape (a,)
            What the centered part of each column is multiplied by.
        dtype : str
            Canonical name of a matrix type.
        out : ndarray, shape (n, w)
            In the storage type of `dtype`, any strides; written.
        """
        n, width = self.parameters.n, panel.last - panel.first
        points = pool.buffers.array("points of panel", (panel.kept, self.parameters.m), np.int32)
        self.points(panel, pool, points)
        scale = self.scale(factor)
        step = max(1, (1 << 19) // n)

        def rebuild(first):
            columns = out[:, first : first + step]
            if dtype in ("float32", "float64"):
                self.decoder.reconstruct(panel, points, first, scale, columns)
                return
            # narrower types are rounded once, from float64
            wide = pool.local.array("wide", columns.T.shape, np.float64).T
            self.decoder.reconstruct(panel, points, first, scale, wide)
            columns[...] = cast_saturating(wide, dtype)

        for _ in pool.map(rebuild, range(0, width, step)):
            pass

    def reconstructed(self, panel: Panel, pool, factor: Lazy | np.ndarray, dtype) -> np.ndarray:
        """Rebuilt columns of a panel in natural order.

        Parameters
        ----------
        factor : ndarray of float64, or Lazy, of shape (a,)
            What the centered part of each column is multiplied by.
        dtype : float32 or float64

        Returns
        -------
        ndarray, shape (n, w), Fortran order
        """
        out = np.empty((panel.last - panel.first, self.parameters.n), dtype).T
        self.reconstruct(panel, pool, factor, np.dtype(dtype).name, out)
        return out

    def factor(self, estimator: str) -> Lazy:
        """The factor for `reconstructed`: `mmse` or `unbiased`."""
        return Lazy(
            self.parameters.columns, lambda columns: reconstruction_factor(self.side.part(columns), estimator)
        )
