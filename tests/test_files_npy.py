"""The .npy format: headers of every kind read, damage refused, the same bytes written by every NumPy."""

from __future__ import annotations

import io
import struct
import warnings

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nqz.files import npy
from nqz.files.contract import TensorSpec
from nqz.files.source import array_source, open_source, refuse_non_float
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError


def npy_bytes(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def with_header(text, data=b"", version=(1, 0)):
    body = text.encode() if isinstance(text, str) else text
    prefix = struct.pack("<H" if version == (1, 0) else "<I", len(body))
    return npy.MAGIC + bytes(version) + prefix + body + data


def header(descr="'<f4'", order="False", shape="(2, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def built(shape, dtype, byte_order, fortran_order):
    return npy.build_header(TensorSpec("", shape, dtype, fortran_order, byte_order))


def read(content):
    return npy.read_header(content[: npy.HEADER_BYTES], len(content), "x.npy")


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0), (2, 3), (2, 3, 5)])
@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|b1", "|i1", ">u2", "<i8", "<c8", ">c16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_header_round_trip(shape, dtype, order):
    array = np.zeros(shape, dtype, order=order)
    content = npy_bytes(array)
    found = read(content)
    assert found.shape == shape
    assert npy.to_npy_descr(found.dtype, found.byte_order) == np.lib.format.dtype_to_descr(array.dtype)
    assert found.fortran_order == (order == "F" and not array.flags.c_contiguous)
    assert content[found.offset :] == array.tobytes("A")
    ours = built(found.shape, found.dtype, found.byte_order, found.fortran_order)
    loaded = np.load(io.BytesIO(ours + content[found.offset :]))
    assert loaded.dtype == array.dtype and loaded.shape == shape
    assert loaded.flags.f_contiguous == array.flags.f_contiguous


def test_written_header_is_fixed():
    expected = b"\x93NUMPY\x01\x00v\x00{'descr': '>f8', 'fortran_order': True, 'shape': (3, 1234), }"
    assert built((3, 1234), "float64", ">", True) == expected.ljust(127) + b"\n"
    scalar = b"\x93NUMPY\x01\x00v\x00{'descr': '|b1', 'fortran_order': False, 'shape': (), }"
    assert built((), "bool", "|", False) == scalar.ljust(127) + b"\n"


def test_long_header_takes_version_2():
    shape = (1,) * 63 + (10**18,)
    assert built(shape, "float32", "<", False)[6:8] == b"\x01\x00"
    wide = tuple([10**18] * 4000)
    content = built(wide, "float32", "<", False)
    assert content[6:8] == b"\x02\x00"
    assert len(content) % 64 == 0 and len(content) == 12 + struct.unpack("<I", content[8:12])[0]


def test_bfloat16_cannot_be_written():
    with pytest.raises(UnsupportedError, match="cannot hold bfloat16"):
        built((3,), "bfloat16", "<", False)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(version):
    found = read(with_header(header(), bytes(24), version))
    assert found.shape == (2, 3) and found.dtype == "float32"


def test_header_of_python_2_is_read_quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(with_header(header(shape="(2L, 3L)"), bytes(24))).shape == (2, 3)


@pytest.mark.parametrize(
    "content",
    [
        npy_bytes(np.arange(6.0).reshape(2, 3)),
        npy_bytes(np.float32(1)),
        with_header(header(), bytes(24), (2, 0)),
    ],
)
def test_every_truncation_is_corrupt(content):
    for length in range(len(content)):
        with pytest.raises(CorruptError):
            open_source(io.BytesIO(content[:length]))
    open_source(io.BytesIO(content)).close()


def test_truncation_names_the_bytes_missing():
    content = npy_bytes(np.zeros((2, 3), "f4"))
    with pytest.raises(CorruptError, match=r"x\.npy: truncated: 10 data bytes are missing of 24"):
        read(content[:-10])


def test_trailing_bytes():
    content = npy_bytes(np.zeros((2, 3), "f4"))
    with pytest.raises(CorruptError, match="1 byte follows the data, which ends at byte 152"):
        read(content + b"\0")
    with pytest.raises(CorruptError, match="bytes follow the data"):
        read(content + content)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "{}",
        "[]",
        "{'descr': '<f4'}",
        header(shape="[2, 3]"),
        header(shape="(2, -3)"),
        header(shape="(2.0, 3)"),
        header(shape="(True, 6)"),
        header(shape="2"),
        header(shape="(0, 9223372036854775808)"),
        header(order="0"),
        header(descr="'<q9'"),
        header(descr="'<x9'"),
        header(descr="17"),
        header(descr="[('a',)]"),
        header(descr="'\\ud800'"),
        header()[:-3],
        "(" * 5000,
        "[" * 9000 + "]" * 900,
        "-" * 9000 + "1",
        "{'a':" * 1500,
        "__import__('os').system('false')",
        b"\xff\xfe\x00\x01" * 20,
        b"\x00" * 54,
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_damaged_headers(text, version):
    with pytest.raises(CorruptError, match=r"x\.npy: the \.npy header"):
        read(with_header(text, bytes(24), version))


def test_sizes_are_checked_before_any_allocation():
    for shape in ("(1000000000000, 1000000000000)", "(9223372036854775807, 9223372036854775807, 3)"):
        with pytest.raises(CorruptError, match=r"data bytes? (are|is) missing"):
            read(with_header(header(shape=shape), bytes(24)))
    with pytest.raises(CorruptError, match="missing"):
        read(npy.MAGIC + b"\x02\x00\xff\xff\xff\xff" + bytes(100))


def test_huge_header_is_not_parsed():
    text = header().rstrip("\n") + " " * 20000
    with pytest.raises(UnsupportedError, match="header of 20"):
        read(with_header(text, bytes(24)))


def test_unknown_version_and_rank():
    with pytest.raises(UnsupportedError, match=r"version 4\.0"):
        read(with_header(header(), bytes(24), (4, 0)))
    with pytest.raises(UnsupportedError, match="65 dimensions"):
        read(with_header(header(shape="(" + "1," * 65 + ")"), bytes(4)))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([None, 1]), "Python objects"),
        (np.zeros(2, [("a", "f4"), ("b", "i4")]), "structured dtype .*'a', 'b'"),
        (np.zeros(2, "V3"), "raw items of 3 bytes"),
        (np.zeros(2, "M8[s]"), r"dtype datetime64\[s\] is not supported"),
        (np.zeros(2, "S4"), r"dtype \|S4 is not supported"),
        (np.zeros(2, "U4"), "is not supported"),
    ],
)
def test_other_types_are_refused_by_name(array, words):
    with pytest.raises(UnsupportedError, match=words):
        read(npy_bytes(array, allow_pickle=True))
    with pytest.raises(UnsupportedError, match=words):
        array_source(array)


def test_bfloat16_that_became_void_is_explained():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = npy_bytes(np.zeros((2, 3), ml_dtypes.bfloat16))
    with pytest.raises(UnsupportedError, match=r"numpy\.save makes of bfloat16; save it as \.safetensors"):
        read(content)


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("i2", r"x\.astype\('float32'\)"),
        ("?", "float32"),
        ("u8", r"x\.astype\('float64'\)"),
        ("c8", r"x\.real"),
    ],
)
def test_refusal_names_the_conversion(dtype, advice):
    source = array_source(np.zeros((2, 2), dtype), "x.npy")
    with source, pytest.raises(UnsupportedError, match=r"^x\.npy: dtype .*" + advice):
        refuse_non_float(source)


def test_floats_are_not_refused():
    for dtype in ("f2", ">f4", "f8"):
        with array_source(np.zeros((2, 2), dtype)) as source:
            assert refuse_non_float(source) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_raises_only_errors_of_nqz(data):
    content = bytearray(npy_bytes(np.arange(6, dtype="<f4").reshape(2, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(6, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with open_source(io.BytesIO(content)) as source:
            assert sum(len(piece) for piece in source.tensors[0].pieces()) == source.tensors[0].nbytes
        message = "read"
    except NqzError as error:
        message = str(error)
    assert message and "\n" not in message


@pytest.mark.parametrize("descr", ["bfloat16", "float8_e4m3fn", "float4_e2m1fn", "bogus"])
def test_types_named_as_numpy_never_names_them_are_not_supported(descr):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (4, 2), }}\n".encode()
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(16)
    with pytest.raises(UnsupportedError, match=f"dtype '?{descr}'? is no"):
        open_source(io.BytesIO(content))
