"""Canonical msgpack (maps, lists of values) and zstd frames: what is written comes back, no more."""

from __future__ import annotations

import contextlib
import datetime
import struct
import time
import tracemalloc

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from nqz.format.exct import zstd_pack, zstd_unpack
from nqz.format.msgpack import (
    MAX_DEPTH,
    check_fields,
    is_bytes,
    is_float,
    is_str,
    is_uint,
    list_of,
    one_of,
    optional,
    pack,
    pack_fields,
    unpack,
    unpack_fields,
)
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError

text = st.text(max_size=10) | st.just("x" * 300)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.binary(max_size=10)
    | st.just(bytes(300))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(text, inner, max_size=5),
    max_leaves=30,
)


def nesting(value):
    if isinstance(value, (list, dict)):
        return 1 + max(map(nesting, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def anything(value):
    return True


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(text, values, max_size=5).filter(lambda value: nesting(value) <= MAX_DEPTH))
def test_maps_and_lists_of_values_round_trip(fields):
    data = pack(fields)
    back = unpack(data, "x")
    assert back == fields and list(back) == list(fields) and pack(back) == data
    data = pack_fields(fields)
    back = unpack_fields(data, dict.fromkeys(fields, anything))
    assert back == fields and list(back) == list(fields) and pack_fields(back) == data
    assert data == pack(list(fields.values())) == msgpack.packb(list(fields.values()))


@pytest.mark.parametrize("length", [0, 15, 16, 31, 32, 255, 256, 65535, 65536])
def test_lengths_of_every_width_round_trip(length):
    keys = dict.fromkeys(map(str, range(length)))
    fields = {"a": "x" * length, "b": bytes(length), "c": [None] * length, "d": keys}
    assert unpack(pack(fields), "x") == fields
    assert unpack_fields(pack_fields(keys), dict.fromkeys(keys, anything)) == keys
    assert unpack_fields(pack_fields(fields), dict.fromkeys(fields, anything)) == fields
    for data in (pack(fields), pack_fields(fields)):
        refused_at = [0, 1, len(data) // 2, len(data) - 1]
        for cut in refused_at:
            refused(data[:cut], "cut short|more items")


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_or_canonical(data):
    try:
        value = unpack(data, "x")
    except CorruptError:
        return
    assert pack(value) == data


def refused(data, match):
    """By both functions, whatever the outermost type: not the type is what is wrong."""
    where = "f.nqz: record TENS at byte 99"
    for read in (lambda: unpack(data, where), lambda: unpack_fields(data, {"a": anything}, where)):
        with pytest.raises(CorruptError, match=match) as caught:
            read()
        assert str(caught.value).startswith(where + ": ")


MAP = b"\x81\xa1a"  # {"a": …
LIST = b"\x91"  # [ …


@pytest.mark.parametrize("start", [MAP, LIST], ids=["map", "list"])
@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "cut short|more items than there are bytes"),
        (b"\x01\x01", "1 bytes follow"),
        (b"\x82\xa1b\x01\xa1b\x02", "twice"),
        (b"\xcc\x01", "canonical form"),
        (b"\xcd\x00\xff", "canonical form"),
        (b"\xcf" + bytes(8), "canonical form"),
        (b"\xd0\x05", "canonical form"),
        (b"\xd1\xff\xff", "canonical form"),
        (b"\xdc\x00\x00", "canonical form"),
        (b"\xde\x00\x00", "canonical form"),
        (b"\xc5\x00\x01x", "canonical form"),
        (b"\xca" + struct.pack(">f", 1.5), "0xca is not allowed"),
        (b"\xcb" + struct.pack(">d", float("nan")), "not finite"),
        (b"\xcb" + struct.pack(">d", float("-inf")), "not finite"),
        (b"\xcb\x00", "cut short"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "not allowed"),
        (msgpack.packb(msgpack.ExtType(5, bytes(1000))), "not allowed"),
        (
            msgpack.packb(
                datetime.datetime(2024, 5, 17, 1, 2, 3, 456789, datetime.timezone.utc), datetime=True
            ),
            "not allowed",
        ),
        (b"\xc1", "0xc1 is not allowed"),
        (b"\xa2\xff\xfe", "not a canonical value"),
        (b"\x81\x01\x01", "not a canonical value"),
        (b"\x91" * 8 + b"\x01", "nested deeper than 8"),
        (b"\x91" * 5000 + b"\x01", "nested deeper than 8"),
        (b"\x81\xa1a" * 5000 + b"\x01", "nested deeper than 8"),
        (b"\xdd\xff\xff\xff\xff", "more items than there are bytes"),
        (b"\xdf\xff\xff\xff\xff", "more items than there are bytes"),
        (b"\xdb\xff\xff\xff\xff", "cut short"),
        (b"\xc6\xff\xff\xff\xff", "cut short"),
        (b"\xdd\xff", "more items than there are bytes"),
        (b"\xda\xff", "cut short"),
    ],
)
def test_values_that_are_not_canonical_are_refused(start, data, match):
    refused(start + data, match)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "cut short"),
        (b"\x82\xa1a\x01\xa1a\x01", "twice"),
        (b"\x81\xd9\x01a\x01", "canonical form"),
        (b"\xde\x00\x01\xa1a\x01", "canonical form"),
        (b"\xdf\x00\x00\x00\x01\xa1a\x01", "canonical form"),
        (b"\x81\x01\x01", "not a canonical value"),
        (b"\x81\xc4\x01a\x01", "not a string"),
        (b"\x81\xc0\x01", "not a canonical value"),
        (b"\x81\x90\x01", "not a canonical value"),
        (b"\xdc\x00\x01\x01", "canonical form"),
        (b"\xdd\x00\x00\x00\x01\x01", "canonical form"),
        (b"\xdc\x00\x0f" + bytes(15), "canonical form"),
        (b"\xdd\x00\x00\x00\x10" + bytes(16), "canonical form"),
        (b"\x92\x01", "more items than there are bytes"),
        (b"\x91\x01\x01", "1 bytes follow"),
        (b"\xdc\x00", "more items than there are bytes|cut short"),
    ],
)
def test_collections_that_are_not_canonical_are_refused(data, match):
    refused(data, match)


def test_nesting_up_to_the_bound():
    for start in (MAP, LIST):
        assert pack(unpack(start + b"\x91" * 7 + b"\x01", "x")) == start + b"\x91" * 7 + b"\x01"
    assert unpack_fields(b"\x91" * 8 + b"\x01", {"a": anything}) == {"a": [[[[[[[1]]]]]]]}


PAIR = {"a": is_uint, "b": is_str}


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "a map is required"),
        ({}, "the keys are"),
        ({"a": 1}, "the keys are"),
        ({"a": 1, "b": "x", "c": 1}, "the keys are"),
        ({"a": 1, "c": "x"}, "the keys are"),
        ({"b": "x", "a": 1}, ".*expected a, b, in this order"),
        ({"a": "x", "b": 1}, "a is 'x', expected an integer"),
        ({"a": 1, "b": None}, "b is None, expected a string"),
        ([1, "x"], "a map is required"),
        (["a", "b"], "a map is required"),
        (None, "a map is required"),
        ("ab", "a map is required"),
    ],
)
def test_maps_with_other_keys_or_values_are_refused(value, match):
    check_fields(unpack(pack({"a": 1, "b": "x"}), "here"), PAIR, "here")
    with pytest.raises(CorruptError, match="^here: " + match):
        check_fields(unpack(pack(value), "here"), PAIR, "here")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "0 values, expected exactly 2: a, b"),
        ([1], "1 values, expected exactly 2: a, b"),
        ([1, "x", None], "3 values, expected exactly 2: a, b"),
        ([1, "x", 1, "x"], "4 values, expected exactly 2: a, b"),
        ([[1, "x"]], "1 values"),
        ([None, 1, "x"], "3 values"),
        (["x", 1], "a is 'x', expected an integer"),
        ([None, "x"], "a is None"),
        ([True, "x"], "a is True"),
        ([1.0, "x"], "a is 1.0"),
        ([-1, "x"], "a is -1"),
        ([[1], "x"], "a is"),
        ([{"a": 1}, {"b": "x"}], "a is"),
        ([1, None], "b is None, expected a string"),
        ([1, b"x"], "b is b'x'"),
        ([1, ["x"]], "b is"),
        ({}, "a list is required"),
        ({"a": 1, "b": "x"}, "a list is required"),
        (None, "a list is required"),
        (2, "a list is required"),
        ("ab", "a list is required"),
        (b"ab", "a list is required"),
    ],
)
def test_lists_of_other_values_are_refused(value, match):
    assert unpack_fields(b"\x92\x01\xa1x", PAIR, "here") == {"a": 1, "b": "x"}
    with pytest.raises(CorruptError, match="^here: " + match):
        unpack_fields(pack(value), PAIR, "here")


def test_values_are_packed_in_the_order_given():
    assert pack_fields({"a": 1, "b": "x"}) == b"\x92\x01\xa1x"
    assert pack_fields({"b": "x", "a": 1}) == b"\x92\xa1x\x01"
    assert pack_fields({}) == b"\x90" and unpack_fields(b"\x90", {}) == {}


@pytest.mark.parametrize("start", [MAP, LIST], ids=["map", "list"])
def test_hostile_values_cost_nothing(start):
    # Arrays in arrays, each of which declares as many items as there are bytes.
    data = start + b"\xdd\x00\x0f\x00\x00" * 7 + bytes(0xF0000)
    tracemalloc.start()
    begin = time.perf_counter()
    refused(data[:1_000_000], "more items than there are bytes")
    assert time.perf_counter() - begin < 1
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    refused(start + b"\xc6" + struct.pack(">I", 1 << 20) + bytes(1 << 20), "at most 1000000")
    with pytest.raises(CorruptError, match="more than 100 items"):
        unpack(b"\xdc\x00\x65" + bytes(101), "x", max_items=100)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        1 << 64,
        -(1 << 63) - 1,
        np.arange(2),
        np.int64(1),
        {1: 2},
        {1},
        1j,
        msgpack.ExtType(1, b""),
        msgpack.Timestamp(1, 2),
        [[[[[[[[]]]]]]]],
    ],
)
def test_values_outside_the_format_cannot_be_packed(value):
    for function in (pack, pack_fields):
        with pytest.raises(NqzError, match="internal error"):
            function({"a": value})


def test_strings_and_sizes_outside_the_format_cannot_be_packed():
    for function in (pack, pack_fields):
        with pytest.raises(UnsupportedError, match="surrogate"):
            function({"a": "\udcff"})
    with pytest.raises(UnsupportedError, match="surrogate"):
        pack({"\udcff": 1})
    largest = {"a": bytes(999_994)}
    assert len(pack_fields(largest)) == 1_000_000
    assert unpack_fields(pack_fields(largest), {"a": is_bytes}) == largest
    with pytest.raises(NqzError, match="1000001 bytes, at most 1000000"):
        pack_fields({"a": bytes(999_995)})
    with pytest.raises(NqzError, match="at most 1000000"):
        pack_fields({"a": bytes(1_000_000)})


@pytest.mark.parametrize(
    ("accepts", "good", "bad"),
    [
        (is_str, ["", "x"], [b"x", None]),
        (is_bytes, [b"x"], ["x"]),
        (is_uint, [0, (1 << 64) - 1], [-1, True, 1.0]),
        (is_float, [0.0, -1.5], [0, True]),
        (one_of(0, 1), [0, 1], [2, True, 0.0]),
        (list_of(is_uint), [[], [1, 2]], [[-1], {}]),
        (list_of(is_uint, 2), [[1, 2]], [[1], [1, 2, 3]]),
        (optional(is_str), [None, "x"], [1]),
    ],
)
def test_checkers(accepts, good, bad):
    for value in good:
        assert unpack_fields(pack_fields({"a": value}), {"a": accepts}) == {"a": value}
        check_fields(unpack(pack({"a": value}), "map"), {"a": accepts}, "map")
    for value in bad:
        with pytest.raises(CorruptError) as caught:
            unpack_fields(pack_fields({"a": value}), {"a": accepts})
        assert str(caught.value) == f"list: a is {value!r}, expected {accepts.expects}"
        with pytest.raises(CorruptError) as caught:
            check_fields(unpack(pack({"a": value}), "map"), {"a": accepts}, "map")
        assert str(caught.value) == f"map: a is {value!r}, expected {accepts.expects}"


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from([1, 3, 19]))
def test_zstd_round_trip(data, level):
    packed = zstd_pack(data, level)
    assert zstd_unpack(packed, len(data)) == data
    for damaged in (packed + b"\0", packed + packed, packed[:-1], packed[1:], packed[:5], b""):
        with pytest.raises(CorruptError):
            zstd_unpack(damaged, len(data))
    for size in (len(data) + 1, len(data) - 1, 0 if data else 5):
        with pytest.raises(CorruptError, match="expected"):
            zstd_unpack(packed, size)


def test_zstd_damage_is_detected_at_every_bit():
    data = bytes(range(40)) * 3
    packed = zstd_pack(data)
    for position in range(len(packed)):
        for bit in range(8):
            damaged = bytearray(packed)
            damaged[position] ^= 1 << bit
            # A reserved or unused bit of the frame header may flip without harm; other data may not come out.
            with contextlib.suppress(CorruptError):
                assert zstd_unpack(bytes(damaged), len(data)) == data


def compressor(**options):
    return zstandard.ZstdCompressor(**{"write_checksum": True, "write_content_size": True} | options)


def rle_frame(declared, blocks):
    """A frame of blocks of 128 KiB, each stored in 4 bytes, that declares any size."""
    header = b"\x28\xb5\x2f\xfd" + bytes([0b11000100, 0x58]) + struct.pack("<Q", declared)
    block, last = (((1 << 17) << 3 | 1 << 1 | flag).to_bytes(3, "little") + b"\0" for flag in (0, 1))
    return header + block * (blocks - 1) + last + bytes(4)


@pytest.mark.parametrize(
    ("data", "size", "match"),
    [
        (compressor(write_content_size=False).compress(b"x" * 100), 100, "expected 100"),
        (compressor(write_checksum=False).compress(b"x" * 100), 100, "needs a checksum"),
        (compressor().compress(b"x" * 100) + b"\x50\x2a\x4d\x18\0\0\0\0", 100, "damaged"),
        (b"\x50\x2a\x4d\x18\0\0\0\0" + compressor().compress(b"x" * 100), 100, "not a zstd frame"),
        (b"\x28\xb5\x2f\xfd", 5, "damaged"),
        (b"", 0, "not an empty zstd frame"),
        (rle_frame(0, 2048), 0, "not an empty zstd frame"),
        (b"", 1, "not a zstd frame"),
        (rle_frame(1000, 1), 1000, "damaged"),
        (rle_frame((1 << 17) + 1, 1), (1 << 17) + 1, "damaged"),
    ],
)
def test_other_zstd_frames_are_refused(data, size, match):
    with pytest.raises(CorruptError, match="^here: .*" + match):
        zstd_unpack(data, size, "here")


def test_zstd_windows_are_bounded():
    frame = bytearray(zstd_pack(bytes(1000)))
    # Clear the flag of a single segment; put the descriptor of a 16 MiB window in front of the content size.
    assert frame[4] & 0x20
    frame[4] ^= 0x20
    frame.insert(5, (24 - 10) << 3)
    assert zstandard.get_frame_parameters(bytes(frame)).window_size == 1 << 24
    with pytest.raises(CorruptError, match="window of 16777216 bytes"):
        zstd_unpack(bytes(frame), 1000)


def test_a_bomb_allocates_nothing_beyond_what_is_expected():
    bomb = rle_frame(1 << 28, 2048)
    assert len(bomb) < 8300
    assert zstandard.get_frame_parameters(bomb).content_size == 1 << 28
    lying = rle_frame(1000, 2048)
    tracemalloc.start()
    begin = time.perf_counter()
    for data in (bomb, lying):
        with pytest.raises(CorruptError):
            zstd_unpack(data, 1000)
    assert time.perf_counter() - begin < 1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_zstd_frames_larger_than_the_window():
    data = bytes(20 << 20)
    assert zstd_unpack(zstd_pack(data, 1), len(data)) == data


def test_zstd_levels_with_larger_windows_are_refused():
    for level in (0, 20, -5):
        with pytest.raises(NqzError, match="level"):
            zstd_pack(b"x", level)
