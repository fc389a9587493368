"""The test vectors of docs/format.md are what the program writes, reads and computes."""

from __future__ import annotations

import re

import numpy as np
import pytest

import format_vectors
import nqz
from nqz import kernels
from nqz.ground.arithmetic import exp, exp2

TEXT = format_vectors.vectors()
TITLES = re.findall(r"^\*\*(.*?)\*\* \(", TEXT, re.MULTILINE)
FILES = dict(zip(TITLES, format_vectors.hex_files(TEXT), strict=True))


def table(number: int, block: str, dtype: type) -> np.ndarray:
    """Return one of the three tables of numbers of a file."""
    rows = re.findall(r"^    (.*)$", block, re.MULTILINE)[number].split("; ")
    return np.array([[dtype(x) for x in row.split()] for row in rows])


def block(title: str) -> str:
    """Return the text of a file."""
    return TEXT.split(f"**{title}**")[1].split("```hex")[0]


def test_the_section_is_what_its_generator_makes():
    assert format_vectors.section() == TEXT


def test_numbers():
    words = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| `([0-9A-F]{16})`", TEXT, re.MULTILINE)
    assert len(words) == 4
    for *key, word in words:
        k0, k1, i = map(int, key)
        assert kernels.words(kernels.Key(k0, k1), i, 1)[0] == int(word, 16)
    values = re.findall(r"^\| (exp2?) \| ([-\d.]+)(?:/4096)? \| `([0-9A-F]{16})`", TEXT, re.MULTILINE)
    assert len(values) == 8
    for name, argument, bits in values:
        value = exp2(int(argument)) if name == "exp2" else exp(float(argument))
        assert np.float64(value).view(np.uint64) == int(bits, 16)


@pytest.mark.parametrize("title", TITLES)
def test_files_decode_to_what_the_document_says(title):
    data, text = FILES[title], block(title)
    assert (format_vectors.points(data) == table(1, text, int)).all()
    with nqz.open(data) as opened:
        opened.reader.verify()
        back = opened.matrix.decode(estimator="unbiased")
    assert (back.astype(np.float64) == table(2, text, float)).all()


@pytest.mark.parametrize("title", TITLES)
def test_files_are_what_is_written(title):
    case = format_vectors.FILES[title]
    array = case["array"]
    assert (table(0, block(title), float) == array).all()
    assert nqz.encode(array, **case["options"]) == FILES[title]


@pytest.mark.parametrize("title", TITLES)
def test_every_byte_of_a_file_is_explained(title):
    lines = re.findall(
        r"^ *(\d+)  ((?:[0-9A-F]{2} ?)+)", TEXT.split(f"**{title}**")[1].split("```")[1], re.MULTILINE
    )
    at = 0
    for offset, piece in lines:
        assert int(offset) == at
        at += len(bytes.fromhex(piece))
    assert at == len(FILES[title])
