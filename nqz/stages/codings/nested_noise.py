"""What the noise of a nested code has to do with the data it is of, found by coding Gaussian vectors.

Rotated columns are nearly Gaussian, so what such vectors show is true of any (docs/theory.md, section 6). The vectors
are rotated uniform numbers from the generator of the dither: the same on every machine.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.ground.arithmetic import exp2, total
from nqz.ground.layout import CHUNK_ENTRIES
from nqz.ground.units import FIXED_POINT
from nqz.stages.codings.coding import MatrixParameters, lattice_of
from nqz.stages.codings.nesting import Nesting
from nqz.stages.dependence import Dependence
from nqz.stages.lattices import Lattice
from nqz.stages.transforms import DEFAULT

_LENGTH, _LANES = 4096, 32
_ENTRIES = 96 * _LENGTH
"""Whole group rows, whatever the lattice."""

_WIDE, _FEWER = 24, 8
"""Of groups of so many entries, a fraction of these: their nearest points take long without native kernels."""


@lru_cache(maxsize=1)
def _vectors() -> npt.NDArray[np.float32]:
    """Vectors of variance 1, one after the other."""
    uniform = (kernels.words(kernels.Key(0, 0), 0, _ENTRIES) >> np.uint64(40)).astype(np.float64) / (
        1 << 24
    ) - 0.5
    u = (uniform * math.sqrt(12.0)).astype(np.float32).reshape(-1, _LENGTH)
    DEFAULT.rotate(u, 0)
    flat: npt.NDArray[np.float32] = u.reshape(-1)
    flat.setflags(write=False)
    return flat


def dependence(parameters: MatrixParameters, nesting: Nesting) -> Dependence:
    """What the noise of a nested code has to do with its data, in units of its variance an entry.

    Parameters
    ----------
    parameters : MatrixParameters
        Their lattice, and their lattice scale beside the length of a column.
    nesting : Nesting
    """
    p = parameters
    fine = float(exp2(-p.delta)) / math.sqrt(p.n)
    found, step = _measured(lattice_of(p), replace(nesting, gain=1.0, power=1.0), fine)
    # shares of the larger q in each column differ, and with them what points are worth
    row = lattice_of(p).group * _LANES
    larger = np.concatenate([[0], np.cumsum(nesting.choice(CHUNK_ENTRIES // row).astype(np.int64))]) * row
    ends = np.interp(np.arange(CHUNK_ENTRIES // p.m + 1) * p.m, np.arange(len(larger)) * row, larger)
    share = np.diff(ends) / p.m
    uneven = p.m * step * step * float(np.var(share)) if len(share) else 0.0
    return Dependence(
        found.along * nesting.noise + uneven, found.alike * nesting.noise, found.bent, uneven, True
    )


@lru_cache(maxsize=64)
def _measured(lattice: Lattice, nesting: Nesting, fine: float) -> tuple[Dependence, float]:
    """The same, `along` and `alike` in units of d, of a code of which one standard deviation is `fine` Δ.

    And by how much gains of the two q differ.
    """
    group = lattice.group
    entries = _ENTRIES // _FEWER if group >= _WIDE else _ENTRIES
    u = _vectors()[:entries]
    nest = kernels.Nest(
        lattice.number, np.array(nesting.q, np.int32), np.array(nesting.multipliers, np.int32)
    )
    choice = nesting.choice(entries // (group * _LANES))
    place = kernels.Place(lattice.number, entries, 0, entries, _LANES, 0)
    factor = np.array([fine * FIXED_POINT], np.float32)
    digits, beta = np.empty(entries, np.uint16), np.empty(entries // group, np.uint8)
    exact = u.astype(np.float64)
    grouped = partial(_grouped, group=group)
    energy = grouped(exact * exact)
    variance = total(energy) / entries
    noises, step = [], 0.0
    for key in (kernels.Key(1, 2), kernels.Key(3, 4)):
        points = np.empty(entries, np.int32)
        kernels.voronoi_encode(place, key, nest, choice, u, factor, digits, beta, points)
        y = points.astype(np.float64)
        noises.append(y * (variance * entries / total(exact * y)) - exact)
        step += _step(grouped(noises[-1] * exact), energy, np.repeat(choice, _LANES) > 0) / 2.0
    first, second = noises
    noise = total(first * first) / entries / variance
    along = [_residual(grouped(w * exact), energy) for w in noises]
    product = grouped(first * second)
    whole = _residual(grouped((exact + first) * (exact + second) - exact * exact), energy)
    unit = entries * variance * variance
    slope = (total(along[0] * along[0]) + total(along[1] * along[1])) / 2.0 / unit - noise
    excess = total(whole * whole) / unit - (2.0 + noise) * noise
    bent = total(product) / entries / variance
    alike = max(excess - 2.0 * slope, 0.0) / 2.0
    return Dependence(slope / noise, alike / noise, max(bent, 0.0)), step


def _step(
    along: npt.NDArray[np.float64], energy: npt.NDArray[np.float64], larger: npt.NDArray[np.bool_]
) -> float:
    """By how much the gain of groups with the larger q exceeds that of others."""
    if larger.all() or not larger.any():
        return 0.0
    gains = [total(along[chosen]) / total(energy[chosen]) for chosen in (~larger, larger)]
    return gains[1] - gains[0]


def _grouped(x: npt.NDArray[np.float64], group: int) -> npt.NDArray[np.float64]:
    """Sums over the entries of each group."""
    rows = x.reshape(-1, group, _LANES)
    return np.add.accumulate(rows, axis=1)[:, -1].reshape(-1)


def _residual(x: npt.NDArray[np.float64], energy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What of sums of groups is left when the energy of the whole vector is known: without mean and slope."""
    x = x - total(x) / len(x)
    e = energy - total(energy) / len(energy)
    left: npt.NDArray[np.float64] = x - e * (total(x * e) / total(e * e))
    return left
