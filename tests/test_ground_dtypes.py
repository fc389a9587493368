"""Data types: names and codes, exact bfloat16, saturating casts."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest

from nqz.ground import dtypes


def same_bits(a, b):
    return a.dtype.itemsize == b.dtype.itemsize and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", ["bool", "int8", "uint64", "float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_numpy_names_round_trip(name, order):
    dtype = np.dtype(name).newbyteorder(order)
    known, byte_order = dtypes.from_numpy(dtype)
    assert known == name
    assert byte_order == ("|" if dtype.itemsize == 1 else order)
    assert np.dtype(dtypes.to_npy_descr(known, byte_order)) == dtype


@pytest.mark.parametrize(
    "dtype", ["O", "V2", "S4", "U3", "M8[s]", "m8", [("a", "f4")], "(2,)f4", np.longdouble]
)
def test_other_numpy_types_are_unknown(dtype):
    assert dtypes.from_numpy(np.dtype(dtype)) is None


def test_types_of_ml_dtypes_are_recognized():
    assert dtypes.from_numpy(np.dtype(ml_dtypes.bfloat16)) == ("bfloat16", "<")
    assert dtypes.from_numpy(np.dtype(ml_dtypes.float8_e4m3fn)) == ("float8_e4m3fn", "|")
    # four bits in a byte: not the packed type of a file
    assert dtypes.from_numpy(np.dtype(ml_dtypes.float4_e2m1fn)) is None


@pytest.mark.parametrize(
    "code", ["BOOL", "I8", "U64", "F16", "BF16", "F64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4"]
)
def test_safetensors_codes_round_trip(code):
    assert dtypes.to_safetensors(dtypes.from_safetensors(code)) == code


def test_unknown_safetensors_code():
    assert dtypes.from_safetensors("F7") is None


def test_matrix_types_are_in_the_order_of_the_table():
    assert [name for name in dtypes._TABLE if dtypes.is_matrix_dtype(name)] == list(dtypes.MATRIX_DTYPES)
    assert not dtypes.is_matrix_dtype("float8_e8m0fnu")


def test_data_bytes_are_python_integers():
    assert dtypes.data_bytes((1 << 40, 1 << 40), "float64") == 1 << 83
    assert dtypes.data_bytes((3,), "float4_e2m1fn") == 2
    assert dtypes.data_bytes((), "bfloat16") == 2
    assert dtypes.data_bytes((5, 0), "float32") == 0


def test_bfloat16_to_float32_is_exact_for_every_number():
    every = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(all="ignore"):
        expected = every.view(ml_dtypes.bfloat16).astype(np.float32)
    ours = dtypes.bfloat16_to_float32(every)
    finite = ~np.isnan(expected)
    assert same_bits(ours[finite], expected[finite])
    assert np.isnan(ours[~finite]).all()


def test_float32_to_bfloat16_agrees_with_ml_dtypes():
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 32, 1 << 18, dtype=np.uint64).astype(np.uint32)
    every = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    # ties, and one unit on either side of them
    bits = np.concatenate(
        [bits, every | np.uint32(0x8000), every | np.uint32(0x7FFF), every | np.uint32(0x8001)]
    )
    values = bits.view(np.float32)
    values = values[~np.isnan(values)]
    with np.errstate(all="ignore"):
        expected = values.astype(ml_dtypes.bfloat16)
    assert same_bits(dtypes.float32_to_bfloat16(values), expected)


def test_nan_stays_nan_in_bfloat16():
    nans = np.array([0x7F800001, 0xFFFFFFFF, 0x7FC00000], dtype=np.uint32).view(np.float32)
    assert np.isnan(dtypes.bfloat16_to_float32(dtypes.float32_to_bfloat16(nans))).all()


@pytest.mark.parametrize("source", [np.float32, np.float64])
@pytest.mark.parametrize("name", dtypes.MATRIX_DTYPES)
def test_cast_saturates_without_warnings(source, name):
    top = dtypes.largest_finite(name)
    huge = np.finfo(source).max
    with np.errstate(all="ignore"):
        near = source(top) if np.isfinite(source(top)) else huge
        beyond = np.nextafter(near, source(np.inf))
        values = np.array([np.inf, huge, near, beyond, 0.0, 1.5], dtype=source)
        values = np.concatenate([values, -values])
    expected = [min(float(value), top) for value in values[:6]]
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        cast = dtypes.cast_saturating(values, name)
    assert cast.dtype == dtypes.storage_dtype(name)
    back = dtypes.widen(cast, name).astype(np.float64)
    assert np.isfinite(back).all()
    assert back[0] == top and back[5] == 1.5
    assert back[:6].tolist() == expected and back[6:].tolist() == [-value for value in expected]


def test_values_that_would_round_to_infinity_saturate():
    assert dtypes.cast_saturating(np.array([65519.9, 65520.0, 1e9, -65520.0]), "float16").tolist() == [
        65504.0,
        65504.0,
        65504.0,
        -65504.0,
    ]
    half_beyond = dtypes.largest_finite("bfloat16") * (1 + 2.0**-9)
    assert dtypes.cast_saturating(np.array([half_beyond, -half_beyond]), "bfloat16").tolist() == [
        0x7F7F,
        0xFF7F,
    ]


def test_float64_to_bfloat16_rounds_once():
    # Above a tie of bfloat16 by less than float32 can tell: rounding twice would take the tie to even.
    value = np.array(
        [1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8, 1 + 2.0**-8 - 2.0**-40, 1 + 3 * 2.0**-8 - 2.0**-40]
    )
    expected = [0x3F81, 0x3F80, 0x3F80, 0x3F81]
    assert dtypes.cast_saturating(value, "bfloat16").tolist() == expected
    assert dtypes.cast_saturating(-value, "bfloat16").tolist() == [0x8000 | bits for bits in expected]


def test_float64_to_bfloat16_is_the_nearest_everywhere():
    rng = np.random.default_rng(2)
    values = rng.standard_normal(20000) * np.exp2(rng.integers(-140, 126, 20000).astype(float))
    cast = dtypes.cast_saturating(values, "bfloat16")
    error = np.abs(dtypes.bfloat16_to_float32(cast).astype(float) - values)
    for step in (-1, 1):
        neighbor = dtypes.bfloat16_to_float32((cast.astype(np.int32) + step).astype(np.uint16)).astype(float)
        assert (error <= np.abs(neighbor - values))[(cast & 0x7FFF) != 0].all()


def test_cast_of_a_strided_array():
    values = np.arange(24, dtype=np.float64).reshape(4, 6) % 9
    for name in dtypes.MATRIX_DTYPES:
        cast = dtypes.cast_saturating(values.T[::2], name)
        assert (dtypes.widen(cast, name) == values.T[::2]).all()


def test_widen_is_exact():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = dtypes.widen(every, "float16")
    assert wide.dtype == np.float32
    assert (wide[np.isfinite(every)] == every[np.isfinite(every)]).all()
    doubles = np.array([1e300])
    assert dtypes.widen(doubles, "float64") is doubles
