"""The hash: known answers, which `split -b 262144` and `sha256sum` give too, and pieces of any buffer."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from nqz import kernels
from nqz.ground import digests
from nqz.stages.digest import PIECE, ContentDigest, of_pieces

DATA = bytes(i * i >> 12 & 255 for i in range(600_000))  # two pieces and a part of one
PIECES = [
    "45465edd06c3d0a9f63f559142127659032286fab64048443ec332b6c1282b32",
    "e94244979dc4078d17a553445c9521119527385186805e9695d78802d8b665bd",
    "c33868381ce636de3bf3aa4ac87e2c066c8fb1af953140219e0095367c9d9ec8",
]
WHOLE = "daf2b3014fc275ff24cd6ddffcb75142"


def test_known_answers():
    found = of_pieces(DATA)
    assert [found[i : i + 32].hex() for i in range(0, len(found), 32)] == PIECES
    assert digests.of(found).hex() == "daf2b3014fc275ff24cd6ddffcb75142945fd91145ff1b70eb588086b61e3a57"


def test_content_is_named_by_the_pieces_in_order():
    whole = ContentDigest()
    for start in range(0, len(DATA), PIECE):  # piece by piece, as threads hand them over
        whole.add(of_pieces(DATA[start : start + PIECE]))
    assert whole.value().hex() == WHOLE


@pytest.mark.parametrize("size", [1, 63, 64, 1000, 2000, 1 << 40, (1 << 63) - 1])
@pytest.mark.parametrize("length", [1, 64, 1999, 2000, 2001, 4000])
def test_pieces_are_those_of_the_library(size, length):
    expected = [hashlib.sha256(DATA[i : min(i + size, length)]).digest() for i in range(0, length, size)]
    assert digests.of_pieces(DATA[:length], size) == b"".join(expected)
    assert kernels.hash_pieces(DATA[:length], size) == b"".join(expected)


def test_two_pieces_at_a_time_are_those_of_the_library():
    # every length that a last block can have, in pieces of its own and side by side
    for size in range(1, 200):
        expected = b"".join(hashlib.sha256(DATA[i : i + size]).digest() for i in (0, size, 2 * size))
        assert kernels.hash_pieces(memoryview(DATA)[: 3 * size], size) == expected
        shorter = hashlib.sha256(DATA[200 : 200 + size]).digest()
        assert kernels.hash_pieces(memoryview(DATA)[: 200 + size], 200)[32:] == shorter


def test_an_array_is_hashed_as_its_bytes():
    array = np.frombuffer(DATA, "<f4").reshape(2, -1)
    assert of_pieces(array) == of_pieces(DATA)
    with pytest.raises(TypeError):
        of_pieces(array[:, ::2])
