"""Second pass over a matrix: from statistics and parameters to the chunks of any range of panels, in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, groupby

import numpy as np

from nqz.commands.stream import Stream, by_chunks, chunk_stream, fill_stream
from nqz.files.vectors import VectorView
from nqz.format import chnk
from nqz.format.norm_mean import pack_means, pack_norms
from nqz.format.records import Sealed, seal
from nqz.ground.threads import Workers
from nqz.stages.chunks import Chunk
from nqz.stages.encoder import Encoder, SourcePanel, make_encoder
from nqz.stages.panels import Panel
from nqz.stages.parameters import Parameters
from nqz.stages.statistics import Statistics

Progress = Callable[[float], object]
Moments = tuple[int, ...]
Read = Callable[[SourcePanel, Chunk], Stream]


def code(
    view: VectorView,
    statistics: Statistics,
    parameters: Parameters,
    panels: range | None = None,
    *,
    pool: Workers | None = None,
    progress: Progress | None = None,
) -> Iterator[Sealed]:
    """Code the columns of a matrix.

    Parameters
    ----------
    view : VectorView
        The vectors of a tensor.
    statistics : Statistics
        Of all of them.
    parameters : Parameters
    panels : range, optional
        Numbers of panels; all by default.
    pool : Workers, optional
        Threads to work with; they do not change the result.
    progress : callable, optional
        Called with the share of all that is coded that each record has.

    Yields
    ------
    Sealed
        Records of each panel: NORM, MEAN if columns are centered, and CHNK.
    """
    found = statistics.rounded(parameters.mean_digits)
    encoder = make_encoder(parameters, found)
    chosen = encoder.panels if panels is None else [encoder.panels[number] for number in panels]
    entries = sum(panel.kept for panel in encoder.panels) * parameters.m
    coded = _coded(view, encoder, chosen, pool or Workers(1))
    for panel in chosen:
        yield from side_records(found, panel.first, panel.last)
        for chunk, (record, _) in zip(panel.chunks, coded, strict=False):
            yield record
            if progress is not None:
                progress(chunk.count / entries)


def side_records(statistics: Statistics, first: int, last: int) -> list[Sealed]:
    """The norms and means of the columns of a panel, with means rounded."""
    here, means = slice(first, last), statistics.means
    norms = seal("NORM", pack_norms(statistics.codes[here]))
    return (
        [norms]
        if means.digits is None
        else [norms, seal("MEAN", pack_means(means.shift[here], means.q[here]))]
    )


def probe(view: VectorView, statistics: Statistics, pool: Workers, parameters: Parameters) -> Moments:
    """Code the first panel for nothing but the sums of the moments of `Coder.encode_chunk`; none without a chunk."""
    encoder = make_encoder(parameters, statistics.rounded(parameters.mean_digits))
    moments = (moments for _, moments in _coded(view, encoder, encoder.panels[:1], pool))
    return tuple(map(sum, zip(*moments, strict=True)))


def _coded(
    view: VectorView, encoder: Encoder, panels: list[Panel], pool: Workers
) -> Iterator[tuple[Sealed, Moments]]:
    """Code panels, chunk after chunk."""
    return chain.from_iterable(_groups(view, encoder, panels, pool))


def _groups(
    view: VectorView, encoder: Encoder, panels: list[Panel], pool: Workers
) -> Iterator[Iterator[tuple[Sealed, Moments]]]:
    """The coded chunks of panels that can be read chunk by chunk, or of one panel that has been read before."""
    for alone, group in groupby(map(encoder.open_panel, panels), partial(by_chunks, view, encoder)):
        if alone:
            read: Read = partial(chunk_stream, view, encoder, pool=pool)
            places = ((opened, chunk) for opened in group for chunk in opened.panel.chunks)
            yield pool.map(partial(_code_chunk, encoder, pool, read), places)
            continue
        for opened in group:
            panel = opened.panel
            stream = pool.buffers.array("stream", (panel.kept, encoder.parameters.m), np.float32)
            fill_stream(view, encoder, opened, stream, pool)
            read = partial(_piece, stream.reshape(-1))
            yield pool.map(
                partial(_code_chunk, encoder, pool, read), ((opened, chunk) for chunk in panel.chunks)
            )


def _piece(stream: Stream, opened: SourcePanel, chunk: Chunk) -> Stream:
    return stream[chunk.start : chunk.start + chunk.count]


def _code_chunk(
    encoder: Encoder, pool: Workers, read: Read, place: tuple[SourcePanel, Chunk]
) -> tuple[Sealed, Moments]:
    opened, chunk = place
    u = read(opened, chunk)
    points = pool.local.array("points", (encoder.coder.working_points(chunk),), np.int32)
    sections, moments = encoder.coder.encode_chunk(chunk, opened.coded, opened.factors, u, points)
    return seal(
        "CHNK", *(array.data for array in chnk.pack(encoder.parameters.coding.name, sections))
    ), moments
