"""Sequences of integers in either form: the shorter one is written, both are read, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container_builder import integers as stored
from nqz.format import integers, tokens

STORED, TOKENS = range(2)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@settings(max_examples=300, deadline=None)
@given(st.lists(INT64 | st.integers(-300, 300), max_size=70), st.binary(max_size=5))
def test_pack_and_unpack(values, after):
    array = np.array(values, np.int64)
    data = integers.pack(array)
    back, rest = integers.unpack(data + after, len(values))
    assert back.tolist() == values and back.dtype == np.int64 and rest == after
    if data[0] == STORED:
        assert data == stored(values)
    other = bytes([TOKENS]) + tokens.pack(array) if values else data
    assert len(data) == min(len(stored(values)), len(other))
    for form in (stored(values), stored(values, 8), other):
        back, rest = integers.unpack(form + after, len(values))
        assert back.tolist() == values and rest == after


@pytest.mark.parametrize("width", range(1, 9))
def test_byte_planes_are_those_of_the_format(width):
    """Zigzag, least significant plane first, in the least width."""
    largest = (1 << 8 * width - 1) - 1
    values = [0, -1, 1, largest, -largest - 1]
    zigzag = [0, 1, 2, 2 * largest, 2 * largest + 1]
    planes = b"".join(bytes(number >> 8 * plane & 255 for number in zigzag) for plane in range(width))
    data = integers.pack(np.array(values, np.int64))
    assert data == bytes([STORED, width]) + planes == stored(values)
    assert integers.unpack(data, 5)[0].tolist() == values


def test_empty_sequences():
    data = integers.pack(np.empty(0, np.int64))
    assert data == b"\0\1"
    values, rest = integers.unpack(data + b"x", 0)
    assert len(values) == 0 and rest == b"x"
    with pytest.raises(ValueError, match="form of the integers is unknown"):
        integers.unpack(b"\1" + bytes(20), 0)


def test_narrow_arrays_and_long_ones():
    for dtype in (np.int16, np.int32, np.int64):
        for values in (
            [],
            [-5, 5],
            np.arange(-100, 100),
            np.random.default_rng(0).integers(-99, 99, 700_000),
        ):
            array = np.asarray(values, dtype)
            assert np.array_equal(integers.unpack(integers.pack(array), len(array))[0], array)


@pytest.mark.parametrize("form", range(2, 256))
def test_other_forms_are_refused(form):
    for data in (stored([1, 2, 3]), bytes([TOKENS]) + tokens.pack(np.arange(3))):
        with pytest.raises(ValueError, match="form of the integers is unknown"):
            integers.unpack(bytes([form]) + data[1:], 3)


@pytest.mark.parametrize("width", [0, *range(9, 256)])
def test_other_widths_are_refused(width):
    with pytest.raises(ValueError, match="width of the integers is invalid"):
        integers.unpack(bytes([STORED, width]) + bytes(3000), 3)


@pytest.mark.parametrize("values", [[1, 2, 3], list(range(-300, 300)), [1 << 62, 5]], ids=len)
def test_every_truncation_is_refused(values):
    for data in (stored(values), bytes([TOKENS]) + tokens.pack(np.array(values))):
        for size in range(len(data)):
            with pytest.raises(ValueError, match=r"."):
                integers.unpack(data[:size], len(values))


def test_a_count_allocates_nothing_beyond_what_is_there():
    for count in (1 << 26, 1 << 62):
        with pytest.raises(ValueError, match=r"bytes where [0-9]+ are needed"):
            integers.unpack(stored([1, 2, 3]), count)
