"""The ring code: the reference bit for bit, the best labels where all can be tried, distortion, dither, any bytes."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

import nqz.reference
from nqz.reference.codings.ring import LANES, ROWS, labels_of, pack, unpack
from nqz.reference.codings.ring_codes import AUTO, BITS2, ENTRY_UNIT, WINDOWS, RingForm, form_of
from remembered import reference

DITHER = nqz.reference.words(nqz.reference.Key(1, 2), 0, 8192).view(np.uint8)
PLAIN = np.zeros(65536, np.uint8)


def coded(implementation, lengths, bits2, u, n, window=0, first=0, dither=DITHER, forms=None):
    """Bytes, moments and points."""
    more = () if forms is None else (forms,)
    code = implementation.RingCode(window, dither, *more)
    lengths, bits2 = np.array(lengths, np.int64), np.array(bits2, np.int32)
    size = sum(implementation.ring_bytes(int(n), int(b)) for n, b in zip(lengths, bits2, strict=True))
    out, moments = np.full(size, 99, np.uint8), np.full((u.size // n, 3), 99, np.int64)
    implementation.ring_encode(code, lengths, bits2, first, u, n, out, moments)
    return out, moments, decoded(implementation, lengths, bits2, out, window, first, dither, forms)


def decoded(implementation, lengths, bits2, data, window=0, first=0, dither=DITHER, forms=None):
    """Points."""
    more = () if forms is None else (forms,)
    code = implementation.RingCode(window, dither, *more)
    points = np.full(int(np.sum(lengths)), 99, np.int32)
    implementation.ring_decode(
        code, np.array(lengths, np.int64), np.array(bits2, np.int32), first, data, points
    )
    return points


@pytest.mark.parametrize("bits2", BITS2)
def test_it_equals_the_reference(native, bits2):
    rng = np.random.default_rng(60 + bits2)
    for window, lengths in ((0, [1]), (12, [320, 64]), (14, [480]), (16, [96])):
        u = rng.standard_normal(sum(lengths)).astype(np.float32)
        u[::41] *= 9
        n = lengths[-1]
        expected = coded(reference, lengths, [bits2] * len(lengths), u, n, window, 2047)
        for a, b in zip(
            coded(native, lengths, [bits2] * len(lengths), u, n, window, 2047), expected, strict=True
        ):
            assert a.dtype == b.dtype and (a == b).all()


def test_it_equals_the_reference_in_rings_of_several_blocks(native):
    u = np.random.default_rng(70).standard_normal(2400).astype(np.float32)
    for a, b in zip(
        coded(native, [2400], [7], u, 2400, 12), coded(reference, [2400], [7], u, 2400, 12), strict=True
    ):
        assert (a == b).all()


def test_what_is_not_a_number_or_huge_is_coded_as_the_reference_does(native):
    u = np.random.default_rng(71).standard_normal(128).astype(np.float32)
    u[5], u[6], u[7], u[40], u[90:] = np.nan, np.inf, -np.inf, 1e30, 300
    for bits2 in (2, 5, 8):
        got, expected = (coded(k, [128], [bits2], u, 32, 12) for k in (native, reference))
        for a, b in zip(got, expected, strict=True):
            assert (a == b).all()


def test_any_bytes_decode_to_what_the_labels_say(native):
    rng = np.random.default_rng(72)
    lengths, bits2 = [1, 33, 1024, 999], [3, 8, 5, 6]
    data = rng.integers(0, 256, sum(map(nqz.reference.ring_bytes, lengths, bits2)), dtype=np.uint8)
    for window in WINDOWS:
        expected = decoded(reference, lengths, bits2, data, window, 7)
        assert (decoded(native, lengths, bits2, data, window, 7) == expected).all()


@pytest.mark.parametrize("bits2", BITS2)
def test_symbols_come_back_from_their_bytes(bits2):
    rng = np.random.default_rng(73)
    for steps in (1, 2, 3, ROWS[bits2][0], ROWS[bits2][0] + 1, 37):
        bits = (bits2 + np.arange(steps) % 2) // 2
        symbols = rng.integers(0, 1 << bits[:, None], (steps, LANES))
        data = pack(symbols, bits2)
        assert data.size == nqz.reference.ring_bytes(steps * LANES, bits2) == 4 * bits.sum()
        assert (unpack(data, bits2, steps) == symbols).all()


def test_the_label_of_a_window_is_that_of_the_bits_of_the_string(native):
    """Decode a string of bits that is laid out by hand, at 3 bits: every window, around all lanes."""
    rng = np.random.default_rng(74)
    form, steps = form_of(6, 12), 11
    symbols = rng.integers(0, 8, (LANES, steps))  # in the order of the ring
    string = "".join(f"{x:03b}" for x in symbols.reshape(-1))
    points = decoded(native, [steps * LANES], [6], pack(symbols.T, 6), 12, 3)
    first = 32 * (1265 * 3 % 2048)
    for lane, t in itertools.product((0, 1, 31), (0, 1, 10)):
        end = 3 * (lane * steps + t + 1)
        window = int((string + string)[len(string) + end - 12 : len(string) + end], 2)
        label = 0
        for i, generator in enumerate(form.generators[0]):
            label ^= generator * (window >> i & 1)
        z = DITHER[(first + LANES * t + lane) % 65536] & 127
        assert points[LANES * t + lane] == form.values[label ^ z]


@cache
def exhaustive(number):
    """A ring of 32 entries at 4 bits, and its least squared error: Viterbi in float64 from each state, all branches."""
    form = form_of(8, 12)
    u = np.random.default_rng(75 + number).integers(-10000, 10000, 32).astype(np.float64) / ENTRY_UNIT
    z = DITHER[(32 * (1265 * number % 2048) + np.arange(32)) % 65536]
    states = 1 << form.memory
    # By the state in which a ring begins, and the one reached.
    cost = np.where(np.eye(states) > 0, 0.0, np.inf)
    windows = np.arange(states) + (np.arange(16)[:, None] << form.memory)
    for x, level in zip(u, z, strict=True):
        branch = (x - form.values[form.labels_of(0, windows) ^ level] / form.unit) ** 2
        reached = np.full((states, states), np.inf)
        for source, away in zip(windows >> 4, branch, strict=True):
            reached = np.minimum(reached, cost[:, source] + away)
        cost = reached
    return u.astype(np.float32), np.diag(cost).min()


def test_short_rings_are_coded_nearly_as_well_as_can_be(native):
    """The least error of all 2^128 rings, against what the search finds with its seam, its classes and its integers."""
    form, ratios = form_of(8, 12), []
    for number in range(3):
        u, least = exhaustive(number)
        _, moments, points = coded(native, [32], [8], u, 32, 12, number)
        found = ((u.astype(float) - points / form.unit) ** 2).sum()
        assert found >= least * (1 - 1e-9)
        ratios.append(found / least)
        x = np.rint(ENTRY_UNIT * u.astype(float))
        assert moments[0].tolist() == [x @ points, points @ points, x @ x]
    assert np.mean(ratios) < 1.25, ratios


def limit(bits2):
    """Excess over R + ½ log2 D = 0 that is promised, in bits, by windows of every rate."""
    return {2: 0.049, 3: 0.075, 4: 0.0715, 5: 0.085, 6: 0.0735, 7: 0.095, 8: 0.097}[bits2]


@pytest.mark.parametrize("bits2", BITS2)
def test_the_error_is_what_is_stated(native, bits2):
    """Within five standard errors of 24 columns, which leave 6e-7 to chance."""
    n, columns = 2048, 24
    u = np.random.default_rng(80 + bits2).standard_normal((columns, n)).astype(np.float32)
    _, moments, points = coded(native, [n] * columns, [bits2] * columns, u.reshape(-1), n)
    form, energy = form_of(bits2), (u.astype(float) ** 2).sum(axis=1)
    cross = moments[:, 0] / ENTRY_UNIT
    each = 1 - cross**2 / (energy * moments[:, 1])
    assert abs(each.mean() / form.distortion - 1) < 5 * each.std() / each.mean() / np.sqrt(columns)
    slope = cross / energy
    assert abs(slope.mean() / form.gain - 1) < 5 * slope.std() / form.gain / np.sqrt(columns)
    assert 0.3 < n * slope.var() / form.gain**2 / form.along < 2.5
    assert bits2 / 2 + 0.5 * np.log2(form.distortion) < limit(bits2)
    assert (points.reshape(columns, n) ** 2).sum(axis=1).tolist() == moments[:, 1].tolist()


def test_errors_of_a_column_coded_with_many_dithers_have_mean_zero(native):
    n, copies = 512, 64
    column = np.random.default_rng(90).standard_normal(n).astype(np.float32)
    u = np.tile(column, copies)
    _, moments, points = coded(native, [n] * copies, [4] * copies, u, n)
    slope = moments[:, :1] / ENTRY_UNIT / (column.astype(float) @ column)
    error = points.reshape(copies, n) / slope - column
    alone = (error**2).mean()
    # Entries within two standard deviations: those beyond are drawn in, which the slope makes up for on average.
    inner = np.abs(column) < 2
    left = (error.mean(axis=0)[inner] ** 2).mean()
    assert left < 3 * alone / copies
    # Without dither all copies are the same, and so are their errors.
    _, _, same = coded(native, [n] * copies, [4] * copies, u, n, dither=PLAIN)
    assert (same.reshape(copies, n) == same[:n]).all()


def test_rings_are_coded_one_by_one_as_all_together(native):
    u = np.random.default_rng(91).standard_normal(700 + 96 + 513).astype(np.float32)
    lengths, bits2 = [700, 96, 513], [4, 7, 2]
    out, moments, points = coded(native, lengths, bits2, u, 1, 12, 2040)
    at = begin = 0
    for r in range(3):
        end, size = begin + lengths[r], nqz.reference.ring_bytes(lengths[r], bits2[r])
        alone = coded(native, lengths[r : r + 1], bits2[r : r + 1], u[begin:end], 1, 12, 2040 + r)
        for a, b in zip(alone, (out[at : at + size], moments[begin:end], points[begin:end]), strict=True):
            assert (a == b).all()
        begin, at = end, at + size


def test_dither_repeats_only_after_2048_rings(native):
    code, lengths, bits2 = (
        native.RingCode(12, DITHER),
        np.full(4096, 32, np.int64),
        np.full(4096, 4, np.int32),
    )
    points = np.empty((4096, 32), np.int32)
    native.ring_decode(code, lengths, bits2, 0, np.zeros(4096 * 8, np.uint8), points.reshape(-1))
    assert len(np.unique(points[:2048], axis=0)) == 2048
    assert (points[:2048] == points[2048:]).all()


def test_arguments_that_do_not_fit_are_refused(native):
    for kernels in (native, nqz.reference):
        code = kernels.RingCode(0, DITHER)
        one, two = np.array([64], np.int64), np.array([4], np.int32)
        u, out, moments = np.zeros(64, np.float32), np.zeros(16, np.uint8), np.zeros((1, 3), np.int64)
        points = np.zeros(64, np.int32)
        with pytest.raises(ValueError, match="window must be 0, 12, 14 or 16"):
            kernels.RingCode(13, DITHER)
        with pytest.raises(ValueError, match=r"dither must be uint8 \[65536\]"):
            kernels.RingCode(0, DITHER[:-1])
        with pytest.raises(ValueError, match="bits2 must be 2 to 8"):
            kernels.ring_bytes(64, 9)
        with pytest.raises(ValueError, match="a ring has at least one entry"):
            kernels.ring_bytes(0, 4)
        with pytest.raises(ValueError, match=r"out must be uint8 \[bytes of the rings\]"):
            kernels.ring_encode(code, one, two, 0, u, 64, out[:-1], moments)
        with pytest.raises(ValueError, match="rings must have whole columns"):
            kernels.ring_encode(code, one, two, 0, u, 63, out, moments)
        with pytest.raises(ValueError, match=r"u must be float32 \[N\]"):
            kernels.ring_encode(code, one, two, 0, u[:-1], 64, out, moments)
        with pytest.raises(ValueError, match=r"moments must be int64 \[c, 3\]"):
            kernels.ring_encode(code, one, two, 0, u, 32, out, moments)
        with pytest.raises(ValueError, match="first must not be negative"):
            kernels.ring_decode(code, one, two, -1, out, points)
        with pytest.raises(ValueError, match=r"data must be uint8 \[bytes of the rings\]"):
            kernels.ring_decode(code, one, two, 0, np.zeros(17, np.uint8), points)
        with pytest.raises(ValueError, match=r"points must be int8 or int32 \[N\]"):
            kernels.ring_decode(code, one, two, 0, out, points[:-1])
        with pytest.raises(ValueError, match="bits2 must be 2 to 8"):
            kernels.ring_decode(code, one, np.array([1], np.int32), 0, out, points)
        with pytest.raises(ValueError, match="a ring has 1 to 2"):
            kernels.ring_decode(code, np.array([-5], np.int64), two, 0, out, points)


def test_forms_keep_the_rules_of_the_search():
    for bits2, window in itertools.product(BITS2, WINDOWS):
        form = form_of(bits2, window)
        assert form.window == window and form_of(bits2, AUTO[bits2]) is not None
        values = form.values
        assert (values == -values[::-1]).all()
        # The branches that leave a state, and those that enter one, have one value of each class.
        for kind, generator in enumerate(form.generators):
            bits, low = bits2 // 2 + kind, form.labels - bits2 // 2 - kind
            for symbols in (np.arange(1 << bits), np.arange(1 << bits) << form.memory):
                classes = form.labels_of(kind, symbols) >> low
                assert sorted(classes.tolist()) == list(range(1 << bits))
            assert len(generator) == form.memory + bits


def test_a_form_that_breaks_the_rules_is_refused():
    form = form_of(4, 12)
    generator = list(form.generators[0])
    generator[2] |= 16
    parts = (4, 12, form.labels, (tuple(generator),), form.half, form.unit, 0.07, form.gain, form.along)
    with pytest.raises(ValueError, match="breaks the rules"):
        RingForm(*parts)
    with pytest.raises(ValueError, match="as many values"):
        RingForm(4, 12, 6, form.generators, form.half[1:], form.unit, 0.07, form.gain, form.along)


def test_labels_do_not_depend_on_where_the_lanes_begin():
    """Turned by one lane, symbols have the same labels."""
    form = form_of(5, 14)
    symbols = np.random.default_rng(92).integers(0, 4, (20, LANES))
    turned = labels_of(form, np.roll(symbols, 1, axis=1))
    assert (turned == np.roll(labels_of(form, symbols), 1, axis=1)).all()
