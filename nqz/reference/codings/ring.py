"""Ring code: a tail-biting trellis code of fixed rate with dithered labels (docs/theory.md, section 9; docs/format.md).

A ring codes N consecutive entries with K bits each; K is a whole number or a half, and `bits2` = 2 K. It has
T = ceil(N / 32) steps on 32 lanes: entry i = 32 t + l is step t of lane l, and entries N to 32 T - 1 are free. At step
t a lane takes a symbol x of K bits; where K is a half, of floor(K) bits at even t and of ceil(K) at odd t.

The ring of symbols runs through lane 0's steps, then lane 1's, …, and closes: before lane l's first symbol stands lane
l - 1's last, before that of lane 0 the last of lane 31. Written one after the other, each with its highest bit first,
the symbols are a string of bits. The window w of a step are the last L bits of the string, its symbol included (bit 0
of w is the lowest of the symbol; one bit less where the symbol has floor(K) < K bits). The label of the step is G w
over GF(2): the exclusive or of the generators of the bits that are set in w; those of half bits are two, by the bits
of the symbol. The entry is C[label ^ z], z the entry's dither and C an odd table of small integers, C[H - 1 - h] =
-C[h]. L, G and C are constants of the format (`ring_codes`).

Bytes
-----
A ring has 4 floor(T K) bytes: blocks of rows, then a tail. A row has 32 bytes, byte l for lane l, with fields of one
width, the earliest step in the top bits. Rows of a block, by 2 K ("x.b" is bit b of the symbol, "odd" steps are those
with odd t):

    2 K    steps    rows
    2      8        1 of x.0
    3      16       2 of x.0, 1 of x.1 of odd steps
    4      4        1 of x
    5      16       4 of x.1 x.0, 1 of x.2 of odd steps
    6      8        2 of x.1 x.0, 1 of x.2
    7      16       4 of x.1 x.0, 2 of x.2, 1 of x.3 of odd steps
    8      2        1 of x

The tail are the steps that fill no block. Each is stored as one 32-bit number, little-endian, for every bit of the
symbol, the lowest first; bit l of it belongs to lane l.

Dither
------
z of entry i of ring r is table[(32 · (1265 r mod 2048) + i) mod 65536], its lowest bits, as many as a label has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nqz.reference.arrays import Array, Ints, check, require, within
from nqz.reference.codings.ring_codes import BITS2, ENTRY_UNIT, RingForm, form_of
from nqz.reference.fixed_point import fixed_point, scaled

LANES = 32
DITHER = 1 << 16
ENTRY_LIMIT = np.float32(2**20)

# The search: 16-bit metrics that never overflow. A branch costs at most METRIC_LIMIT; every RENEWAL steps the smallest
# is subtracted from all, and what is left is cut to METRIC_CUT: METRIC_CUT + RENEWAL · METRIC_LIMIT < 2^15.
METRIC_LIMIT = 255
METRIC_CUT = 16384
RENEWAL = 32
CHOICES = 3
BLOCK = 2048
SEAM = 128

ROWS = {
    2: (8, [1]),
    3: (16, [1, 1]),
    4: (4, [2]),
    5: (16, [2, 1]),
    6: (8, [2, 1]),
    7: (16, [2, 1, 1]),
    8: (2, [4]),
}
"""By 2 K: steps of a block, and the widths of the fields of its rows; the last are of odd steps where K is a half."""


@dataclass(frozen=True, eq=False)
class RingCode:
    """What all rings of a matrix have in common; ValueError where it is out of range.

    Attributes
    ----------
    window : int
        L: 12, 14 or 16; 0 for what suits each rate.
    dither : numpy.ndarray
        uint8 [65536], the table of labels.
    forms : tuple of RingForm
        For 2 K = 2 to 8, those of the window where none are given.
    """

    window: int
    dither: Array
    forms: tuple[RingForm, ...] = field(default=())

    def __post_init__(self) -> None:
        check({"dither uint8 [65536]": self.dither})
        if not self.forms:
            object.__setattr__(self, "forms", tuple(form_of(bits2, self.window) for bits2 in BITS2))
        require([form.bits2 for form in self.forms] == list(BITS2), "forms must be of 2 K = 2 to 8")


def ring_bytes(entries: int, bits2: int) -> int:
    """Return the bytes of a ring of `entries` entries at K = bits2 / 2 bits."""
    require(entries >= 1, "a ring has at least one entry")
    require(bits2 in BITS2, "bits2 must be 2 to 8")
    return 4 * (-(-entries // LANES) * bits2 // 2)


def _bits_of_steps(bits2: int, steps: int) -> Ints:
    """Return the bits of the symbols of steps 0, 1, … in turn."""
    return (bits2 + np.arange(steps, dtype=np.int64) % 2) // 2


def _planes(bits2: int, steps: int) -> Iterator[tuple[int, int, slice]]:
    """Yield lowest bit, width and steps of the fields of a block of so many steps, in the order of their rows."""
    low = 0
    for width in ROWS[bits2][1]:
        odd = bits2 % 2 and low == bits2 // 2
        yield low, width, slice(1, steps, 2) if odd else slice(0, steps)
        low += width


def pack(symbols: Ints, bits2: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of the symbols [T, 32] of a ring."""
    steps = ROWS[bits2][0]
    whole = len(symbols) // steps
    rows = []
    for block in symbols[: whole * steps].reshape(whole, steps, LANES):
        for low, width, which in _planes(bits2, steps):
            fields = (block[which] >> low & (1 << width) - 1).reshape(-1, 8 // width, LANES)
            shifts = np.arange(8 - width, -1, -width)[:, None]
            rows.append((fields << shifts).sum(axis=1).astype(np.uint8).reshape(-1))
    for t in range(whole * steps, len(symbols)):
        for bit in range((bits2 + t % 2) // 2):
            word = int(((symbols[t] >> bit & 1) << np.arange(LANES)).sum())
            rows.append(np.frombuffer(word.to_bytes(4, "little"), np.uint8))
    return np.concatenate(rows)


def unpack(data: Array, bits2: int, steps: int) -> Ints:
    """Return the symbols [T, 32] of a ring from its bytes."""
    symbols = np.zeros((steps, LANES), dtype=np.int64)
    block = ROWS[bits2][0]
    at = 0
    for t in range(0, steps // block * block, block):
        for low, width, which in _planes(bits2, block):
            count = len(range(block)[which]) * width // 8
            rows = data[at : at + count * LANES].astype(np.int64).reshape(count, 1, LANES)
            shifts = np.arange(8 - width, -1, -width)[:, None]
            symbols[t : t + block][which] |= (rows >> shifts & (1 << width) - 1).reshape(-1, LANES) << low
            at += count * LANES
    for t in range(steps // block * block, steps):
        for bit in range((bits2 + t % 2) // 2):
            word = int.from_bytes(data[at : at + 4].tobytes(), "little")
            symbols[t] |= (word >> np.arange(LANES) & 1) << bit
            at += 4
    return symbols


def dither_of(code: RingCode, form: RingForm, ring: int, steps: int) -> Ints:
    """Return z [T, 32] of a ring, by its number in the matrix."""
    first = 32 * (1265 * ring % 2048)
    z = code.dither[(first + np.arange(steps * LANES)) % DITHER] & (1 << form.labels) - 1
    return z.astype(np.int64).reshape(steps, LANES)


def _around(steps: Array) -> Array:
    """Go from [T, 32] to the order of the ring, or back from [32, T]."""
    return np.ascontiguousarray(steps.T)


def labels_of(form: RingForm, symbols: Ints) -> Ints:
    """Return the labels [T, 32] of the symbols of a ring, without dither."""
    bits = np.tile(_bits_of_steps(form.bits2, len(symbols)), LANES)
    around = _around(symbols).reshape(-1)
    window, shift, back = np.zeros_like(around), np.zeros_like(around), 0
    while shift.min() < form.window:
        window |= np.roll(around, back) << shift
        shift += np.roll(bits, back)
        back += 1
    window &= (1 << form.window) - 1
    label = np.zeros_like(around)
    for kind in range(len(form.generators)):
        which = bits == form.bits2 // 2 + kind
        label[which] = form.labels_of(kind, window[which])
    return _around(label.reshape(LANES, -1))


class _Kind:
    """Steps of one number of bits, as the search sees them: for each state that a step leads to."""

    def __init__(self, form: RingForm, kind: int) -> None:
        self.bits = form.bits2 // 2 + kind
        self.low_bits = form.labels - self.bits
        count = 1 << self.bits
        self.classes = count
        self.choices = min(CHOICES, count)
        states = np.arange(1 << form.memory)
        label = form.labels_of(kind, states)
        self.label_class, self.label_low = label >> self.low_bits, label & (1 << self.low_bits) - 1
        self.before = states >> self.bits
        self.shift = form.memory - self.bits
        # The oldest symbol turns the class to this, and back.
        self.oldest = np.array([int(f"{p:0{self.bits}b}"[::-1], 2) for p in range(count)])
        self.thresholds = form.thresholds(kind)
        low = np.arange(1 << self.low_bits)
        self.low = low
        self.centers = form.centers.reshape(count, -1)

    def table(self, x: int, free: bool, z: int, scale: np.float32) -> tuple[int, Ints]:
        """Return the first class to be tried, and the costs of the classes tried by the label's low bits."""
        first = int((x > self.thresholds).sum())
        if free:
            return first, np.zeros((self.choices, self.low.size), dtype=np.int64)
        away = np.float32(x) * scale - self.centers[first : first + self.choices]
        cost = (away * away).astype(np.int64)
        cost = np.minimum(cost - cost.min(), METRIC_LIMIT)
        return first, cost[:, self.low ^ z & self.low.size - 1]

    def branch(self, metric: Ints, j: Ints, first: int, table: Ints, z: int) -> tuple[Ints, Ints]:
        """Return the costs [choices, states] of the ways into states j, and the states from which they come."""
        which = np.arange(first, first + self.choices)[:, None] ^ z >> self.low_bits
        source = self.oldest[which ^ self.label_class[j]] << self.shift | self.before[j]
        return metric[source] + table[:, self.label_low[j]], source


class _Search:
    """The search in one ring: x, free and z [steps] in its order."""

    def __init__(self, form: RingForm, x: Ints, free: Array, z: Ints, kinds: Ints) -> None:
        self.form, self.x, self.free, self.z, self.kinds = form, x, free, z, kinds
        self.kind = [_Kind(form, k) for k in range(1 + form.bits2 % 2)]
        self.states = np.arange(1 << form.memory)
        self.rows: list[tuple[Ints, int, int, Ints]] = []

    def run(self, metric: Ints, begin: int, end: int) -> Ints:
        """Take steps begin to end - 1 of the ring, modulo its length; return the metrics that these lead to."""
        self.rows.clear()
        for t in (step % self.x.size for step in range(begin, end)):
            kind, z = self.kind[self.kinds[t]], int(self.z[t])
            first, table = kind.table(int(self.x[t]), bool(self.free[t]), z, self.form.scale)
            self.rows.append((metric, t, first, table))
            metric = kind.branch(metric, self.states, first, table, z)[0].min(axis=0)
            if len(self.rows) % RENEWAL == 0:
                metric = np.minimum(metric - metric.min(), METRIC_CUT)
        return metric

    def back(self, state: int, count: int, symbols: Ints | None = None) -> int:
        """Go back the last `count` steps of the run, forget them, and return the state before them; write symbols."""
        for _ in range(count):
            metric, t, first, table = self.rows.pop()
            kind = self.kind[self.kinds[t]]
            if symbols is not None:
                symbols[t] = state & kind.classes - 1
            costs, source = kind.branch(metric, np.array([state]), first, table, int(self.z[t]))
            state = int(source[costs[:, 0].argmin(), 0])
        return state

    def seam(self) -> int:
        """Return the state in which the ring begins: of the best way through the steps around."""
        around = min(SEAM, self.x.size // 2)
        metric = self.run(np.zeros(self.states.size, dtype=np.int64), -around, around)
        return self.back(int(metric.argmin()), around)

    def symbols(self) -> Ints:
        """Return the symbols of the ring."""
        symbols = np.zeros(self.x.size, dtype=np.int64)
        begin = state = self.seam()
        # Block after block from the state in which the last one ended, which steps beyond it settle.
        for done in range(0, self.x.size, BLOCK):
            end = min(done + BLOCK + self.form.ahead, self.x.size)
            metric = self.run(np.where(self.states == state, 0, METRIC_CUT), done, end)
            if end == self.x.size:
                self.back(begin, end - done, symbols)
                break
            state = self.back(int(metric.argmin()), end - done - BLOCK)
            self.back(state, BLOCK, symbols)
        return symbols


def _check(code: RingCode, lengths: Array, bits2: Array, first: int, data: Array, name: str) -> list[int]:
    """Return where the rings begin in their bytes; ValueError where the arguments do not fit."""
    check({"lengths int64 [r]": lengths, "bits2 int32 [r]": bits2})
    require(first >= 0, "first must not be negative")
    require(first <= 2**62, "first must be at most 2^62")
    require(within(lengths, 1, 2**40), "a ring has 1 to 2^40 entries")
    require(within(bits2, BITS2[0], BITS2[-1]), "bits2 must be 2 to 8")
    sizes = [ring_bytes(int(n), int(b)) for n, b in zip(lengths, bits2, strict=True)]
    starts = [0, *np.cumsum(sizes, dtype=np.int64).tolist()]
    require(
        data.dtype == np.uint8 and data.shape == (starts[-1],), f"{name} must be uint8 [bytes of the rings]"
    )
    return starts


def ring_encode(
    code: RingCode, lengths: Array, bits2: Array, first: int, u: Array, n: int, out: Array, moments: Array
) -> None:
    """Code entries of unit variance.

    Parameters
    ----------
    code : RingCode
    lengths : numpy.ndarray
        int64 [r], entries of each ring, multiples of n.
    bits2 : numpy.ndarray
        int32 [r], 2 to 8, twice the bits of an entry.
    first : int
        Number of the first ring in the matrix.
    u : numpy.ndarray
        float32 [sum of lengths].
    n : int
        Entries of a column.
    out : numpy.ndarray
        uint8 [bytes of the rings], written.
    moments : numpy.ndarray
        int64 [columns, 3], written: the sums of x v, v² and x² over the entries of each column, where x is
        round(4096 u), limited to ±2^20, and v the integer that stands for the entry; modulo 2⁶⁴.
    """
    starts = _check(code, lengths, bits2, first, out, "out")
    require(n >= 1 and not (lengths % n).any(), "rings must have whole columns")
    count = int(lengths.sum())
    check({"u float32 [N]": u, "moments int64 [c, 3]": moments}, N=count, c=count // n)
    begin = 0
    for r, length in enumerate(lengths.tolist()):
        form = code.forms[int(bits2[r]) - BITS2[0]]
        steps = -(-length // LANES)
        part = scaled(u[begin : begin + length], np.float32(ENTRY_UNIT))
        x = fixed_point(part, steps * LANES, ENTRY_LIMIT).reshape(steps, LANES)
        free = (np.arange(steps * LANES) >= length).reshape(steps, LANES)
        z = dither_of(code, form, first + r, steps)
        kinds = np.tile(_bits_of_steps(form.bits2, steps) - form.bits2 // 2, LANES)
        search = _Search(
            form, _around(x).reshape(-1), _around(free).reshape(-1), _around(z).reshape(-1), kinds
        )
        symbols = _around(search.symbols().reshape(LANES, steps))
        out[starts[r] : starts[r + 1]] = pack(symbols, form.bits2)
        v = form.values[labels_of(form, symbols) ^ z].reshape(-1)[:length].reshape(-1, n)
        x = x.reshape(-1)[:length].reshape(-1, n)
        columns = slice(begin // n, (begin + length) // n)
        moments[columns, 0] = (x * v).sum(axis=1)
        moments[columns, 1] = (v * v).sum(axis=1)
        moments[columns, 2] = (x.astype(np.int64) ** 2).sum(axis=1)
        begin += length


def ring_decode(code: RingCode, lengths: Array, bits2: Array, first: int, data: Array, points: Array) -> None:
    """Decode what `ring_encode` coded: writes its integers v to `points`, int8 or int32 [N]; any bytes decode."""
    starts = _check(code, lengths, bits2, first, data, "data")
    require(points.dtype in (np.int8, np.int32), "points must be int8 or int32")
    require(points.shape == (int(lengths.sum()),), "points must be int8 or int32 [N]")
    begin = 0
    for r, length in enumerate(lengths.tolist()):
        form = code.forms[int(bits2[r]) - BITS2[0]]
        steps = -(-length // LANES)
        symbols = unpack(data[starts[r] : starts[r + 1]], form.bits2, steps)
        v = form.values[labels_of(form, symbols) ^ dither_of(code, form, first + r, steps)]
        points[begin : begin + length] = v.reshape(-1)[:length]
        begin += length
