"""The records of panels that are open, and what is measured of noise meanwhile; in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, groupby

import numpy as np
import numpy.typing as npt

from nqz.commands.stream import Stream, by_chunks, chunk_stream, fill_stream
from nqz.files.vectors import VectorView
from nqz.format import chnk
from nqz.format.norm_mean import pack_gains, pack_means, pack_norms
from nqz.format.records import Sealed, seal
from nqz.ground.threads import Workers
from nqz.stages.center import Means
from nqz.stages.chunks import Chunk
from nqz.stages.codings.coding import Moments
from nqz.stages.encoder import Encoder, SourcePanel
from nqz.stages.norms import energy

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
    for place, records, moments, count in coded_chunks(view, encoder, opened, pool, beside):
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


def coded_chunks(
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
