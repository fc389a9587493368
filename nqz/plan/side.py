"""Side information: what norms and means of short vectors are worth.

A column of n entries costs what its entries do and, beside them, its norm and its mean. These few bits are nothing
where n is large; where it is small they are as few as pays: docs/theory.md, "Short vectors".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nqz.format.norm_mean import pack_means
from nqz.ground.arithmetic import GRID, exp2, log2, total
from nqz.plan.task import Target, Task
from nqz.stages import center, norms
from nqz.stages.center import Digits, Means
from nqz.stages.codings import CODINGS, DEFAULT
from nqz.stages.norms import EXACTLY, STEPS, ZERO, Histogram, Rounding
from nqz.stages.sums import Found

LONG = 1024
"""Length from which on columns are centered, and norms and means as fine as they can be."""

_MIDDLE = 512  # from here on one of the guard digits of means is kept

_SPARED = 3
"""Digits of means that are not worth their bits where a coding is for rates that hardly leave room for them."""

_GAIN_STEP = 9  # octave of √n at which norm codes are rounded to 1
_GAIN_BITS = 4.0

_PARTNER = 0.25
"""Mean of a partner's column, squared, over its variance, that is reckoned with: a half of its standard deviation."""

_NORM_BITS, _MEAN_BITS = 11.0, 22.0
_COARSE_NORM_BITS, _COARSE_MEAN_BITS = 2.0, 5.0
_CONSTANT_BITS = 128.0  # that the mean of a constant column is worth: all of the column, exactly
_EXACT = 16  # entries of a column from which on any constant ones are kept exactly
_CONTAINER = 376  # bytes that a container takes at least
_KEPT = 32  # entries of a column from which on means are likely to be kept

_HALF_LOG2_E = 0.7213475204444817

_HARDLY = 0.0055  # bits an entry, up to which norms are kept as they are
_PHASES = 16  # that are tried of a step
_TRIES = 8  # to find one near that leaves the energy as it is
_ENERGY = 0.002  # part of the energy that rounding may add, or take away
_TOGETHER = 1 << 16  # codes that are rounded at a time
_TABLE = 1 << 14  # entries of tables of functions, which take long to be calculated
_TOKENS = 32  # of a record whose frequencies take a byte each, at most


def is_short(task: Task, n: int) -> bool:
    """Whether norms and means of columns are to take as few bits as pays.

    Where every column has a scale of its own it is in proportion to its norm, which must be right.
    """
    return _is_short(n, task.coding.name, task.allocate)


def _is_short(n: int, coding: str, allocate: str) -> bool:
    return n < LONG and coding != "voronoi" and allocate == "matrix"


def likely_bits(n: int, coding: str, allocate: str, center: bool | None) -> float:
    """Bits that norm, mean and gain of a column take, about; `center` as in `Task`."""
    if CODINGS[coding].gains:
        return _GAIN_BITS + likely_bits(n, DEFAULT.name, allocate, center)
    if not _is_short(n, coding, allocate):
        return _NORM_BITS + (0.0 if center is False else _MEAN_BITS)
    if center is None:
        return _COARSE_NORM_BITS + (_COARSE_MEAN_BITS if n >= _KEPT else 0.0)
    return _COARSE_NORM_BITS + (_MEAN_BITS if center else 0.0)


def rate_of(target: Target) -> float:
    """The rate, or about that which an error takes."""
    if target.error is None:
        return target.rate
    return max(0.0, 0.5 * float(log2(2.0 / target.error)))


def least_digits(task: Task, n: int, histogram: Histogram, target: Target) -> int:
    """Additional digits of means: the rate, rounded up; of short columns so many that steps are near their noise.

    The noise of a coordinate, of which σ √n times the mean is one, has a standard deviation of σ 2 ** -rate.
    """
    alive = histogram.codes != ZERO
    if not is_short(task, n) or task.center or not alive.any():
        spared = _SPARED if task.coding.gains and not task.center else 0
        return target.digits - spared
    guard = 1 if n >= _MIDDLE else 0
    counts = histogram.counts[alive]
    fraction = total((histogram.codes[alive] % norms.DOUBLING) * counts) / norms.DOUBLING / total(counts)
    length = float(log2(float(n))) - (n - 1).bit_length()
    digits = rate_of(target) + guard - center.GUARD - fraction + length
    return max(center.LEAST_DIGITS, math.floor(digits + 0.5))


def worth_centering(task: Task, n: int, found: Found, target: Target) -> bool:
    """Whether columns, of which these are all or some, had better be centered.

    Without means they have more energy, which costs ½ log₂ of it an entry, and a product with columns whose own means
    are kept has the noise of an entry in place of that of a mean.
    """
    if not is_short(task, n) or task.center or found.mean is None:
        return True
    codes, mean = found.codes.astype(np.int64), found.mean
    silent = codes == ZERO
    power = np.where(silent, 0, codes // norms.DOUBLING)
    with np.errstate(over="ignore"):
        scaled = np.ldexp(mean, np.clip(-power, -2000, 2000).astype(np.int32))
        added = np.minimum(n * scaled * scaled, 1e300)
    added /= norms.energy(np.where(silent, 0, codes - power * norms.DOUBLING))
    most = n * rate_of(target)  # not coded at all
    constant = np.where(mean != 0.0, _CONSTANT_BITS, 0.0)
    if n == 1:  # all columns are constant: exactly, if there is room
        constant = np.where(mean != 0.0, most + 8.0 * max(0, target.free - _CONTAINER) / len(codes), 0.0)
    elif n >= _EXACT and (constant > 0.0).any(where=silent):
        return True
    saved = np.where(silent, constant, np.minimum(n / 2 * log2(1.0 + added), most))
    noise = n / 2 * float(log2(1.0 + _PARTNER / 2.0))
    digits = least_digits(task, n, Histogram.of(found.codes), target)
    kept = Means.rounded(mean, found.codes, n, Digits(digits))
    return total(saved) + noise * len(codes) > 8.0 * len(pack_means(kept.shift, kept.q))


def rounding(task: Task, n: int, histogram: Histogram) -> Rounding:
    """How norm codes are rounded: what they take, and what coding with the wrong variance takes, is least.

    With gains, which say how loud columns are, norms need not be finer than the gains are spread.
    """
    alive = histogram.codes != ZERO
    if not alive.any() or not (task.coding.gains or is_short(task, n)):
        return EXACTLY
    codes, counts = histogram.codes[alive], histogram.counts[alive].astype(np.float64)
    if task.coding.gains:
        step = 1 << max(0, _GAIN_STEP - (n - 1).bit_length() // 2)
        return EXACTLY if step == 1 else _rounded_honestly(codes, counts, step)
    best, least = EXACTLY, _norm_bits(counts, codes[np.newaxis])[0]
    if least <= _HARDLY * n * total(counts):
        return EXACTLY  # they hardly differ: diagonals of products and error bars are worth that much
    energy = total(_energies((codes - codes[-1])[np.newaxis])[0] * counts)
    together = _together(codes)
    for step in _steps():
        phases = range(0, step, max(1, step // _PHASES))
        bits = _costs(codes, counts, n, step, phases, least)
        for first in range(0, len(phases), together):
            near = [i for i in range(first, min(first + together, len(phases))) if bits[i] < least]
            found = _honest(codes, counts, energy, step, [phases[i] for i in near])
            different = list(dict.fromkeys(phase for phase in found if phase is not None))
            honest = dict(zip(different, _costs(codes, counts, n, step, different, least), strict=True))
            for i, phase in zip(near, found, strict=True):
                if phase is not None and bits[i] < least and honest[phase] < least:
                    best, least = Rounding(step, phase), honest[phase]
    return best


def _rounded_honestly(codes: npt.NDArray[np.int64], counts: npt.NDArray[np.float64], step: int) -> Rounding:
    """Norm codes rounded to a step that leaves the energy of all columns as it is; as they are where none does."""
    energy = total(_energies((codes - codes[-1])[np.newaxis])[0] * counts)
    phases = _honest(codes, counts, energy, step, range(0, step, max(1, step // _PHASES)))
    phase = next((phase for phase in phases if phase is not None), None)
    return EXACTLY if phase is None else Rounding(step, phase)


def _together(codes: npt.NDArray[np.int64]) -> int:
    """How many roundings of codes are tried at a time: small arrays take as long as their number."""
    return max(1, _TOGETHER // len(codes))


def _steps() -> Iterator[int]:
    step = 2
    while step <= norms.COARSEST:
        yield step
        step *= 2


def _honest(
    codes: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float64],
    energy: float,
    step: int,
    phases: Sequence[int],
) -> list[int | None]:
    """The phases near others which leave the energy of all columns as it is; None where none is found."""
    found: list[int | None] = [None] * len(phases)
    places, tried = np.arange(len(phases)), np.array(phases, np.int64)
    for _ in range(_TRIES):
        if not len(places):
            break
        rounded = norms.to_step(codes, step, tried[:, np.newaxis])
        energies = np.add.accumulate(_energies(rounded - codes[-1]) * counts, axis=1)[:, -1]
        ratio = energy / energies
        right = np.abs(1.0 - ratio) < _ENERGY
        for place, phase in zip(places[right].tolist(), tried[right].tolist(), strict=True):
            found[place] = phase
        shift = np.floor(STEPS * log2(ratio) + 0.5).astype(np.int64)
        left = ~right & (shift != 0)
        places, tried = places[left], (tried[left] + shift[left]) % step
    return found


def _costs(
    codes: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float64],
    n: int,
    step: int,
    phases: Sequence[int],
    most: float,
) -> list[float]:
    """Bits of codes rounded to a step, by phase, and those that entries take more because of what these are off.

    Infinite where the latter alone are `most` or more.
    """
    found: list[float] = []
    together = _together(codes)
    for first in range(0, len(phases), together):
        rounded = norms.to_step(codes, step, np.array(phases[first : first + together])[:, np.newaxis])
        wrong = _mismatch()[codes - rounded + norms.COARSEST]
        more = np.add.accumulate(wrong * counts, axis=1)[:, -1] * (n * _HALF_LOG2_E)
        fit = more < most
        bits = np.full(len(more), math.inf)
        if fit.any():
            bits[fit] = more[fit] + _norm_bits(counts, rounded[fit])
        found += bits.tolist()
    return found


@lru_cache(maxsize=1)
def _mismatch() -> npt.NDArray[np.float64]:
    """What an energy so many steps from its code, from -`COARSEST` to it, adds to bits: r - 1 - ln r."""
    steps = np.arange(-norms.COARSEST, norms.COARSEST + 1)
    ratio: npt.NDArray[np.float64] = exp2(steps * (GRID // STEPS))
    found: npt.NDArray[np.float64] = ratio - 1.0 - steps.astype(np.float64) * (0.6931471805599453 / STEPS)
    found.setflags(write=False)
    return found


def _norm_bits(counts: npt.NDArray[np.float64], codes: npt.NDArray[np.int64]) -> list[float]:
    """Bits of norm codes, for each row of them, in increasing order, of which each occurs so often."""
    change = np.ones(codes.shape, np.bool_)
    np.not_equal(codes[:, 1:], codes[:, :-1], out=change[:, 1:])
    groups = np.add.reduceat(np.broadcast_to(counts, codes.shape).ravel(), np.flatnonzero(change))
    logarithms = _logarithms(np.append(groups, total(counts)))
    bits = groups * (logarithms[-1] - logarithms[:-1])
    ends = np.cumsum(np.count_nonzero(change, axis=1)).tolist()
    return [
        float(np.add.accumulate(bits[start:end])[-1]) + 8.0 * min(end - start, _TOKENS)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def _energies(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Energies of rows of norm codes, in increasing order and relative to the loudest, by a table if it has all."""
    if steps[:, 0].min(initial=0) < -_TABLE:
        return exp2(steps * (GRID // STEPS))
    found: npt.NDArray[np.float64] = _energy_table()[steps + _TABLE]
    return found


@lru_cache(maxsize=1)
def _energy_table() -> npt.NDArray[np.float64]:
    return exp2(np.arange(-_TABLE, norms.COARSEST + 1) * (GRID // STEPS))


def _logarithms(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Binary logarithms of numbers of columns, the last one the largest, by a table if it has all."""
    if counts[-1] > _TABLE:
        return log2(counts)
    found: npt.NDArray[np.float64] = _logarithm_table()[counts.astype(np.int64)]
    return found


@lru_cache(maxsize=1)
def _logarithm_table() -> npt.NDArray[np.float64]:
    """Binary logarithms of 1, 2, …, with something at 0."""
    return log2(np.maximum(np.arange(_TABLE + 1), 1))
