"""Blocks of larger arrays: `nqz.api.blocks`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import nqz
from nqz.api.blocks import Again, check_options, decode_block, encode_block
from nqz.api.matrix import CompressedMatrix


def gaussian(*shape, dtype="float32"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def error(a, b):
    a, b = a.astype(float), b.astype(float)
    return np.square(a - b).sum() / np.square(a).sum()


@pytest.mark.parametrize("shape", [(96, 80), (700,), (40, 12, 16), (16, 6, 5, 16)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_blocks_of_any_dimensions_come_back_along_any_axis(shape, dtype):
    array = gaussian(*shape, dtype=dtype)
    for axis in range(-len(shape), len(shape)):
        found = decode_block(encode_block(array, axis, {"rate": 8}), axis, shape, dtype)
        assert found.shape == shape and found.dtype == dtype
        assert error(array, found) < 0.01, axis


@pytest.mark.parametrize("fill", [0.0, np.nan, -2.5])
@pytest.mark.parametrize(
    "shape, inside", [((64, 48), (40, 48)), ((64, 48), (64, 9)), ((20, 30, 8), (20, 7, 5))]
)
def test_what_is_constant_along_the_ends_takes_no_bits_and_comes_back_exactly(shape, inside, fill):
    array = np.full(shape, fill, dtype=np.float32)
    part = tuple(slice(0, length) for length in inside)
    array[part] = gaussian(*inside)
    data = encode_block(array, 0, {"rate": 6})
    found = decode_block(data, 0, shape, "float32")
    outside = np.ones(shape, bool)
    outside[part] = False
    assert np.array_equal(found[outside], array[outside], equal_nan=True)
    assert error(array[part], found[part]) < 0.01
    assert 8 * (len(data) - 700) < 6 * np.prod(inside)


@pytest.mark.parametrize("fill", [0.0, np.nan, 7.25])
def test_a_block_that_is_constant_comes_back_exactly(fill):
    for shape in ((1,), (5, 7), (3, 4, 5)):
        array = np.full(shape, fill, dtype=np.float64)
        found = decode_block(encode_block(array, 0, {"rate": 4}), 0, shape, "float64")
        assert np.array_equal(found, array, equal_nan=True)


def test_a_matrix_that_fills_its_block_is_the_container_of_any_matrix():
    array = gaussian(96, 80)
    assert encode_block(array, 1, {"rate": 3}) == nqz.encode(array, rate=3, axis=1)


def test_entries_that_are_not_finite_inside_are_refused():
    array = gaussian(8, 8)
    array[3, 3] = np.nan
    with pytest.raises(nqz.UnsupportedError, match="NaN or infinite"):
        encode_block(array, 0, {"rate": 4})


def test_blocks_of_other_arrays_and_damaged_ones_are_refused():
    data = encode_block(gaussian(8, 8), 0, {"rate": 4})
    with pytest.raises(nqz.CorruptError, match="another's"):
        decode_block(data, 0, (8, 9))
    with pytest.raises(nqz.CorruptError):
        decode_block(data[:-20], 0)
    for about in (
        "",
        "[]",
        "[[8,8],[8,8]]",
        '[[8,8],[8,8],"z"]',
        '[[8,8],[4,8],"0x0p+0"]',
        '[[4],[8,8],"0x0p+0"]',
        '[[-5,8],[-8,-8],"0x0p+0"]',
        '[[8,8],[Infinity,8],"0x0p+0"]',
        '[[1e300,8],[8,8],"0x0p+0"]',
        '[[8.9,8],[8.9,8],"0x0p+0"]',
        '[[true,64],[true,64],"0x0p+0"]',
        '[["8","8"],["8","8"],"0x0p+0"]',
        '[{"8":1},{"8":1},"0x0p+0"]',
        '[[8,8],[8,8],"0x0p+0",1]',
        "[[%s],[1]," % ("9" * 5000) + '"0x0p+0"]',
        '[[64],[64],"0x0p+0"]',
        '[[4,16],[4,16],"0x0p+0"]',
        '[[46341,46341],[8,8],"0x0p+0"]',
        "[" * 100_000,
    ):
        with pytest.raises(nqz.CorruptError, match="chunk"):
            decode_block(nqz.encode(gaussian(8, 8), rate=4, metadata={"block": about}), 0)


@pytest.mark.parametrize("claims", [{"metadata": {"block": '[[8,9],[8,8],"0x0p+0"]'}}, {}])
def test_nothing_is_decoded_of_a_block_that_claims_another_shape(monkeypatch, claims):
    data = nqz.encode(gaussian(8, 8), rate=4, **claims)
    monkeypatch.setattr(CompressedMatrix, "decode", None)
    for shape, most in (((8, 10), 1 << 31), (None, 255)):
        with pytest.raises(nqz.CorruptError, match="a chunk"):
            decode_block(data, 0, shape, most=most)


@pytest.mark.parametrize("axis", [2, -3, 7])
def test_an_axis_that_a_block_has_not_is_refused(axis):
    with pytest.raises(nqz.UsageError, match=f"axis={axis}, and the array 2"):
        encode_block(gaussian(8, 8), axis, {"rate": 4})
    with pytest.raises(nqz.CorruptError, match="another's"):
        decode_block(nqz.encode(gaussian(8, 8), rate=4), axis)
    for odd in ("0", 0.0, True, None):
        with pytest.raises(nqz.UsageError, match="an integer is needed"):
            check_options({"rate": 4}, odd)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 5)])
def test_blocks_without_entries_come_back(shape):
    array = np.zeros(shape, np.float32)
    assert decode_block(encode_block(array, 1, {"rate": 4}), 1, shape, "float32").shape == shape


def test_coding_again_what_was_decoded_warns_and_nothing_else_does():
    again = Again()
    first, other = gaussian(30, 20), np.random.default_rng(1).standard_normal((30, 20)).astype("float32")
    again.remember(first)
    again.remember(np.zeros((30, 20), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.warn(other)
        again.warn(np.zeros((30, 20), np.float32))
        again.warn(first[:20])
    changed = first.copy()
    changed[3:9] = 1.0
    with pytest.warns(UserWarning, match="second error"):
        again.warn(changed)


def test_options_that_no_codec_has_are_refused_by_name():
    check_options({"rate": 4, "error": None, "kappa": 1.0})
    for options, said in (
        ({"rate": 4, "lattise": "z"}, "no option 'lattise'; it has axis, rate"),
        ({"rate": 4, "threads": 2}, "no option 'threads'"),
        ({"rate": 4, "error": 0.1}, "one of rate, error and max_bytes"),
        ({"rate": None}, "one of rate, error and max_bytes"),
    ):
        with pytest.raises(nqz.UsageError, match=said):
            check_options(options)


def test_arrays_of_dask_need_dask(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(nqz.UsageError, match=r"nqz\[dask\]"):
        nqz.open(nqz.encode(gaussian(8, 8), rate=4)).matrix.to_dask()
