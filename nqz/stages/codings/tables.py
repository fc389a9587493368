"""The tables of the entropy coder, and what they cost: they follow from the classes of the columns alone.

With dither, P(λ | z) ∝ exp(-(λ - z)² / 2σ²) whatever the data, so the symbol k of Y = 16 k + o has a fixed table for
each context o and each class of σ (entropy-coded dithered quantization; Zamir & Feder 1992). Code bits are raw where
they are nearly uniform, and modelled by P(c | z) ∝ Π w(c_i, z_i) below a class of the lattice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.ground.arithmetic import GRID, exp, exp2, log2, round_log2
from nqz.ground.cached import cached_property
from nqz.stages.lattices import Lattice
from nqz.stages.scale import CLASSES

TOTAL = 4096
"""What the frequencies of a table sum up to."""

CONTEXTS = 16
"""Contexts o of Y = 16 k + o, and the steps of Y in one of k."""

_TAIL = 3.1  # standard deviations up to which there are symbols, about
_RAW_SIGMA = 8  # least standard deviation, in symbols, where low bits of k are sent as they are
_HALF_LOG2_E = 0.7213475204444817  # from half the excess of a variance, in nats, to bits

WEIGHT = 65535
"""The largest weight of a context."""

LONGEST_RUN = 20
"""Ones of an escape's Rice code after which its distance follows in DISTANCE_BITS bits."""
DISTANCE_BITS = 28


@dataclass(frozen=True)
class Table:
    """Model of one class.

    Attributes
    ----------
    half : int
        K: symbols stand for k >> raw from -K to K - 1; symbol 2K is the escape.
    raw : int
        Number of low bits of k that are sent as they are.
    rice : int
        Number of low bits of an escape's distance in its Rice code.
    cumulative : ndarray of uint16, shape (16, 2K + 2)
    weight : ndarray of uint16, shape (16,)
        Relative probability of each context; of contexts that differ by half a period the likelier one has WEIGHT.
    bits : float
        Expected bits an entry for k at the class's own σ, code bits not included.
    """

    half: int
    raw: int
    rice: int
    cumulative: np.ndarray
    weight: np.ndarray
    bits: float


_EVERY = CLASSES // 2  # classes of which one has a table where bits need not be exact


@lru_cache(maxsize=1024)
def class_variance(index: int) -> float:
    """σ² of a class in fine units squared: 2 ** (index / 8)."""
    return float(exp2(index * (GRID // CLASSES)))


@lru_cache(maxsize=512)
def table(index: int) -> Table:
    """The table of class `index`, the same on every machine."""
    variance = class_variance(index)
    sigma = math.sqrt(variance)
    raw = 0
    while sigma / CONTEXTS / (1 << raw) >= 2 * _RAW_SIGMA:
        raw += 1
    step = CONTEXTS << raw
    half = math.ceil(_TAIL * sigma / step + 0.5)
    k = np.arange(-half - (half + 2), half + (half + 2))  # a margin on both sides for the mass of the escape
    context = np.arange(CONTEXTS)
    mass = np.zeros((CONTEXTS, len(k)))
    stride = max(1, (1 << raw) >> 4)  # above 16 values the density is flat enough to sample
    for low in range(stride >> 1, 1 << raw, stride):
        y = (k[None, :] * (1 << raw) + low) * CONTEXTS + context[:, None]
        mass = mass + exp(-(y * y).astype(np.float64) / (2.0 * variance))
    total = np.add.accumulate(mass, axis=1)[:, -1]
    inside = mass[:, half + 2 : -(half + 2)]
    outside = total - np.add.accumulate(inside, axis=1)[:, -1]
    p = np.concatenate([inside, np.maximum(outside, 0.0)[:, None]], axis=1) / total[:, None]
    frequency = _frequencies(p)
    cumulative = np.zeros((CONTEXTS, 2 * half + 2), np.uint16)
    cumulative[:, 1:] = np.cumsum(frequency, axis=1)
    cost = math.log2(TOTAL) - log2(frequency.astype(np.float64))
    share = total / np.add.accumulate(total)[-1]
    bits = np.add.accumulate(np.add.accumulate(p * cost, axis=1)[:, -1] * share)[-1] + raw
    # of both sides and all contexts, by the distance beyond the edge
    beyond = np.add.accumulate(
        (mass[:, half + 1 :: -1] + mass[:, -(half + 2) :]) / np.add.accumulate(total)[-1]
    )[-1]
    lengths = [np.add.accumulate(beyond * rice_lengths(np.arange(half + 2), b))[-1] for b in range(8)]
    rice = lengths.index(min(lengths))
    return Table(half, raw, rice, cumulative, _weights(total), float(bits + lengths[rice]))


def _frequencies(p: np.ndarray) -> np.ndarray:
    """Frequencies out of TOTAL, each at least 1, that code the probabilities `p`, shape (16, symbols), well.

    Rounded, then corrected by one at a time where it costs least (the cost of taking one from f is about p / (f - ½)).
    """
    frequency = np.maximum(1.0, np.floor(p * TOTAL + 0.5))
    while True:
        excess = frequency.sum(axis=1) - TOTAL
        for row in np.flatnonzero(excess):
            f, sign = frequency[row], 1.0 if excess[row] > 0 else -1.0
            cost = np.where(f - sign >= 1.0, sign * p[row] / (f - 0.5 * sign), np.inf)
            f[cost.argmin()] -= sign
        if not excess.any():
            return frequency.astype(np.int64)


def _weights(total: np.ndarray) -> np.ndarray:
    """Integer weights of contexts of probabilities `total`.

    A code bit shifts the context by 8: only the ratio of two contexts 8 apart matters.
    """
    likelier = np.maximum(total, np.roll(total, CONTEXTS // 2))
    weight: np.ndarray = np.maximum(1.0, np.floor(total / likelier * WEIGHT + 0.5)).astype(np.uint16)
    return weight


def rice_lengths(distance: np.ndarray, rice: int) -> np.ndarray:
    """Bits of the codes of escapes that lie `distance` beyond the last symbol, int64."""
    run = distance >> rice
    return 1 + np.where(run < LONGEST_RUN, run + 1 + rice, LONGEST_RUN + DISTANCE_BITS)


def is_modelled(lattice: Lattice, index: int) -> bool:
    """Whether the code bits of groups of this class are modelled."""
    return index < lattice.modelled_below


def looks_ahead(lattice: Lattice, index: int) -> bool:
    """Whether their model looks at the dither of the steps that follow."""
    return index < lattice.ahead_below


def halved(index: int) -> int:
    """The class of half the σ: that of the last entry of a block whose last k has a parity that follows."""
    return index - 2 * CLASSES


def least_bits(lattice: Lattice, index: int) -> float:
    """Bits an entry that points of a class take at least: all of them the likeliest symbol."""
    found, code = [], 0.0 if is_modelled(lattice, index) else lattice.code_bits
    for used in (index, halved(index)) if lattice.last_follows else (index,):
        frequency = np.diff(table(used).cumulative.astype(np.int64), axis=1, append=TOTAL)
        found.append(table(used).raw + math.log2(TOTAL / int(frequency.max())))
    return code + min(found)


def point_bits(lattice: Lattice, index: int) -> float:
    """Expected bits an entry of points of a class at its own σ, code bits not included."""
    bits = table(index).bits
    if not lattice.last_follows:
        return bits
    return bits + (table(halved(index)).bits - bits) / lattice.block


def rate(lattice: Lattice, variance: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Expected bits an entry of columns of the given variance (fine units squared) coded in the given classes.

    The cost of a Gaussian table is linear in the second moment of what it codes.
    """
    out = np.empty(len(classes))
    for index in sorted(set(classes.tolist())):  # np.unique imports numpy.ma
        chosen = classes == index
        out[chosen] = (
            own_bits(lattice, index) + (variance[chosen] / class_variance(index) - 1.0) * _HALF_LOG2_E
        )
    return out


def rough_rate(lattice: Lattice, variance: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Nearly the same, from fewer tables: the bits of classes between those of some lie on lines."""
    below = classes // _EVERY
    used = sorted({*below.tolist(), *(below + 1).tolist()})
    bits = np.array([own_bits(lattice, index * _EVERY) for index in used])
    place = np.searchsorted(used, below)
    own = bits[place] + (bits[place + 1] - bits[place]) * ((classes - below * _EVERY) / _EVERY)
    of_class = exp2(classes * (GRID // CLASSES))
    out: np.ndarray = own + (variance / of_class - 1.0) * _HALF_LOG2_E
    return out


def own_bits(lattice: Lattice, index: int) -> float:
    """Expected bits an entry of columns of just the variance of their class.

    Low ones are measured: the points that a search finds prefer branches of the code that are near, which no sum over
    dither and codewords accounts for, and are no Gaussian where they are hardly more than dither.
    """
    place = index - int(round_log2(lattice.fine_moment, CLASSES))
    if place < 0:
        return lattice.low_bits[0] + place * (lattice.low_bits[1] - lattice.low_bits[0])
    if place < len(lattice.low_bits):
        return lattice.low_bits[place]
    return point_bits(lattice, index) + lattice.code_bits


def steepness(lattice: Lattice, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Bits an entry that classes take more for every e times their variance: less than half a bit for twice of it."""
    low = int(round_log2(lattice.fine_moment, CLASSES))
    inner = (classes > low) & (classes < low + len(lattice.low_bits) - 1)
    own = np.array(lattice.low_bits)
    place = np.where(inner, classes - low, 1)
    measured = (own[place + 1] - own[place - 1]) * (CLASSES * _HALF_LOG2_E)
    return np.where(inner | (classes <= low), measured, _HALF_LOG2_E)


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of all classes of a tensor, in the form that the kernels take.

    Attributes
    ----------
    lattice : int
        Number of the lattice.
    lowest : int
        The lowest class.
    number : ndarray of int32
        Number of the table of each class from the lowest on, -1 for one without.
    half, raw, rice : ndarray of int32
        As in `Table`, by number.
    offset : ndarray of int64
        Where the frequencies of each begin in `cumulative`.
    cumulative : ndarray of uint16
    weight : ndarray of uint16, shape (tables, 16)
    modelled : ndarray of uint8
        Whether the code bits of groups of each are modelled: 2 if their chances look ahead.
    last : ndarray of int32
        Of a lattice whose last k follows: the table of the last entry of a block.
    """

    lattice: int
    lowest: int
    number: npt.NDArray[np.int32]
    half: npt.NDArray[np.int32]
    raw: npt.NDArray[np.int32]
    rice: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    cumulative: npt.NDArray[np.uint16]
    weight: npt.NDArray[np.uint16]
    modelled: npt.NDArray[np.uint8]
    last: npt.NDArray[np.int32]

    def of_columns(self, classes: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Table numbers of columns of the given classes."""
        numbers: npt.NDArray[np.int32] = self.number[classes - self.lowest]
        return numbers

    @cached_property
    def bound(self) -> kernels.Tables:
        """The tables as the kernels take them, checked once."""
        return kernels.Tables(
            self.lattice,
            self.half,
            self.raw,
            self.rice,
            self.offset,
            self.cumulative,
            self.weight,
            self.modelled,
            self.last,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "bound"}


def tables(lattice: Lattice, classes: npt.NDArray[Any]) -> Tables:
    """The tables of columns of the given classes."""
    return _tables(lattice, frozenset(classes.tolist()))


@lru_cache(maxsize=8)  # panels of a matrix mostly have the same classes
def _tables(lattice: Lattice, wanted: frozenset[int]) -> Tables:
    if lattice.last_follows:
        wanted |= {halved(c) for c in wanted}
    used = sorted(wanted)
    found = [table(c) for c in used]
    lowest = used[0] if used else 0
    number = np.full(used[-1] - lowest + 1 if used else 0, -1, np.int32)
    for i, c in enumerate(used):
        number[c - lowest] = i
    sizes = [t.cumulative.size for t in found]
    # tables for halves only have none for theirs: 0 stands in
    last = [used.index(halved(c)) if halved(c) in used else 0 for c in used] if lattice.last_follows else []
    return Tables(
        lattice=lattice.number,
        lowest=lowest,
        number=number,
        half=np.array([t.half for t in found], np.int32),
        raw=np.array([t.raw for t in found], np.int32),
        rice=np.array([t.rice for t in found], np.int32),
        offset=np.array([sum(sizes[:i]) for i in range(len(sizes))], np.int64),
        cumulative=np.concatenate([np.zeros(0, np.uint16), *(t.cumulative.ravel() for t in found)]),
        weight=np.array([t.weight for t in found], np.uint16).reshape(len(found), CONTEXTS),
        modelled=np.array([is_modelled(lattice, c) + looks_ahead(lattice, c) for c in used], np.uint8),
        last=np.array(last, np.int32),
    )
