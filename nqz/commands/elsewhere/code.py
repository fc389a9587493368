"""Second pass over a matrix by workers elsewhere: a panel each, its records are what comes back.

A worker is told where the matrix is, which panel, and what was measured of its columns; where columns are so many that
this is kept of none, it measures them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nqz.commands.measure import measure_columns
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.panel_records import NoiseSums, records_of, side_records
from nqz.files.vectors import VectorView
from nqz.format.records import Sealed
from nqz.ground.fleet import Fleet
from nqz.ground.threads import Workers
from nqz.stages.center import Means
from nqz.stages.encoder import Encoder, make_encoder
from nqz.stages.norms import Histogram, Rounding
from nqz.stages.panels import Panel, cut_panel, panel_columns, panels
from nqz.stages.parameters import Parameters
from nqz.stages.sums import Found


class Again(NamedTuple):
    """How columns are measured that are too many to be held."""

    center: bool
    rounding: Rounding


class PanelJob(NamedTuple):
    """What a worker needs to know to code a panel."""

    view: VectorView
    where: str
    parameters: Parameters
    panel: Panel
    found: Found | Again
    loudest: int | None
    threads: int


def coded_elsewhere(
    matrix: MeasuredMatrix,
    encoder: Encoder,
    fleet: Fleet,
    counted: list[Histogram],
    noise: NoiseSums | None = None,
) -> Iterator[tuple[list[Sealed], int]]:
    """The records of all panels in order, and how many entries they are of.

    Parameters
    ----------
    matrix : MeasuredMatrix
    encoder : Encoder
    fleet : Fleet
    counted : list of Histogram
        Takes the norm codes that workers have measured again, counted.
    noise : NoiseSums, optional
        Takes what is measured of noise.
    """
    statistics, p = matrix.statistics, encoder.parameters
    again = Again(statistics.center, statistics.rounding)
    held = statistics.held is not None

    def job(panel: Panel) -> PanelJob:
        found = matrix.found(slice(panel.first, panel.last)) if held else again
        loudest = None if noise is None else noise.loudest
        return PanelJob(matrix.view, matrix.where, p, panel, found, loudest, fleet.threads)

    for records, codes, count, sums in fleet.map(code_panel, map(job, _cut(matrix, encoder, fleet))):
        if noise is not None:
            noise.join(sums)
        if codes is not None:
            counted[:] = [Histogram.joined([*counted, codes])]
        yield records, count


def _cut(matrix: MeasuredMatrix, encoder: Encoder, fleet: Fleet) -> Iterator[Panel]:
    """The panels of a matrix; of columns that are not held, workers count those that are coded."""
    p, scaling = encoder.parameters, encoder.norm_scaling
    if matrix.statistics.held is not None or scaling.kept.all():
        yield from panels(p, scaling, lambda first, last: matrix.codes(slice(first, last)))
        return
    own = matrix.view, matrix.where, p, Again(matrix.statistics.center, matrix.statistics.rounding)
    width, number = panel_columns(p.n), 0
    edges = [(first, min(first + width, p.columns)) for first in range(0, p.columns, width)]
    jobs = ((*own, *edge, fleet.threads) for edge in edges)
    for (first, last), kept in zip(edges, fleet.map(count_kept, jobs), strict=True):
        found = cut_panel(p, first, last, kept, number)
        number += len(found.chunks)
        yield found


def count_kept(
    view: VectorView, where: str, parameters: Parameters, again: Again, first: int, last: int, threads: int
) -> int:
    """Number of the columns first … last - 1 that are coded."""
    pool = Workers(threads)
    try:
        codes = _measured(view, where, parameters, again, first, last, pool).codes
    finally:
        pool.close()
    scaling = parameters.norm_scaling(Histogram.of(codes))
    return int(np.count_nonzero(scaling.histogram.look_up(scaling.kept, codes)))


def code_panel(
    view: VectorView,
    where: str,
    parameters: Parameters,
    panel: Panel,
    found: Found | Again,
    loudest: int | None,
    threads: int,
) -> tuple[list[Sealed], Histogram | None, int, npt.NDArray[np.float64]]:
    """Code a panel.

    Returns
    -------
    tuple
        Its records, its norm codes counted if they were measured again, its number of entries, and `NoiseSums.sums`
        where the loudest norm code is told.
    """
    p, pool, codes = parameters, Workers(threads), None
    try:
        if isinstance(found, Again):
            found = _measured(view, where, p, found, panel.first, panel.last, pool)
            codes = Histogram.of(found.codes)
        encoder = make_encoder(p, codes or Histogram.of(found.codes))
        opened = encoder.open_panel(panel, Means.rounded(found.mean, found.codes, p.n, p.digits))
        noise = NoiseSums(loudest or 0)
        made = records_of(
            view, encoder, iter([opened]), pool, lambda one: side_records(one.kept_means, p.norm_step), noise
        )
        records = [record for several, _ in made for record in several]
        return records, codes, panel.kept * p.m, noise.sums
    finally:
        pool.close()


def _measured(
    view: VectorView, where: str, parameters: Parameters, again: Again, first: int, last: int, pool: Workers
) -> Found:
    found = measure_columns(view, again.center, where, first, last, pool).rounded(again.rounding)
    return Found(parameters.coding.kept_codes(parameters, found.codes, first), found.mean)
