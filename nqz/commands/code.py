"""Second pass over a matrix: from statistics and parameters to the chunks of any range of panels, in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, islice

import numpy as np
import numpy.typing as npt

from nqz.commands.measured import MeasuredMatrix
from nqz.commands.stream import Stream, by_chunks, chunk_stream, fill_stream
from nqz.files.vectors import VectorView
from nqz.format import chnk
from nqz.format.norm_mean import pack_gains, pack_means, pack_norms
from nqz.format.records import Sealed, seal
from nqz.ground.threads import Workers
from nqz.stages.center import Means
from nqz.stages.chunks import Chunk
from nqz.stages.codings.coding import Moments
from nqz.stages.encoder import Encoder, SourcePanel, make_encoder
from nqz.stages.norms import Histogram, energy
from nqz.stages.panels import panel_columns, panels
from nqz.stages.parameters import Parameters

Progress = Callable[[float], object]
Read = Callable[[SourcePanel, Chunk], Stream]
Beside = Callable[[SourcePanel], list[Sealed]]
Place = tuple[SourcePanel, Chunk | None]
Coded = tuple[Place, list[Sealed], Moments, int]
"""What was coded, its records, moments, and the number of entries."""


class NoiseSums:
    """Energies of the columns of a matrix and of their noise, by class, as far as a coding with gains measures them.

    Parameters
    ----------
    loudest : int
        Norm code of the loudest column, to whose energy all are relative.

    Attributes
    ----------
    sums : ndarray of float64, shape (2, classes)
        Of whole panels, which are added one after the other wherever they are coded.
    """

    def __init__(self, loudest: int) -> None:
        self.loudest = loudest
        self.sums = self._panel = np.zeros((2, 0))

    def add(self, place: Place, measured: npt.NDArray[np.int64]) -> None:
        """Add what was measured of a chunk, or nothing before the first one of a panel."""
        opened, chunk = place
        if chunk is not None:
            columns = opened.panel.rows_of(chunk)
            units = energy(opened.kept_means.codes[opened.order[columns]], self.loudest)
            classes = opened.coded[columns]
            found = np.array([np.bincount(classes, units * energies) for energies in measured[:, 1:].T])
            self._panel = _added(self._panel, found)
        if _is_last(place):
            self.join(self._panel)
            self._panel = np.zeros((2, 0))

    def join(self, panel: npt.NDArray[np.float64]) -> None:
        """Add the sums of the next panel."""
        self.sums = _added(self.sums, panel)


def _added(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found = np.zeros((2, max(a.shape[1], b.shape[1])))
    for part in (a, b):
        found[:, : part.shape[1]] += part
    return found


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
        from nqz.commands.code_elsewhere import coded_elsewhere

        made = coded_elsewhere(matrix, encoder, pool.fleet, counted, noise)
    else:
        made = records_of(matrix.view, encoder, opened(), pool, beside, noise)
    for records, count in made:
        yield from records
        if progress is not None:
            progress(count / max(1, entries))
    if again and panels is None:
        matrix.check(*counted)


def records_of(
    view: VectorView,
    encoder: Encoder,
    opened: Iterator[SourcePanel],
    pool: Workers,
    beside: Beside,
    noise: NoiseSums | None = None,
) -> Iterator[tuple[list[Sealed], int]]:
    """The records of panels in order, a few at a time, and how many entries they are of."""
    gains = [np.zeros(0, np.int64)]
    for place, records, moments, count in _coded(view, encoder, opened, pool, beside):
        yield records, count
        if encoder.parameters.coding.gains:
            measured = np.array(moments, np.int64).reshape(-1, 3)
            gains.append(measured[:, 0])
            if noise is not None:
                noise.add(place, measured)
            if _is_last(place):
                yield [seal("GAIN", pack_gains(np.concatenate(gains)))], 0
                del gains[1:]


def side_records(means: Means, norm_step: int) -> list[Sealed]:
    """The norms and means of a panel's columns."""
    norms = seal("NORM", pack_norms(means.codes, norm_step))
    return [norms] if means.digits is None else [norms, seal("MEAN", pack_means(means.shift, means.q))]


def probe(matrix: MeasuredMatrix, pool: Workers, parameters: Parameters) -> tuple[int, ...]:
    """Code the first panel for nothing but the sums of the moments of `Coder.encode_chunk`; none without a chunk."""
    encoder = make_encoder(parameters, matrix.histogram)
    first = _open_panels(matrix, encoder, range(1))
    moments = (found for _, _, found, count in _coded(matrix.view, encoder, first, pool) if count)
    return tuple(map(sum, zip(*moments, strict=True)))


def _open_panels(matrix: MeasuredMatrix, encoder: Encoder, chosen: range | None) -> Iterator[SourcePanel]:
    p = encoder.parameters
    every = panels(p, encoder.norm_scaling, lambda first, last: matrix.codes(slice(first, last)))
    for panel in every if chosen is None else islice(every, chosen.start, chosen.stop):
        yield encoder.open_panel(panel, matrix.kept_means(slice(panel.first, panel.last), p.digits))


def _coded(
    view: VectorView,
    encoder: Encoder,
    opened: Iterator[SourcePanel],
    pool: Workers,
    beside: Beside | None = None,
) -> Iterator[Coded]:
    """Code panels, chunk after chunk, each after what stands beside its chunks."""
    for alone, group in groupby(opened, partial(by_chunks, view, encoder)):
        if alone:
            read: Read = partial(chunk_stream, view, encoder, pool=pool)
            yield from pool.map(
                partial(_code, encoder, pool, read, beside), chain.from_iterable(map(_places, group))
            )
            continue
        for panel in group:
            # as large for every panel: another buffer would be needed while this one is still in use
            room = pool.buffers.array("stream", (panel.panel.width, encoder.parameters.m), np.float32)
            stream = room[: panel.panel.kept]
            fill_stream(view, encoder, panel, stream, pool)
            read = partial(_piece, stream.reshape(-1))
            yield from pool.map(partial(_code, encoder, pool, read, beside), _places(panel))


def _places(opened: SourcePanel) -> Iterator[Place]:
    """What is to be coded of a panel: what stands beside its chunks, then these."""
    return ((opened, chunk) for chunk in (None, *opened.panel.chunks))


def _is_last(place: Place) -> bool:
    """Whether nothing else of its panel is to be coded."""
    opened, chunk = place
    return chunk is (opened.panel.chunks[-1] if opened.panel.chunks else None)


def _piece(stream: Stream, opened: SourcePanel, chunk: Chunk) -> Stream:
    return stream[chunk.start : chunk.start + chunk.count]


def _code(encoder: Encoder, pool: Workers, read: Read, beside: Beside | None, place: Place) -> Coded:
    opened, chunk = place
    if chunk is None:
        return place, [] if beside is None else beside(opened), (), 0
    u = read(opened, chunk)
    points = pool.local.array("points", (encoder.coder.working_points(chunk),), np.int32)
    sections, moments = encoder.coder.encode_chunk(chunk, opened.coded, opened.factors, u, points)
    packed = chnk.pack(encoder.parameters.coding.name, sections)
    return place, [seal("CHNK", *(array.data for array in packed))], moments, chunk.count
