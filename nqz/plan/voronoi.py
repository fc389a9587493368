"""Choice of q, mix and scales of the nested code Λ/qΛ for a budget of bits (Voronoi coding)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nqz.ground.arithmetic import GRID, round_log2, total
from nqz.ground.layout import CHUNK_ENTRIES
from nqz.ground.units import FIXED_POINT
from nqz.plan.task import Plan, Probe, Target, Task, alive, check_reached, predicted
from nqz.stages import norms
from nqz.stages.codings.coding import lattice_of
from nqz.stages.codings.nesting import MAX_POWER, MAX_Q, MIX, Nesting
from nqz.stages.codings.voronoi import digit_bits
from nqz.stages.estimate import Side
from nqz.stages.lattices import Lattice, VoronoiCells
from nqz.stages.norms import Histogram
from nqz.stages.parameters import Parameters
from nqz.stages.scale import ratio
from nqz.stages.statistics import Statistics

HEADER_ROOM = 48
"""Bytes by which a header may grow once its numbers are known."""

_SLACK = 48.0  # bits by which another choice of multipliers may move the size
_BISECTIONS = 12
_HIGH_RATE = 16.0  # more than the digits of MAX_Q take
_HEAD_BITS = 2048.0  # more than the head of a chunk takes
_CHUNK_BITS = 8.0 * (16 + 10 + 5 + 2 * 32)  # framing, sizes and states of a chunk


def multipliers(lattice: Lattice, q: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Scales of q and q + 1 in units of Δ = σ / (fineness (q + 1))."""
    rows, found = [], _cells(lattice)
    mixed = found.mixed.get(q)
    for i, base in enumerate((q, q + 1)):
        cells = mixed[i] if mixed else found.cells[max(known for known in found.cells if known <= base)]
        rows.append(tuple(max(1, int(c * found.fineness * (q + 1) / base + 0.5)) for c in cells))
    return rows[0], rows[1]


def _cells(lattice: Lattice) -> VoronoiCells:
    assert lattice.voronoi is not None
    return lattice.voronoi


def delta_code(lattice: Lattice, n: int, q: int) -> int:
    """Delta code, relative to the column's norm, of Δ = ‖ā‖ / (√n · fineness (q + 1))."""
    scale = _cells(lattice).fineness * (q + 1)
    return -int(round_log2(float(n * scale * scale), GRID // 2))


def _at_level(base: Parameters, m: int, level: float) -> Parameters:
    """Parameters whose digits take `level` bits an entry."""
    q = 2
    while q < MAX_Q - 1 and digit_bits(q + 1) <= level:
        q += 1
    low, high = digit_bits(q), digit_bits(q + 1)
    mix = MIX if level >= high else max(0, int((level - low) / (high - low) * MIX))
    nesting = Nesting((q, q + 1), mix, multipliers(lattice_of(base), q), 1.0, 1.0)
    return replace(
        base,
        m=m,
        allocate="column",
        delta=delta_code(lattice_of(base), base.n, q),
        lowest_class=0,
        coding_parameters=nesting,
    )


def pair_kappa(base: Parameters, rate: float) -> float | None:
    """The fraction of coordinates that both sides keep where the rates of both are known; None where it is free.

    There is a least rate of a kept coordinate, so the side of the lower rate decides.
    """
    if isinstance(base.partner, str):
        return None
    return min(1.0, min(rate, base.partner) / _least_rate(lattice_of(base)))


def _least_rate(lattice: Lattice) -> float:
    """Bits a kept coordinate below which fewer coordinates do better than fewer bits."""
    cells = _cells(lattice)
    return digit_bits(cells.knee) + cells.index_bits / lattice.group


def for_rate(
    base: Parameters, statistics: Statistics, bits: float, kappa: float | None, rough: bool = False
) -> Parameters:
    """Parameters whose chunks should take `bits` in all.

    `kappa`, the fraction of coordinates to keep, is the user's, if any: else it is 1, less at rates for which there
    is no q.
    """
    return fitted(base, alive(statistics), bits, kappa)


def fitted(base: Parameters, columns: int, bits: float, kappa: float | None) -> Parameters:
    """The same for so many columns that are not silent."""
    entries = max(1, columns * base.n)
    side = _cells(lattice_of(base)).index_bits / lattice_of(base).group
    chunks = -(-entries // CHUNK_ENTRIES)
    rate = max(bits - _CHUNK_BITS * chunks, 0.0) / entries
    least = _least_rate(lattice_of(base))
    if kappa is None:
        m = base.n if rate >= least else max(1, int(base.n * rate / least))
    else:
        m = max(1, int(kappa * base.n))
    return _at_level(base, m, rate * base.n / m - side)


def for_error(
    task: Task, base: Parameters, statistics: Statistics, target: Target, probe: Probe, rough: bool = False
) -> Plan:
    """The fewest bits with which the predicted error is at most `target.error`; UsageError if there are none."""
    error, entries = target.error, statistics.grid.entries
    assert error is not None

    def at(rate: float) -> Parameters:
        return calibrated(for_rate(base, statistics, rate * entries, task.kappa), statistics, probe)

    low, high = 0.0, _HIGH_RATE + _HEAD_BITS / entries
    best = at(high)
    check_reached(task, error, predicted(best, statistics))
    for _ in range(_BISECTIONS):
        rate = (low + high) / 2.0
        trial = at(rate)
        if predicted(trial, statistics) <= error:
            high, best = rate, trial
        else:
            low = rate
    return Plan(best, high)


def adjusted(
    parameters: Parameters,
    statistics: Statistics,
    excess: float,
    wanted: float,
    attempt: int,
    kappa: float | None,
) -> Parameters | None:
    """Parameters for another try when the file has `excess` bits beyond the `wanted` ones; None if it is good.

    Good is at most the bits wanted, and in the first attempts within half a percent of them.
    """
    nesting: Nesting = replace(parameters.coding_parameters, gain=1.0, power=1.0)
    entries = alive(statistics) * parameters.m
    if entries == 0 or (excess <= 0 and (-excess < 0.005 * wanted or attempt > 2)):
        return None
    excess += _SLACK * (1 + attempt)
    if kappa is None and parameters.m < parameters.n:  # time sharing: another share at the same rate
        m = int(parameters.m * (1.0 - excess / (wanted + excess)))
        return replace(parameters, m=min(m, parameters.n)) if 1 <= m != parameters.m else None
    low, high = (digit_bits(q) for q in nesting.q)
    level = low + (high - low) * nesting.mix / MIX - excess / entries - 2.0 * (high - low) / MIX
    least = digit_bits(2)
    if excess > 0 and level < least:
        m = int(parameters.m * min(1.0 - (least - level) / (least + 0.2), 0.999))
        return None if m < 1 else _at_level(parameters, m, least)
    again = _at_level(parameters, parameters.m, level)
    return None if again.coding_parameters == nesting else again


def expected_bits(parameters: Parameters, statistics: Statistics, rough: bool = False) -> float:
    """Bits that all chunks should take, framing included."""
    nesting: Nesting = parameters.coding_parameters
    low, high = (digit_bits(q) for q in nesting.q)
    level = low + (high - low) * nesting.mix / MIX
    side = _cells(lattice_of(parameters)).index_bits / lattice_of(parameters).group
    entries = alive(statistics) * parameters.m
    return entries * (level + side) + _CHUNK_BITS * -(-entries // CHUNK_ENTRIES)


def calibrated(parameters: Parameters, statistics: Statistics, probe: Probe) -> Parameters:
    """The parameters with gain and power of the nested code, as they are on the first panel."""
    cross, square = probe(parameters) or (0, 0)  # nothing is coded
    energy = (
        total(statistics.near[statistics.near > 0.0])
        * parameters.m
        * float(ratio(np.array([-2 * parameters.delta]), parameters.n)[0])
    )
    return replace(parameters, coding_parameters=with_gain(parameters, energy, cross, square))


def with_gain(parameters: Parameters, energy: float, cross: int, square: int) -> Nesting:
    """The nested code with its gain and power.

    Parameters
    ----------
    energy : float
        Σ u² over the measured entries, in units of Δ².
    cross, square : int
        Σ t y and Σ y² as the encoder returns them.
    """
    lattice, nesting = lattice_of(parameters), parameters.coding_parameters
    assert isinstance(nesting, Nesting)
    if energy <= 0.0:
        return nesting
    gain = cross / (FIXED_POINT * lattice.fine) / energy
    power = square / (lattice.fine * lattice.fine) / energy
    if gain <= 1e-3:  # nothing of the data is left in its points: all of it is noise
        return replace(nesting, gain=1.0, power=MAX_POWER)
    return replace(nesting, gain=gain, power=min(power, MAX_POWER))


def of_length(parameters: Parameters, n: int) -> Parameters:
    """The same for columns of another length: with the same nested code."""
    p, nesting = parameters, parameters.coding_parameters
    assert isinstance(nesting, Nesting)
    m = max(1, min(n, int(p.kappa * n + 0.5)))
    return replace(p, n=n, m=m, delta=delta_code(lattice_of(p), n, nesting.q[0]))


def nearby(
    parameters: Parameters, histogram: Histogram, bits: float, kappa: float | None = None
) -> Side | None:
    """A coded matrix as it would be with so many bits more for its chunks, or fewer; None if none are left.

    Its noise is taken to change by a factor of 4 for each bit of a digit; below 3 bits that is rough.
    """
    p = parameters
    columns = int(histogram.counts[histogram.codes != norms.ZERO].sum())
    chunks = -(-max(1, columns * p.n) // CHUNK_ENTRIES)
    side_bits = _cells(lattice_of(p)).index_bits / lattice_of(p).group
    budget = (_level(p) + side_bits) * columns * p.m + _CHUNK_BITS * chunks + bits
    if budget <= 0.0:
        return None
    found = fitted(p, columns, budget, kappa)
    noise = p.norm_scaling(histogram).noise * 4.0 ** (_level(p) - _level(found))
    return Side(histogram, noise, p.n, found.kappa)


def _level(parameters: Parameters) -> float:
    """Bits that the digits take, for each coordinate that is kept."""
    nesting = parameters.coding_parameters
    assert isinstance(nesting, Nesting)
    low, high = (digit_bits(q) for q in nesting.q)
    return low + (high - low) * nesting.mix / MIX
