"""Sequences of integers: round trips, size against entropy, and malformed bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nqz.format import tokens

EDGES = [
    -(1 << 63),
    (1 << 63) - 1,
    (1 << 62),
    0,
    1,
    -1,
    7,
    8,
    -8,
    15,
    16,
    (1 << 53) + 1,
    (1 << 32) - 1,
    1 << 32,
]
INTEGER = st.one_of(st.sampled_from(EDGES), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-40, 40))


@settings(max_examples=300, deadline=None)
@given(st.lists(INTEGER, min_size=1, max_size=60), st.binary(max_size=5))
def test_pack_and_unpack(values, after):
    values = np.array(values, np.int64)
    data = tokens.pack(values)
    back, size = tokens.unpack(data + after, len(values))
    assert size == len(data) and back.dtype == np.int64 and np.array_equal(back, values)


@pytest.mark.parametrize("sigma", [2.0, 30.0, 1e4, 1e15])
@pytest.mark.parametrize("offset", [0, -(10**17)])
def test_size_is_near_the_entropy(sigma, offset):
    values = np.rint(np.random.default_rng(1).standard_normal(20000) * sigma).astype(np.int64) + offset
    entropy = math.log2(sigma * math.sqrt(2 * math.pi * math.e))
    assert 8 * len(tokens.pack(values)) / len(values) < entropy + 0.05


def test_equal_integers_take_next_to_nothing():
    assert len(tokens.pack(np.full(100000, 123456789))) < 400


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_is_an_error_or_other_integers(data):
    """Whatever the bytes, the result is a ValueError or as many integers as were asked for."""
    good = bytearray(tokens.pack(np.array(data.draw(st.lists(INTEGER, min_size=1, max_size=30)), np.int64)))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    count = data.draw(st.integers(1, 40))
    for damaged in (bytes(good), bytes(good[:cut])):
        try:
            values, size = tokens.unpack(damaged, count)
        except ValueError:
            continue
        assert len(values) == count and size <= len(damaged)


@pytest.mark.parametrize(
    "position, value, message",
    [
        (0, 62, "head"),
        (1, 9, "head"),
        (2, 252, "head"),
        (7, 0x80, "number|frequencies|words"),
        (3, 0, "state|words|coded"),
    ],
)
def test_malformed_heads_are_refused(position, value, message):
    data = bytearray(tokens.pack(np.array([5, 6, 7, 8, 9], np.int64)))
    data[position] = value
    with pytest.raises(ValueError, match=message):
        tokens.unpack(bytes(data), 5)


def test_padding_must_be_zero():
    data = bytearray(tokens.pack(np.array([5, 6, 7], np.int64)))
    data[-1] |= 0x80
    with pytest.raises(ValueError, match="padding"):
        tokens.unpack(bytes(data), 3)


def test_every_truncation_is_refused():
    data = tokens.pack(np.arange(50, dtype=np.int64) ** 3)
    for size in range(len(data)):
        with pytest.raises(ValueError):
            tokens.unpack(data[:size], 50)
