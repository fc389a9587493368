"""The manifest: what can be written can be read, and nothing else is taken."""

from __future__ import annotations

import itertools
import time

import msgpack
import pytest

from container_builder import Container, exact, tensor
from container_builder import manifest as manifest_map
from nqz.format.manifest import MAX_NAME_BYTES, Manifest
from nqz.format.tensors import EXACT, MATRIX, TensorInfo
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import CorruptError, NewerFormatError, UnsupportedError
from test_format_records import PARTS, TENSORS, Memory, manifest, refused

LONG_NAME = "é" * (MAX_NAME_BYTES // 2)


@pytest.mark.parametrize(
    ("tensors", "options", "match"),
    [
        ([TENSORS[0], TENSORS[0]], {}, "two tensors"),
        ([TensorInfo(MATRIX, "w", (2,), "int32")], {}, "floating-point"),
        ([TensorInfo(MATRIX, "w", (0, 2), "float32")], {}, "floating-point"),
        ([TensorInfo(MATRIX, "w", (), "float32")], {}, "floating-point"),
        ([TensorInfo("lossy", "w", (2,), "float32")], {}, "codec 'lossy' is not known"),
        ([TensorInfo(EXACT, "w", (2,), "object")], {}, "dtype 'object' is not known"),
        ([TensorInfo(EXACT, "w", (-2,), "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo(EXACT, "w", (1,) * 65, "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo(EXACT, "w", (1 << 63,), "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo(EXACT, "w", (1 << 61,), "int32")], {}, "more bytes than a file can have"),
        ([TensorInfo(EXACT, "w", (2,), "int8")], {}, "byte order"),
        ([TensorInfo(EXACT, "w", (2,), "int16", byte_order="|")], {}, "byte order"),
        ([TensorInfo(EXACT, "w", (2,), "int16", order="A")], {}, "order"),
        ([TensorInfo(EXACT, LONG_NAME + "x", (2,), "int16")], {}, "a name of 65537 bytes; at most 65536 are allowed"),
        ([TensorInfo(EXACT, "w", (2,), "int16", parameters=[1])], {}, "parameters"),
        ([TENSORS[0]], {"source": "npy"}, ".npy"),
        (TENSORS[:0], {"source": "npy"}, ".npy"),
        ([TensorInfo(EXACT, "", (2,), "bfloat16")], {"source": "npy"}, "bfloat16 entries, which a .npy"),
        ([TensorInfo(EXACT, "a", (2,), "bfloat16")], {"source": "npz"}, "bfloat16 entries, which a .npz"),
        ([TensorInfo(EXACT, "a", (2,), "complex128")], {}, "complex128 entries, which a .safetensors"),
        ([TensorInfo(EXACT, "a", (2,), "int16", order="F")], {}, "Fortran or big-endian order"),
        ([TensorInfo(EXACT, "a", (2,), "int16", byte_order=">")], {}, "Fortran or big-endian order"),
        ([TensorInfo(EXACT, "__metadata__", (2,), "int16")], {}, "kept for metadata"),
        *(
            ([TensorInfo(EXACT, name, (2,), "int16")], {"source": "npz"}, match)
            for name, match in [
                ("a\0b", "NUL"),
                ("a\\b", "backslash"),
                ("/a", "absolute path"),
                ("c:/a", "absolute path"),
                ("a/../b", "leads out of its folder"),
                ("..", "leads out of its folder"),
                ("x" * 65532, "too long"),
            ]
        ),
        ([], {"source": "hdf5"}, "'hdf5' file"),
        ([], {"metadata": {"a": 1}}, "metadata"),
        ([], {"metadata": {"a": "\ud800"}}, "surrogate"),
        ([TensorInfo(EXACT, "\ud800", (2,), "int16")], {}, "surrogate"),
        ([], {"metadata": {"a": "x" * (64 << 20)}}, "at most 67108864"),
        ([], {"extensions": {"a": [[[[[[[1]]]]]]]}}, "nested deeper than 8"),
        ([], {"extensions": {"a": [0] * 1025}}, "1025 exceeds"),
        ([], {"part": (bytes(15), 0, 1)}, "set is"),
        ([], {"part": (bytes(16), 1, 1)}, "set is"),
    ],
)  # fmt: skip
def test_manifests_outside_the_format_cannot_be_written(tensors, options, match):
    with pytest.raises(UnsupportedError, match=match):
        ContainerWriter(Memory(), manifest(tensors, **options))


@pytest.mark.parametrize(
    ("tensors", "options"),
    [
        ([TensorInfo(EXACT, "", (2,), "complex128", "F", ">")], {"source": "npy"}),
        ([TensorInfo(MATRIX, "", (2,), "bfloat16")], {"source": "npy", "metadata": {"a": "b"}}),
        ([TensorInfo(MATRIX, "c:a/..b", (2,), "bfloat16")], {"source": "npz", "metadata": {}}),
        ([TensorInfo(EXACT, "x" * 65531, (2,), "int16")], {"source": "npz"}),
        ([TensorInfo(EXACT, LONG_NAME, (3,), "float6_e2m3fn", byte_order="|")], {}),
        ([TensorInfo(EXACT, "/../a\0\\", (1,) * 64, "int16")], {}),
        ([TensorInfo(EXACT, "w", ((1 << 63) - 1,), "uint8", byte_order="|")], {}),
        ([], {"extensions": {"a": [[[[[[1]]]]]], "b": [0] * 1024}}),
    ],
)  # fmt: skip
def test_manifests_at_the_bounds_can_be_written_and_read(tensors, options):
    made = manifest(tensors, **options)
    ContainerWriter(Memory(), made)
    waiting = made._replace(
        tensors=tuple(t._replace(parameters=[]) if t.codec == MATRIX else t for t in tensors)
    )
    assert Manifest.unpack(waiting.pack(), "here") == waiting


def manifest_without(key):
    return lambda h: {name: value for name, value in h.items() if name != key}


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda h: h | {"extra": 1}, "7 keys, expected exactly"),
        (lambda h: {"extra": 1} | h, "the keys are"),
        *((manifest_without(key), "the keys are|keys, expected|not a canonical value") for key in PARTS.manifest),
        (lambda h: dict(reversed(h.items())), "the keys are"),
        (lambda h: {k: h[k] for k in ("metadata", "source", *list(h)[2:])}, "in this order"),
        (lambda h: {k: h[k] for k in (*list(h)[:4], "tensors", "extensions")}, "the keys are"),
        (lambda h: {}, "the keys are"),
        (lambda h: [h], "not a canonical value"),
        (lambda h: list(h.values()), "not a canonical value"),
        (lambda h: None, "not a canonical value"),
        (lambda h: 5, "not a canonical value"),
        (lambda h: h | {"source": ["npy"]}, "source is"),
        (lambda h: h | {"source": None}, "source is"),
        (lambda h: h | {"metadata": {"a": 1}}, "metadata is"),
        (lambda h: h | {"metadata": {"a": {"b": "c"}}}, "metadata is"),
        (lambda h: h | {"metadata": {"a": b"b"}}, "metadata is"),
        (lambda h: h | {"metadata": [["a", "b"]]}, "metadata is"),
        (lambda h: h | {"metadata": {1: "b"}}, "not a canonical value"),
        (lambda h: h | {"metadata": {b"a": "b"}}, "metadata is"),
        (lambda h: h | {"set": []}, "set is"),
        (lambda h: h | {"set": [bytes(16), 0]}, "set is"),
        (lambda h: h | {"set": [bytes(16), 0, 1, 2]}, "set is"),
        (lambda h: h | {"set": [bytes(17), 0, 1]}, "set is"),
        (lambda h: h | {"set": ["x" * 16, 0, 1]}, "set is"),
        (lambda h: h | {"set": [bytes(16), 1, 1]}, "set is"),
        (lambda h: h | {"set": [bytes(16), -1, 1]}, "set is"),
        (lambda h: h | {"set": [bytes(16), False, True]}, "set is"),
        (lambda h: h | {"set": [bytes(16), 0.0, 1]}, "set is"),
        (lambda h: h | {"set": {"id": 1}}, "set is"),
        (lambda h: h | {"writer": b"x"}, "writer is"),
        (lambda h: h | {"writer": None}, "writer is"),
        (lambda h: h | {"extensions": None}, "extensions is"),
        (lambda h: h | {"extensions": []}, "extensions is"),
        (lambda h: h | {"extensions": {b"a": 1}}, "a key of a map is not a string"),
        (lambda h: h | {"extensions": {"a": {b"a": 1}}}, "a key of a map is not a string"),
        (lambda h: h | {"extensions": {"a": float("nan")}}, "not finite"),
        (lambda h: h | {"extensions": {"a": [[[[[[[1]]]]]]]}}, "nested deeper than 8"),
        (lambda h: h | {"tensors": {}}, "not a canonical value"),
        (lambda h: h | {"tensors": None}, "not a canonical value"),
        (lambda h: h | {"tensors": "abc"}, "not a canonical value"),
    ],
)  # fmt: skip
def test_manifests_outside_the_format_are_refused(edit, match):
    refused(PARTS.replaced(manifest=edit(dict(PARTS.manifest))).build(), match)


@pytest.mark.parametrize("source", ["hdf5", "", "NPY", "x" * 100_000])
def test_unknown_sources_are_newer(source):
    data = PARTS.replaced(manifest={**PARTS.manifest, "source": source}).build()
    message = refused(data, "made from a '.* file: a later release of nqz is needed", NewerFormatError)
    assert len(message) < 300


NOT_EIGHT = (
    "tensor 2: [0-9]+ values, expected exactly 8: codec, name, shape, dtype, order, byte_order, parameters"
)
NO_LIST = "tensor 2: a list is required"


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda e: 1, NO_LIST),
        (lambda e: None, NO_LIST),
        (lambda e: "abcdefgh", NO_LIST),
        (lambda e: b"abcdefgh", NO_LIST),
        (lambda e: [], NOT_EIGHT),
        (lambda e: [e], NOT_EIGHT),
        (lambda e: e[:-1], NOT_EIGHT),
        (lambda e: e[1:], NOT_EIGHT),
        (lambda e: [*e, None], NOT_EIGHT),
        (lambda e: e + e, NOT_EIGHT),
        (lambda e: dict(zip("abcdefgh", e, strict=True)), NO_LIST),
        (lambda e: e[::-1], "tensor 2: codec is {}"),
        (lambda e: [*e[:4], e[5], e[4], *e[6:]], "tensor 2: order is"),
        (lambda e: [e[0], None, *e[2:]], "tensor 2: name is"),
        (lambda e: [e[0], b"ids", *e[2:]], "tensor 2: name is"),
        (lambda e: [e[0], ["ids"], *e[2:]], "tensor 2: name is"),
        (lambda e: [e[0], "w", *e[2:]], "two tensors have the name 'w'"),
        (lambda e: [e[0], "x" * 65537, *e[2:]], "a name of 6553[78] bytes; at most 65536 are allowed"),
        (lambda e: [e[0], "é" * 32769, *e[2:]], "a name of 6553[78] bytes; at most 65536 are allowed"),
        (lambda e: [e[0], "__metadata__", *e[2:]], "'__metadata__' is kept for metadata"),
        (lambda e: [None, *e[1:]], "tensor 2: codec is"),
        (lambda e: [b"exact-1", *e[1:]], "tensor 2: codec is"),
        (lambda e: [1, *e[1:]], "tensor 2: codec is"),
        (lambda e: [[], *e[1:]], "tensor 2: codec is"),
        (lambda e: ["nqz-1", *e[1:]], "a matrix needs a floating-point dtype"),
        (lambda e: ["nqz-1", *e[1:3], "float32", *e[4:]], "a matrix has parameters, and nothing else has"),
        (lambda e: [*e[:2], 100, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], {}, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], "", *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], b"\x64", *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], None, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [[100]], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [True], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [100.0], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [-1], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [1] * 65, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [1 << 63], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [(1 << 63) - 1] * 64, *e[3:]], "more bytes than a file can have"),
        (lambda e: [*e[:2], [1 << 60], *e[3:]], "more bytes than a file can have"),
        (lambda e: [*e[:2], [[[[[[[]]]]]]], *e[3:]], "shape is"),
        (lambda e: [*e[:3], None, *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:3], ["int64"], *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:3], b"int64", *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:3], "complex128", *e[4:]], "complex128 entries, which a .safetensors file cannot have"),
        (lambda e: [*e[:4], "A", *e[5:]], "tensor 2: order is"),
        (lambda e: [*e[:4], 0, *e[5:]], "tensor 2: order is"),
        (lambda e: [*e[:4], "F", *e[5:]], "Fortran or big-endian order, which a .safetensors file cannot"),
        (lambda e: [*e[:5], ">", *e[6:]], "Fortran or big-endian order, which a .safetensors file cannot"),
        (lambda e: [*e[:5], "=", *e[6:]], "tensor 2: byte_order is"),
        (lambda e: [*e[:5], None, *e[6:]], "tensor 2: byte_order is"),
        (lambda e: [*e[:5], "|", *e[6:]], "int64 with byte order |"),
        (lambda e: [*e[:6], [], e[7]], "a matrix has parameters, and nothing else has"),
        (lambda e: [*e[:6], False, e[7]], "a matrix has parameters, and nothing else has"),
        (lambda e: [*e[:7], None], "extensions"),
        (lambda e: [*e[:7], []], "extensions"),
        (lambda e: [*e[:7], "x"], "extensions"),
        (lambda e: [*e[:7], {b"a": 1}], "a key of a map is not a string"),
        (lambda e: [*e[:7], {"a": [[[[[1]]]]]}], "nested deeper than 8"),
        (lambda e: [*e[:7], {"a": float("inf")}], "not finite"),
        (lambda e: ["later-1", *e[1:6], [[[[[[1]]]]]], {}], "nested deeper than 8"),
        (lambda e: ["later-1", *e[1:6], {b"a": 1}, {}], "a key of a map is not a string"),
        (lambda e: ["later-1", *e[1:6], [0] * 1025, {}], "1025 exceeds|more than 1024 items"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seen", [False, True], ids=["first", "after one alike"])
def test_entries_of_the_manifest_outside_the_format_are_refused(edit, match, seen):
    """Also behind an entry that is alike: then less of it is looked at."""
    entries = {**PARTS.manifest, "tensors": list(PARTS.manifest["tensors"])}
    if seen:
        entries["tensors"][1] = [*entries["tensors"][2]]
        entries["tensors"][1][1] = "alike"
    entries["tensors"][2] = edit(entries["tensors"][2])
    with pytest.raises(CorruptError, match=match) as caught:
        Manifest.unpack(msgpack.packb(entries), "here")
    assert str(caught.value).startswith("here: ") and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "entry",
    [
        {"exact-1": 0, "x": 0, "": 0, "bool": 0, "C": 0, "|": 0, "p": 0, "e": 0},
        ["exact-1", "x", "", "bool", "C", "|", None, {}],
    ],
    ids=["map", "string"],
)
def test_no_map_is_an_entry_and_no_string_a_shape(entry):
    """Where what they yield one by one is what an entry before has."""
    entries = manifest_map([tensor("a", (), "bool"), entry])
    with pytest.raises(CorruptError, match=r"tensor 1: (a list is required|shape is '')"):
        Manifest.unpack(msgpack.packb(entries), "here")


@pytest.mark.parametrize(
    ("entry", "source", "match"),
    [
        (tensor("a", dtype="bfloat16", byte_order="<"), "npz", "bfloat16 entries, which a .npz file cannot have"),
        (tensor("a", dtype="float8_e5m2"), "npz", "float8_e5m2 entries, which a .npz file cannot have"),
        (tensor("", dtype="bfloat16", byte_order="<"), "npy", "bfloat16 entries, which a .npy file cannot have"),
        (tensor("a"), "npy", "'a' is a name, which a .npy file cannot have"),
        (tensor("a/../b"), "npz", "'a/../b' leads out of its folder, which a .npz file cannot have"),
        (tensor("/a"), "npz", "is an absolute path"),
        (tensor("c:/a"), "npz", "is an absolute path"),
        (tensor("a\\b"), "npz", "contains a backslash"),
        (tensor("a\0b"), "npz", "contains a NUL"),
        (tensor("x" * 65532), "npz", "is too long"),
    ],
)  # fmt: skip
def test_manifests_that_no_file_can_be_made_of_are_refused(entry, source, match):
    data = Container(manifest_map([entry], source), [[("EXCT", exact(b"abc"))]]).build()
    refused(data, match)


@pytest.mark.parametrize("count", [0, 2])
def test_an_array_alone_is_the_only_one(count):
    entries = [tensor("" if number == 0 else "x") for number in range(count)]
    data = Container(manifest_map(entries, "npy"), [[("EXCT", exact(b"abc"))]] * count).build()
    refused(data, "a .npy file has exactly one tensor|is a name")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"\x98\xa7exact-1\xa3ids", b"\xdc\x00\x08\xa7exact-1\xa3ids", "canonical form"),
        (b"\x98\xa7exact-1\xa3ids", b"\xdd\x00\x00\x00\x08\xa7exact-1\xa3ids", "canonical form"),
        (b"\xa3ids", b"\xd9\x03ids", "canonical form"),
        (b"\xa3ids", b"\xa3id\xff", "not a canonical value"),
        (b"\x98\xa7exact-1\xa3ids", b"\x99\xa7exact-1\xa3ids", "cut short"),
        (b"\x98\xa7exact-1\xa3ids", b"\x97\xa7exact-1\xa3ids", "7 values"),
        (b"\x98\xa7exact-1\xa3ids", b"\xdd\xff\xff\xff\xff\xa7exact-1\xa3ids", "exceeds"),
        (b"\x91\x64\xa5int64", b"\x91\xcc\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\x91\xd0\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\xdc\x00\x01\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\xdc\xff\xff\x64\xa5int64", "exceeds"),
        (b"\x86\xa6source", b"\xde\x00\x06\xa6source", "canonical form"),
        (b"\x86\xa6source", b"\xdf\x00\x00\x00\x06\xa6source", "canonical form"),
        (b"\x86\xa6source", b"\xdf\xff\xff\xff\xff\xa6source", "more items than there are bytes"),
        (b"\x86\xa6source", b"\x87\xa6source", "7 keys"),
        (b"\x86\xa6source", b"\x85\xa6source", "the keys are|5 keys"),
        (b"\xa6source", b"\xd9\x06source", "canonical form"),
        (b"\xa6source", b"\xc4\x06source", "a key of a map is not a string"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdc\x00\x04", "canonical form"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdd\x00\x00\x00\x04", "canonical form"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdd\xff\xff\xff\xff", "more items than there are bytes"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdd\x00\x00\x01\x00", "byte"),
        (b"\xa7tensors\x94", b"\xa7tensors\x93", "26 bytes follow the value"),
        (b"\xa7tensors\x94", b"\xa7tensors\x95", "cut short"),
        (b"\x82\xa1z\xa11\xa1a", b"\x82\xa1z\xa11\xa1z", "canonical form"),
        (b"\x82\xa1z\xa11\xa1a", b"\xde\x00\x02\xa1z\xa11\xa1a", "canonical form"),
        (b"\xa6writer", b"\xa6source", "the keys are"),
        (b"\xc0\xa6writer", b"\xc1\xa6writer", "not a canonical value"),
        (b"\xaaextensions\x80", b"\xaaextensions\xde\x00\x00", "canonical form"),
        (b"\xaaextensions\x80", b"\xaaextensions\x82\xa1a\x01\xa1a\x01", "canonical form"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\x00\xca\x3e\x80\0\0", "canonical form"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\xd0\x00\xcb\x3f\xd0\0\0\0\0\0\0", "canonical form"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\x00\xcb\x7f\xf8\0\0\0\0\0\0", "not finite"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\xd4\x05\x00\xcb\x3f\xd0\0\0\0\0\0\0", "not a canonical value|byte|cannot"),
    ],
)  # fmt: skip
def test_manifests_in_another_form_are_refused(old, new, match):
    payload = PARTS.packed_manifest()
    assert payload.count(old) == 1
    refused(PARTS.replaced(manifest=payload.replace(old, new)).build(), match)


@pytest.mark.parametrize(
    "key", [b"\x90", b"\x80", b"\xc0", b"\x05", b"\xc4\x01a", b"\xcb\x7f\xf8\0\0\0\0\0\0"]
)
def test_keys_of_manifests_are_strings(key):
    payload = PARTS.packed_manifest()
    for old in (b"\xa6source", b"\xa7tensors"):
        with pytest.raises(CorruptError, match="here: a key of a map is not a string"):
            Manifest.unpack(payload.replace(old, key), "here")


def test_manifests_cut_short_or_too_long_are_refused():
    payload = PARTS.packed_manifest()
    assert Manifest.unpack(payload, "here").pack() == payload
    for data in [payload + b"\0", payload + payload, *(payload[:length] for length in range(len(payload)))]:
        with pytest.raises(CorruptError, match=r"^here: "):
            Manifest.unpack(data, "here")


def test_long_lists_are_compared_with_their_canonical_form():
    """In batches: an entry of each in another form."""
    count = 10_000
    plain = [
        tensor(f"t{number}", (0,), extensions={"a": 1} if number % 7 == 0 else None)
        for number in range(count)
    ]
    payload = msgpack.packb(manifest_map(plain))
    found = Manifest.unpack(payload, "here")
    assert found.pack() == payload and [info.name for info in found.tensors] == [entry[1] for entry in plain]
    for number in (0, 4095, 4096, 8191, 8192, count - 1):
        name = f"t{number}".encode()
        old = bytes([0xA0 | len(name)]) + name + b"\x91"
        assert payload.count(old) == 1
        with pytest.raises(CorruptError, match="canonical form"):
            Manifest.unpack(payload.replace(old, b"\xd9" + bytes([len(name)]) + name + b"\x91"), "here")
    twice = payload.replace(b"\xa5t9999\x91", b"\xa5t9998\x91")
    with pytest.raises(CorruptError, match="two tensors have the name 't9998'"):
        Manifest.unpack(twice, "here")


def test_extents_cannot_be_chosen_to_make_reading_slow():
    """Numbers whose hashes collide: what is remembered of tensors alike is found by text."""
    modulus = 2**61 - 1  # of hashes of integers
    shapes = list(
        itertools.islice(itertools.product((0, modulus, 2 * modulus, 3 * modulus), repeat=9), 20_000)
    )
    shapes = [[0, *shape] for shape in shapes]
    payload = msgpack.packb(
        manifest_map([tensor(f"{i}", shape, "uint8", byte_order="|") for i, shape in enumerate(shapes)])
    )
    began = time.process_time()
    assert len(Manifest.unpack(payload, "many").tensors) == 20_000
    assert time.process_time() - began < 2.0
