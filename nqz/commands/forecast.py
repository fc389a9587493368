"""What encoding a matrix will come to, without coding it: its error, its parameters, and how long its records are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nqz.commands.code import Moments, probe
from nqz.commands.contents import Record
from nqz.commands.encode_matrix import SideInformation, fixed_bytes, vectors_of
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.files.access import MemoryAccess
from nqz.files.contract import SourceTensor
from nqz.files.vectors import VectorView
from nqz.format.writer import ContainerWriter
from nqz.ground.arithmetic import total
from nqz.ground.threads import Workers
from nqz.plan.search import calibrated, expected_bits, header, plan
from nqz.plan.task import Target, Task, predicted
from nqz.stages.panels import chunk_counts, panel_columns
from nqz.stages.parameters import Parameters

_SAMPLE = 1 << 16  # entries that stand for the first panel, where a coding has to try how well it does
_RUNS = 8  # of neighboring columns


@dataclass(frozen=True)
class Forecast:
    """What encoding a matrix will come to.

    Attributes
    ----------
    error : float
        Predicted error of a product with an unrelated partner coded alike.
    header : list
        What the manifest will have of it.
    records : list of (str, int)
        Types and lengths of its records.
    """

    error: float
    header: list[Any]
    records: list[Record]


def forecast(
    tensor: SourceTensor, task: Task, target: Target, pool: Workers, whole: ContainerWriter | None = None
) -> Forecast:
    """Say what encoding a matrix will come to; it is read once, and nothing of it is coded but a sample.

    Parameters
    ----------
    tensor : SourceTensor
    task : Task
    target : Target
    pool : Workers
    whole : ContainerWriter, optional
        The file, if all of it counts, and not the records of the tensor alone.
    """
    view = vectors_of(tensor, task)
    statistics = measure(view, task.center, task.where, pool=pool, hashed=False)
    matrix = MeasuredMatrix(view, statistics, task.where, pool)
    side = SideInformation.of(matrix, target.digits if task.center else None, pool)
    target = target.with_fixed(fixed_bytes(task, statistics, target, side, whole))
    sampled = partial(_sampled, matrix, tensor.dtype, pool)
    found = plan(task, statistics, target, sampled)
    final = calibrated(found, statistics, sampled)
    bits = expected_bits(found, statistics)
    if target.error is None:
        bits = min(bits, max(0.0, target.bits(statistics.grid.entries)))
    kinds = ["NORM", "MEAN"] if task.center else ["NORM"]
    records = [(kinds[i % len(kinds)], length) for i, length in enumerate(side.lengths)]
    values = header(task, statistics, final).values()
    chunks = _chunks(final.parameters, bits, matrix)
    return Forecast(predicted(final.parameters, statistics), values, [*records, *chunks])


def _chunks(p: Parameters, bits: float, matrix: MeasuredMatrix) -> list[Record]:
    """Records of chunks of so many bits in all."""
    histogram = matrix.histogram
    kept = int(histogram.counts[p.coding.scaling(p, histogram.codes).kept].sum())
    counts = chunk_counts(p.n, p.m, p.columns, kept)
    entries = sum(size * number for size, number in counts)
    every = [size for size, number in counts for _ in range(number)]
    framing = _FRAME_BITS * len(every)
    return [("CHNK", max(0, int((bits - framing) * size / entries / 8.0))) for size in every]


_FRAME_BITS = 8.0 * 21
"""Of a record and its entry in the index, which expected bits include."""


def _sampled(matrix: MeasuredMatrix, dtype: str, pool: Workers, parameters: Parameters) -> Moments:
    """What `probe` finds in the first panel, by a sample of its columns."""
    statistics, n = matrix.statistics, parameters.n
    first = min(statistics.columns, panel_columns(n))
    width = max(1, min(first, -(-_SAMPLE // n)))
    if width == first:
        return probe(matrix, pool, parameters)
    run = -(-width // min(_RUNS, width))
    starts = np.linspace(0, first - run, -(-width // run)).astype(int).tolist()
    blocks = [np.ascontiguousarray(matrix.view.read(start, start + run).T) for start in starts]
    rows = np.concatenate(blocks)
    view = VectorView(
        MemoryAccess(rows.reshape(-1).view(np.uint8)), 0, rows.shape, dtype,
        axis=1, fortran_order=False, byte_order="<" if rows.dtype.itemsize > 1 else "|",
    )  # fmt: skip
    own = measure(view, statistics.center, matrix.where, pool=pool, hashed=False)
    sample = MeasuredMatrix(view, own, matrix.where, pool)
    of_sample = replace(parameters, columns=len(rows))
    moments = probe(sample, pool, of_sample)
    share = total(statistics.near[statistics.near > 0.0]) / max(total(own.near[own.near > 0.0]), 1e-300)
    return tuple(int(moment * share) for moment in moments)
