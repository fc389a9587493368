"""Operands of a product: a coded matrix, or a plain one that is centered and rotated on the fly."""

from __future__ import annotations

import threading

import numpy as np

from nqz import kernels
from nqz.commands.measure import measure
from nqz.matrix.coded import CodedMatrix
from nqz.product.operand import Operand, Stream
from nqz.stages import norms
from nqz.stages.columns import Columns, Lazy
from nqz.stages.estimate import Side
from nqz.stages.panels import panel_columns
from nqz.stages.project import project
from nqz.stages.transforms import DEFAULT as TRANSFORM
from nqz.stages.scale import exponents

GRID_BITS = 20
"""A plain operand is rounded to 2 ** -20 of its columns' standard deviation, so that its products are exact integers."""


def coded_operand(matrix: CodedMatrix) -> Operand:
    """A coded matrix as an operand."""
    p = matrix.parameters
    exponent = norms.reference(matrix.codes) >> 9
    by_first = {panel.first: panel for panel in matrix.decoder.panels}
    buffers = threading.local()

    def stream(first: int, last: int) -> Stream:
        panel = by_first[first]

        def read(chunk) -> tuple[int, np.ndarray]:
            points = _buffer(buffers, chunk.count)
            matrix.chunk_points(panel, chunk, points)
            return chunk.start, points

        return Stream(panel.order, panel.chunks, read)

    return Operand(
        name=_name(matrix.reader.name, matrix.name),
        side=matrix.side,
        m=p.m,
        rotation_seed=p.rotation_seed,
        means=matrix.means,
        mean_step=matrix.mean_step(exponent),
        unit=matrix.decoder.unit(exponent),
        exponent=exponent,
        blocks=[(panel.first, panel.last) for panel in matrix.decoder.panels],
        stream=stream,
    )


def plain_operand(source_name: str, tensor, axis: int, rotation_seed: int, center: bool, pool) -> Operand:
    """A matrix that is not compressed as an operand: no noise, all coordinates; centered if its partner is."""
    view = tensor.vectors(axis)
    n, columns = view.length, view.count
    name = _name(source_name, tensor.name)
    statistics = measure(view, center, name, pool=pool)
    codes, mean = statistics.codes, statistics.mean
    exponent = norms.reference(codes) >> 9
    width = panel_columns(n)
    # a power of two that takes the standard deviation of each column's entries to 2 ** GRID_BITS or a little more
    power = GRID_BITS + n.bit_length() // 2
    forward = np.ldexp(np.float32(1.0), power)

    def unit(codes: np.ndarray) -> np.ndarray:
        silent = codes == norms.ZERO
        return np.where(silent, 0.0, np.ldexp(1.0, np.where(silent, 0, exponents(codes) - exponent - power)))

    none = Lazy(columns, lambda chosen: np.zeros(np.shape(codes[chosen])))

    step = max(1, (1 << 18) // n)
    buffers = threading.local()

    def stream(first: int, last: int) -> Stream:
        block = view.read(first, last)

        def read(start) -> tuple[int, np.ndarray]:
            stop = min(start + step, last - first)
            chosen = slice(first + start, first + stop)
            u = np.empty((stop - start, n), np.float32)
            kernels.center(
                block[:, start:stop],
                tensor.dtype == "bfloat16",
                mean[chosen],
                exponents(codes[chosen]),
                u,
            )
            TRANSFORM.rotate(u, rotation_seed)
            points = _buffer(buffers, u.size)
            factors = np.full(len(u), forward, np.float32)
            kernels.quantize_exact(project(u, rotation_seed, n), factors, points.reshape(u.shape))
            return start * n, points

        return Stream(np.arange(last - first), range(0, last - first, step), read)

    return Operand(
        name=name,
        side=Side(codes, none, n, 1.0),
        m=n,
        rotation_seed=rotation_seed,
        means=mean,
        mean_step=none,
        unit=Columns(codes).of(unit),
        exponent=exponent,
        blocks=[(first, min(first + width, columns)) for first in range(0, columns, width)],
        stream=stream,
    )


def _buffer(buffers: threading.local, count: int) -> np.ndarray:
    """Memory of this thread for so many points, used again for the next chunk: fresh memory costs more than decoding."""
    held = getattr(buffers, "points", None)
    if held is None or len(held) < count:
        held = buffers.points = np.empty(count, np.int32)
    return held[:count]


def _name(file: str, tensor: str) -> str:
    return f"{file}: tensor {tensor!r}" if tensor else file
