"""Numbers and the words after them agree."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from nqz.ground.wording import counted


@pytest.mark.parametrize(
    "number, thing, verb, text",
    [
        (0, "tensor", "", "0 tensors"),
        (1, "tensor", "", "1 tensor"),
        (2, "tensor", "", "2 tensors"),
        (1, "entry", "", "1 entry"),
        (9, "entry", "", "9 entries"),
        (3, "matrix", "", "3 matrices"),
        (1, "data byte", "are", "1 data byte is"),
        (2, "data byte", "are", "2 data bytes are"),
        (1, "byte", "follow", "1 byte follows"),
        (2, "byte", "follow", "2 bytes follow"),
    ],
)
def test_counted(number, thing, verb, text):
    assert counted(number, thing, verb) == text


def test_messages_about_one_of_a_thing():
    vectors = nqz.encode(np.ones((1, 5)), rate=3)
    with pytest.raises(nqz.OperandError, match="vectors of 1 and 2 entries"):
        nqz.matmul(vectors, np.ones((2, 5)))
