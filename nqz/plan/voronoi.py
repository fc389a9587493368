"""Choice of q, mix and scales of the nested code Λ/qΛ for a budget of bits (Voronoi coding)."""

from __future__ import annotations

from dataclasses import replace

from nqz.ground.arithmetic import round_log2
from nqz.stages.codings.voronoi import MAX_POWER, MAX_Q, MIX, Nesting, digit_bits
from nqz.stages.lattices import Lattice, Nested
from nqz.stages.parameters import Parameters
from nqz.stages.scale import FIXED_POINT

_SLACK = 48.0  # bits by which another choice of multipliers may move the size
_CHUNK_BITS = 8.0 * (16 + 10 + 5 + 2 * 32)  # framing, sizes and states of a chunk


def multipliers(lattice: Lattice, q: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Scales of q and q + 1 in units of Δ = σ / (fineness (q + 1))."""
    rows, nested = [], _nested(lattice)
    mixed = nested.mixed.get(q)
    for i, ratio in enumerate((q, q + 1)):
        cells = mixed[i] if mixed else nested.cells[max(known for known in nested.cells if known <= ratio)]
        rows.append(tuple(max(1, int(c * nested.fineness * (q + 1) / ratio + 0.5)) for c in cells))
    return rows[0], rows[1]


def _nested(lattice: Lattice) -> Nested:
    assert lattice.nested is not None
    return lattice.nested


def delta_code(lattice: Lattice, n: int, q: int) -> int:
    """Delta code, relative to the column's norm, of Δ = ‖ā‖ / (√n · fineness (q + 1))."""
    scale = _nested(lattice).fineness * (q + 1)
    return -int(round_log2(float(n * scale * scale), 2048))


def _at_level(base: Parameters, m: int, level: float) -> Parameters:
    """Parameters whose digits take `level` bits an entry."""
    q = 2
    while q < MAX_Q - 1 and digit_bits(q + 1) <= level:
        q += 1
    low, high = digit_bits(q), digit_bits(q + 1)
    mix = MIX if level >= high else max(0, int((level - low) / (high - low) * MIX))
    nesting = Nesting((q, q + 1), mix, multipliers(base.lattice, q), 1.0, 1.0)
    return replace(
        base,
        m=m,
        allocate="column",
        delta=delta_code(base.lattice, base.n, q),
        lowest_class=0,
        code=nesting,
    )


def plan(base: Parameters, columns: int, budget: float, kappa: float | None) -> Parameters:
    """Parameters for a budget of bits for all chunks of `columns` columns.

    Parameters
    ----------
    base : Parameters
        Length, lattice and seeds; the rest is filled in.
    columns : int
        Columns that are not silent.
    budget : float
    kappa : float, optional
        Fraction of coordinates to keep; 1 by default, less at rates for which there is no q.
    """
    entries = max(1, columns * base.n)
    side = _nested(base.lattice).index_bits / base.lattice.group
    chunks = (entries + (1 << 20) - 1) >> 20
    rate = max(budget - _CHUNK_BITS * chunks, 0.0) / entries
    least = digit_bits(_nested(base.lattice).knee) + side
    if kappa is None:
        m = base.n if rate >= least else max(1, int(base.n * rate / least))
    else:
        m = max(1, int(kappa * base.n))
    return _at_level(base, m, rate * base.n / m - side)


def adjust(
    parameters: Parameters, columns: int, excess: float, wanted: float, attempt: int, kappa: float | None
) -> Parameters | None:
    """Parameters for another try when the file has `excess` bits beyond the `wanted` ones; None if it is good.

    `kappa` is the user's, if any. Good is at most the bits wanted, and in the first attempts within half a percent of them.
    """
    nesting = parameters.code
    entries = columns * parameters.m
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
    return None if again.code == replace(nesting, gain=1.0, power=1.0) else again


def with_gain(parameters: Parameters, energy: float, cross: int, square: int) -> Nesting:
    """The nested code with its gain and power.

    Parameters
    ----------
    energy : float
        Σ u² over the measured entries, in units of Δ².
    cross, square : int
        Σ t y and Σ y² as the encoder returns them.
    """
    lattice = parameters.lattice
    if energy <= 0.0:
        return parameters.code
    gain = cross / (FIXED_POINT * lattice.fine) / energy
    power = square / (lattice.fine * lattice.fine) / energy
    if gain <= 1e-3:  # nothing of the data is left in its points: all of it is noise
        return replace(parameters.code, gain=1.0, power=MAX_POWER)
    return replace(parameters.code, gain=gain, power=min(power, MAX_POWER))
