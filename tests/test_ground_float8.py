"""float8: all codes, ties and millions of values, against ml_dtypes and against the definition of nearest."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nqz.ground import dtypes, float8

CODES = np.arange(256, dtype=np.uint8)


def theirs(name):
    return np.dtype(getattr(ml_dtypes, name))


@pytest.mark.parametrize("name", float8.FLOAT8)
def test_every_code_has_the_value_of_ml_dtypes(name):
    expected = CODES.view(theirs(name)).astype(np.float32)
    assert np.array_equal(dtypes.widen(CODES, name), expected, equal_nan=True)
    assert np.array_equal(np.signbit(dtypes.widen(CODES, name)), np.signbit(expected)) or name.endswith("uz")
    assert dtypes.largest_finite(name) == float(ml_dtypes.finfo(theirs(name)).max)
    assert 2.0 ** float8.FLOAT8[name].least == float(ml_dtypes.finfo(theirs(name)).smallest_subnormal)


@pytest.mark.parametrize("name", float8.FLOAT8)
def test_every_finite_number_comes_back(name):
    values = dtypes.widen(CODES, name)
    finite = np.isfinite(values)
    assert np.array_equal(dtypes.cast_saturating(values[finite], name), CODES[finite])
    assert np.array_equal(dtypes.cast_saturating(values[finite].astype(np.float64), name), CODES[finite])


@pytest.mark.parametrize("name", float8.FLOAT8)
def test_float32_values_are_rounded_as_ml_dtypes_does(name):
    rng = np.random.default_rng(1)
    finite = np.unique(dtypes.widen(CODES, name)[np.isfinite(dtypes.widen(CODES, name))])
    ties = (finite[1:] + finite[:-1]) / np.float32(2)
    zeros = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-30, -1e-30], np.float32)
    values = np.concatenate(
        [
            (rng.standard_normal(1 << 21) * np.exp2(rng.integers(-24, 18, 1 << 21))).astype(np.float32),
            ties, np.nextafter(ties, np.float32(1e9)), np.nextafter(ties, np.float32(-1e9)), zeros,
        ]
    )  # fmt: skip
    top = np.float32(dtypes.largest_finite(name))
    expected = np.clip(values, -top, top).astype(theirs(name)).view(np.uint8)
    assert np.array_equal(dtypes.cast_saturating(values, name), expected)


@pytest.mark.parametrize("name", float8.FLOAT8)
def test_float64_values_are_rounded_once(name):
    finite = np.unique(dtypes.widen(CODES, name)[np.isfinite(dtypes.widen(CODES, name))]).astype(np.float64)
    ties = (finite[1:] + finite[:-1]) / 2.0
    below, above = (
        np.nextafter(ties, -np.inf),
        np.nextafter(ties, np.inf),
    )  # float32 cannot tell them from the tie
    for values, expected in ((below, finite[:-1]), (above, finite[1:])):
        assert np.array_equal(dtypes.widen(dtypes.cast_saturating(values, name), name), expected)
    even = dtypes.cast_saturating(ties, name)
    assert (even[ties != 0] % 2 == 0).all()


@pytest.mark.parametrize("name", float8.FLOAT8)
def test_what_is_too_large_saturates_and_nan_stays_nan(name):
    top = dtypes.largest_finite(name)
    cast = dtypes.cast_saturating(np.array([np.inf, -np.inf, 1e300, -1e300, top * 1.2, np.nan]), name)
    assert dtypes.widen(cast, name)[:5].tolist() == [top, -top, top, -top, top]
    assert np.isnan(dtypes.widen(cast, name)[5])


@pytest.mark.parametrize("name", float8.FLOAT8)
def test_codes_may_lie_at_the_end_of_where_their_values_go(name):
    codes = np.random.default_rng(2).integers(0, 256, 300_001).astype(np.uint8)
    out = np.empty(len(codes), np.float16)
    place = out.view(np.uint8)[len(codes) :]
    place[:] = codes
    float8.widen(place, name, out)
    assert np.array_equal(out.view(np.uint16), float8.values(name)[codes].view(np.uint16))
