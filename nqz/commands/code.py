"""Second pass over a matrix: from statistics and parameters to the chunks of any range of panels, in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from nqz.commands.measured import MeasuredMatrix
from nqz.commands.panel_records import NoiseSums, coded_chunks, records_of, side_records
from nqz.format.records import Sealed
from nqz.ground.threads import Workers
from nqz.stages.encoder import Encoder, SourcePanel, make_encoder
from nqz.stages.norms import Histogram
from nqz.stages.panels import panel_columns, panels
from nqz.stages.parameters import Parameters

Progress = Callable[[float], object]


def code(
    matrix: MeasuredMatrix,
    parameters: Parameters,
    panels: range | None = None,
    *,
    side: Sequence[list[Sealed]] | None = None,
    pool: Workers | None = None,
    progress: Progress | None = None,
    noise: NoiseSums | None = None,
) -> Iterator[Sealed]:
    """Code the columns of a matrix.

    Parameters
    ----------
    matrix : MeasuredMatrix
    parameters : Parameters
    panels : range, optional
        Numbers of panels; all by default.
    side : sequence of list of Sealed, optional
        What `side_records` makes of each panel, if that is known.
    pool : Workers, optional
        Threads to work with; they do not change the result.
    progress : callable, optional
        Called with the share of all that is coded that each record has.
    noise : NoiseSums, optional
        Takes what is measured of noise.

    Yields
    ------
    Sealed
        Of every panel the records NORM and, if the matrix is centered, MEAN; then its records CHNK, in order, and GAIN
        where the coding has gains.

    Raises
    ------
    InputError
        The file has changed since it was measured.
    """
    encoder = make_encoder(parameters, matrix.histogram)
    width, again = panel_columns(parameters.n), matrix.statistics.held is None
    pool = pool or Workers(1)
    counted: list[Histogram] = []
    entries = int(matrix.histogram.counts[encoder.norm_scaling.kept].sum()) * parameters.m

    def beside(opened: SourcePanel) -> list[Sealed]:
        return (
            side_records(opened.kept_means, parameters.norm_step)
            if side is None
            else side[opened.panel.first // width]
        )

    def opened() -> Iterator[SourcePanel]:
        for found in _open_panels(matrix, encoder, panels):
            if again:
                counted[:] = [Histogram.joined([*counted, Histogram.of(found.kept_means.codes)])]
            yield found

    if pool.fleet is not None and panels is None and matrix.view.has_address and matrix.columns > width:
        from nqz.commands.elsewhere.code import coded_elsewhere

        made = coded_elsewhere(matrix, encoder, pool.fleet, counted, noise)
    else:
        made = records_of(matrix.view, encoder, opened(), pool, beside, noise)
    for records, count in made:
        yield from records
        if progress is not None:
            progress(count / max(1, entries))
    if again and panels is None:
        matrix.check(*counted)


def probe(matrix: MeasuredMatrix, pool: Workers, parameters: Parameters) -> tuple[int, ...]:
    """Code the first panel for nothing but the sums of the moments of `Coder.encode_chunk`; none without a chunk."""
    encoder = make_encoder(parameters, matrix.histogram)
    first = _open_panels(matrix, encoder, range(1))
    moments = (found for _, _, found, count in coded_chunks(matrix.view, encoder, first, pool) if count)
    return tuple(map(sum, zip(*moments, strict=True)))


def _open_panels(matrix: MeasuredMatrix, encoder: Encoder, chosen: range | None) -> Iterator[SourcePanel]:
    p = encoder.parameters
    every = panels(p, encoder.norm_scaling, lambda first, last: matrix.codes(slice(first, last)))
    for panel in every if chosen is None else islice(every, chosen.start, chosen.stop):
        yield encoder.open_panel(panel, matrix.kept_means(slice(panel.first, panel.last), p.digits))
