"""The entropy coding of λ mod Λc: Λc = q Zⁿ with q large, an escape beyond, static rANS tables.

With dither, P(λ | z) ∝ exp(-(λ - z)² / 2σ²) whatever the data, so the symbol k of Y = 16 k + o has a fixed table for each
context o and each class of σ (entropy-coded dithered quantization; Zamir & Feder 1992). Code bits are raw where they are
nearly uniform, and modelled by P(c | z) ∝ Π w(c_i, z_i) below a class.

In a block of Leech the parity of the last k follows from the others. Of that entry Y >> 1 is coded, in the class of half
its σ; the context of Y >> 1 holds the parity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nqz import kernels
from nqz.ground.arithmetic import GRID, exp, exp2, log2
from nqz.stages.lattice import LATTICES, Lattice
from nqz.stages.scale import CLASSES

TOTAL = 4096
_TAIL = 3.1
_RAW_SIGMA = 8

LONGEST_RUN = 20
"""Ones of an escape's Rice code after which its distance follows in DISTANCE_BITS bits."""
DISTANCE_BITS = 28

_MODELLED_BELOW = {"z": 0, "d4": 46, "e8": 48, "leech": 0}
_MODELLED_BELOW_CONVOLUTIONAL = 48


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
    weight : ndarray of float64, shape (16,)
        Relative probability of each context.
    bits : float
        Expected bits an entry for k at the class's own σ, code bits not included.
    """

    half: int
    raw: int
    rice: int
    cumulative: np.ndarray
    weight: np.ndarray
    bits: float


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
    while sigma / 16 / (1 << raw) >= 2 * _RAW_SIGMA:
        raw += 1
    step = 16 << raw
    half = math.ceil(_TAIL * sigma / step + 0.5)
    k = np.arange(-half - (half + 2), half + (half + 2))  # a margin on both sides for the mass of the escape
    context = np.arange(16)
    mass = np.zeros((16, len(k)))
    stride = max(1, (1 << raw) >> 4)  # above 16 values the density is flat enough to sample
    for low in range(stride >> 1, 1 << raw, stride):
        y = (k[None, :] * (1 << raw) + low) * 16 + context[:, None]
        mass = mass + exp(-(y * y).astype(np.float64) / (2.0 * variance))
    total = np.add.accumulate(mass, axis=1)[:, -1]
    inside = mass[:, half + 2 : -(half + 2)]
    outside = total - np.add.accumulate(inside, axis=1)[:, -1]
    p = np.concatenate([inside, np.maximum(outside, 0.0)[:, None]], axis=1) / total[:, None]
    frequency = _frequencies(p)
    cumulative = np.zeros((16, 2 * half + 2), np.uint16)
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
    return Table(half, raw, rice, cumulative, total / total.max(), float(bits + lengths[rice]))


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


def rice_lengths(distance: np.ndarray, rice: int) -> np.ndarray:
    """Bits of the codes of escapes that lie `distance` beyond the last symbol, int64."""
    run = distance >> rice
    return 1 + np.where(run < LONGEST_RUN, run + 1 + rice, LONGEST_RUN + DISTANCE_BITS)


@lru_cache(maxsize=64)
def code_bits(name: str, index: int) -> float:
    """Bits an entry of modelled codewords in class `index`: the entropy of C given the dither, by a fixed sample of dithers."""
    lattice = LATTICES[name]
    weight = table(index).weight
    levels = kernels.levels(1, 2, 0, 2048 * lattice.group).reshape(-1, lattice.block).astype(np.int64)
    words = codewords(name)
    if lattice.block == 2:
        # the two branches of a trellis step have complementary labels, of either kind equally often
        return 0.5 * (_label_entropy(weight, levels, words[:2]) + _label_entropy(weight, levels, words[2:]))
    return _label_entropy(weight, levels, words)


def _label_entropy(weight: np.ndarray, levels: np.ndarray, words: np.ndarray) -> float:
    """Entropy an entry of one of `words`, given the dither levels of its entries, shape (samples, block)."""
    block, fine = levels.shape[1], 8
    probability = np.ones((len(levels), len(words)))
    for i in range(block):
        probability = probability * weight[(fine * words[None, :, i] - levels[:, i : i + 1]) & 15]
    total = np.add.accumulate(probability, axis=1)[:, -1:]
    p = np.maximum(probability / total, 1e-300)
    entropy = -np.add.accumulate(p * log2(p), axis=1)[:, -1]
    return float(np.add.accumulate(entropy)[-1] / len(levels) / block)


def codewords(name: str) -> np.ndarray:
    """Codewords of the lattice's binary code in the order of their indices, shape (2 ** bits, block).

    For convolutional codes the four labels of a trellis step, complementary ones next to each other.
    """
    if name == "d4":
        index = np.arange(8)
        bits = [index & 1, index >> 1 & 1, index >> 2 & 1]
        return np.stack([*bits, bits[0] ^ bits[1] ^ bits[2]], axis=1)
    if name == "e8":
        index, i = np.arange(16)[:, None], np.arange(8)[None, :]
        return (index & 1) ^ (index >> 1 & i & 1) ^ (index >> 2 & i >> 1 & 1) ^ (index >> 3 & i >> 2 & 1)
    return np.array([[0, 0], [1, 1], [0, 1], [1, 0]])


def is_modelled(lattice: Lattice, index: int) -> bool:
    """Whether the code bits of groups of this class are modelled."""
    return index < _MODELLED_BELOW.get(lattice.name, _MODELLED_BELOW_CONVOLUTIONAL)


def halved(index: int) -> int:
    """The class of half the σ, which codes the last entry of a Leech block."""
    return index - 2 * CLASSES


def point_bits(lattice: Lattice, index: int) -> float:
    """Expected bits an entry of points of a class at its own σ, code bits not included."""
    bits = table(index).bits
    if lattice.name != "leech":
        return bits
    return bits + (table(halved(index)).bits - bits) / lattice.block


def rate(lattice: Lattice, variance: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Expected bits an entry of columns of the given variance (fine units squared) coded in the given classes.

    The cost of a Gaussian table is linear in the second moment of what it codes.
    """
    out = np.empty(len(classes))
    for index in sorted(set(classes.tolist())):  # np.unique imports numpy.ma
        chosen = classes == index
        own = point_bits(lattice, int(index))
        own += code_bits(lattice.name, int(index)) if is_modelled(lattice, int(index)) else lattice.code_bits
        out[chosen] = own + (variance[chosen] / class_variance(int(index)) - 1.0) * 0.7213475204444817
    return out


def lanes_of(count: int) -> int:
    """Lanes of a chunk of `count` entries: 32, fewer for small chunks."""
    lanes = 1
    while lanes < 32 and count >= 4096 * lanes:
        lanes *= 2
    return lanes


def padded(lattice: Lattice, count: int, lanes: int) -> int:
    """Entries of a chunk rounded up to whole groups on all lanes."""
    unit = lattice.group * lanes
    return (count + unit - 1) // unit * unit


class Tables:
    """The tables of all classes of a tensor, in the form that the kernels take."""

    def __init__(self, lattice: Lattice, classes: np.ndarray):
        used = set(classes.tolist())
        if lattice.name == "leech":
            used |= {halved(c) for c in used}
        used = sorted(used)
        tables = [table(c) for c in used]
        self.lowest = used[0] if used else 0
        self.number = np.full(used[-1] - self.lowest + 1 if used else 0, -1, np.int32)
        for i, c in enumerate(used):
            self.number[c - self.lowest] = i
        self.half = np.array([t.half for t in tables], np.int32)
        self.raw = np.array([t.raw for t in tables], np.int32)
        self.rice = np.array([t.rice for t in tables], np.int32)
        sizes = [t.cumulative.size for t in tables]
        self.offset = np.array([sum(sizes[:i]) for i in range(len(sizes))], np.int64)
        self.cumulative = (
            np.concatenate([t.cumulative.ravel() for t in tables]) if tables else np.zeros(0, np.uint16)
        )
        self.weight = np.array([t.weight for t in tables], np.float64).reshape(len(tables), 16)
        self.modelled = np.array([is_modelled(lattice, c) for c in used], np.uint8)
        # tables for halves only have none for theirs: 0 stands in
        last = (
            [used.index(halved(c)) if halved(c) in used else 0 for c in used]
            if lattice.name == "leech"
            else []
        )
        self.last = np.array(last, np.int32)

    def of_columns(self, classes: np.ndarray) -> np.ndarray:
        """Table numbers of columns of the given classes, int32."""
        return self.number[classes - self.lowest]

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        """What the kernels take, in their order."""
        arguments = self.half, self.raw, self.rice, self.offset, self.cumulative, self.weight, self.modelled
        return *arguments, self.last


def section_sizes(
    lattice: Lattice, tables: Tables, table_of_column, chunk, m: int, lanes: int
) -> tuple[int, int]:
    """Bytes of the raw code bits and of the raw low bits of a chunk."""
    size, row = padded(lattice, chunk.count, lanes), lattice.group * lanes
    rows = np.arange(0, size, row, dtype=np.int64)
    raw_rows = int((tables.modelled[table_of_column[(chunk.start + rows) // m]] == 0).sum())
    code = round(raw_rows * row * lattice.code_bits)
    first, last = chunk.start // m, (chunk.start + chunk.count - 1) // m
    edges = np.clip(np.arange(first, last + 2, dtype=np.int64) * m - chunk.start, 0, chunk.count)
    edges[-1] = size
    used = table_of_column[first : last + 1]
    low = int((np.diff(edges) * tables.raw[used]).sum())
    if lattice.name == "leech":
        ends = edges // row * lanes + np.maximum(
            edges % row - (row - lanes), 0
        )  # last entries of blocks up to the edges
        low += int((np.diff(ends) * (tables.raw[tables.last[used]] - tables.raw[used])).sum())
    return (code + 7) // 8, (low + 7) // 8
