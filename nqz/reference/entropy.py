"""Entropy coding of lattice points: rANS conditioned on the dither level and the codeword (Section 5).

A fine coordinate Y = 16 k + o. The context o follows from the dither level and the codeword bit; the decoder
knows both before it decodes k. The codeword bits come first, raw or modelled.

In a block of the Leech lattice the parity of the last k follows from the others. What is coded of that entry
is Y >> 1, whose context holds this parity, with a table of its own.
"""

from __future__ import annotations

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference import convolutional, leech
from nqz.reference.lattice import D4_CODE, E8_CODE
from nqz.reference.layout import D4, E8, LEECH, require, to_groups
from nqz.reference.pack import pack_bits, unpack_bits
from nqz.reference.rans import Decoder, encode_steps
from nqz.reference.rice import EscapeReader, encode_escapes
from nqz.reference.tables import Chunk, prepare

K_LIMIT = 1 << 27


def in_blocks(chunk: Chunk, values: np.ndarray) -> np.ndarray:
    """Arrange [P] values as [group rows, blocks, lanes, coordinates of a block]."""
    groups = to_groups(chunk.lattice, values, chunk.lanes)
    rows, lanes, size = groups.shape
    return groups.reshape(rows, lanes, chunk.blocks, size // chunk.blocks).transpose(0, 2, 1, 3)


def bit_probabilities(chunk: Chunk) -> list[np.ndarray]:
    """Return, for every bit b of the codeword index, the 12-bit chance of a one given the bits above it.

    Item b is int64 [group rows, blocks, lanes, 2^(bits - 1 - b)], the last index being the bits above. Rows
    whose code bits go in raw are computed too, and not used.
    """
    code = D4_CODE if chunk.lattice == D4 else E8_CODE
    z = in_blocks(chunk, chunk.level)
    t = in_blocks(chunk, chunk.table)
    with np.errstate(all="ignore"):
        w = np.stack([chunk.weight[t, (chunk.fine * bit - z) & 15] for bit in (0, 1)])
        product = w[code[:, 0], ..., 0]
        for i in range(1, code.shape[1]):
            product = product * w[code[:, i], ..., i]
        sums = np.moveaxis(product, 0, -1)
        result = []
        for _ in range(chunk.code_bits):
            zero, one = sums[..., 0::2], sums[..., 1::2]
            sums = zero + one
            p1 = np.clip(np.floor(4096 * (one / sums) + 0.5), 1, 4095)
            result.append(np.where(sums == 0, 2048, p1).astype(np.int64))
    return result


def branch_probabilities(chunk: Chunk) -> np.ndarray:
    """Return the 12-bit chance of an input of one, by the label of the zero branch.

    int64 [group rows, 4 trellis steps, lanes, 4 labels].
    """
    z = chunk.level.reshape(-1, 2, chunk.lanes)
    t = chunk.table.reshape(-1, 2, chunk.lanes)
    weights = np.stack([chunk.weight[t, (chunk.fine * bit - z) & 15] for bit in (0, 1)])
    return convolutional.bit_probabilities(weights).reshape(-1, 4, chunk.lanes, 4)


def interval(p1: int, bit: int) -> tuple[int, int]:
    """Return start and size of a bit's share of [0, 4096)."""
    return (4096 - p1, p1) if bit else (0, 4096 - p1)


def expand_low(j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for every raw low bit in stream order, its position and its place in the value."""
    position = np.repeat(np.arange(j.size), j)
    place = np.arange(position.size) - np.repeat(np.cumsum(j) - j, j)
    return position, place


def entropy_encode(
    lattice: int,
    points: np.ndarray,
    count: int,
    start: int,
    m: int,
    table_of_column: np.ndarray,
    lanes: int,
    key0: int,
    key1: int,
    counter: int,
    half: np.ndarray,
    raw: np.ndarray,
    rice: np.ndarray,
    offset: np.ndarray,
    cum: np.ndarray,
    weight: np.ndarray,
    modelled: np.ndarray,
    last: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Code the fine coordinates of a chunk.

    Parameters
    ----------
    lattice : int
        0 (z), 1 (d4), 2 (e8), 3 (leech) or 34 to 44 (convolutional, 32 + memory).
    points : numpy.ndarray
        int32 [P], fine coordinates as `nearest` writes them.
    count, start, m : int
        Entries of the chunk, its position in the panel, entries of a column.
    table_of_column : numpy.ndarray
        int32 [c], the table of every column of the panel.
    lanes : int
        1, 2, 4, 8, 16 or 32.
    key0, key1, counter : int
        Dither key and the chunk's first counter.
    half, raw, rice : numpy.ndarray
        int32 [T]: symbols cover -half to half - 1 (1 to 127); low bits that are sent raw (0 to 20); low bits in the
        Rice code of an escape (0 to 20).
    offset : numpy.ndarray
        int64 [T]: where a table begins in `cum`.
    cum : numpy.ndarray
        uint16: for each of 16 contexts of a table, 2 half + 2 cumulative 12-bit frequencies.
    weight : numpy.ndarray
        float64 [T, 16], 0 to 2^32: weight of each context, from which code bits are modelled.
    modelled : numpy.ndarray
        uint8 [T]: are code bits modelled? Never for leech.
    last : numpy.ndarray
        int32 [T] for leech: the table with which the last entry of a block is coded; else int32 [0].

    Returns
    -------
    states : numpy.ndarray
        uint32 [lanes], the decoder's initial states.
    words : numpy.ndarray
        uint16, in decoder order.
    code, low : numpy.ndarray
        uint8, raw code bits and raw low bits, lowest bit first.
    escapes : numpy.ndarray
        uint8, Rice codes of the values outside the tables; see `nqz.reference.rice`.
    """
    tables = (half, raw, rice, offset, cum, weight, modelled, last)
    chunk = prepare(lattice, count, start, m, table_of_column, lanes, key0, key1, counter, *tables)
    positions = chunk.level.size
    require(points.shape == (positions,) and points.dtype == np.int32, "points must be int32 [P]")
    y = points.astype(np.int64)
    if lattice == LEECH:
        word = leech.index_of(in_blocks(chunk, y + chunk.level) // chunk.fine)
        at_end = np.arange(positions) // lanes % 24 == 23
        y = np.where(at_end, y >> 1, y)
    t = chunk.table
    k, o = y >> 4, y & 15
    k2, bound = k >> chunk.raw[t], chunk.half[t]

    position, place = expand_low(chunk.raw[t])
    low = pack_bits((k[position] >> place) & 1)
    inside = (k2 >= -bound) & (k2 < bound)
    escapes = encode_escapes(k2[~inside], bound[~inside], chunk.rice[t][~inside])
    index = chunk.offset[t] + o * (2 * bound + 2) + np.where(inside, k2 + bound, 2 * bound)
    starts = chunk.cum[index].reshape(-1, chunk.row)
    sizes = chunk.cum[index + 1].reshape(-1, chunk.row) - starts

    code = np.zeros(0, dtype=np.uint8)
    if chunk.blocks:
        if lattice != LEECH:
            parity = in_blocks(chunk, (y + chunk.level) // chunk.fine & 1)
            word = parity[..., 0] + 2 * parity[..., 1] + 4 * parity[..., 2]
        if lattice == E8:
            one = parity[..., 1:3] ^ parity[..., :1]
            word = parity[..., 0] + 2 * one[..., 0] + 4 * one[..., 1] + 8 * (parity[..., 4] ^ parity[..., 0])
        raw_bits = word[~chunk.rows][:, :, None, :] >> np.arange(chunk.code_bits)[:, None] & 1
        code = pack_bits(raw_bits)
        odds = bit_probabilities(chunk) if chunk.rows.any() else []
    elif chunk.memory:
        parity = ((y + chunk.level) // chunk.fine & 1).reshape(-1, lanes)
        path = convolutional.path_of(chunk.memory, parity)
        inputs, state = (v.reshape(-1, 4, lanes) for v in path)
        code = pack_bits(inputs[~chunk.rows])
        branch = convolutional.labels(chunk.memory)[state << 1]
        p1 = np.take_along_axis(branch_probabilities(chunk), branch[..., None], axis=-1)[..., 0]

    step_starts: list[int] = []
    step_sizes: list[int] = []
    for g in range(positions // chunk.row):
        if chunk.blocks and chunk.rows[g]:
            for block in range(chunk.blocks):
                for b in range(chunk.code_bits - 1, -1, -1):
                    for lane in range(lanes):
                        c = int(word[g, block, lane])
                        first, size = interval(int(odds[b][g, block, lane, c >> (b + 1)]), c >> b & 1)
                        step_starts.append(first)
                        step_sizes.append(size)
        elif chunk.memory and chunk.rows[g]:
            step_starts += np.where(inputs[g] == 1, 4096 - p1[g], 0).reshape(-1).tolist()
            step_sizes += np.where(inputs[g] == 1, p1[g], 4096 - p1[g]).reshape(-1).tolist()
        step_starts += starts[g].tolist()
        step_sizes += sizes[g].tolist()
    states, words = encode_steps(step_starts, step_sizes, lanes)
    return states, words, code, low, escapes


def entropy_decode(
    lattice: int,
    count: int,
    start: int,
    m: int,
    table_of_column: np.ndarray,
    lanes: int,
    key0: int,
    key1: int,
    counter: int,
    half: np.ndarray,
    raw: np.ndarray,
    rice: np.ndarray,
    offset: np.ndarray,
    cum: np.ndarray,
    weight: np.ndarray,
    modelled: np.ndarray,
    last: np.ndarray,
    states: np.ndarray,
    words: np.ndarray,
    code: np.ndarray,
    low: np.ndarray,
    escapes: np.ndarray,
    out: np.ndarray,
) -> None:
    """Decode what `entropy_encode` coded; the parameters are those of the encoder.

    Parameters
    ----------
    out : numpy.ndarray
        int32 [P], written: fine coordinates. Unspecified if an error is raised.

    Raises
    ------
    CorruptStream
        If the five streams are not what the encoder writes.
    """
    tables = (half, raw, rice, offset, cum, weight, modelled, last)
    chunk = prepare(lattice, count, start, m, table_of_column, lanes, key0, key1, counter, *tables)
    positions = chunk.level.size
    require(out.shape == (positions,) and out.dtype == np.int32, "out must be int32 [P]")
    decoder = Decoder(states, words, lanes)
    j = chunk.raw[chunk.table]
    position, place = expand_low(j)
    low_bits = unpack_bits(low, position.size, "stream of low bits").astype(np.int64)
    low_value = np.zeros(positions, dtype=np.int64)
    np.add.at(low_value, position, low_bits << place)

    shape = (positions // chunk.row, chunk.blocks, lanes)
    word = np.zeros(shape, dtype=np.int64)
    odds: list[np.ndarray] = []
    row_bits = 4 * lanes if chunk.memory else chunk.blocks * chunk.code_bits * lanes
    raw_bits = unpack_bits(code, int((~chunk.rows).sum()) * row_bits, "stream of code bits")
    if chunk.blocks:
        raw_bits = raw_bits.astype(np.int64).reshape(-1, chunk.blocks, chunk.code_bits, lanes)
        word[~chunk.rows] = (raw_bits << np.arange(chunk.code_bits)[:, None]).sum(axis=2)
        odds = bit_probabilities(chunk) if chunk.rows.any() else []
    elif chunk.memory:
        label = convolutional.labels(chunk.memory).tolist()
        state = [0] * lanes
        raw_rows = iter(raw_bits.reshape(-1, 4, lanes).tolist())
        p1_of = branch_probabilities(chunk)
        bits = np.zeros((8, lanes), dtype=np.int64)

    if lattice == LEECH:
        residue = leech.residues(word[:, 0]).transpose(0, 2, 1).reshape(-1)
        levels = in_blocks(chunk, chunk.level)[:, 0]
    codebook = {D4: D4_CODE, E8: E8_CODE}.get(lattice)
    cumulative: dict[tuple[int, int], list[int]] = {}
    reader = EscapeReader(escapes)
    for g in range(shape[0]):
        if chunk.blocks and chunk.rows[g]:
            for block in range(chunk.blocks):
                for b in range(chunk.code_bits - 1, -1, -1):
                    for lane in range(lanes):
                        c = int(word[g, block, lane])
                        p1 = int(odds[b][g, block, lane, c])
                        word[g, block, lane] = 2 * c + decoder.step(lane, [0, 4096 - p1, 4096])
        elif chunk.memory:
            row = None if chunk.rows[g] else next(raw_rows)
            for i in range(4):
                for lane in range(lanes):
                    reg = state[lane] << 1
                    p1 = int(p1_of[g, i, lane, label[reg]])
                    reg |= row[i][lane] if row else decoder.step(lane, [0, 4096 - p1, 4096])
                    bits[2 * i, lane], bits[2 * i + 1, lane] = label[reg] >> 1, label[reg] & 1
                    state[lane] = reg & ((1 << chunk.memory) - 1)
        first = chunk.row * g
        for p in range(first, first + chunk.row):
            i, lane = (p - first) // lanes, p % lanes
            bit = 0
            if codebook is not None:
                size = codebook.shape[1]
                bit = int(codebook[word[g, i // size, lane], i % size])
            elif chunk.memory:
                bit = int(bits[i, lane])
            elif lattice == LEECH:
                bit = int(residue[p])
            o = (chunk.fine * bit - int(chunk.level[p])) & 15
            at_end = lattice == LEECH and i == 23
            if at_end:
                others = out[first + lane : p : lanes].astype(np.int64)
                known = leech.last_context(int(word[g, 0, lane]), levels[g, lane], others)
                o = known >> 1
            t = int(chunk.table[p])
            bound = int(chunk.half[t])
            if (t, o) not in cumulative:
                cumulative[t, o] = chunk.cumulative(t, o).tolist()
            symbol = decoder.step(lane, cumulative[t, o])
            k2 = symbol - bound
            if symbol == 2 * bound:
                k2 = reader.next(bound, int(chunk.rice[t]))
            k = (k2 << int(j[p])) + int(low_value[p])
            limit = K_LIMIT // 2 if at_end else K_LIMIT
            if not -limit <= k < limit:
                raise CorruptStream("an escape is out of range")
            out[p] = 32 * k + known if at_end else 16 * k + o
    reader.finish()
    decoder.finish()
