"""Second pass over a matrix: from statistics and parameters to the chunks of any range of panels, in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby

import numpy as np
import numpy.typing as npt

from nqz.commands.stream import by_chunks, chunk_stream, fill_stream
from nqz.files.vectors import VectorView
from nqz.format import chnk
from nqz.format.records import Sealed, seal
from nqz.ground.threads import Workers
from nqz.stages.chunks import Chunk
from nqz.stages.encoder import Encoder, OpenPanel
from nqz.stages.encoder import encoder as encoder_of
from nqz.stages.panels import Panel
from nqz.stages.parameters import Parameters
from nqz.stages.statistics import Statistics

Progress = Callable[[float], object]
Moments = tuple[int, int]


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
        Records CHNK, in order.
    """
    encoder = encoder_of(parameters, statistics.rounded(parameters.mean_digits))
    chosen = encoder.panels if panels is None else [encoder.panels[number] for number in panels]
    entries = sum(panel.kept for panel in encoder.panels) * parameters.m
    chunks = (chunk for panel in chosen for chunk in panel.chunks)
    for chunk, (record, _) in zip(chunks, _coded(view, encoder, chosen, pool or Workers(1)), strict=True):
        yield record
        if progress is not None:
            progress(chunk.count / entries)


def probe(view: VectorView, statistics: Statistics, pool: Workers, parameters: Parameters) -> Moments:
    """Code the first panel for nothing but the sums Σ t y and Σ y² of `Coder.encode_chunk`."""
    encoder = encoder_of(parameters, statistics.rounded(parameters.mean_digits))
    cross = square = 0
    for _, moments in _coded(view, encoder, encoder.panels[:1], pool):
        cross, square = cross + moments[0], square + moments[1]
    return cross, square


def _coded(
    view: VectorView, encoder: Encoder, panels: list[Panel], pool: Workers
) -> Iterator[tuple[Sealed, Moments]]:
    """Code panels, chunk after chunk."""
    for alone, group in groupby(map(encoder.open_panel, panels), partial(by_chunks, view, encoder)):
        if alone:
            places = ((opened, chunk) for opened in group for chunk in opened.panel.chunks)
            yield from pool.map(partial(_read_and_code, view, encoder, pool), places)
            continue
        for opened in group:
            panel = opened.panel
            stream = pool.buffers.array("stream", (panel.kept, encoder.parameters.m), np.float32)
            fill_stream(view, encoder, opened, stream, pool)
            yield from pool.map(partial(_code_piece, encoder, pool, opened, stream.reshape(-1)), panel.chunks)


def _read_and_code(
    view: VectorView, encoder: Encoder, pool: Workers, place: tuple[OpenPanel, Chunk]
) -> tuple[Sealed, Moments]:
    opened, chunk = place
    return _code_chunk(encoder, pool, opened, chunk, chunk_stream(view, encoder, opened, chunk, pool))


def _code_piece(
    encoder: Encoder, pool: Workers, opened: OpenPanel, stream: npt.NDArray[np.float32], chunk: Chunk
) -> tuple[Sealed, Moments]:
    return _code_chunk(encoder, pool, opened, chunk, stream[chunk.start : chunk.start + chunk.count])


def _code_chunk(
    encoder: Encoder, pool: Workers, opened: OpenPanel, chunk: Chunk, u: npt.NDArray[np.float32]
) -> tuple[Sealed, Moments]:
    points = pool.local.array("points", (encoder.coder.working_points(chunk),), np.int32)
    sections, moments = encoder.coder.encode_chunk(chunk, opened.coded, opened.factors, u, points)
    return seal("CHNK", *chnk.pack(encoder.parameters.coding.name, sections)), moments
