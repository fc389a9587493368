"""CHNK in entropy coding: tables and decoder (section 15)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .arithmetic import F64, I64, exp, exp2
from .lattices import CONV, D4_CODE, E8_CODE, GOLAY_CODE, group_length, levels, trellis
from .sequences import Rans, Reader, as_bits, require

ESCAPE_ONES, ESCAPE_BITS = 20, 28


class Table:
    """The table of one class (sections 15 and 15.1)."""

    def __init__(self, t: int) -> None:
        variance = float(exp2(512 * t))
        sigma = math.sqrt(variance)
        self.raw = 0
        while sigma / 16 / 2**self.raw >= 16:
            self.raw += 1
        self.edge = edge = math.ceil(3.1 * sigma / (16 * 2**self.raw) + 0.5)  # K
        v = np.arange(-2 * edge - 2, 2 * edge + 2)
        s = max(1, 2**self.raw // 16)
        inner_values = 2**self.raw * v[:, None] + np.arange(s // 2, 2**self.raw, s)
        y = 16.0 * inner_values + np.arange(16.0)[:, None, None]
        mass = np.cumsum(exp(-(y * y) / (2 * variance)), axis=2)[:, :, -1]  # context, v
        total = np.cumsum(mass, axis=1)[:, -1]  # T_o
        inner = mass[:, edge + 2 : 3 * edge + 2]
        inside = np.cumsum(inner, axis=1)[:, -1]  # I_o
        escape = np.maximum(total - inside, 0.0) / total
        probabilities = np.concatenate([inner / total[:, None], escape[:, None]], axis=1)
        frequencies = np.stack([_frequencies(p) for p in probabilities])
        self.rice = _rice(mass, total, edge)
        share = total / np.maximum(total, np.roll(total, 8))
        self.weights = np.maximum(1, np.floor(share * 65535 + 0.5).astype(np.int64))  # W
        self.frequencies = frequencies
        # symbol, frequency and slot - start of every slot, in 7, 13 and 12 bits
        symbols = np.arange(2 * edge + 1)
        self.slots = np.empty((16, 4096), np.uint32)
        for o in range(16):
            starts = np.cumsum(frequencies[o]) - frequencies[o]
            symbol = np.repeat(symbols, frequencies[o])
            offset = np.arange(4096) - starts[symbol]
            self.slots[o] = symbol << 25 | frequencies[o][symbol] << 12 | offset


def _frequencies(p: F64) -> I64:
    """Frequencies that sum to 4096 from probabilities (section 15.1)."""
    f = np.maximum(1, np.floor(4096 * p + 0.5).astype(np.int64))
    while f.sum() > 4096:
        f[np.argmin(np.where(f >= 2, p / (f - 0.5), np.inf))] -= 1
    while f.sum() < 4096:
        f[np.argmin(-p / (f + 0.5))] += 1
    return f


def _rice(mass: F64, total: F64, edge: int) -> int:
    """The Rice parameter b with the shortest codes on average (section 15.1)."""
    x = np.arange(edge + 2)
    below, above = mass[:, edge + 1 - x], mass[:, 3 * edge + 2 + x]  # v = -K - 1 - x and K + x
    expected = np.cumsum((below + above) / np.cumsum(total)[-1], axis=0)[-1]
    costs = []
    for b in range(8):
        ones = x >> b
        length = np.where(ones >= ESCAPE_ONES, 1 + ESCAPE_ONES + ESCAPE_BITS, 2 + ones + b)
        costs.append(np.cumsum(expected * length)[-1])
    return int(np.argmin(costs))


table = lru_cache(maxsize=None)(Table)


class Escapes:
    """The bit stream of the escaped values (section 15)."""

    def __init__(self, data: bytes) -> None:
        self.bits: list[int] = as_bits(data).tolist()
        self.at = 0

    def take(self, count: int) -> int:
        require(self.at + count <= len(self.bits), "escapes are missing")
        self.at += count
        return sum(bit << i for i, bit in enumerate(self.bits[self.at - count : self.at]))

    def value(self, edge: int, b: int) -> int:
        sign, ones = self.take(1), 0
        while ones < ESCAPE_ONES and self.take(1):
            ones += 1
        if ones == ESCAPE_ONES:
            x = self.take(ESCAPE_BITS)
            require(x >> b >= ESCAPE_ONES, "escape is not in canonical form")
        else:
            x = ones << b | self.take(b)
        return -edge - 1 - x if sign else edge + x

    def end(self) -> None:
        rest = self.bits[self.at :]
        require(len(rest) < 8 and not any(rest), "escapes are left over")


class Decoder:
    """Decodes one chunk; arrays are of (step, lane)."""

    def __init__(self, payload: bytes, lattice: str, classes: I64, dither: I64) -> None:
        steps, lanes = classes.shape
        self.lattice, self.classes, self.dither, self.lanes = lattice, classes, dither, lanes
        self.group, self.f = group_length(lattice), levels(lattice)
        limit = {"z": math.inf, "leech": -math.inf, "d4": 46}.get(lattice, 48)
        self.modelled = classes[:: self.group, 0] < limit
        self.last = np.arange(steps)[:, None] % 24 == 23 if lattice == "leech" else np.zeros((steps, 1), bool)
        coded = classes - 16 * self.last
        distinct, which = np.unique(coded, return_inverse=True)
        tables = [table(int(t)) for t in distinct]
        self.which = which.reshape(steps, lanes)
        self.slots = np.stack([t.slots for t in tables]).reshape(-1)
        self.weights = np.stack([t.weights for t in tables])
        self.raw = np.array([t.raw for t in tables])[self.which]
        self.edge = np.array([t.edge for t in tables])[self.which]
        self.rice = np.array([t.rice for t in tables])
        reader = Reader(payload)
        states = np.frombuffer(reader.take(4 * lanes), "<u4").astype(np.int64)
        words, escapes = reader.integer(4), reader.integer(4)
        self.rans = Rans(states, reader.words(words))
        per_lane = {"z": 0, "d4": 6, "leech": 13}.get(lattice, 4)  # code bits of a group
        widths = np.ones(np.count_nonzero(~self.modelled) * per_lane * lanes, np.int64)
        raw_rows = (np.count_nonzero(~self.modelled), per_lane, lanes)
        self.code_bits = reader.fields(widths).astype(np.int64).reshape(raw_rows)
        self.low = reader.fields(self.raw.reshape(-1)).astype(np.int64).reshape(steps, lanes)
        self.escapes = Escapes(reader.take(escapes))
        reader.end()
        self.k = np.empty((steps, lanes), np.int64)
        self.state = np.zeros(lanes, np.int64)  # of the trellis
        if lattice in CONV:
            self.next, self.outputs = trellis(lattice)

    def decode(self) -> I64:
        """The points Y."""
        points = np.empty_like(self.k)
        raw_rows = iter(self.code_bits)
        for row, modelled in enumerate(self.modelled):
            part = slice(row * self.group, (row + 1) * self.group)
            code = self.modelled_bits(part) if modelled else self.raw_bits(next(raw_rows))
            dither = self.dither[part]
            o = (self.f * code - dither) % 16
            if self.lattice != "leech":
                self.symbols(part, o)
                points[part] = 16 * self.k[part] + o
                continue
            body, last = slice(part.start, part.stop - 1), slice(part.stop - 1, part.stop)
            self.symbols(body, o[:-1])
            points[body] = 16 * self.k[body] + o[:-1]
            kappa = code[0] % 2 + np.sum(points[body] + dither[:-1] >> 4, axis=0)
            known = (16 * kappa + 4 * code[-1] - dither[-1]) % 32  # Y mod 32
            self.symbols(last, known[None] >> 1)
            points[last] = 32 * self.k[last] + known
        self.rans.end()
        self.escapes.end()
        return points

    def raw_bits(self, bits: I64) -> I64:
        """The code bits of a group row (for leech m + 2c) from its raw bits."""
        if self.lattice == "z":
            return np.zeros((8, self.lanes), np.int64)
        if self.lattice in CONV:
            return np.concatenate([self.trellis_step(u) for u in bits])
        if self.lattice == "leech":
            return np.asarray(bits[12] + 2 * GOLAY_CODE[(1 << np.arange(12)) @ bits[:12]].T)
        if self.lattice == "d4":
            return np.concatenate([D4_CODE[(1 << np.arange(3)) @ block].T for block in (bits[:3], bits[3:])])
        return np.asarray(E8_CODE[(1 << np.arange(4)) @ bits].T)

    def trellis_step(self, u: I64) -> I64:
        """Two code bits of every lane, from its input bit."""
        register = 2 * self.state + u
        self.state = self.next[register]
        return np.asarray(self.outputs[register].T)

    def modelled_bits(self, part: slice) -> I64:
        """The code bits of a group row, modelled."""
        if self.lattice == "z":
            return np.zeros((8, self.lanes), np.int64)
        contexts = (8 * np.arange(2)[:, None, None] - self.dither[part]) % 16
        weights = self.weights[self.which[part], contexts]  # code bit, step, lane
        if self.lattice in CONV:
            bits = []
            ahead = (
                bool((self.classes[part] == self.classes[part.start, 0]).all())
                and self.classes[part.start, 0] < 36
            )
            for step in range(0, 8, 2):
                if ahead:
                    bits.append(self.trellis_step(self.binary(self.paths(part.start + step))))
                    continue
                branches = self.outputs[2 * self.state + np.arange(2)[:, None]]  # u, lane, code bit
                first, second = (weights[branches[..., i], step + i, np.arange(self.lanes)] for i in (0, 1))
                bits.append(self.trellis_step(self.binary(first * second >> 16 | 1)))
            return np.concatenate(bits)
        code = D4_CODE if self.lattice == "d4" else E8_CODE
        blocks = []
        for start in range(0, 8, code.shape[1]):
            product = weights[code, start + np.arange(code.shape[1])]  # codeword, step, lane
            while product.shape[1] > 1:
                product = product[:, ::2] * product[:, 1::2] >> 16
            left = product[:, 0] | 1
            index = np.zeros(self.lanes, np.int64)
            while len(left) > 1:  # the weights of the codewords whose highest bits are those known
                halves = left.reshape(2, -1, self.lanes)
                bit = self.binary(halves.sum(axis=1))
                index = 2 * index + bit
                left = np.where(bit, halves[1], halves[0])
            blocks.append(code[index].T)
        return np.concatenate(blocks)

    def paths(self, start: int) -> I64:
        """The weights S_0 and S_1 of all paths over the trellis step that begins at `start` and three more."""
        own = self.weights[self.which[start, 0]]
        dither = np.zeros((8, self.lanes), np.int64)  # 0 behind the chunk
        known = self.dither[start : start + 8]
        dither[: len(known)] = known
        state, weights = self.state[None], []
        for step in range(0, 8, 2):
            register = (2 * state[:, None] + np.arange(2)[:, None]).reshape(
                -1, self.lanes
            )  # paths, the latest input last
            bits = 8 * self.outputs[register]  # path, lane, code bit
            first, second = (own[(bits[..., i] - dither[step + i]) % 16] for i in (0, 1))
            weights.append(first * second >> 16 | 1)
            state = self.next[register]
        sums = (weights[3][0::2] >> 1) + (weights[3][1::2] >> 1)
        for weight in (weights[2], weights[1]):
            products = weight * sums >> 17
            sums = products[0::2] + products[1::2]
        return np.asarray(weights[0] * sums >> 16 | 1)

    def binary(self, sums: I64) -> I64:
        """Decode one bit of every lane, from the weights S_0 and S_1."""
        one = 1 + 4095 * sums[1] // (sums[0] + sums[1])
        slot = self.rans.x & 4095
        bit = slot >= 4096 - one
        self.rans.advance(np.where(bit, one, 4096 - one), np.where(bit, slot + one - 4096, slot))
        return np.asarray(bit, np.int64)

    def symbols(self, part: slice, o: I64) -> None:
        """Decode k of some steps, in the contexts o."""
        base = (16 * self.which[part] + o) << 12
        symbols = np.empty(base.shape, np.int64)
        for step in range(len(base)):
            entry = self.slots[base[step] + (self.rans.x & 4095)].astype(np.int64)
            symbols[step] = entry >> 25
            self.rans.advance(entry >> 12 & 8191, entry & 4095)
        edge, raw = self.edge[part], self.raw[part]
        v = symbols - edge
        for step, lane in np.argwhere(v == edge):
            rice = int(self.rice[self.which[part][step, lane]])
            v[step, lane] = self.escapes.value(int(edge[step, lane]), rice)
        k = v << raw | self.low[part]
        bound = 1 << np.where(self.last[part], 26, 27)
        require(((-bound <= k) & (k < bound)).all(), "k is out of range")
        self.k[part] = k
