"""Canonical msgpack, as values of a manifest, and zstd frames: what is written comes back, no more."""

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

from container_builder import manifest, tensor
from nqz.format.exct import zstd_pack, zstd_unpack
from nqz.format.manifest import Manifest
from nqz.format.msgpack import (
    MAX_DEPTH,
    MAX_ITEMS,
    Source,
    check_fields,
    is_bytes,
    is_float,
    is_int,
    is_named_list,
    is_str,
    is_uint,
    named,
    one_of,
    optional,
    pack,
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

HOMES = {"extensions": 3, "extensions of a tensor": 5, "parameters": 4}
"""Where a manifest has values of no particular form, and how deep they are nested there at least."""
MARK = b"\xa4mark"


def placed(data, home):
    """The payload of a manifest that has the bytes of one value in some place."""
    extensions = {"v": "mark"}
    if home == "parameters":
        entries = manifest([tensor(codec="later-1", parameters="mark")])
    elif home == "extensions":
        entries = manifest([], extensions=extensions)
    else:
        entries = manifest([tensor(extensions=extensions)])
    payload = msgpack.packb(entries)
    assert payload.count(MARK) == 1
    return payload.replace(MARK, data)


def unpack(data, home="extensions"):
    """The value of some bytes, as a manifest has it, which packs to the same bytes again."""
    payload = placed(data, home)
    found = Manifest.unpack(payload, "here")
    assert found.pack() == payload
    if home == "extensions":
        return found.extensions["v"]
    (info,) = found.tensors
    return info.parameters if home == "parameters" else info.extensions["v"]


def refused(data, match, homes=HOMES):
    """In every place of a manifest."""
    for home in homes:
        with pytest.raises(CorruptError, match=match) as caught:
            unpack(data, home)
        assert str(caught.value).startswith("here: ") and len(str(caught.value)) < 300


def nesting(value):
    if isinstance(value, (list, dict)):
        return 1 + max(map(nesting, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@settings(max_examples=150, deadline=None)
@given(values.filter(lambda value: nesting(value) <= MAX_DEPTH - 4), st.sampled_from(list(HOMES)))
def test_values_round_trip(value, home):
    data = pack(value)
    back = unpack(data, home)
    assert data == msgpack.packb(value) and pack(back) == data
    if not (home == "parameters" and value is None):
        assert back == value


def test_maps_keep_their_order():
    for keys in ("abc", "cba", "bca"):
        fields = {key: {key: 1, "z": 2} for key in keys}
        assert list(unpack(pack(fields))) == list(keys)


@pytest.mark.parametrize("length", [0, 15, 16, 31, 32, 255, 256, MAX_ITEMS, 65535, 65536])
def test_lengths_of_every_width_round_trip(length):
    keys = dict.fromkeys(map(str, range(length)))
    fields = {"a": "x" * length, "b": bytes(length), "c": [None] * min(length, MAX_ITEMS), "d": keys}
    data = pack(fields)
    for home in HOMES:
        assert unpack(data, home) == fields
        for cut in {0, 1, len(data) // 2, len(data) - 1}:
            # what follows is taken for what is missing
            refused(data[:cut], ".", [home])


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(list(HOMES)))
def test_arbitrary_bytes_are_refused_or_canonical(data, home):
    payload = placed(data, home)
    with contextlib.suppress(CorruptError):
        assert Manifest.unpack(payload, "x").pack() == payload


MAP = b"\x81\xa1a"  # {"a": …
LIST = b"\x91"  # [ …


@pytest.mark.parametrize("start", [b"", MAP, LIST], ids=["bare", "map", "list"])
@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"\x82\xa1b\x01\xa1b\x02", "canonical form"),
        (b"\xcc\x01", "canonical form"),
        (b"\xcd\x00\xff", "canonical form"),
        (b"\xce\x00\x00\xff\xff", "canonical form"),
        (b"\xcf" + bytes(8), "canonical form"),
        (b"\xd0\x05", "canonical form"),
        (b"\xd0\xff", "canonical form"),
        (b"\xd1\xff\xff", "canonical form"),
        (b"\xd2\xff\xff\xff\xff", "canonical form"),
        (b"\xd3" + bytes(8), "canonical form"),
        (b"\xd9\x01x", "canonical form"),
        (b"\xda\x00\x01x", "canonical form"),
        (b"\xdb\x00\x00\x00\x01x", "canonical form"),
        (b"\xdc\x00\x00", "canonical form"),
        (b"\xdd\x00\x00\x00\x01\x01", "canonical form"),
        (b"\xde\x00\x00", "canonical form"),
        (b"\xdf\x00\x00\x00\x01\xa1b\x01", "canonical form"),
        (b"\x81\xd9\x01b\x01", "canonical form"),
        (b"\xc5\x00\x01x", "canonical form"),
        (b"\xc6\x00\x00\x00\x01x", "canonical form"),
        (b"\xca" + struct.pack(">f", 1.5), "canonical form"),
        (b"\xca" + struct.pack(">f", float("nan")), "not finite"),
        (b"\xcb" + struct.pack(">d", float("nan")), "not finite"),
        (b"\xcb" + struct.pack(">d", float("-inf")), "not finite"),
        (msgpack.packb(msgpack.ExtType(5, b"")), "a ExtType cannot be packed"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "not a canonical value"),
        (msgpack.packb(msgpack.ExtType(5, bytes(1000))), "not a canonical value"),
        (msgpack.packb(msgpack.Timestamp(5, 0)), "not a canonical value"),
        (
            msgpack.packb(
                datetime.datetime(2024, 5, 17, 1, 2, 3, 456789, datetime.timezone.utc), datetime=True
            ),
            "not a canonical value",
        ),
        (b"\xc1", "not a canonical value"),
        (b"\xa2\xff\xfe", "not a canonical value"),
        (b"\xa3\xed\xa0\x80", "not a canonical value"),  # a surrogate
        (b"\xa2\xc0\x80", "not a canonical value"),  # NUL in two bytes
        (b"\x81\x01\x01", "not a canonical value"),
        (b"\x81\xc0\x01", "not a canonical value"),
        (b"\x81\x90\x01", "not a canonical value"),
        (b"\x81\xc4\x01b\x01", "a key of a map is not a string"),
        (b"\x91" * 8 + b"\x01", "nested deeper than 8"),
        (b"\x91" * 500 + b"\x01", "nested deeper than 8"),
        (b"\x81\xa1a" * 500 + b"\x01", "nested deeper than 8"),
        (b"\x91" * 1000 + b"\x01", "nested deeper than 8"),
        (b"\x91" * 5000 + b"\x01", "nested deeper than 8|not a canonical value"),
        (b"\x81\xa1a" * 5000 + b"\x01", "nested deeper than 8|not a canonical value"),
        (b"\x91" * 1_000_000 + b"\x01", "nested deeper than 8|not a canonical value"),
        (b"\xdc\x04\x01" + bytes(1025), "1025 exceeds"),
        (b"\xdd\x00\x00\x04\x01" + bytes(1025), "1025 exceeds"),
        (b"\xdd\xff\xff\xff\xff", "exceeds"),
        (b"\xdf\xff\xff\xff\xff", "exceeds"),
        (b"\xdb\xff\xff\xff\xff", "cut short|exceeds"),
        (b"\xc6\xff\xff\xff\xff", "cut short|exceeds"),
        (b"\xc9\xff\xff\xff\xff\x05", "exceeds"),
    ],
)  # fmt: skip
def test_values_that_are_not_canonical_are_refused(start, data, match):
    refused(start + data, match)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "cut short"),
        (b"\x01\x01", "1 bytes follow"),
        (b"\xcd\x00", "cut short"),
        (b"\xcb\x00", "cut short"),
        (b"\xa5abcd", "cut short"),
        (b"\xc4\x05abcd", "cut short"),
        (b"\x92\x01", "cut short"),
        (b"\x91\x01\x01", "1 bytes follow"),
        (b"\x82\xa1a\x01", "cut short"),
        (b"\xdd\xff", "cut short"),
        (b"\xda\xff", "cut short"),
        (b"\xd4\x01\x02", "not a canonical value"),
    ],
)
def test_bytes_that_end_too_early_or_too_late_are_refused(data, match):
    def read():
        source = Source(data, "here")
        source.next()
        source.finish()

    with pytest.raises(CorruptError, match="^here: .*" + match):
        read()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "cut short"),
        (b"\x92\x01", "more items than there are bytes"),
        (b"\xdc\x00\x03\x01\x02", "more items than there are bytes"),
        (b"\xdd\xff\xff\xff\xff", "more items than there are bytes"),
        (b"\xdc\x00", "cut short"),
        (b"\x01", "not a canonical value"),
        (b"\xa1a", "not a canonical value"),
        (b"\xc1", "not a canonical value"),
    ],
)
def test_collections_that_are_not_canonical_are_refused(data, match):
    """Of which the items are read one by one: lists of tensors, and maps with twice the bytes."""
    with pytest.raises(CorruptError, match="^here: .*" + match):
        Source(data, "here").array()
    with pytest.raises(CorruptError, match=r"^here: "):
        Source(data, "here").map()
    assert Source(b"\x92\x01\x02", "here").array() == 2
    assert Source(b"\x81\xa1a\x02", "here").map() == 1
    with pytest.raises(CorruptError, match=r"^here: .*more items"):
        Source(b"\x82\xa1a\x02", "here").map()


def test_nesting_up_to_the_bound():
    for home, depth in HOMES.items():
        deepest = MAX_DEPTH - depth + 1
        for start in (b"\x91", MAP):
            assert nesting(unpack(start * deepest + b"\x01", home)) == deepest
            refused(start * (deepest + 1) + b"\x01", "nested deeper than 8", [home])
    assert nesting(msgpack.unpackb(pack([[[[[[[[1]]]]]]]]))) == MAX_DEPTH


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
    check_fields({"a": 1, "b": "x"}, PAIR, "here")
    with pytest.raises(CorruptError, match="^here: " + match):
        check_fields(unpack(pack(value)), PAIR, "here")


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
    assert named([1, "x"], PAIR, "here") == {"a": 1, "b": "x"}
    with pytest.raises(CorruptError, match="^here: " + match):
        named(unpack(pack(value)), PAIR, "here")


HEADERS = {
    "array": b"\xdc\x04\x00",
    "map": b"\xdf\x00\x01\x00\x00\xa1a",
    "long array": b"\xdd\x00\x0f\x00\x00",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("count", [7, 1000, 150_000])
def test_hostile_values_cost_nothing(header, count):
    """Collections in collections, each of which declares as many items as it may, or as there are bytes."""
    data = header * count + bytes(100_000)
    tracemalloc.start()
    begin = time.process_time()
    refused(data, "^here: ")
    assert time.process_time() - begin < 3
    # a list of 1024 items is 8 KiB, and the library gives up at a depth of 512 or 1024
    assert tracemalloc.get_traced_memory()[1] < 12_000_000 + 6 * len(data)
    tracemalloc.stop()


def test_lists_of_tensors_cost_what_is_there():
    for count in (1 << 20, (1 << 32) - 1):
        header = b"\xdd" + struct.pack(">I", count)
        payload = msgpack.packb(manifest([]))
        assert payload[-1:] == b"\x90"
        tracemalloc.start()
        with pytest.raises(CorruptError, match=r"more items|tensors in"):
            Manifest.unpack(payload[:-1] + header + bytes(1 << 20), "here")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
        tracemalloc.stop()


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
        [0] * (MAX_ITEMS + 1),
    ],
)
def test_values_outside_the_format_cannot_be_packed(value):
    for outer in ({"a": value}, [value], (value,)):
        with pytest.raises(NqzError, match="internal error"):
            pack(outer)


def test_strings_outside_the_format_cannot_be_packed():
    for value in ({"a": "\udcff"}, {"\udcff": 1}, ["\udcff"], "\udcff"):
        with pytest.raises(UnsupportedError, match="surrogate"):
            pack(value)


@pytest.mark.parametrize(
    ("accepts", "good", "bad"),
    [
        (is_str, ["", "x"], [b"x", None]),
        (is_bytes, [b"x"], ["x"]),
        (is_int, [0, -1, (1 << 64) - 1], [True, 1.0, "1"]),
        (is_uint, [0, (1 << 64) - 1], [-1, True, 1.0]),
        (is_float, [0.0, -1.5], [0, True]),
        (one_of(0, 1), [0, 1], [2, True, 0.0]),
        (is_named_list, [["a", []], ["a", [1, "b"]]], [[], ["a"], ["a", [], 1], [[], "a"], ["a", {}], {"a": []}, "ab"]),
        (optional(is_str), [None, "x"], [1]),
    ],
)  # fmt: skip
def test_checkers(accepts, good, bad):
    for value in good:
        assert named(unpack(pack([value])), {"a": accepts}, "list") == {"a": value}
        check_fields(unpack(pack({"a": value})), {"a": accepts}, "map")
    for value in bad:
        with pytest.raises(CorruptError) as caught:
            named(unpack(pack([value])), {"a": accepts}, "list")
        assert str(caught.value) == f"list: a is {value!r}, expected {accepts.expects}"
        with pytest.raises(CorruptError) as caught:
            check_fields(unpack(pack({"a": value})), {"a": accepts}, "map")
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
