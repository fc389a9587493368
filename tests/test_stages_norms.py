"""Norm codes: how near they are to the energies, and their serialization."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nqz.stages import norms

CODE = st.one_of(st.just(norms.ZERO), st.integers(-(1 << 21), 1 << 21))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-250, 1e250), st.integers(-1100, 1100)), min_size=1, max_size=20))
def test_codes_are_within_half_a_step_of_the_energy(columns):
    energy, exponent = (np.array(x) for x in zip(*columns, strict=True))
    codes = norms.encode(energy, exponent)
    octaves = np.array([math.log2(e) for e in energy]) + 2.0 * exponent
    assert np.abs(codes / 256 - octaves).max() <= 1 / 512 + 1e-9


def test_a_column_without_energy_has_its_own_code():
    codes = norms.encode(np.array([0.0, 1.0, 0.0]), np.array([5, 0, -1000]))
    assert codes.tolist() == [norms.ZERO, 0, norms.ZERO]
    assert norms.energy(codes).tolist() == [0.0, 1.0, 0.0]


def test_energies_of_extreme_codes_are_relative_to_the_loudest():
    codes = norms.encode(np.array([0.75, 0.75, 0.75]), np.array([1000, 999, -1000]))
    reference = norms.loudest(codes)
    assert reference == codes[0]
    assert norms.energy(codes, reference).tolist() == [1.0, 0.25, 0.0]  # the last one underflows
    assert norms.energy(codes[2:], norms.loudest(codes[2:])).tolist() == [1.0]


@pytest.mark.parametrize("codes", [[], [norms.ZERO], [norms.ZERO, norms.ZERO]])
def test_the_reference_of_silent_columns_is_a_proper_code(codes):
    codes = np.array(codes, np.int64)
    assert abs(norms.loudest(codes)) <= 1 << 21
    assert (norms.energy(codes, norms.loudest(codes)) == 0).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(CODE, max_size=40))
def test_offsets_and_back(codes):
    codes = np.array(codes, np.int64)
    least, offsets = norms.to_offsets(codes)
    assert ((offsets == 0) == (codes == norms.ZERO)).all()
    assert np.array_equal(norms.from_offsets(least, offsets), codes)


def test_codes_beyond_the_limit_are_refused():
    limit = 1 << 21
    assert norms.from_offsets(limit, np.array([0, 1])).tolist() == [norms.ZERO, limit]
    for least, offset in ((limit, 2), (limit - 3, 5), (-limit - 1, 1), (limit + 1, 0), (0, -1)):
        with pytest.raises(ValueError, match="out of range"):
            norms.from_offsets(least, np.array([offset]))


@settings(max_examples=200, deadline=None)
@given(st.lists(CODE, max_size=40), st.lists(CODE, max_size=40), st.sampled_from([np.int32, np.int64]))
def test_histograms_count_codes_and_add(left, right, dtype):
    left, right = np.array(left, dtype), np.array(right, dtype)
    both = np.concatenate([left, right])
    found = norms.Histogram.joined([norms.Histogram.of(left), norms.Histogram.of(right)])
    for histogram in (found, norms.Histogram.of(both), pickle.loads(pickle.dumps(found))):  # noqa: S301
        codes, counts = np.unique(both, return_counts=True)
        assert histogram.codes.dtype == histogram.counts.dtype == np.int64
        assert histogram.codes.tolist() == codes.tolist() and histogram.counts.tolist() == counts.tolist()
        assert histogram.columns == len(both)
        assert np.array_equal(histogram.codes[histogram.index(both)], both)
        assert np.array_equal(histogram.look_up(histogram.codes * 3, both), both.astype(np.int64) * 3)


def test_histograms_are_gathered_from_as_many_as_there_are(monkeypatch):
    monkeypatch.setattr("nqz.stages.norms._GATHERED", 20)
    codes = np.random.default_rng(3).integers(-40, 40, 900)
    for parts in (1, 2, 90, 900):
        found = norms.Histogram.gathered(map(norms.Histogram.of, np.array_split(codes, parts)))
        expected = norms.Histogram.of(codes)
        assert np.array_equal(found.codes, expected.codes) and np.array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("far", [0, 300, -300, 8000, -8000])
def test_energies_of_histograms_are_those_of_all_columns(far):
    """In any unit, beyond the range of float64 too."""
    codes = np.array([0, norms.ZERO, 256, 0, 512, norms.ZERO])
    found = norms.Histogram.of(np.where(codes == norms.ZERO, codes, codes + far * norms.STEPS))
    assert found.energies(far * norms.STEPS).tolist() == [0.0, 2.0, 2.0, 4.0]
    assert found.energy() == (0.5, far + 4)
    assert norms.Histogram.of(np.array([norms.ZERO])).energy() == (0.0, 0)
    assert norms.Histogram.of(np.zeros(0, np.int32)).energy() == (0.0, 0)


def test_histograms_of_close_codes_have_a_table():
    codes = np.array([5, norms.ZERO, 7, 1000, 5], np.int32)
    assert norms.Histogram.of(codes).rows is not None
    assert norms.Histogram.of(np.append(codes, np.int32(5000))).rows is None
