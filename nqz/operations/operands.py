"""Operands of a product: a coded matrix, or a plain one that is centered and rotated on the fly."""

from __future__ import annotations

import numpy as np

from nqz import kernels
from nqz.codec import norms
from nqz.codec.estimate import Side
from nqz.codec.panels import panel_columns
from nqz.codec.product import Operand
from nqz.codec.project import project
from nqz.codec.rotate import rotate
from nqz.codec.scale import exponents
from nqz.operations.coded import CodedMatrix
from nqz.operations.measure import measure

GRID_BITS = 20
"""A plain operand is rounded to 2 ** -20 of its columns' standard deviation, so that its products are exact integers."""


def coded_operand(matrix: CodedMatrix, pool) -> Operand:
    """A coded matrix as an operand."""
    p = matrix.parameters
    exponent = norms.reference(matrix.codes) >> 9
    by_first = {panel.first: panel for panel in matrix.decoder.panels}

    def load(first: int, last: int) -> tuple[np.ndarray, np.ndarray | None]:
        panel = by_first[first]
        points = matrix.points(panel, pool)
        natural = len(panel.order) == last - first and bool((np.diff(panel.order) == 1).all())
        return points, None if natural else panel.order

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
        load=load,
    )


def plain_operand(source_name: str, tensor, axis: int, rotation_seed: int, center: bool, pool) -> Operand:
    """A matrix that is not compressed as an operand: no noise, all coordinates; centered if its partner is."""
    view = tensor.vectors(axis)
    n, columns = view.length, view.count
    name = _name(source_name, tensor.name)
    measured = measure(tensor, view, center, name)
    codes = norms.encode(measured.energy, measured.exponent)
    exponent = norms.reference(codes) >> 9
    silent = codes == norms.ZERO
    width = panel_columns(n)
    # a power of two that takes the standard deviation of each column's entries to 2 ** GRID_BITS or a little more
    power = GRID_BITS + n.bit_length() // 2
    forward = np.full(columns, np.ldexp(np.float32(1.0), power), np.float32)
    unit = np.where(silent, 0.0, np.ldexp(1.0, np.where(silent, 0, exponents(codes) - exponent - power)))

    def load(first: int, last: int) -> tuple[np.ndarray, None]:
        block = view.read(first, last)
        out = np.empty((last - first, n), np.int32)
        step = max(1, (1 << 18) // n)

        def prepare(start):
            stop = min(start + step, last - first)
            chosen = slice(first + start, first + stop)
            u = np.empty((stop - start, n), np.float32)
            kernels.center(
                block[:, start:stop],
                tensor.dtype == "bfloat16",
                measured.mean[chosen],
                exponents(codes[chosen]),
                u,
            )
            rotate(u, rotation_seed)
            kernels.quantize_exact(project(u, rotation_seed, n), forward[chosen], out[start:stop])

        for _ in pool.map(prepare, range(0, last - first, step)):
            pass
        return out, None

    return Operand(
        name=name,
        side=Side(codes, np.zeros(columns), n, 1.0),
        m=n,
        rotation_seed=rotation_seed,
        means=measured.mean,
        mean_step=np.zeros(columns),
        unit=unit,
        exponent=exponent,
        blocks=[(first, min(first + width, columns)) for first in range(0, columns, width)],
        load=load,
    )


def _name(file: str, tensor: str) -> str:
    return f"{file}: tensor {tensor!r}" if tensor else file
