"""Choice of q, mix and scales of the nested code Λ/qΛ for a budget of bits (Voronoi coding)."""

from __future__ import annotations

from dataclasses import replace

from nqz.ground.arithmetic import round_log2
from nqz.stages.codings.voronoi import MAX_POWER, MAX_Q, MIX, Nesting, digit_bits
from nqz.stages.lattice import Lattice
from nqz.stages.parameters import Parameters
from nqz.stages.scale import FIXED_POINT

_FINENESS = {
    "z": 8,
    "d4": 8,
    "e8": 8,
    "leech": 16,
}  # steps of the multipliers, relative to the cell over q + 1

# The cell of the coarse lattice, as q times the lattice scale in units of the column's standard deviation, for each of the
# four scales; least rate-distortion cost on Gaussian data (benchmarks/voronoi_scales.py).
_CELLS = {
    "z": {
        2: (4.7, 4.75, 4.8, 5.4), 3: (4.7, 4.75, 4.8, 6.4), 4: (3.45, 4.75, 4.8, 6.2), 6: (3.6, 4.75, 4.8, 6.3),
        8: (3.6, 4.55, 5.6, 6.9), 16: (3.65, 4.65, 5.9, 7.6), 64: (3.9, 4.95, 6.6, 9.15),
    },
    "d4": {
        2: (4.8, 4.95, 5.0, 5.3), 3: (3.4, 4.9, 4.95, 5.9), 4: (3.15, 4.25, 5.3, 6.5), 6: (3.05, 3.95, 5.0, 6.1),
        8: (3.05, 3.75, 4.5, 5.55), 16: (3.0, 3.8, 4.6, 5.8), 64: (3.0, 3.8, 4.8, 6.6),
    },
    "e8": {
        2: (3.45, 4.55, 4.6, 5.05), 3: (2.8, 3.9, 4.85, 5.55), 4: (2.6, 3.4, 4.15, 5.15), 6: (2.55, 3.2, 3.85, 4.5),
        8: (2.5, 3.1, 3.7, 4.45), 16: (2.55, 3.2, 3.8, 4.7), 64: (2.55, 3.2, 3.95, 5.25),
    },
    "leech": {  # below q = 4 one scale does best; the others are never accepted
        2: (0.3, 0.4, 0.5, 1.2), 3: (0.3, 0.4, 0.5, 1.38), 4: (1.24, 1.47, 1.65, 1.86), 6: (1.27, 1.48, 1.64, 1.86),
        8: (1.27, 1.45, 1.64, 1.88), 16: (1.33, 1.5, 1.7, 1.98), 64: (1.32, 1.51, 1.77, 2.16),
    },
}  # fmt: skip

# Where two q are far apart, cells at one slope of rate and distortion for both do better in the mix.
_MIXED_CELLS = {("e8", 3): ((2.57, 3.52, 4.4, 5.17), (2.86, 3.81, 4.75, 5.6))}

_INDEX_BITS = {
    "z": 1.5,
    "d4": 1.3,
    "e8": 1.25,
    "leech": 0.8,
}  # entropy of the scale's index, about; bits a group
_KNEE = {"z": 4, "d4": 3, "e8": 3, "leech": 2}  # below this q, time sharing does better than a smaller one
_SLACK = 48.0  # bits by which another choice of multipliers may move the size
_CHUNK_BITS = 8.0 * (16 + 10 + 5 + 2 * 32)  # framing, sizes and states of a chunk


def multipliers(lattice: Lattice, q: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Scales of q and q + 1 in units of Δ = σ / (fineness (q + 1))."""
    rows = []
    mixed = _MIXED_CELLS.get((lattice.name, q))
    for i, ratio in enumerate((q, q + 1)):
        table = _CELLS[lattice.name]
        cells = mixed[i] if mixed else table[max(known for known in table if known <= ratio)]
        rows.append(tuple(max(1, int(c * _FINENESS[lattice.name] * (q + 1) / ratio + 0.5)) for c in cells))
    return rows[0], rows[1]


def delta_code(lattice: Lattice, n: int, q: int) -> int:
    """Delta code, relative to the column's norm, of Δ = ‖ā‖ / (√n · fineness (q + 1))."""
    scale = _FINENESS[lattice.name] * (q + 1)
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
        nesting=nesting,
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
    side = _INDEX_BITS[base.lattice.name] / base.lattice.group
    chunks = (entries + (1 << 20) - 1) >> 20
    rate = max(budget - _CHUNK_BITS * chunks, 0.0) / entries
    least = digit_bits(_KNEE[base.lattice.name]) + side
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
    nesting = parameters.nesting
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
    return None if again.nesting == replace(nesting, gain=1.0, power=1.0) else again


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
        return parameters.nesting
    gain = cross / (FIXED_POINT * lattice.fine) / energy
    power = square / (lattice.fine * lattice.fine) / energy
    if gain <= 1e-3:  # nothing of the data is left in its points: all of it is noise
        return replace(parameters.nesting, gain=1.0, power=MAX_POWER)
    return replace(parameters.nesting, gain=gain, power=min(power, MAX_POWER))
