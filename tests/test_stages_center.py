"""Stored means: how fine they are, and when they are exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nqz.stages import center, norms


def column_codes(sigma, n):
    """Norm codes of columns of n entries with the given standard deviations."""
    mantissa, exponent = np.frexp(np.asarray(sigma, np.float64))
    return norms.encode(mantissa * mantissa * n, exponent)


@settings(max_examples=300, deadline=None)
@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e3),
    st.integers(-250, 250),
    st.integers(1, 1 << 26),
    st.integers(0, 14),
)
def test_step_rule(mean, sigma, power, n, digits):
    """|mean - stored| is at most half of σ / (8 √n) · 2 ** -digits · min(1, σ / |mean|)."""
    mean, sigma = mean * 2.0**power, sigma * 2.0**power
    codes = column_codes([sigma], n)
    shift, q = center.quantize(np.array([mean]), codes, n, digits)
    stored = center.restore(shift, q, codes, n, digits)
    limit = sigma / (8 * math.sqrt(n)) * 2.0**-digits * min(1.0, sigma / abs(mean) if mean else 1.0)
    # the norm code is within 1/512 octave
    assert abs(mean - stored[0]) <= 0.5 * limit * 1.0015
    if shift[0] == center.EXACT:
        assert stored[0] == mean and center.step(shift, codes, n, digits)[0] == 0
    elif q[0]:
        step = center.step(shift, codes, n, digits)[0]
        assert 0 < step <= limit * 1.0015 and stored[0] == q[0] * step


def test_steps_are_not_wastefully_fine():
    """On ordinary data a mean takes about 10 bits more than the rate's digits allow for: far from 53."""
    rng = np.random.default_rng(1)
    for n in (100, 4096):
        mean = rng.standard_normal(500) / math.sqrt(n)
        _, q = center.quantize(mean, column_codes(np.ones(500), n), n, 0)
        assert np.log2(np.abs(q).max()) <= 11


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -3.7, 5e-324, 1e300, -1.7976931348623157e308, 2.0**-1022])
def test_constant_columns_are_exact(value):
    codes = np.array([norms.ZERO])
    shift, q = center.quantize(np.array([value]), codes, 10, 3)
    stored = center.restore(shift, q, codes, 10, 3)
    assert stored[0] == value and math.copysign(1, stored[0]) == math.copysign(1, value)
    assert center.step(shift, codes, 10, 3)[0] == 0


def test_enormous_offsets_are_kept_as_float64():
    mean = np.array([1e12 + 0.1, -math.pi * 1e200])
    codes = column_codes([1.0, 1.0], 1000)
    shift, q = center.quantize(mean, codes, 1000, 4)
    stored = center.restore(shift, q, codes, 1000, 4)
    assert (shift == center.EXACT).all() and np.array_equal(stored, mean)


def test_means_are_those_of_the_columns_asked_for():
    codes = column_codes(np.ones(5), 100)
    shift, q = center.quantize(np.array([0.1, -7.25, 0.0, 1e30, 3.0]), codes, 100, 2)
    means = center.Means(codes, 100, center.Digits(2), shift, q)
    for columns in (slice(1, 4), np.array([4, 0])):
        expected = center.restore(shift, q, codes, 100, 2)[columns]
        assert np.array_equal(means.at(columns), expected)
        assert np.array_equal(means.steps(columns, 3), center.step(shift, codes, 100, 2, 3)[columns])
    none = center.Means.none(codes, 100)
    assert not none.at(slice(0, 3)).any() and none.steps(np.array([1, 2])).tolist() == [0.0, 0.0]


def test_means_of_loud_columns_have_more_digits():
    """One for each time that the norm doubles beyond the reference, up to what columns get bits."""
    codes = np.array([norms.ZERO, -5000, 999, 1000, 1000 + 511, 1000 + 512, 1000 + 3 * 512, 1 << 21])
    assert center.Digits(4, 1000).of(codes).tolist() == [4, 4, 4, 4, 4, 5, 7, 17]
    assert center.Digits(20, 1000).of(codes).tolist() == [20] * 8 == center.Digits(20).of(codes).tolist()
    codes = column_codes([1.0, 2.0**12], 100)
    means = center.Means.rounded(np.array([0.3, 0.3]), codes, 100, center.Digits(2, int(codes[0])))
    quiet, loud = means.steps(slice(None)).tolist()
    assert quiet == loud  # of the same absolute noise
    assert (
        means.at(np.array([1]))[0]
        == center.restore(*(x[1:] for x in (means.shift, means.q, codes)), 100, 14)[0]
    )
