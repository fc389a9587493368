"""CHNK in Voronoi coding, and nearest points (section 16)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import I64
from .lattices import E8_CODE, GOLAY_CODE, GOLAY_ROWS, block_length, group_length, levels
from .sequences import Rans, Reader, require

# information positions, and for the other positions those that their code bit is the sum of
_D4_SUMS = {3: (0, 1, 2)}
_E8_SUMS = {3: (0, 1, 2), 5: (0, 1, 4), 6: (0, 2, 4), 7: (1, 2, 4)}


def leech_basis() -> I64:
    """The basis of section 16, a vector a row."""
    basis = np.zeros((24, 24), np.int64)
    basis[0] = [1] * 23 + [-3]
    basis[1:12] = 2 * GOLAY_ROWS[1:]
    for j in range(12, 23):
        basis[j, [j, 23]] = 4
    basis[23, 23] = 8
    return basis


def digits_a_word(q: int) -> tuple[int, int]:
    """Digits of a word, and its bits: at most 63, with the fewest bits a digit, fewest digits first."""
    best = (1, (q - 1).bit_length())
    count = 1
    while (bits := (q**count - 1).bit_length()) <= 63:
        if bits * best[0] < best[1] * count:
            best = (count, bits)
        count += 1
    return best


def unpack_digits(reader: Reader, q: int, count: int) -> I64:
    """`count` digits from 0 to q - 1."""
    size, bits = digits_a_word(q)
    number = -(-count // size)
    words = reader.fields(np.full(number, bits))
    digits = np.empty((number, size), np.int64)
    for i in range(size):
        digits[:, i] = words % np.uint64(q)
        words = words // np.uint64(q)
    require(not words.any(), "word of digits is too large")
    flat = digits.reshape(-1)
    require(not flat[count:].any(), "digits are left over")
    return flat[:count]


def representatives(lattice: str, d: I64) -> I64:
    """A point of the class that each row of digits stands for."""
    if lattice == "leech":
        return d @ leech_basis()
    point = d.copy()
    for j, positions in {"d4": _D4_SUMS, "e8": _E8_SUMS}.get(lattice, {}).items():
        point[:, j] = d[:, positions].sum(axis=1) + 2 * d[:, j]
    return point


def nearest(lattice: str, x: I64, unit: I64) -> I64:
    """The nearest points Q of X / U, of every row of X; U is a column."""
    if lattice == "z":
        return (2 * x + unit) // (2 * unit)
    if lattice == "leech":
        parts = [_nearest_leech(x[i : i + 256], unit[i : i + 256]) for i in range(0, len(x), 256)]
        return np.concatenate(parts)
    r = (x + unit) % (2 * unit) - unit
    cost = unit - 2 * abs(r)  # of an odd coordinate
    if lattice == "d4":
        bits = cost < 0
        odd = np.flatnonzero(bits.sum(axis=1) % 2)
        bits[odd, np.argmin(abs(cost[odd]), axis=1)] ^= True
    else:
        parity = E8_CODE[::2]  # p(a, i)
        transform = cost @ (1 - 2 * parity).T
        a = np.argmax(abs(transform), axis=1)
        bits = (parity[a] == 1) ^ (transform[np.arange(len(x)), a] < 0)[:, None]
    return np.asarray((x - r) // unit + np.where(r >= 0, 1, -1) * bits)


def _nearest_leech(x: I64, unit: I64) -> I64:
    """The nearest points of the Leech lattice, of all m and Golay codewords."""
    code = GOLAY_CODE.astype(np.float64)  # floats, of integers below 2^53, are multiplied faster
    m = np.arange(2)[:, None, None]
    q = (x - unit * m + 2 * unit) // (4 * unit)  # m, block, coordinate
    a = x - unit * (m + 4 * q)
    negative = a < 0
    base = (a * a).sum(axis=2)[..., None] + 4 * unit * ((unit - abs(a)).astype(np.float64) @ code.T)
    odd = ((m + q.sum(axis=2)[..., None]) + negative.astype(np.float64) @ code.T) % 2 == 1
    base, odd = (np.concatenate(list(part), axis=1) for part in (base, odd))  # block, 4096 m + codeword

    def complete(blocks: I64, points: I64) -> tuple[I64, I64, I64]:
        """Distances with what an odd sum costs, v and codewords of some points."""
        words = GOLAY_CODE[points % 4096]
        size = abs(a[points // 4096, blocks])
        v = np.where(words, size, 2 * unit[blocks] - size)
        cost = 8 * unit[blocks, 0] * odd[blocks, points] * v.min(axis=1)
        return base[blocks, points].astype(np.int64) + cost, v, words

    every = np.arange(len(x))
    bound = complete(every, np.argmin(base, axis=1))[0]  # the nearest point is at most as far
    blocks, points = np.nonzero(base <= bound[:, None])
    distances = complete(blocks, points)[0]
    order = np.lexsort((points, distances, blocks))
    first = order[np.unique(blocks[order], return_index=True)[1]]
    points = points[first]
    _, v, words = complete(every, points)
    m_of = points // 4096
    below = negative[m_of, every]
    k = q[m_of, every] - words * below
    moved = np.argmin(v, axis=1)
    step = np.where(below[every, moved] != words[every, moved], -1, 1)
    k[every, moved] += step * odd[every, points]
    return m_of[:, None] + 2 * words + 4 * k


def decode(payload: bytes, lattice: str, parameters: list[Any], dither: I64) -> I64:
    """The points b Y of a chunk; dither and result are arrays of (step, lane)."""
    (q, q1), mix, multipliers, _, _ = parameters
    steps, lanes = dither.shape
    group, f, block = group_length(lattice), levels(lattice), block_length(lattice)
    rows = steps // group
    reader = Reader(payload)
    states = np.frombuffer(reader.take(4 * lanes), "<u4").astype(np.int64)
    count = reader.integer(4)
    frequencies = reader.words(3)
    frequencies = np.append(frequencies, 4096 - frequencies.sum())
    require((frequencies >= 1).all(), "frequencies of the multipliers")
    starts = np.cumsum(frequencies) - frequencies
    symbol_of = np.repeat(np.arange(4), frequencies)
    rans = Rans(states, reader.words(count))
    chosen = np.empty((rows, lanes), np.int64)
    for row in range(rows):
        slot = rans.x & 4095
        symbol = symbol_of[slot]
        chosen[row] = symbol
        rans.advance(frequencies[symbol], slot - starts[symbol])
    rans.end()
    g = np.arange(rows)
    larger = (g + 1) * mix // 65536 > g * mix // 65536
    digits = np.empty((rows, group, lanes), np.int64)
    for wide in (False, True):
        some = larger == wide
        unpacked = unpack_digits(reader, q1 if wide else q, int(some.sum()) * group * lanes)
        digits[some] = unpacked.reshape(-1, group, lanes)
    reader.end()

    def blocks(values: I64) -> I64:
        """Values of (row, step in the group, lane) as a row for each block."""
        split = values.reshape(rows, group // block, block, lanes)
        return split.transpose(0, 1, 3, 2).reshape(-1, block)

    q_of = np.broadcast_to(np.where(larger, q1, q)[:, None, None], digits.shape)
    x = f * representatives(lattice, blocks(digits)) - blocks(dither.reshape(digits.shape))
    unit = f * blocks(q_of)[:, :1]
    y = x - unit * nearest(lattice, x, unit)
    points = y.reshape(rows, group // block, lanes, block).transpose(0, 1, 3, 2).reshape(digits.shape)
    factors = np.array(multipliers)[larger.astype(np.int64)[:, None], chosen]  # row, lane
    return np.asarray(points * factors[:, None]).reshape(steps, lanes)
