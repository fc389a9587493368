"""Parameters of a matrix and their list in the manifest: limits, round trip, refusal of what is out of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nqz
from coded_cases import LATTICE_NAMES, SCHEMES, coded, scheme
from container_builder import taken_apart
from nqz.format import header
from nqz.format.msgpack import pack
from nqz.ground.errors import CorruptError, NewerFormatError
from nqz.stages.codings import CODINGS
from nqz.stages.codings.nesting import Nesting
from nqz.stages.codings.trellis import Water
from nqz.stages.lattices import LATTICES, Lattice
from nqz.stages.parameters import Parameters
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
    norm_step=4,
    rotation_seed=9,
    dither_key=bytes(range(16)),
    coding_parameters=None,
    mean_reference=-700,
    octaves=29,
)
VORONOI = dataclasses.replace(
    ENTROPY, coding=CODINGS["voronoi"], allocate="column", delta=-32768, coding_parameters=NESTING, octaves=30
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
        {"mean_digits": -9},
        {"mean_digits": 65},
        {"mean_reference": (1 << 21) + 1},
        {"mean_reference": -(1 << 21) - 1},
        {"mean_digits": None, "mean_reference": 0},
        {"octaves": -1},
        {"octaves": 31},
        {"norm_step": 0},
        {"norm_step": 3},
        {"norm_step": 16384},
        {"dither_key": bytes(15)},
        {"partner": "equals"},
        {"partner": 0.0},
        {"partner": float("inf")},
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


TRELLIS = dataclasses.replace(
    ENTROPY,
    coding=CODINGS["trellis"],
    coding_parameters=Water(14, -700),
    lattice=None,
    m=50,
    delta=0,
    lowest_class=0,
    octaves=30,
)


@pytest.mark.parametrize(
    "change",
    [
        {"coding_parameters": None},
        {"coding_parameters": Water(13, 0)},
        {"coding_parameters": Water(0, (1 << 22) + 1)},
        {"coding_parameters": Water(0, 0, spread=(0,) * 7)},
        {"coding_parameters": Water(0, 0, spread=(1,) * 6)},
        {"coding_parameters": Water(0, 0, spread=(128,) * 7)},
        {"allocate": "column"},
        {"lattice": LATTICES["e8"]},
        {"m": 49},
        {"delta": 1},
        {"lowest_class": 1},
    ],
)
def test_the_trellis_coding_has_no_lattice_and_all_coordinates(change):
    TRELLIS.check()
    with pytest.raises(ValueError):
        dataclasses.replace(TRELLIS, **change).check()


def test_headers_of_the_trellis_coding_have_nothing_of_a_lattice():
    header_of = made(TRELLIS)
    values = header_of.values()
    assert [values[i] for i in (4, 5, 6, 7, 8, 13)] == [
        None,
        ["trellis", [14, -700, []]],
        "matrix",
        None,
        None,
        None,
    ]
    assert header.unpack(values, shape, "here") == header_of
    for place, value in (
        (4, "e8"),
        (7, 0),
        (8, 0),
        (13, 30),
        (5, ["trellis", [14]]),
        (5, ["trellis", [14, 1.0, []]]),
        (5, ["trellis", [14, -700]]),
        (5, ["trellis", [14, -700, [0] * 7]]),
    ):
        with pytest.raises(CorruptError, match="here"):
            header.unpack([*values[:place], value, *values[place + 1 :]], shape, "here")


def made(parameters):
    """A header."""
    return header.TensorHeader(parameters, 0, 2.5, bytes(range(16, 32)))


ENTROPY_VALUES = [0, 2.5, 40, ["hadamard-2", [9]], "e8", ["entropy", []], "matrix", -4000, 20, 2, 4, "equal"]
ENTROPY_VALUES += [-700, 29, bytes(range(16, 32)), bytes(range(16))]
OWN = [[3, 4], 77, [[1, 2, 3, 4], [2, 3, 4, 5]], 0.98, 1.01]
VORONOI_VALUES = [
    *ENTROPY_VALUES[:5],
    ["voronoi", OWN],
    "column",
    -32768,
    *ENTROPY_VALUES[8:13],
    None,
    *ENTROPY_VALUES[14:],
]

BOTH = pytest.mark.parametrize("values", [ENTROPY_VALUES, VORONOI_VALUES], ids=["entropy", "voronoi"])
NAMES = list(header.SCHEMA)


def unpack(values):
    return header.unpack(values, shape, "here")


def replaced(values, name, value):
    """The list with another value for one name."""
    return [value if key == name else old for key, old in zip(NAMES, values, strict=True)]


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
def test_round_trip(parameters):
    again = unpack(msgpack.unpackb(pack(made(parameters).values())))
    assert again == made(parameters)
    assert again.parameters.lattice is LATTICES["e8"]


def test_layout_is_the_specified_one():
    names = ["axis", "rate", "kept", "transform", "lattice", "coding", "allocate", "delta", "lowest_class"]
    names += ["mean_digits", "norm_step", "partner", "mean_reference", "octaves", "digest", "dither_key"]
    assert names == NAMES
    assert made(ENTROPY).values() == ENTROPY_VALUES and made(VORONOI).values() == VORONOI_VALUES
    assert [made(p).size() for p in (ENTROPY, VORONOI)] == [
        len(msgpack.packb(values)) for values in (ENTROPY_VALUES, VORONOI_VALUES)
    ]


@pytest.mark.parametrize("parameters", [ENTROPY, VORONOI], ids=["entropy", "voronoi"])
def test_values_are_written_in_the_order_in_which_they_are_read(parameters):
    assert [*made(parameters).fields(), "dither_key"] == NAMES
    assert list(made(parameters).fields().values()) == made(parameters).values()[:-1]
    assert set(header.PLANNED) < set(NAMES)


@pytest.mark.parametrize("name, coding", SCHEMES)
def test_round_trip_of_real_headers(name, coding):
    x = np.random.default_rng(0).standard_normal((60, 9)).astype(np.float32)
    data = nqz.encode(x, rate=3, **scheme(name, coding))
    matrix = coded(data)
    again = header.unpack(matrix.header.values(), lambda axis: (60, 9), "here")
    assert again == matrix.header and again.values() == matrix.header.values()
    (entry,) = taken_apart(data).manifest["tensors"]
    assert entry[6] == matrix.header.values()


def test_every_lattice_has_a_header():
    for name in LATTICE_NAMES:
        parameters = dataclasses.replace(ENTROPY, lattice=LATTICES[name])
        assert unpack(made(parameters).values()).parameters.lattice.name == name


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("transform", ["hadamard-3", [9]], "transform 'hadamard-3'"),
        ("transform", ["", []], "transform ''"),
        ("transform", ["dct", [1, "x", None]], "transform 'dct'"),
        ("lattice", "e9", "lattice 'e9'"),
        ("lattice", "E8", "lattice 'E8'"),
        ("coding", ["huffman", []], "coding 'huffman'"),
        ("coding", ["entropy-2", [1, 2]], "coding 'entropy-2'"),
        ("allocate", "row", "allocation 'row'"),
        ("allocate", "", "allocation ''"),
    ],
)
@BOTH
def test_names_that_are_not_known_are_newer(values, name, value, what):
    with pytest.raises(
        NewerFormatError, match=f"^here: {what} is not known to this release .* a later one is needed"
    ):
        unpack(replaced(values, name, value))
    # whatever the other values that its meaning decides
    with pytest.raises(NewerFormatError, match=what):
        unpack(replaced(replaced(values, name, value), "delta", 1 << 60))


def test_names_that_are_not_known_are_shortened():
    with pytest.raises(NewerFormatError) as caught:
        unpack(replaced(ENTROPY_VALUES, "lattice", "x" * 10_000))
    assert len(str(caught.value)) < 200


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.binary(max_size=33),
    st.sampled_from(["e8", "voronoi", "entropy", "hadamard-2", "column", 0, 1, 16, 50]),
)
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=5), max_leaves=12)


def unpacks_or_is_refused(values):
    """The list is refused, or is what is made of it: no second spelling of anything."""
    try:
        found = unpack(values)
    except (CorruptError, NewerFormatError) as error:
        reason = str(error)
    else:
        assert pack(found.values()) == msgpack.packb(values)
        return True
    assert reason.startswith("here: ") and len(reason) < 320
    return False


JUNK: list[Any] = [None, True, -1, 1 << 63, (1 << 64) - 1, -(1 << 63), 1.5, -0.0, 1e308, "", "x", b""]
JUNK += [b"\1" * 16, [], {}]
JUNK += [[1, 2], [0.5, 1], [0.5, 1.0], [True, False], {"a": 1}, ["a", "b"], [[1]] * 5, [None] * 5, [1] * 5]
JUNK += [["entropy", [0]], ["voronoi", []], ["entropy", OWN], ["voronoi", OWN], ["hadamard-2", []]]
SEEDS: list[Any] = [9, [9, 9], [-1], [1.0], [True], ["9"], [None], [[9]], {}]
JUNK += [["hadamard-2", value] for value in SEEDS]


@BOTH
@pytest.mark.parametrize("key", NAMES)
def test_every_mutated_field_is_corrupt_or_another_valid_header(values, key):
    refused = sum(not unpacks_or_is_refused(replaced(values, key, value)) for value in JUNK)
    assert refused >= len(JUNK) - 5
    assert not unpacks_or_is_refused(
        [value for name, value in zip(NAMES, values, strict=True) if name != key]
    )


@BOTH
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
        (lambda v: dict(zip(NAMES, v, strict=True)), "a list is required"),
        (lambda v: dict(zip("abcdefghijklmnop", v, strict=True)), "a list is required"),
        (lambda v: "abcdefghijklmnop", "a list is required"),
        (lambda v: b"abcdefghijklmnop", "a list is required"),
        (lambda v: None, "a list is required"),
        (lambda v: 14, "a list is required"),
    ],
)
def test_headers_of_another_form_are_corrupt(values, edit, match):
    with pytest.raises(CorruptError, match="^here: " + match):
        unpack(edit(values))


@BOTH
@pytest.mark.parametrize(
    "key, good, bad",
    [
        ("axis", [0, 1], [2, -1, True, None]),
        ("rate", [1e-9, 1e300], [0.0, -1.0, 2, None]),
        ("kept", [1, 50], [0, 51, -1, 1 << 63]),
        ("transform", [["hadamard-2", [0]], ["hadamard-2", [(1 << 64) - 1]]], [["hadamard-2", [-1]]]),
        ("lowest_class", [0, 1024], [1025, -1]),
        ("mean_digits", [0, 64, -8], [None, 65, -9]),
        ("norm_step", [1, 2, 8192], [0, 3, 16384, -1]),
        ("partner", ["exact", 0.3, 1e300], [0.0, -1.0, 2, None]),
        ("mean_reference", [None, 1 << 21, -1 << 21], [(1 << 21) + 1, (-1 << 21) - 1, 0.0]),
        ("octaves", [], [31, -1]),
        ("digest", [bytes(16)], [bytes(15), bytes(17), bytes(32), b"", "x" * 16]),
        ("dither_key", [bytes(16)], [bytes(15), bytes(17), b"", "x" * 16]),
    ],
)
def test_values_up_to_their_bounds(values, key, good, bad):
    for value in good:
        assert unpacks_or_is_refused(replaced(values, key, value))
    for value in bad:
        with pytest.raises(CorruptError, match=r"^here: "):
            unpack(replaced(values, key, value))


def test_scales_up_to_their_bounds():
    largest = 8192 * 4096
    for delta in (largest, -largest):
        assert unpacks_or_is_refused(replaced(ENTROPY_VALUES, "delta", delta))
        assert not unpacks_or_is_refused(replaced(ENTROPY_VALUES, "delta", delta + (1 if delta > 0 else -1)))
    # docs/format.md, section 9: b binary digits of 64 n (q + 1) ** 2
    b = (64 * 50 * 4 * 4).bit_length()
    for delta, outside in ((-2048 * (b + 3), -1), (-2048 * (b - 4), 1)):
        assert unpacks_or_is_refused(replaced(VORONOI_VALUES, "delta", delta))
        assert not unpacks_or_is_refused(replaced(VORONOI_VALUES, "delta", delta + outside))


@pytest.mark.parametrize(
    ("place", "good", "bad"),
    [
        (0, [[2, 3], [4095, 4096]], [[1, 2], [3, 5], [4, 3], [3, 3], [4096, 4097], [3.0, 4]]),
        (1, [0, 65536], [-1, 65537, 1.0]),
        (2, [[[1] * 4, [4096] * 4]], [[[0, 1, 2, 3]] * 2, [[1, 2, 3, 4097]] * 2, [[1, 3, 2, 4]] * 2, [[1, 2, 3]] * 2]),
        (3, [0.001, 1000.0], [0.00099, 1000.1, -1.0, 1, 0.0]),
        (4, [1e-6, 1e6], [0.9e-6, 1.1e6, -1.0, 1, 0.0]),
    ],
)  # fmt: skip
def test_nested_codes_up_to_their_bounds(place, good, bad):
    def with_own(value):
        own = [value if number == place else old for number, old in enumerate(OWN)]
        values = replaced(VORONOI_VALUES, "coding", ["voronoi", own])
        # in the middle of what the code allows
        b = (64 * 50 * (own[0][1] if type(own[0][1]) is int else 4) ** 2).bit_length()
        return replaced(values, "delta", -2048 * b)

    for value in good:
        assert unpacks_or_is_refused(with_own(value)), value
    for value in bad:
        with pytest.raises(CorruptError, match=r"^here: "):
            unpack(with_own(value))


@BOTH
@pytest.mark.parametrize(
    "old, new, match",
    [
        (b"\xdc\x00\x10\x00", b"\xdd\x00\x00\x00\x10\x00", "canonical form"),
        (b"\xdc\x00\x10\x00", b"\xdc\xff\xff\x00", "exceeds"),
        (b"\xdc\x00\x10\x00", b"\xdc\x00\x11\x00", "cut short|extensions"),
        (b"\xa2e8", b"\xd9\x02e8", "canonical form"),
        (b"\xa2e8", b"\xa2e\xff", "not a canonical value"),
        (b"\x28\x92\xaahadamard", b"\xcc\x28\x92\xaahadamard", "canonical form"),
        (b"\x28\x92\xaahadamard", b"\xd0\x28\x92\xaahadamard", "canonical form"),
        (b"\xaahadamard-2\x91\x09", b"\xaahadamard-2\xdc\x00\x01\x09", "canonical form"),
        (b"\x14\x02\x04\xa5", b"\xd1\x00\x14\x02\x04\xa5", "canonical form"),
        (b"\xcb\x40\x04\0\0\0\0\0\0", b"\xca\x40\x20\0\0", "canonical form"),
        (b"\xcb\x40\x04\0\0\0\0\0\0", b"\xcb\x7f\xf8\0\0\0\0\0\0", "not finite"),
        (b"\xc4\x10\x10\x11", b"\xc5\x00\x10\x10\x11", "canonical form"),
        (b"\xc4\x10\x10\x11", b"\xc4\xff\x10\x11", "cut short|extensions"),
    ],
)
def test_headers_not_in_canonical_form_are_corrupt(values, old, new, match):
    """In a file, whose manifest is refused then."""
    parts = taken_apart(nqz.encode(np.ones((4, 3), np.float32), rate=4))
    parts.manifest["tensors"][0][6] = values
    payload = parts.packed_manifest()
    assert payload.count(old) == 1
    with pytest.raises(CorruptError, match=match):
        nqz.open(parts.replaced(manifest=payload.replace(old, new)).build())


@BOTH
def test_every_swap_of_two_values_is_corrupt_or_another_valid_header(values):
    valid = []
    for first in range(len(values)):
        for second in range(first):
            swapped = list(values)
            swapped[first], swapped[second] = values[second], values[first]
            if unpacks_or_is_refused(swapped):
                valid.append({NAMES[first], NAMES[second]})
    # the two of kept, lowest_class and mean_digits; mean_digits and norm_step; digest and dither_key; octaves are
    # among the small numbers, too
    more = 0 if values is VORONOI_VALUES else 3
    assert len(valid) == 5 + more and {"digest", "dither_key"} in valid
    assert ({"delta", "mean_reference"} in valid) == bool(more)


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
    own = [value if number == place else old for number, old in enumerate(OWN)]
    valid = unpacks_or_is_refused(replaced(VORONOI_VALUES, "coding", ["voronoi", own]))
    assert valid == ((place, repr(value)) in [(0, "[3, 4]"), (1, "0"), (3, "2.0"), (4, "2.0")])
    for fewer in (OWN[:place], [*OWN, value]):
        assert not unpacks_or_is_refused(replaced(VORONOI_VALUES, "coding", ["voronoi", fewer]))


@pytest.mark.parametrize(
    ("coding", "own", "words"),
    [
        ("trellis", [12, 4], "noise of its classes here, and the file has 2 values: it is of an earlier"),
        ("trellis", [], "the file has 0 values: it is of an earlier"),
        ("trellis", [12, 4, [], 1], "the file has 4 values: it is of another"),
        ("voronoi", OWN[:1], "gain and a power here, and the file has 1 value: it is of an earlier"),
        ("voronoi", [*OWN, 1], "the file has 6 values: it is of another"),
    ],
)  # fmt: skip
def test_a_coding_with_another_number_of_values_is_said_to_be_of_another_draft(coding, own, words):
    with pytest.raises(
        CorruptError, match=f"^here: the {coding.replace('v', 'V')} coding has .*{words} draft of the format$"
    ):
        unpack(replaced(VORONOI_VALUES, "coding", [coding, own]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(NAMES), VALUE, st.booleans())
def test_arbitrary_fields(key, value, voronoi):
    unpacks_or_is_refused(replaced(VORONOI_VALUES if voronoi else ENTROPY_VALUES, key, value))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_bytes(data):
    """Of the parameters in a file that is opened, and its matrix asked for."""
    parts = taken_apart(SMALL)
    packed = bytearray(msgpack.packb(parts.manifest["tensors"][0][6]))
    payload = parts.packed_manifest()
    at = payload.index(packed)
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    changed = payload[:at] + packed + payload[at + len(packed) :]
    try:
        matrix = coded(parts.replaced(manifest=changed).build())
    except (CorruptError, NewerFormatError):
        return
    assert msgpack.packb(matrix.header.values()) == packed


SMALL = nqz.encode(np.arange(60, dtype=np.float32).reshape(12, 5), rate=4, lattice="e8", coding="voronoi")
