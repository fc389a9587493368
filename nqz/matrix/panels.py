"""The panels of a coded matrix: where their records lie, and what these say of their columns, read when it is used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nqz.format.norm_mean import unpack_gains, unpack_means, unpack_norms
from nqz.format.reader import ContainerReader
from nqz.format.records import Record
from nqz.ground.arithmetic import pieces
from nqz.ground.errors import CorruptError
from nqz.ground.guard import Guard
from nqz.stages.center import Means
from nqz.stages.codings import Coder
from nqz.stages.norms import Histogram
from nqz.stages.panels import OpenPanel, Panel, cut_panel, open_panel, panel_columns
from nqz.stages.parameters import Parameters
from nqz.stages.scale import NormScaling

_AHEAD = 64
"""Panels of which the norms are asked for at once."""
_HELD, _COUNT = 1 << 21, 256
"""Columns of the panels that are kept for the next use, and how many of these there are at most."""

Columns: TypeAlias = "slice | npt.NDArray[Any]"
"""Which columns: a range, or their numbers."""


class _File(NamedTuple):
    """What the panels of a matrix have in common: where they are read, and who may do so."""

    reader: ContainerReader
    parameters: Parameters
    guard: Guard


class CodedPanel:
    """A panel, and what its records say of its columns.

    Attributes
    ----------
    panel : Panel
    codes : ndarray of int32, shape (width,)
        Norm codes.
    scaling : NormScaling
        What the parameters say of columns of each of these codes.
    """

    def __init__(
        self,
        file: _File,
        panel: Panel,
        codes: npt.NDArray[np.int32],
        scaling: NormScaling,
        mean: Record | None,
        gain: Record | None,
    ) -> None:
        self.panel, self.codes, self.scaling = panel, codes, scaling
        self._file, self._mean, self._gain = file, mean, gain
        self._coder: Coder | None = None
        self._means: Means | None = None
        self._opened: OpenPanel | None = None
        self._gains: npt.NDArray[np.float64] | None = None

    @property
    def histogram(self) -> Histogram:
        """The norm codes, counted."""
        return self.scaling.histogram

    @property
    def coder(self) -> Coder:
        """What decodes its chunks, made when the first one is."""
        with self._file.guard:
            if self._coder is None:
                p = self._file.parameters
                self._coder = p.coding.coder(p, self.scaling.used)
            return self._coder

    @property
    def opened(self) -> OpenPanel:
        """The order of its columns in its stream."""
        with self._file.guard:
            if self._opened is None:
                self._opened = open_panel(self.panel, self.codes, self.scaling, self.coder)
            return self._opened

    @property
    def means(self) -> Means:
        """Its means as they are stored; `CorruptError` if they are damaged."""
        with self._file.guard:
            if self._means is None:
                self._means = self._read_means()
            return self._means

    @property
    def gains(self) -> npt.NDArray[np.float64] | None:
        """Factors on the units of its columns, 1 for those that are not coded; None where the coding has none.

        `CorruptError` if they are damaged.
        """
        if self._gain is None:
            return None
        with self._file.guard:
            if self._gains is None:
                self._gains = self._read_gains(self._gain)
            return self._gains

    def _read_gains(self, record: Record) -> npt.NDArray[np.float64]:
        p, reader = self._file.parameters, self._file.reader
        where = _where(reader, record)
        found = unpack_gains(reader.read(record, "GAIN"), self.panel.kept, where)
        gains = np.ones(self.panel.width)
        try:
            gains[self.opened.order] = p.coding.gain(p, found)
        except ValueError as error:
            raise CorruptError(f"{where}: {error}") from None
        return gains

    def _read_means(self) -> Means:
        p, reader, record = self._file.parameters, self._file.reader, self._mean
        if p.digits is None or record is None:
            return Means.none(self.codes, p.n)
        where = _where(reader, record)
        shift, q = unpack_means(reader.read(record, "MEAN"), len(self.codes), where)
        means = Means(self.codes, p.n, p.digits, shift, q)
        with np.errstate(over="ignore"):
            for chosen in pieces(len(self.codes)):
                if not np.isfinite(means.at(chosen)).all():
                    raise CorruptError(f"{where}: a mean is not finite")
        return means


class Panels:
    """The panels of a matrix. Each is read when it is used, and the last few are kept. For several threads at once.

    Parameters
    ----------
    reader : ContainerReader
    index : int
        Number of the tensor.
    parameters : Parameters
    where : str
        File and tensor, for messages.

    Raises
    ------
    CorruptError
        The container does not have the records that so many columns call for.
    """

    def __init__(self, reader: ContainerReader, index: int, parameters: Parameters, where: str) -> None:
        self.parameters = p = parameters
        self._file = _File(reader, p, Guard())
        self.width = panel_columns(p.n)
        self._where = where
        self._norms, self._means, self._chunks, self._gains = (
            reader.numbers(index, kind) for kind in ("NORM", "MEAN", "CHNK", "GAIN")
        )
        if bool(len(self._means)) != (p.mean_digits is not None):
            raise CorruptError(f"{where}: parameters and records MEAN disagree")
        if bool(len(self._gains)) != p.coding.gains:
            raise CorruptError(f"{where}: parameters and records GAIN disagree")
        wanted = -(-p.columns // self.width)
        if len(self._norms) != wanted:
            raise CorruptError(f"{where}: {len(self._norms)} records NORM where its shape calls for {wanted}")
        self._starts = np.append(np.searchsorted(self._chunks, self._norms), len(self._chunks))
        self._held: OrderedDict[int, CodedPanel] = OrderedDict()

    def __len__(self) -> int:
        return len(self._norms)

    def __iter__(self) -> Iterator[CodedPanel]:
        return map(self.__getitem__, range(len(self)))

    def histograms(self) -> Iterator[Histogram]:
        """The norm codes of each panel, counted; nothing else of it is read."""
        for first in range(0, len(self), _AHEAD):
            batch = range(first, min(first + _AHEAD, len(self)))
            self._file.reader.prefetch(self._file.reader.record(int(self._norms[number])) for number in batch)
            for number in batch:
                yield self._panel(number, means=False).histogram

    def __getitem__(self, number: int) -> CodedPanel:
        """A panel; `CorruptError` if its norms are damaged, or do not agree with the number of its chunks."""
        return self._panel(number, means=True)

    def _panel(self, number: int, means: bool) -> CodedPanel:
        """A panel, of which the means are about to be read too, or not."""
        with self._file.guard:
            found = self._held.pop(number, None)
            if found is None:
                # room first: a panel may take tens of MB
                if len(self._held) >= max(1, min(_COUNT, _HELD // self.width)):
                    self._held.popitem(last=False)
                found = self._read(number, means)
            self._held[number] = found
        return found

    def edges(self, number: int) -> tuple[int, int]:
        """First column of a panel, and the one behind its last."""
        return number * self.width, min((number + 1) * self.width, self.parameters.columns)

    @property
    def chunk_count(self) -> int:
        """Number of chunks of the matrix."""
        return len(self._chunks)

    def chunk(self, number: int) -> Record:
        """Record of a chunk."""
        return self._file.reader.record(int(self._chunks[number]))

    def split(self, columns: Columns) -> Iterator[tuple[CodedPanel, Columns, Columns]]:
        """Columns by panel: each panel once, which of its columns they are, and where in `columns` they stand."""
        count = self.parameters.columns
        if isinstance(columns, slice):
            first, last, _ = columns.indices(count)
            for number in range(first // self.width, -(-last // self.width)) if first < last else ():
                start, stop = self.edges(number)
                low, high = max(first, start), min(last, stop)
                yield self[number], slice(low - start, high - start), slice(low - first, high - first)
            return
        owner = columns // self.width
        order = np.argsort(owner, kind="stable")
        edges = np.flatnonzero(np.diff(owner[order], prepend=-1, append=len(self)))
        for low, high in pairwise(edges.tolist()):
            places = order[low:high]
            number = int(owner[places[0]])
            yield self[number], columns[places] - number * self.width, places

    def _read(self, number: int, means: bool) -> CodedPanel:
        p, reader, (first, last) = self.parameters, self._file.reader, self.edges(number)
        record = reader.record(int(self._norms[number]))
        if means and len(self._means):
            reader.prefetch((record, reader.record(int(self._means[number]))))
        payload = reader.read(record, "NORM")
        codes = unpack_norms(payload, last - first, _where(reader, record), p.norm_step)
        scaling = p.norm_scaling(Histogram.of(codes))
        chunks, end = int(self._starts[number]), int(self._starts[number + 1])
        panel = cut_panel(p, first, last, int(scaling.histogram.counts[scaling.kept].sum()), chunks)
        if end - chunks != len(panel.chunks):
            raise CorruptError(
                f"{self._where}: {end - chunks} chunks where the norms at byte {record.offset} "
                f"call for {len(panel.chunks)}"
            )
        mean, gain = (
            reader.record(int(records[number])) if len(records) else None
            for records in (self._means, self._gains)
        )
        return CodedPanel(self._file, panel, codes, scaling, mean, gain)


def _where(reader: ContainerReader, record: Record) -> str:
    return f"{reader.name}: record {record.type} at byte {record.offset}"
