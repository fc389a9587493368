"""The .safetensors format, against the safetensors package; every kind of damaged header refused."""

from __future__ import annotations

import io
import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from nqz.files.access import MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.safetensors import build_header, read_header
from nqz.files.sink import MatrixSink
from nqz.files.source import open_source
from nqz.ground.dtypes import to_safetensors
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError, UsageError

TYPES = {
    "bool": np.bool_,
    "int8": np.int8,
    "int64": np.int64,
    "uint16": np.uint16,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}


def with_header(header, data=b""):
    text = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else None
    text = json.dumps(header).encode() if text is None else text
    return struct.pack("<Q", len(text)) + text + data


def entry(begin, end, shape=None, dtype="U8"):
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def read(content):
    return read_header(MemoryAccess(content), "x.safetensors")


def raw(tensor):
    return b"".join(bytes(piece) for piece in tensor.pieces(5))


def sample():
    rng = np.random.default_rng(3)
    tensors = {name: rng.integers(0, 2, (2, 3)).astype(dtype) for name, dtype in TYPES.items()}
    tensors["empty"] = np.zeros((0, 4), np.float32)
    tensors["scalar"] = np.full((), 2, np.float32)
    tensors["näme \x1b[31m\n"] = np.zeros((2, 2, 2), np.float32)
    return tensors


def test_reads_what_the_package_writes():
    tensors = sample()
    content = safetensors.numpy.save(tensors, {"format": "pt", "b": "ü"})
    with open_source(io.BytesIO(content)) as source:
        assert source.kind.name == "safetensors"
        assert source.metadata == {"format": "pt", "b": "ü"}
        assert {tensor.name for tensor in source.tensors} == set(tensors)
        for tensor in source.tensors:
            expected = tensors[tensor.name]
            assert tensor.shape == expected.shape
            assert TYPES.get(tensor.dtype) == expected.dtype.type
            assert raw(tensor) == expected.tobytes()


def test_the_package_reads_what_is_written():
    tensors = sample()
    names = {dtype: name for name, dtype in TYPES.items()}
    access = MemoryAccess(bytearray())
    specs = [TensorSpec(key, value.shape, names[value.dtype.type]) for key, value in tensors.items()]
    sink = MatrixSink(access, "safetensors", specs, {"format": "np"})
    for index, value in reversed(list(enumerate(tensors.values()))):
        data = value.tobytes()
        for start in range(0, len(data), 7):
            sink.write_bytes(index, start, data[start : start + 7])
    content = bytes(access._data)
    assert len(content) == sink.total_bytes
    loaded = dict(safetensors.deserialize(content))
    assert set(loaded) == set(tensors)
    for (key, value), spec in zip(tensors.items(), specs, strict=True):
        assert loaded[key]["dtype"] == to_safetensors(spec.dtype)
        assert tuple(loaded[key]["shape"]) == value.shape
        assert bytes(loaded[key]["data"]) == value.tobytes()
    with open_source(io.BytesIO(content)) as source:
        assert [tensor.name for tensor in source.tensors] == list(tensors)
        assert source.metadata == {"format": "np"}


@pytest.mark.parametrize("metadata", [None, {}, {"k": 'quote " and \u0007'}])
def test_same_bytes_as_the_package(metadata):
    # the package sorts names; these are sorted
    tensors = {
        "a": np.arange(3, dtype=np.float32),
        "b": np.zeros((2, 5), np.float32),
        "ü": np.ones(1, np.float32),
    }
    expected = safetensors.numpy.save(tensors, metadata)
    header, _ = build_header(
        [TensorSpec(key, value.shape, "float32") for key, value in tensors.items()], metadata
    )
    assert header + b"".join(value.tobytes() for value in tensors.values()) == expected
    assert read(expected)[1] == metadata


def test_order_of_header_and_of_data_are_kept_apart():
    header = {"late": entry(4, 10), "zero": entry(4, 4), "early": entry(0, 4), "end": entry(10, 10)}
    with open_source(io.BytesIO(with_header(header, b"0123456789"))) as source:
        assert [(tensor.name, raw(tensor)) for tensor in source.tensors] == [
            ("late", b"456789"),
            ("zero", b""),
            ("early", b"0123"),
            ("end", b""),
        ]


def test_no_tensors_and_padding():
    assert read(with_header("{}")) == ([], None)
    assert read(with_header('{"__metadata__":{"a":"b"}}      ')) == ([], {"a": "b"})


def test_types_of_less_than_a_byte():
    header = {
        "f4": entry(0, 3, [3, 2], "F4"),
        "f6": entry(3, 6, [2, 2], "F6_E2M3"),
        "c": entry(6, 14, [1], "C64"),
    }
    entries, _ = read(with_header(header, bytes(14)))
    assert [item.dtype for item in entries] == ["float4_e2m1fn", "float6_e2m3fn", "complex64"]
    with pytest.raises(CorruptError, match="span 2 bytes, its shape and dtype take 3"):
        read(with_header({"f4": entry(0, 2, [6], "F4")}, bytes(2)))
    with pytest.raises(CorruptError, match="of 4 bits an entry, does not fill whole bytes"):
        read(with_header({"f4": entry(0, 3, [5], "F4")}, bytes(3)))


GOOD = {"a": entry(0, 4), "b": entry(4, 6)}


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"a": entry(0, 4), "b": entry(5, 6)}, 6, "before tensor 'b' 1 byte belongs to none"),
        ({"a": entry(1, 6)}, 6, "before tensor 'a' 1 byte belongs to none"),
        ({"a": entry(0, 4), "b": entry(3, 6)}, 6, "tensor 'b' overlaps another"),
        ({"a": entry(0, 4), "b": entry(0, 4)}, 4, "overlaps"),
        ({"a": entry(0, 8), "z": entry(4, 4)}, 8, "overlaps"),
        (GOOD, 5, "truncated: 1 data byte is missing"),
        (GOOD, 7, "1 byte follows the data"),
        ("{}", 1, "1 byte follows the data"),
        ({"a": entry(0, 4, [3])}, 4, "span 4 bytes, its shape and dtype take 3"),
        ({"a": entry(0, 4, [2**62, 2**62])}, 4, "shape is beyond 64-bit numbers"),
        ({"a": entry(4, 0, [4])}, 4, "span -4 bytes"),
        ({"a": entry(0, 0, [0, 2**63])}, 0, "shape is not a list of non-negative"),
        ({"a": entry(0, 4, [-4])}, 4, "shape is not a list of non-negative"),
        ({"a": entry(0, 4, [-2, -2])}, 4, "shape is not a list of non-negative"),
        ({"a": entry(0, 1, [True])}, 1, "shape is not a list of non-negative"),
        ({"a": entry(0, 1, ["1"])}, 1, "shape is not a list of non-negative"),
        ({"a": entry(0, 1, {"0": 1})}, 1, "shape is not a list of non-negative"),
        ({"a": entry(0, 1, [1], 8)}, 1, "dtype is not a string"),
        ({"a": {"dtype": "U8", "shape": [1]}}, 1, "does not have dtype, shape and data_offsets"),
        ({"a": [1]}, 1, "does not have dtype, shape and data_offsets"),
        ({"a": None}, 1, "does not have dtype, shape and data_offsets"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}}, 1, "not two non-negative"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}, 1, "not two non-negative"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [-1, 0]}}, 1, "not two non-negative"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [False, True]}}, 1, "not two non-negative"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": "01"}}, 1, "not two non-negative"),
        ({"a": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}}, 1, "shape is not a list of"),
        ({"__metadata__": {"a": 1}}, 0, "value of __metadata__ for 'a' is not a string"),
        ({"__metadata__": {"a": {}}}, 0, "is not a string"),
        ({"__metadata__": 0.5}, 0, "__metadata__ is not an object"),
        ({"__metadata__": []}, 0, "__metadata__ is not an object"),
        ('{"a":NaN}', 0, "NaN is not JSON"),
        ('{"a":-Infinity}', 0, "Infinity is not JSON"),
        ('{"a":1e400}', 0, "1e400 is not JSON"),
        ('{"a":' + "9" * 5000 + "}", 0, "does not have dtype"),
        ('{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', 0, "shape is not a list of"),
        ('{"__metadata__":{},"__metadata__":{}}', 0, "key '__metadata__' occurs twice"),
        ('{"__metadata__":{"k":"1","k":"1"}}', 0, "key 'k' occurs twice"),
        ('{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0, "key 'dtype' occurs twice"),
        (json.dumps(GOOD)[:-1] + "," + json.dumps(GOOD)[1:], 6, "key 'a' occurs twice"),
        ('{"\\u0061":{},"a":{}}', 0, "occurs twice"),
        ('{"\\ud800":{}}', 0, "half of a surrogate pair"),
        ('{"__metadata__":{"a":"\\ud800"}}', 0, "half of a surrogate pair"),
        (b'{"\xff":{}}', 0, "not UTF-8 at byte 10"),
        ('{"a":' + "[" * 100000, 0, "nested too deeply"),
        ('{"a":' * 100000, 0, "nested too deeply"),
        ("{", 0, "not JSON"),
        ("{}{}", 0, "not JSON"),
        ("{}\0", 0, "not JSON"),
        ('{"a\n":{}}', 0, "not JSON"),
        ("\f{}", 0, "does not begin with"),
        ("[]", 0, "does not begin with"),
        ("", 0, "does not begin with"),
    ],
)
def test_malformed(header, data, words):
    with pytest.raises(CorruptError, match=words) as caught:
        read(with_header(header, bytes(data)))
    assert str(caught.value).startswith("x.safetensors: ") and "\n" not in str(caught.value)


READ_BY_THE_REFERENCE = {
    "spaces": b"   %s",
    "white space": b"\n\t\r %s \n\t",
    "no metadata": b'{"__metadata__":null,%s',
    "another field": {"more": [1, -2.5, None, True, {"x": {}}]},
    "a large number": {"more": 10**40},
    "a list": ["F32", [4, 2], [0, 32]],
    "NUL behind": b"%s\0",
    "a number too large": b'{"w":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32],"more":1e999}}',
    "a byte order mark": b"\xef\xbb\xbf%s",
    "a shape beyond 64 bits": {"shape": [2**62, 2**62, 0], "data_offsets": [0, 0]},
    "half a byte": {"dtype": "F4", "shape": [63]},
    "a name of the type in small letters": {"dtype": "f32"},
}


@pytest.mark.parametrize("variant", READ_BY_THE_REFERENCE.values(), ids=READ_BY_THE_REFERENCE)
def test_what_the_reference_library_reads_is_read(tmp_path, variant):
    array = np.arange(8, dtype="<f4").reshape(4, 2)
    whole = entry(0, 32, [4, 2], "F32")
    if isinstance(variant, bytes):
        text = json.dumps({"w": whole}).encode()
        text = text[1:] if b"null" in variant else text
        text = variant.replace(b"%s", text)
    else:
        text = json.dumps({"w": {**whole, **variant} if isinstance(variant, dict) else variant}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + array.tobytes())
    try:
        expected = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError:
        with pytest.raises((CorruptError, UnsupportedError)):
            open_source(path)
        return
    with open_source(path) as source:
        (tensor,) = source.tensors
        assert source.metadata is None and tensor.name == "w"
        assert b"".join(tensor.pieces()) == expected["w"].tobytes() == array.tobytes()


@pytest.mark.parametrize("length", [100_000_001, 1 << 63, (1 << 64) - 1])
def test_huge_header_length(length):
    with pytest.raises(CorruptError, match="the format allows"):
        open_source(io.BytesIO(struct.pack("<Q", length) + b"{}" + bytes(100)))


def test_header_length_beyond_the_file():
    with pytest.raises(CorruptError, match="missing"):
        read(struct.pack("<Q", 99_000_000) + b"{}")


def test_unknown_dtype_and_rank():
    with pytest.raises(UnsupportedError, match="tensor 'a': unknown dtype 'Q9'"):
        read(with_header({"a": entry(0, 1, [1], "Q9")}, b"0"))
    with pytest.raises(UnsupportedError, match="65 dimensions"):
        read(with_header({"a": entry(0, 1, [1] * 65)}, b"0"))


def test_every_truncation_is_corrupt():
    content = safetensors.numpy.save({"a": np.arange(3, dtype=np.float32), "b": np.ones(2)}, {"k": "v"})
    for length in range(len(content)):
        with pytest.raises(CorruptError):
            open_source(io.BytesIO(content[:length]))


@pytest.mark.parametrize(
    ("tensors", "error", "words"),
    [
        ([TensorSpec("a", (1,), "complex128")], UnsupportedError, "cannot hold complex128"),
        ([TensorSpec("__metadata__", (1,), "float32")], UnsupportedError, "cannot be named"),
        (
            [TensorSpec("a", (1,), "float32"), TensorSpec("a", (1,), "int8")],
            UsageError,
            "two tensors are named 'a'",
        ),
    ],
)
def test_what_cannot_be_written(tensors, error, words):
    with pytest.raises(error, match=words):
        build_header(tensors, None)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_raises_only_errors_of_nqz(data):
    content = bytearray(
        safetensors.numpy.save({"a": np.arange(3, dtype=np.float32), "b": np.ones(2)}, {"k": "v"})
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with open_source(io.BytesIO(content)) as source:
            assert sum(tensor.nbytes for tensor in source.tensors) <= len(content)
        message = "read"
    except NqzError as error:
        message = str(error)
    assert message and "\n" not in message


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(["F32", "BF16", "U8"]), st.lists(st.integers(0, 4), max_size=3)),
        max_size=5,
    ),
    st.none() | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.just("v"), max_size=3),
)
def test_header_round_trip(tensors, metadata):
    names = {"F32": "float32", "BF16": "bfloat16", "U8": "uint8"}
    specs = [TensorSpec(name, tuple(shape), names[code]) for name, (code, shape) in tensors.items()]
    header, begins = build_header(specs, metadata)
    assert len(header) % 8 == 0
    sizes = {"F32": 4, "BF16": 2, "U8": 1}
    total = sum(sizes[code] * int(np.prod(shape, dtype=int)) for code, shape in tensors.values())
    content = header + bytes(total)
    entries, found = read(content)
    assert found == metadata and (found is None or list(found) == list(metadata))
    assert [TensorSpec(item.name, item.shape, item.dtype) for item in entries] == specs
    assert [item.begin for item in entries] == begins
    assert set(dict(safetensors.deserialize(content))) == set(tensors)
