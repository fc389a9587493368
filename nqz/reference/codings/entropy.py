"""Entropy coding of points: rANS conditioned on dither level and code bits (docs/theory.md, 3; docs/format.md, 15).

A fine coordinate Y = 16 k + o. The context o follows from the dither level and the residue; the decoder knows both
before it decodes k. The code bits of a group row come first, raw or modelled.

Where the last entry of a group follows from the others modulo 32, half of it is coded: Y >> 1, whose context holds
what is known, with a table of its own.
"""

from __future__ import annotations

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference.arrays import Array, Ints, check
from nqz.reference.codings.pack import pack_bits, unpack_bits
from nqz.reference.codings.rans import Decoder, encode_steps
from nqz.reference.codings.rice import EscapeReader, encode_escapes
from nqz.reference.codings.tables import Chunk, Tables, chances, prepare, weights_ahead
from nqz.reference.dither import Key
from nqz.reference.lattices.contract import to_blocks
from nqz.reference.lattices.conv import AHEAD, Convolutional
from nqz.reference.layout import Place

K_LIMIT = 1 << 27

Streams = tuple[Array, Array, Array, Array, Array]


def entropy_encode(place: Place, key: Key, tables: Tables, table_of_column: Array, points: Array) -> Streams:
    """Code the fine coordinates of a chunk.

    Parameters
    ----------
    place : Place
    key : Key
    tables : Tables
    table_of_column : numpy.ndarray
        int32 [c], the table of every column of the panel.
    points : numpy.ndarray
        int32 [P], fine coordinates as `dither_quantize` writes them.

    Returns
    -------
    states : numpy.ndarray
        uint32 [lanes], the decoder's initial states.
    words : numpy.ndarray
        uint16, in decoder order.
    code, low : numpy.ndarray
        uint8, raw code bits and raw low bits, lowest bit first.
    escapes : numpy.ndarray
        uint8, Rice codes of the values outside the tables; see `nqz.reference.codings.rice`.
    """
    chunk = prepare(place, key, tables, table_of_column)
    check({"points int32 [P]": points}, **place.sizes)
    lattice, rows = chunk.lattice, len(chunk.modelled)
    y = points.astype(np.int64)
    index = lattice.index_of(to_blocks((y + chunk.level) // lattice.fine, lattice.block, place.lanes))

    y >>= chunk.halved
    k, o = y >> 4, y & 15
    value = k >> chunk.raw
    inside = (value >= -chunk.half) & (value < chunk.half)
    symbol = np.where(inside, value + chunk.half, 2 * chunk.half)
    at = chunk.first + o * (2 * chunk.half + 2) + symbol
    cum = tables.cum.astype(np.int64)
    starts = cum[at].reshape(rows, -1)
    sizes = cum[at + 1].reshape(rows, -1) - starts

    position, shift = low_bits(chunk)
    low = pack_bits(k[position] >> shift & 1)
    escapes = encode_escapes(value[~inside], chunk.half[~inside], chunk.rice[~inside])
    raw = ~chunk.modelled.repeat(chunk.blocks)
    code = pack_bits(index[raw][:, None] >> np.arange(lattice.code_bits)[:, None] & 1)

    ahead = weights_ahead(chunk, tables, place.lanes)
    bit_starts, bit_sizes = modelled_bits(chunk, chances(chunk, tables, place.lanes), ahead, index)
    step_starts: list[int] = []
    step_sizes: list[int] = []
    for row in range(rows):
        if chunk.modelled[row]:
            step_starts += bit_starts[row].tolist()
            step_sizes += bit_sizes[row].tolist()
        step_starts += starts[row].tolist()
        step_sizes += sizes[row].tolist()
    states, words = encode_steps(step_starts, step_sizes, place.lanes)
    return states, words, code, low, escapes


def entropy_decode(
    place: Place, key: Key, tables: Tables, table_of_column: Array, streams: Streams, out: Array
) -> None:
    """Decode what `entropy_encode` coded; the parameters are those of the encoder.

    Parameters
    ----------
    streams : tuple of numpy.ndarray
        What `entropy_encode` returned.
    out : numpy.ndarray
        int32 [P], written: fine coordinates. Unspecified if an error is raised.

    Raises
    ------
    CorruptStream
        If the five streams are not what the encoder writes.
    """
    chunk = prepare(place, key, tables, table_of_column)
    check({"out int32 [P]": out}, **place.sizes)
    states, words, code, low, escapes = streams
    decoder, reader = Decoder(states, words, place.lanes), EscapeReader(escapes)
    position, shift = low_bits(chunk)
    bits = unpack_bits(low, position.size, "stream of low bits").astype(np.int64)
    low_value = np.zeros(place.positions, dtype=np.int64)
    np.add.at(low_value, position, bits << shift)

    lattice, lanes = chunk.lattice, place.lanes
    index = raw_indices(chunk, code, lanes)
    chance_of, ahead = chances(chunk, tables, lanes), weights_ahead(chunk, tables, lanes)
    state, lane = np.zeros(lanes, dtype=np.int64), np.arange(lanes)
    levels = to_blocks(chunk.level, lattice.group, lanes)
    cumulative: dict[tuple[int, int], list[int]] = {}
    row_size = lattice.group * lanes
    for row, modelled in enumerate(chunk.modelled):
        residues = []
        for i, t in enumerate(range(row * chunk.blocks, (row + 1) * chunk.blocks)):
            for b in reversed(range(lattice.code_bits)) if modelled else ():
                p1 = chance_of[b][t, lane, lattice.branch(state, index[t])]
                if isinstance(lattice, Convolutional) and chunk.ahead[row]:
                    p1 = lattice.chance_ahead(ahead[row, i : i + 1 + AHEAD], state)
                index[t] = 2 * index[t] + [
                    decoder.step(n, [0, 4096 - p, 4096]) for n, p in enumerate(p1.tolist())
                ]
            residues.append(lattice.residues(state, index[t]).T)  # [block, lanes]
            state = lattice.next_state(state, index[t])
        here = slice(row * row_size, (row + 1) * row_size)
        contexts = (lattice.fine * np.concatenate(residues).reshape(-1) - chunk.level[here]) & 15
        for p, o in zip(range(here.start, here.stop), contexts.tolist(), strict=True):
            halved, known = int(chunk.halved[p]), o
            if halved:
                # t is the last block of the group
                others = out[here.start + p % lanes : p : lanes].astype(np.int64)
                known = lattice.last_residue(int(index[t, p % lanes]), levels[row, p % lanes], others)
            table, half, context = int(chunk.table[p]), int(chunk.half[p]), known >> halved
            if (table, context) not in cumulative:
                cumulative[table, context] = tables.contexts(table)[context].tolist()
            symbol = decoder.step(p % lanes, cumulative[table, context])
            value = symbol - half if symbol < 2 * half else reader.next(half, int(chunk.rice[p]))
            k = (value << int(chunk.raw[p])) + int(low_value[p])
            if not -K_LIMIT >> halved <= k < K_LIMIT >> halved:
                raise CorruptStream("an escape is out of range")
            out[p] = (16 << halved) * k + known
    reader.finish()
    decoder.finish()


def low_bits(chunk: Chunk) -> tuple[Ints, Ints]:
    """Return, for every raw low bit in the order of the stream, its position and its place in the value."""
    position = np.repeat(np.arange(chunk.raw.size), chunk.raw)
    return position, np.arange(position.size) - np.repeat(np.cumsum(chunk.raw) - chunk.raw, chunk.raw)


def modelled_bits(chunk: Chunk, chance_of: list[Ints], ahead: Ints, index: Ints) -> tuple[Ints, Ints]:
    """Return the intervals, starts and sizes, of the code bits by group row, in the order of the decoder."""
    lattice = chunk.lattice
    state = np.zeros_like(index)
    for t in range(1, len(index)):
        state[t] = chunk.lattice.next_state(state[t - 1], index[t - 1])
    starts, sizes = [], []
    for b in reversed(range(len(chance_of))):
        branch = chunk.lattice.branch(state, index >> (b + 1))
        p1 = np.take_along_axis(chance_of[b], branch[..., None], axis=-1)[..., 0]
        if isinstance(lattice, Convolutional) and chunk.ahead.any():
            by_row, states = (a.reshape(-1, chunk.blocks, a.shape[-1])[chunk.ahead] for a in (p1, state))
            for i in range(chunk.blocks):
                weight = ahead[chunk.ahead, i : i + 1 + AHEAD].swapaxes(0, 1)
                by_row[:, i] = lattice.chance_ahead(weight, states[:, i])
            p1.reshape(-1, chunk.blocks, p1.shape[-1])[chunk.ahead] = by_row
        one = index >> b & 1 == 1
        starts.append(np.where(one, 4096 - p1, 0))
        sizes.append(np.where(one, p1, 4096 - p1))
    if not starts:
        return np.zeros((len(chunk.modelled), 0), np.int64), np.zeros((len(chunk.modelled), 0), np.int64)
    rows = len(chunk.modelled)
    return np.stack(starts, axis=1).reshape(rows, -1), np.stack(sizes, axis=1).reshape(rows, -1)


def raw_indices(chunk: Chunk, code: Array, lanes: int) -> Ints:
    """Return the indices of blocks [T, lanes] from the raw code bits; zeros in rows whose bits are modelled."""
    raw = ~chunk.modelled.repeat(chunk.blocks)
    shape = int(raw.sum()), chunk.lattice.code_bits, lanes
    bits = unpack_bits(code, shape[0] * shape[1] * lanes, "stream of code bits").astype(np.int64)
    index = np.zeros((len(raw), lanes), dtype=np.int64)
    index[raw] = (bits.reshape(shape) << np.arange(shape[1])[:, None]).sum(axis=1)
    return index
