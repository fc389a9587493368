"""Parameters and the tensor header: limits, round trip, and only CorruptError for what is out of them."""

from __future__ import annotations

import dataclasses

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nqz
from coded_cases import LATTICE_NAMES, SCHEMES, coded, scheme
from nqz.format import tens as header
from nqz.format.msgpack import pack_fields
from nqz.ground.errors import CorruptError
from nqz.stages.codings import CODINGS
from nqz.stages.codings.voronoi import Nesting
from nqz.stages.lattices import LATTICES, Lattice
from nqz.stages.parameters import Parameters, check_energy
from nqz.stages.transforms import TRANSFORMS


def shape(axis):
    """Length and number of the vectors."""
    return 50, 7


NESTING = Nesting((3, 4), 77, ((1, 2, 3, 4), (2, 3, 4, 5)), 0.98, 1.01)
ENTROPY = Parameters(
    n=50,
    columns=7,
    m=40,
    transform=TRANSFORMS["hadamard-2"],
    lattice=LATTICES["e8"],
    coding=CODINGS["entropy"],
    allocate="matrix",
    delta=-4000,
    lowest_class=20,
    mean_digits=2,
    rotation_seed=9,
    dither_key=bytes(range(16)),
    coding_parameters=None,
)
VORONOI = dataclasses.replace(
    ENTROPY, coding=CODINGS["voronoi"], allocate="column", coding_parameters=NESTING
)


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"n": TRANSFORMS["hadamard-2"].max_length + 1},
        {"m": 0},
        {"m": 51},
        {"delta": 1 << 40},
        {"delta": -(1 << 40)},
        {"lowest_class": -1},
        {"lowest_class": 5000},
        {"mean_digits": -1},
        {"mean_digits": 65},
        {"dither_key": bytes(15)},
        {"coding_parameters": NESTING},
        {"lattice": Lattice("e8", "e8", 2, 8, 8, 8, 0.5, 0.1)},
        {"lattice": Lattice("x", "x", 2, 8, 8, 8, 0.5, 0.1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_parameters_out_of_range_are_refused(change):
    ENTROPY.check()
    with pytest.raises(ValueError):
        dataclasses.replace(ENTROPY, **change).check()


@pytest.mark.parametrize(
    "change", [{"coding_parameters": None}, {"allocate": "matrix"}, {"coding": CODINGS["entropy"]}]
)
def test_codings_and_their_parameters_go_together(change):
    VORONOI.check()
    with pytest.raises(ValueError):
        dataclasses.replace(VORONOI, **change).check()


@pytest.mark.parametrize("energy", [(0.0, 1), (0.4, 0), (1.0, 0), (-0.5, 0), (0.5, 4096), (float("nan"), 0)])
def test_energies_are_normalized(energy):
    check_energy(0.0, 0)
    check_energy(0.5, -4095)
    with pytest.raises(ValueError):
        check_energy(*energy)


def made(parameters):
    """A header."""
    return header.TensorHeader(parameters, 0, 2.5, "auto", (0.75, -3), bytes(16))


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
def test_round_trip(parameters):
    again = header.unpack(made(parameters).pack(), shape, "here")
    assert again == made(parameters)
    assert again.parameters.lattice is LATTICES["e8"]


def test_layout_is_the_specified_one():
    names = ["axis", "rate", "kept", "transform", "rotation_seed"]
    names += ["lattice", "coding", "allocate", "delta", "lowest_class"]
    assert list(header.SCHEMA) == [
        *names,
        *["mean_digits", "alpha", "energy", "digest", "nesting", "dither_key"],
    ]
    values = [0, 2.5, 40, "hadamard-2", 9, "e8", "entropy", "matrix", -4000, 20, 2, "auto", [0.75, -3]]
    values += [made(ENTROPY).digest, None, bytes(range(16))]
    assert made(ENTROPY).pack() == msgpack.packb(values)
    values[6:8] = ["voronoi", "column"]
    values[14] = [[3, 4], 77, [[1, 2, 3, 4], [2, 3, 4, 5]], 0.98, 1.01]
    assert made(VORONOI).pack() == msgpack.packb(values)


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
def test_values_are_written_in_the_order_in_which_they_are_read(parameters):
    assert [*made(parameters).fields(), "dither_key"] == list(header.SCHEMA)


@pytest.mark.parametrize("name, coding", SCHEMES)
def test_round_trip_of_real_headers(name, coding):
    x = np.random.default_rng(0).standard_normal((60, 9)).astype(np.float32)
    matrix = coded(nqz.encode(x, rate=3, **scheme(name, coding)))
    again = header.unpack(matrix.header.pack(), lambda axis: (60, 9), "here")
    assert again == matrix.header and again.pack() == matrix.header.pack()


def test_every_lattice_has_a_header():
    for name in LATTICE_NAMES:
        parameters = dataclasses.replace(ENTROPY, lattice=LATTICES[name])
        assert header.unpack(made(parameters).pack(), shape, "here").parameters.lattice.name == name


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.binary(max_size=33),
    st.sampled_from(["e8", "voronoi", "column", 0, 1, 16, 50]),
)
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=5), max_leaves=12)


def unpacks_or_is_refused(data):
    """The header either is CorruptError, or is what its own packing gives: no second spelling of anything."""
    try:
        found = header.unpack(data, shape, "here")
    except CorruptError as error:
        reason = str(error)
    else:
        assert found.pack() == data
        return True
    assert reason.startswith("here: ")
    return False


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
@pytest.mark.parametrize("key", list(header.SCHEMA))
def test_every_mutated_field_is_corrupt_or_another_valid_header(parameters, key):
    fields = {**made(parameters).fields(), "dither_key": parameters.dither_key}
    refused = 0
    junk = [
        None,
        True,
        -1,
        1 << 63,
        (1 << 64) - 1,
        -(1 << 63),
        1.5,
        -0.0,
        1e308,
        "",
        "x",
        b"",
        b"\1" * 16,
        [],
        {},
    ]
    junk += [
        [1, 2],
        [0.5, 1],
        [0.5, 1.0],
        [True, False],
        {"a": 1},
        ["a", "b"],
        [[1]] * 5,
        [None] * 5,
        [1] * 5,
    ]
    for value in junk:
        refused += not unpacks_or_is_refused(pack_fields({**fields, key: value}))
    assert refused >= len(junk) - 8
    assert not unpacks_or_is_refused(pack_fields({k: v for k, v in fields.items() if k != key}))


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
@pytest.mark.parametrize(
    "edit, match",
    [
        (lambda v: [], "0 values, expected exactly 16: axis, rate, "),
        (lambda v: v[:-1], "15 values, expected exactly 16"),
        (lambda v: v[1:], "15 values, expected exactly 16"),
        (lambda v: [*v, None], "17 values, expected exactly 16"),
        (lambda v: [None, *v], "17 values, expected exactly 16"),
        (lambda v: v + v, "32 values, expected exactly 16"),
        (lambda v: [v], "1 values, expected exactly 16"),
        (lambda v: [v] * 16, "axis is"),
        (lambda v: [None] * 16, "axis is None"),
        (lambda v: [*v[1:], v[0]], "axis is 2.5"),
        (lambda v: v[::-1], "axis is"),
        (lambda v: [v[0], v[2], v[1], *v[3:]], "rate is 40"),
        (lambda v: dict(zip(header.SCHEMA, v, strict=True)), "a list is required"),
        (lambda v: dict(zip("abcdefghijklmnop", v, strict=True)), "a list is required"),
        (lambda v: "abcdefghijklmnop", "a list is required"),
        (lambda v: b"abcdefghijklmnop", "a list is required"),
        (lambda v: None, "a list is required"),
        (lambda v: 16, "a list is required"),
        (lambda v: [*v[:14], [[[[[[[[1]]]]]]]], v[15]], "nested deeper than 8"),
    ],
)
def test_headers_of_another_form_are_corrupt(parameters, edit, match):
    data = msgpack.packb(edit(msgpack.unpackb(made(parameters).pack())))
    with pytest.raises(CorruptError, match="^here: " + match):
        header.unpack(data, shape, "here")


@pytest.mark.parametrize(
    "old, new, match",
    [
        (b"\xdc\x00\x10", b"\xdd\x00\x00\x00\x10", "canonical form"),
        (b"\xdc\x00\x10", b"\xdc\xff\xff", "more items than there are bytes"),
        (b"\xdc\x00\x10", b"\xdd\xff\xff\xff\xff", "more items than there are bytes"),
        (b"\xdc\x00\x10", b"\xdc\x00\x11", "cut short"),
        (b"\xdc\x00\x10", b"\xdc\x00\x0f", "bytes follow the value"),
        (b"\xdc\x00\x10", b"\x9f", "bytes follow the value"),
        (b"\xa2e8", b"\xd9\x02e8", "canonical form"),
        (b"\xa2e8", b"\xc4\x02e8", "lattice is b'e8'"),
        (b"\xa2e8", b"\xa2e\xff", "not a canonical value"),
        (b"\x28\xaahadamard", b"\xcc\x28\xaahadamard", "canonical form"),
        (b"\x28\xaahadamard", b"\xd0\x28\xaahadamard", "canonical form"),
        (b"\xd1\xf0\x60", b"\xd2\xff\xff\xf0\x60", "canonical form"),
        (b"\xcb\x40\x04\0\0\0\0\0\0", b"\xca\x40\x20\0\0", "0xca is not allowed"),
        (b"\xcb\x40\x04\0\0\0\0\0\0", b"\xcb\x7f\xf8\0\0\0\0\0\0", "not finite"),
        (b"\x92\xcb\x3f\xe8", b"\xdc\x00\x02\xcb\x3f\xe8", "canonical form"),
        (b"\x92\xcb\x3f\xe8", b"\x93\xcb\x3f\xe8", "cut short"),
        (b"\xc0\xc4\x10", b"\xc1\xc4\x10", "0xc1 is not allowed"),
        (b"\xc0\xc4\x10", b"\xc0\xc5\x00\x10", "canonical form"),
        (b"\xc0\xc4\x10", b"\xc0\xc4\x11", "cut short"),
        (b"\xc0\xc4\x10", b"\xc0\xb0", "dither_key is"),
    ],
)
def test_headers_not_in_canonical_form_are_corrupt(old, new, match):
    packed = made(ENTROPY).pack()
    assert packed.count(old) == 1
    with pytest.raises(CorruptError, match="^here: .*" + match):
        header.unpack(packed.replace(old, new), shape, "here")


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
def test_headers_cut_short_or_too_long_are_corrupt(parameters):
    packed = made(parameters).pack()
    for data in [packed + b"\0", packed + packed, *(packed[:length] for length in range(len(packed)))]:
        assert not unpacks_or_is_refused(data)


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
def test_every_swap_of_two_values_is_corrupt_or_another_valid_header(parameters):
    values = msgpack.unpackb(made(parameters).pack())
    valid = 0
    for first in range(len(values)):
        for second in range(first):
            swapped = list(values)
            swapped[first], swapped[second] = values[second], values[first]
            valid += unpacks_or_is_refused(msgpack.packb(swapped))
    # Two of kept, rotation_seed, lowest_class, mean_digits (6 swaps); digest and dither_key.
    assert valid == 7


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -1,
        1 << 60,
        2.0,
        "ab",
        b"\3\4",
        b"\1\2\3\4",
        [],
        [3],
        [3, 4],
        [3.0, 4.0],
        [[1, 2, 3, 4]],
        [b"\1\2\3\4", b"\1\2\3\4"],
        ["abcd", "abcd"],
        [[1, 2, 3, 4], [1, 2, 3, True]],
        [1, 2],
        {"a": 1},
    ],
    ids=repr,
)
def test_every_malformed_part_of_the_nested_code_is_corrupt(place, value):
    fields = {**made(VORONOI).fields(), "dither_key": VORONOI.dither_key}
    nested = list(fields["nesting"])
    nested[place] = value
    unpacks_or_is_refused(pack_fields({**fields, "nesting": nested}))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(header.SCHEMA)), VALUE, st.booleans())
def test_arbitrary_fields(key, value, voronoi):
    parameters = VORONOI if voronoi else ENTROPY
    fields = {**made(parameters).fields(), "dither_key": parameters.dither_key}
    unpacks_or_is_refused(pack_fields({**fields, key: value}))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_bytes(data):
    packed = bytearray(made(data.draw(st.sampled_from([ENTROPY, VORONOI]))).pack())
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    unpacks_or_is_refused(bytes(packed))
