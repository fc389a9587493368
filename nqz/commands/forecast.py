"""What encoding a matrix will come to: its error, its parameters, and how long its records are.

A large one is not coded for that, but for a sample; a small one is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.commands.code import code, probe
from nqz.commands.contents import Record
from nqz.commands.encode_matrix import encode_matrix, vectors_of
from nqz.commands.measure import grid, measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.panel_records import side_records
from nqz.commands.rounded import rounded
from nqz.files.access import MemoryAccess
from nqz.files.contract import SourceTensor
from nqz.files.layout import VECTOR_MAJOR
from nqz.files.vectors import VectorView
from nqz.format.exct import zstd_pack
from nqz.format.msgpack import pack
from nqz.format.records import record_size
from nqz.format.tensors import PIECE
from nqz.format.writer import ContainerWriter, Draft, listed_size
from nqz.ground.arithmetic import pieces, total
from nqz.ground.cached import cached_property
from nqz.ground.layout import lanes_of
from nqz.ground.threads import Workers
from nqz.plan.means import mean_digits
from nqz.plan.search import calibrated, expected_bits, header, plan
from nqz.plan.task import Plan, Target, Task, predicted
from nqz.stages.center import Digits, Means
from nqz.stages.norms import Histogram
from nqz.stages.panels import chunk_counts, panel_columns
from nqz.stages.parameters import Parameters
from nqz.stages.statistics import Statistics
from nqz.stages.sums import Found

_RUNS = 8
"""Samples of columns are this many runs of neighbors."""

_COLUMNS, _OF_COLUMNS = 512, 16
"""Columns that stand for all of them where a rate is given: at least, and the part of them that they are."""

_LEAST_COLUMNS, _ENOUGH = 64, 1 << 22
"""At least so many where they are long; so many entries are enough."""

_WIDE = 1 << 16
"""Columns from which on a part of each row is read sooner than all of it."""

_SIDE_HEAD = 24
"""Bytes of a record of norms or means that do not grow with these, about."""

_SIDE, _FEW = 1024, 128
"""Columns that tell how long norms and means are, about; and where the size does not depend on it."""

_SAMPLE, _LEAST_SAMPLE, _OF = 1 << 16, 1 << 12, 12
"""Entries that are coded where a coding has to try how well it does: at most, at least, and the part that they are."""

_NEAR = 0.98
"""Of the bits that a rate allows: a coding that has to try comes closer to them once it has coded everything."""

_CODED = 1 << 16
"""Entries up to which a matrix is coded to see what it comes to: of few, nothing is near its expectation."""

_HEADER = 120
"""Bytes of parameters in a manifest, about."""

_WHOLE, _SPANS, _SPAN = 1 << 20, 4, 1 << 16
"""Bytes up to which an exact tensor is compressed to see what it takes; of a piece of a larger one, and how many."""


@dataclass(frozen=True)
class Forecast:
    """What encoding a matrix will come to.

    Attributes
    ----------
    error : float
        Predicted error of a product with an unrelated partner that it is coded for; 0 where it is carried exactly.
    header : list or None
        What the manifest will have of a matrix.
    records : list of (str, int)
        Types and lengths of its records.
    """

    error: float
    header: list[Any] | None
    records: list[Record]

    @property
    def size(self) -> int:
        """Bytes of the records and of what the manifest has."""
        parameters = 0 if self.header is None else len(pack(self.header))
        return sum(record_size(length) for _, length in self.records) + parameters


def forecast(
    tensor: SourceTensor,
    task: Task,
    target: Target,
    pool: Workers,
    whole: ContainerWriter | None = None,
    sampled: bool = True,
) -> Forecast:
    """Say what encoding a matrix will come to; it is read once, and only a sample is coded, or a small one.

    Parameters
    ----------
    tensor : SourceTensor
    task : Task
    target : Target
    pool : Workers
    whole : ContainerWriter, optional
        The file, if all of it counts, and not the records of the tensor alone.
    sampled : bool
        Whether some columns may stand for all, where the size does not depend on them.
    """
    if tensor.entries <= _CODED:
        return _coded(tensor, task, target, pool, whole)
    view = vectors_of(tensor, task)
    matrix, near = _measured(view, tensor.dtype, task, target, pool, sampled and target.error is None)
    statistics = matrix.statistics
    digits = mean_digits(task, target, statistics)
    side = (_likely_lengths if sampled and target.error is None else _side_lengths)(near, statistics, digits)
    target = target.with_fixed(_fixed_bytes(side, whole))
    sample = _Sample(matrix, tensor.dtype, pool)
    found = plan(task, statistics, target, sample.probe, rough=True)
    final = calibrated(found, statistics, sample.probe)
    bits = sample.bits(final)
    if bits is None:
        bits = expected_bits(found, statistics, rough=target.error is None)
    if target.error is None:
        most = max(0.0, target.bits(statistics.grid.entries))
        bits = most if sample.tried and bits >= _NEAR * most else min(bits, most)
    kinds = ["NORM", "MEAN"] if statistics.center else ["NORM"]
    records = [(kinds[i % len(kinds)], length) for i, length in enumerate(side)]
    values = header(task, statistics, final).values()
    chunks = _chunks(final.parameters, bits, statistics.histogram)
    return Forecast(predicted(final.parameters, statistics), values, [*records, *chunks])


def _coded(
    tensor: SourceTensor, task: Task, target: Target, pool: Workers, whole: ContainerWriter | None
) -> Forecast:
    """What a matrix comes to as it is found by coding it."""
    writer = Draft() if whole is None else whole
    found = encode_matrix(
        tensor, task, target, writer, whole, pool, progress=lambda _: None, require=lambda _: None
    )
    return Forecast(found.error, writer.parameters, writer.tensor_records())


def _fixed_bytes(side: list[int], whole: ContainerWriter | None) -> int:
    """Bytes beside the chunks that a rate counts, about."""
    return listed_size(side) + _HEADER if whole is None else whole.projected_size(side, _HEADER)


def _measured(
    view: VectorView, dtype: str, task: Task, target: Target, pool: Workers, sampled: bool
) -> tuple[MeasuredMatrix, Found]:
    """Measure a matrix, or columns enough; and norms and means of some columns."""
    if sampled and (view.memory == VECTOR_MAJOR or view.count >= _WIDE):
        least = max(_LEAST_COLUMNS, min(_COLUMNS, _ENOUGH // view.length))
        sample = _columns(view, dtype, view.count, max(least, view.count // _OF_COLUMNS))
        if sample is not None:
            found = measure(sample, task.center is not False, task.where, pool=pool, hashed=False)
            own = rounded(MeasuredMatrix(sample, found, task.where, pool), task, target, pool)
            return _extrapolated(view, own.statistics, task)
    statistics = measure(view, task.center is not False, task.where, pool=pool, hashed=False)
    matrix = rounded(MeasuredMatrix(view, statistics, task.where, pool), task, target, pool)
    statistics = matrix.statistics
    if statistics.held is not None:
        several = _FEW if sampled else _SIDE
        return matrix, statistics.held.chosen(slice(None, None, max(1, view.count // several)))
    step = -(-view.count // _RUNS)
    runs = [matrix.measured(at, min(at + _SIDE // _RUNS, view.count)) for at in range(0, view.count, step)]
    return matrix, Found.joined(runs)


def _extrapolated(view: VectorView, found: Statistics, task: Task) -> tuple[MeasuredMatrix, Found]:
    """A matrix of which some columns, evenly spread, stand for all."""
    assert found.held is not None
    counts = found.histogram.counts
    edges = np.cumsum(counts) * view.count // found.columns
    kept = np.diff(edges, prepend=0)
    histogram = Histogram.counted(found.histogram.codes[kept > 0], kept[kept > 0])
    cut = grid(view)
    whole = Statistics(cut, found.center, 0, cut.units, b"", histogram, found.near, found.rounding)
    near = found.held.chosen(slice(None, None, max(1, found.columns // _FEW)))
    return MeasuredMatrix(view, whole, task.where), near


def _side_lengths(found: Found, statistics: Statistics, digits: Digits | None) -> list[int]:
    """Lengths of the records of norms and means, by those of some columns."""
    widths = [panel.stop - panel.start for panel in pieces(statistics.columns, panel_columns(statistics.n))]
    several, half = len(found.codes), -(-len(found.codes) // 2)
    whole = _lengths(found, statistics, digits)
    if widths == [several]:
        return whole
    part = _lengths(found.chosen(slice(half)), statistics, digits)
    # a record has a head that does not grow with it
    return [
        own + (own - less) * (width - several) // max(1, several - half)
        for width in widths
        for own, less in zip(whole, part, strict=True)
    ]


def _lengths(found: Found, statistics: Statistics, digits: Digits | None) -> list[int]:
    """Lengths of the records of norms and means of some columns."""
    means = Means.rounded(found.mean, found.codes, statistics.n, digits)
    return [record.length for record in side_records(means, statistics.rounding.step)]


def _likely_lengths(found: Found, statistics: Statistics, digits: Digits | None) -> list[int]:
    """About the same, where the size does not depend on it: as if norms and means were Gaussian."""
    means = Means.rounded(found.mean, found.codes, statistics.n, digits)
    bits = [_spread_bits(means.codes // statistics.rounding.step)]
    if digits is not None:
        bits.append(_spread_bits(means.q) + _spread_bits(means.shift))
    widths = [panel.stop - panel.start for panel in pieces(statistics.columns, panel_columns(statistics.n))]
    return [int(width * own / 8.0) + _SIDE_HEAD for width in widths for own in bits]


def _spread_bits(values: npt.NDArray[Any]) -> float:
    """Bits an integer takes in a record, of some that are normally distributed; a quarter is lost."""
    return 1.25 * 0.5 * math.log2(1.0 + 17.08 * float(np.var(values)))


def _columns(view: VectorView, dtype: str, count: int, width: int) -> VectorView | None:
    """Some of the first `count` columns, evenly spread runs of neighbors, in memory; None where these are most."""
    if 2 * width > count:
        return None
    apart = view.memory == VECTOR_MAJOR or view.count >= _WIDE  # else what lies between is read, too
    runs = _RUNS if apart else 1
    run = -(-width // runs)
    starts = [number * (count - run) // max(1, runs - 1) for number in range(runs)]
    rows = np.concatenate([np.ascontiguousarray(view.read(at, at + run).T) for at in starts])
    return VectorView(
        MemoryAccess(rows.reshape(-1).view(np.uint8)), 0, rows.shape, dtype,
        axis=1, fortran_order=False, byte_order="<",
    )  # fmt: skip


def forecast_exact(tensor: SourceTensor, pool: Workers) -> Forecast:
    """Say what carrying a tensor exactly will come to, by a sample of it."""
    sizes = [min(PIECE, tensor.nbytes - start) for start in range(0, tensor.nbytes, PIECE)]
    spans = [span for number, size in enumerate(sizes) for span in _spans(number, size, len(sizes))]
    packed = list(pool.map(lambda span: len(zstd_pack(tensor.read(*span))), spans))
    share = sum(packed) / max(1, sum(size for _, size in spans))
    if sum(size for _, size in spans) == tensor.nbytes:
        return Forecast(0.0, None, [("EXCT", length) for length in packed])
    return Forecast(0.0, None, [("EXCT", int(share * size)) for size in sizes])


def _spans(number: int, size: int, pieces: int) -> list[tuple[int, int]]:
    """Where in a piece is what stands for it: all of a small one."""
    if size <= (_WHOLE if pieces == 1 else _SPANS * _SPAN):
        return [(number * PIECE, size)]
    step = size // _SPANS
    return [(number * PIECE + i * step, min(_SPAN, step)) for i in range(_SPANS)]


def _chunk_sizes(p: Parameters, histogram: Histogram) -> list[int]:
    """Entries of each chunk."""
    kept = int(histogram.counts[p.coding.scaling(p, histogram.codes).kept].sum())
    return [size for size, number in chunk_counts(p.n, p.m, p.columns, kept) for _ in range(number)]


def _chunks(p: Parameters, bits: float, histogram: Histogram) -> list[Record]:
    """Records of chunks of so many bits in all."""
    sizes = _chunk_sizes(p, histogram)
    data = bits - _FRAME_BITS * len(sizes)
    return [("CHNK", max(0, int(data * size / sum(sizes) / 8.0))) for size in sizes]


def _head_bits(size: int) -> float:
    """Bits of a chunk that do not grow with it: lengths of its sections, and what rANS states hold of no data."""
    return 80.0 + 16.0 * lanes_of(size)


_FRAME_BITS = 8.0 * 21
"""Of a record and its entry in the index, which expected bits include."""


class _Sample:
    """Some columns of the first panel, which stand for it where a coding has to try how well it does.

    Parameters
    ----------
    matrix : MeasuredMatrix
    dtype : str
        Of its entries.
    pool : Workers
    """

    def __init__(self, matrix: MeasuredMatrix, dtype: str, pool: Workers) -> None:
        self._matrix, self._dtype, self._pool = matrix, dtype, pool
        self.tried = False

    def probe(self, parameters: Parameters) -> tuple[int, ...]:
        """What `probe` would find in the first panel."""
        self.tried = True
        near, own = self._matrix.statistics.near, self._own.statistics.near
        share = total(near[near > 0.0]) / max(total(own[own > 0.0]), 1e-300)
        return tuple(
            int(moment * share) for moment in probe(self._own, self._pool, self._adapted(parameters))
        )

    def bits(self, found: Plan) -> float | None:
        """Bits of all chunks of the matrix, by those of the sample; None where the coding need not try."""
        if not self.tried:
            return None
        p = self._adapted(found.parameters)
        records = [r for r in code(self._own, p, pool=self._pool) if r.type == "CHNK"]
        sample = _chunk_sizes(p, self._own.histogram)
        whole = _chunk_sizes(found.parameters, self._matrix.histogram)
        data = sum(8.0 * record.length for record in records) - sum(map(_head_bits, sample))
        return data * sum(whole) / max(1, sum(sample)) + sum(_head_bits(size) + _FRAME_BITS for size in whole)

    def _adapted(self, parameters: Parameters) -> Parameters:
        return replace(parameters, columns=self._own.statistics.columns)

    @cached_property
    def _own(self) -> MeasuredMatrix:
        """The sample."""
        matrix, n = self._matrix, self._matrix.statistics.n
        first = min(matrix.statistics.columns, panel_columns(n))
        wanted = min(_SAMPLE, max(_LEAST_SAMPLE, first * n // _OF))
        view = _columns(matrix.view, self._dtype, first, -(-wanted // n)) or matrix.view
        own = measure(view, matrix.statistics.center, matrix.where, pool=self._pool, hashed=False)
        return MeasuredMatrix(view, own, matrix.where, self._pool)
