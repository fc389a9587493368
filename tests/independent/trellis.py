"""CHNK in trellis coding (sections 16.1 and 16.2); the constants are read from the document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .arithmetic import I64, words
from .sequences import Reader, require

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "format.md"
EDGES = (106, 512, 768, 1024, 1280, 1536, 1792)  # of the classes 2, 3, … 8
ROWS = {  # steps of a block; of its rows: how many, lowest bit of the symbol, width, odd steps alone
    2: (8, [(1, 0, 1, False)]),
    3: (16, [(2, 0, 1, False), (1, 1, 1, True)]),
    4: (4, [(1, 0, 2, False)]),
    5: (16, [(4, 0, 2, False), (1, 2, 1, True)]),
    6: (8, [(2, 0, 2, False), (1, 2, 1, False)]),
    7: (16, [(4, 0, 2, False), (2, 2, 1, False), (1, 3, 1, True)]),
    8: (2, [(1, 0, 4, False)]),
}


@dataclass
class Constants:
    """Those of a class and a window."""

    label_bits: int
    error: float
    gain: float
    numbers: list[list[int]]
    table: I64


@lru_cache(maxsize=1)
def _document() -> dict[tuple[int, int], Constants]:
    text = DOCUMENT.read_text(encoding="utf-8").split("<!-- rings -->")[1].split("<!-- end of rings -->")[0]
    found = {}
    for block in re.split(r"^2K ", text, flags=re.MULTILINE)[1:]:
        head, *rows = block.splitlines()
        fields = re.fullmatch(r"(\d+) +L (\d+) +H (\d) +D (\S+) +g (\S+)", head)
        assert fields is not None
        rate, window, bits, error, gain = fields.groups()
        numbers = [list(map(int, row.split()[1:])) for row in rows if row.startswith("  G ")]
        (half,) = [list(map(int, row.split()[1:])) for row in rows if row.startswith("  C ")]
        table = np.array([-c for c in half[::-1]] + half)
        found[int(rate), int(window)] = Constants(int(bits), float(error), float(gain), numbers, table)
    return found


def constants(rate: int, window: int) -> Constants:
    """Of a class and the window of the parameters."""
    return _document()[rate, window or (12 if rate <= 4 else 14)]


def classes_of(x: I64) -> I64:
    """Classes of columns whose codes are so far above the level, 0 for those that are dropped."""
    number = np.searchsorted(EDGES, x, side="right")
    return np.where(number > 0, number + 1, 0)


def columns_of_ring(n: int) -> int:
    """How many columns share a ring."""
    able = [j for j in range(1, 65) if j * n >= 512] or [64]
    for j in able:
        if 256 * (-j * n % 32) <= j * n:
            return j
    return min(able, key=lambda j: ((-j * n % 32) / j, j))


def chunk_columns(n: int) -> int:
    """Columns of a chunk."""
    j = columns_of_ring(n)
    return j * max(1, (1 << 20) // (j * n))


def dither_table(key: bytes) -> I64:
    """The table of dither labels of a matrix."""
    found = words(int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little"), 0, 8192)
    return np.frombuffer(found.astype("<u8").tobytes(), np.uint8).astype(np.int64)


def _symbols(reader: Reader, rate: int, steps: int) -> I64:
    """Symbols of (step, lane)."""
    found = np.zeros((steps, 32), np.int64)
    block, rows = ROWS[rate]
    whole = steps // block * block
    for first in range(0, whole, block):
        for count, low, width, odd in rows:
            each = 8 // width
            used = range(first + odd, first + block, 1 + odd)
            for row in range(count):
                data = np.frombuffer(reader.take(32), np.uint8).astype(np.int64)
                for place, step in enumerate(used[row * each : (row + 1) * each]):
                    found[step] |= (data >> (8 - width * (place + 1)) & ((1 << width) - 1)) << low
    for step in range(whole, steps):
        for bit in range(rate // 2 + (rate % 2) * (step % 2)):
            found[step] |= (reader.integer(4) >> np.arange(32) & 1) << bit
    return found


def _ring(reader: Reader, rate: int, window: int, entries: int, dither: I64) -> I64:
    """The integers of a ring."""
    own, steps = constants(rate, window), -(-entries // 32)
    symbols = _symbols(reader, rate, steps)
    length = [rate // 2 + (rate % 2) * (step % 2) for step in range(steps)]
    string = []
    for lane in range(32):
        for step in range(steps):
            string += [int(symbols[step, lane]) >> bit & 1 for bit in range(length[step] - 1, -1, -1)]
    bits = np.array(string)
    ends = np.cumsum(np.tile(length, 32)) - 1  # last bits of the symbols
    label = np.zeros(len(ends), np.int64)
    for kind, numbers in enumerate(own.numbers):
        chosen = np.tile(length, 32) == rate // 2 + kind
        for b, number in enumerate(numbers):
            label[chosen] ^= bits[(ends[chosen] - b) % len(bits)] * number
    label = label.reshape(32, steps).T.reshape(-1)[:entries]
    return own.table[label ^ (dither & ((1 << own.label_bits) - 1))]


def decode(payload: bytes, n: int, window: int, table: I64, number: int, classes: I64) -> I64:
    """The integers of a chunk, whose columns have these classes."""
    j, reader, found = columns_of_ring(n), Reader(payload), [np.empty(0, np.int64)]
    rings, first = [], 0
    while first < len(classes):
        last = first
        while last < len(classes) and last - first < j and classes[last] == classes[first]:
            last += 1
        rings.append((int(classes[first]), (last - first) * n))
        first = last
    for s, (rate, entries) in enumerate(rings):
        r = number * max(1, (1 << 20) // (j * n)) + s
        dither = table[(32 * (1265 * r % 2048) + np.arange(entries)) % 65536]
        found.append(_ring(reader, rate, window, entries, dither))
    reader.end()
    require(sum(map(len, found)) == n * len(classes), "entries of a chunk")
    return np.concatenate(found)
