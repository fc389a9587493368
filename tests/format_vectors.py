"""The test vectors of docs/format.md, section 19: written into the document, and read back by test_format_document.py.

python tests/format_vectors.py          prints the section
python tests/format_vectors.py --write  puts it into the document; only while the format's version is 0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

import nqz
from nqz import kernels
from nqz.files.access import MemoryAccess
from nqz.format.reader import ContainerReader
from nqz.format.records import preamble, record_size
from nqz.ground.arithmetic import exp, exp2
from nqz.ground.threads import Workers
from nqz.matrix import open_matrix

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "format.md"
BEGIN, END = "<!-- vectors -->\n", "<!-- end of vectors -->\n"

WORDS = [(0, 0, 0), (1, 2, 0), (1, 2, 1), (2**64 - 1, 2**63, 12345)]
POWERS = [1, 2048, -1, 4095, 123456]
EXPONENTS = [-1.0, -0.3, -123.456]

FILES: dict[str, dict[str, Any]] = {
    "Z, entropy coding": {
        "array": np.array([[1.0, -2.0], [3.5, 2.0], [-4.0, 0.25], [0.5, 1.0]], np.float32),
        "options": {"error": 0.001, "lattice": "z"},
    },
    "E8, entropy coding, κ = 1/2, not centered": {
        "array": np.arange(64, dtype=np.float64).reshape(16, 4) % 7 - 3,
        "options": {"error": 0.8, "lattice": "e8", "kappa": 0.5, "center": False},
    },
    "D4, Voronoi coding": {
        "array": (np.arange(36, dtype=np.float32) ** 2 % 11).reshape(12, 3),
        "options": {"error": 0.01, "lattice": "d4", "coding": "voronoi"},
    },
    "128 states, entropy coding, along axis 1": {
        "array": (np.arange(40, dtype=np.float32) ** 3 % 13).reshape(2, 20).astype(np.float16),
        "options": {"error": 0.5, "axis": 1, "lattice": "conv", "states": 128},
    },
}


def reader_of(data: bytes) -> ContainerReader:
    """Open a file in memory."""
    return ContainerReader(MemoryAccess(memoryview(data).toreadonly(), "vectors"), "vectors")


def points(data: bytes) -> np.ndarray:
    """Return Y of the columns of a file with one matrix in one panel, shape (a, m); zeros in dropped columns."""
    matrix = open_matrix(reader_of(data), 0)
    (panel,) = matrix.panels
    found = np.zeros((panel.panel.width, panel.panel.m), np.int64)
    found[panel.opened.order] = matrix.points(panel, Workers(1))
    return found


def numbers() -> str:
    """Return the tables of single numbers."""
    lines = ["#### 19.1 Numbers", "", "| k₀ | k₁ | i | word(k₀, k₁, i) |", "|---|---|---|---|"]
    for k0, k1, i in WORDS:
        (word,) = kernels.words(kernels.Key(k0, k1), i, 1)
        lines.append(f"| {k0} | {k1} | {i} | `{int(word):016X}` |")
    lines += [
        "",
        "As float64, the most significant byte first:",
        "",
        "| function | argument | value |",
        "|---|---|---|",
    ]
    for code in POWERS:
        lines.append(f"| exp2 | {code}/4096 | `{_bits(exp2(code))}` |")
    lines += [f"| exp | {x} | `{_bits(exp(x))}` |" for x in EXPONENTS]
    return "\n".join([*lines, "", "§15.1 has the SHA-256 of all tables.", ""])


def _bits(value: np.ndarray) -> str:
    return f"{int(np.float64(value).view(np.uint64)):016X}"


def dump(data: bytes) -> list[str]:
    """Return a file in hex, record by record and field by field."""
    reader = reader_of(data)
    lines, at = [], 0

    def put(length: int, words: str) -> None:
        nonlocal at
        for start in range(at, at + length, 24):
            piece = data[start : min(start + 24, at + length)].hex(" ").upper()
            lines.append(f"{start:5}  {piece:<71}  {words}".rstrip())
            words = ""
        at += length

    put(8, "magic")
    put(2, "version")
    put(2, "features")
    put(4, "CRC-32")
    ends = [reader.record(number) for number in reader.span(0)] + list(reader._last) + [reader._done]
    for record in ends:
        put(4, f"type: {record.type}")
        put(4, "CRC-32")
        put(8, f"length: {record.length}")
        put(record.length, "payload")
        if padding := record_size(record.length) - 16 - record.length:
            put(padding, "padding")
    return lines


def example(title: str, array: np.ndarray, options: dict[str, Any]) -> str:
    """Return one file, what was encoded and what comes back."""
    data = nqz.encode(array, **options)
    assert data is not None
    with nqz.open(data) as opened:
        back = opened.matrix.decode(estimator="unbiased")
    asked = ", ".join(f"{key} {value}" for key, value in options.items())
    rows = [
        "; ".join(" ".join(map(repr, row)) for row in table.tolist()) for table in (array, points(data), back)
    ]
    return "\n".join(
        [
            f"**{title}** ({array.dtype}, {asked}). Matrix, row by row:", "", f"    {rows[0]}", "",
            "Y, column by column:", "", f"    {rows[1]}", "", "Decoded (`unbiased`), row by row:", "", f"    {rows[2]}",
            "", "```hex", *dump(data), "```", "",
        ]
    )  # fmt: skip


def section() -> str:
    """Return the text between the marks."""
    intro = (
        "#### 19.2 Files\n\nWhole containers in hex, 24 bytes a line at most: offset, bytes, what they are. "
        "A writer other than the one they name writes other bytes there, and so another digest.\n"
    )
    return "\n".join([numbers(), intro, *(example(title, **case) for title, case in FILES.items())])


def vectors() -> str:
    """Return what the document has between the marks."""
    return DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def hex_files(text: str) -> list[bytes]:
    """Return the files of the section."""
    return [
        bytes.fromhex("".join(line[7:78] for line in block.splitlines()))
        for block in re.findall(r"```hex\n(.*?)```", text, re.DOTALL)
    ]


if __name__ == "__main__":
    if "--write" in sys.argv:
        assert preamble()[8:10] == b"\0\0", "the vectors of a final version do not change"
        text = DOCUMENT.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        DOCUMENT.write_text(before + BEGIN + section() + END + after, encoding="utf-8")
    else:
        print(section())
