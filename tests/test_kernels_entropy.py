"""Entropy coding: round trips, the reference bit for bit, the size that theory gives, corrupt streams."""

from __future__ import annotations

import dataclasses
import itertools
import sys

import numpy as np
import pytest

import nqz.reference
from kernel_cases import LANES, Case, assert_same, chunk, dither, outcome, weights
from nqz import kernels
from nqz.kernels import CorruptStream
from nqz.reference.lattices import lattice_of
from nqz.reference.lattices.contract import chance
from remembered import reference


@pytest.mark.parametrize("lattice", [0, 1, 2])
@pytest.mark.parametrize("lanes", LANES)
def test_entropy_equals_the_reference(native, lattice, lanes):
    rng = np.random.default_rng(lattice * 64 + lanes)
    for count in (1, 9, 8 * lanes, 1500, 2300):
        for m in (1, 13, 333, 10**6):
            case = chunk(rng, lattice, count, lanes, m)
            streams = case.encode(native)
            assert_same(streams, case.encode(reference))
            assert (case.decode(native, streams) == case.points).all()
            if count == 1500:
                assert (case.decode(reference, streams) == case.points).all()


@pytest.mark.parametrize("lattice, modelled", [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (39, 2)])
def test_long_chunks_equal_the_reference(native, lattice, modelled):
    rng = np.random.default_rng(30 + lattice)
    case = chunk(rng, lattice, 70000, 32, 5000, modelled=modelled)
    streams = case.encode(native)
    assert_same(streams, case.encode(reference))
    assert (case.decode(native, streams) == case.points).all()
    _, words, code, _, escapes = streams
    assert words.size > 1000 and escapes.size > 100
    assert (code.size == 0) == (bool(modelled) or lattice == 0)


def test_extreme_points_survive(native):
    rng = np.random.default_rng(33)
    for lattice in (0, 1, 2):
        case = chunk(rng, lattice, 512, 8, 100)
        # Multiples of 16 change neither the dither nor the codeword.
        case.points += (rng.integers(-(2**27) + 2**12, 2**27 - 2**12, 512) * 16).astype(np.int32)
        streams = case.encode(native)
        assert_same(streams, case.encode(reference))
        assert (case.decode(native, streams) == case.points).all()


def one_table(half, raw, rice):
    """Tables of the entropy coder: one, the same for all contexts; all frequencies are 1 but the first."""
    steps = np.full(2 * half + 1, 1)
    steps[0] += 4096 - steps.sum()
    cum = np.tile(np.concatenate([[0], np.cumsum(steps)]), 16).astype(np.uint16)
    values = {"half": half, "raw": raw, "rice": rice}
    return {
        **{name: np.array([value], np.int32) for name, value in values.items()},
        "offset": np.zeros(1, np.int64),
        "cum": cum,
        "weight": np.ones((1, 16), np.uint16),
        "modelled": np.zeros(1, np.uint8),
        "last": np.zeros(0, np.int32),
    }


def with_values(k, half, raw, rice, lanes=1):
    """Points of z with the given k, one column."""
    count = len(k)
    assert count % (8 * lanes) == 0
    points = (16 * np.array(k, np.int64) - dither(count)) & 15
    points = (points + 16 * np.array(k, np.int64)).astype(np.int32)
    return Case(0, points, count, 0, count, lanes, np.zeros(1, np.int32), one_table(half, raw, rice))


@pytest.mark.parametrize("half", [1, 2, 5, 6, 7, 12, 13])
def test_tables_of_few_symbols_and_of_more_decode(native, half):
    """Frequencies are of all sizes and other ones for each context, so all ways to tell slots apart are needed."""
    rng = np.random.default_rng(half)
    cuts = [np.sort(rng.choice(np.arange(1, 4096), 2 * half, replace=False)) for _ in range(16)]
    cuts[3], cuts[9] = np.arange(1, 2 * half + 1), np.arange(4096 - 2 * half, 4096)
    case = with_values(rng.integers(-half - 1, half + 2, 1 << 14), half, 0, 1, 32)
    case = case.changed(cum=np.concatenate([[0, *c, 4096] for c in cuts]).astype(np.uint16))
    streams = case.encode(native)
    assert (case.decode(native, streams) == case.points).all()
    words = streams[1]
    for cut in (words[:-1], words[: len(words) // 2]):
        with pytest.raises(CorruptStream):
            case.decode(native, (streams[0], cut, *streams[2:]))
    damaged = words.copy()
    damaged[::7] ^= rng.integers(0, 1 << 16, len(damaged[::7]), np.uint16)
    assert outcome(lambda: case.decode(native, (streams[0], damaged, *streams[2:]))) is None


@pytest.mark.parametrize("half", [1, 2, 40, 127])
@pytest.mark.parametrize("raw", [0, 3, 20])
def test_least_and_largest_frequencies_on_all_lanes(native, half, raw):
    rng = np.random.default_rng(half + raw)
    values = rng.integers(-half, half + 1, 8192)  # the escape among them
    values[rng.random(8192) < 0.3] = -half
    k = [(int(v) << raw) + int(low) for v, low in zip(values, rng.integers(0, 1 << raw, 8192), strict=True)]
    case = with_values(k, half, raw, 0, lanes=32)
    streams = case.encode(native)
    assert streams[1].size > 2500
    assert_same(streams, case.encode(reference))
    for implementation in (native, reference):
        assert (case.decode(implementation, streams) == case.points).all()


def rice_bits(k2, half, rice):
    """The code of one escape as text, bits in order of the stream."""
    x = k2 - half if k2 >= half else -half - 1 - k2
    digits = lambda value, width: "".join(str(value >> i & 1) for i in range(width))  # noqa: E731
    run = x >> rice
    code = "1" * run + "0" + digits(x, rice) if run < 20 else "1" * 20 + digits(x, 28)
    return str(int(k2 < 0)) + code


def to_bytes(bits):
    return np.packbits(np.array([int(b) for b in bits], np.uint8), bitorder="little")


@pytest.mark.parametrize("half, raw, rice", [(1, 0, 0), (5, 0, 1), (3, 2, 0), (127, 0, 20), (7, 20, 3)])
def test_escapes_are_rice_codes_in_order_of_position(native, half, raw, rice):
    edges = [half, half + 1, -half - 1, -half - 2, half + (19 << rice), half + (20 << rice) - 1]
    edges += [half + (20 << rice), half + (20 << rice) + 5, -half - 1 - (20 << rice), -half - (20 << rice)]
    k2 = [0, *edges, -half, (2**27 >> raw) - 1, -(2**27 >> raw), half - 1, 0]
    k2 = [v for v in k2 if -(2**27) >> raw <= v < 2**27 >> raw]
    k2 += [0] * (-len(k2) % 8)
    case = with_values([v << raw for v in k2], half, raw, rice)
    streams = case.encode(native)
    expected = "".join(rice_bits(v, half, rice) for v in k2 if not -half <= v < half)
    assert (streams[4] == to_bytes(expected)).all()
    assert_same(streams, case.encode(reference))
    for implementation in (native, reference):
        assert (case.decode(implementation, streams) == case.points).all()


def test_escapes_must_be_in_canonical_form(native):
    half, rice = 4, 2
    case = with_values([0, 0, 9, 0, 0, 0, 0, -1], half, 0, rice)
    streams = list(case.encode(native))
    x, good = 9 - half, rice_bits(9, half, rice)
    assert (streams[4] == to_bytes(good)).all()
    long = lambda value: "0" + "1" * 20 + "".join(str(value >> i & 1) for i in range(28))  # noqa: E731
    cases = [
        (long(x), "shortest"),
        (long((20 << rice) - 1), "shortest"),
        (long(2**27 - half), "range"),
        (long(2**28 - 1), "range"),
        (good + "1", "padding"),
        (good + "0" * 8, "left over|length"),
        ("", "early"),
        ("1" * 8, "early"),
        ("1" * 48, "early"),
    ]
    for implementation in (native, reference):
        for bits, reason in cases:
            with pytest.raises(CorruptStream, match=reason):
                case.decode(implementation, [*streams[:4], to_bytes(bits)])
        for value in (20 << rice, 2**27 - half - 1):
            out = case.decode(implementation, [*streams[:4], to_bytes(long(value))])
            assert out[2] >> 4 == value + half
        out = case.decode(implementation, [*streams[:4], to_bytes("1" + long(2**27 - half - 1)[1:])])
        assert out[2] >> 4 == -(2**27)


def test_code_bits_cost_what_the_model_says():
    # At a spread where e8's codewords are far from uniform, modelling them must save; the decoder must agree.
    rng = np.random.default_rng(34)
    case = chunk(rng, 2, 1 << 16, 32, 1 << 16, spread=0.2)
    tables = len(case.tables["half"])
    y = np.arange(16) - 16 * (np.arange(16) >= 8)
    sigma2 = (8 * 0.2) ** 2 + 64 * 929 / 6480
    weight = np.tile(weights(np.exp(-(y**2) / (2 * sigma2))), (tables, 1))
    sizes = {}
    for modelled in (0, 1):
        changed = case.changed(weight=weight, modelled=np.full(tables, modelled, dtype=np.uint8))
        streams = changed.encode(kernels)
        assert (changed.decode(kernels, streams) == case.points).all()
        sizes[modelled] = 16 * streams[1].size + 8 * streams[2].size
    assert sizes[1] < sizes[0] - 0.02 * 65536


@pytest.mark.parametrize("memory", range(2, 13))
@pytest.mark.parametrize("lanes", [32, 8])
def test_chances_that_look_ahead_are_those_of_the_reference(native, memory, lanes):
    rng = np.random.default_rng(memory)
    case = chunk(rng, 32 + memory, 40 * 8 * lanes, lanes, 12 * 8 * lanes, modelled=2)
    streams = case.encode(native)
    assert_same(streams, case.encode(reference))
    assert (case.decode(native, streams) == case.points).all()
    assert (case.decode(reference, streams) == case.points).all()


def test_chances_that_look_ahead_are_those_of_all_paths():
    """By the sum over all inputs of four steps, in floating point."""
    lattice, lanes = lattice_of(38), 50
    rng = np.random.default_rng(52)
    weight = rng.integers(1, 65536, (4, lanes, 4))
    state = rng.integers(0, 64, lanes)
    total = np.zeros((2, lanes))
    for inputs in itertools.product((0, 1), repeat=4):
        product, at = np.ones(lanes), state
        for step, u in enumerate(inputs):
            label = lattice.label[at << 1 | u]
            product *= weight[step, np.arange(lanes), label] / 65536
            at = lattice.next_state(at, u)
        total[inputs[0]] += product
    chance = lattice.chance_ahead(weight, state)
    assert chance == pytest.approx(4096 * total[1] / total.sum(axis=0), abs=8)


@pytest.mark.parametrize("lattice", [1, 2, 34, 44])
@pytest.mark.parametrize("lanes", [32, 4])
def test_least_and_largest_weights_of_code_bits(native, lattice, lanes):
    """Sums of all words at their largest, of no word but one, and of words that weigh nothing."""
    rng = np.random.default_rng(49)
    kinds = [[65535], [0], [0, 65535], [0, 1, 65534, 65535], [255, 256, 257], [32767, 32768, 65535]]
    for m, modelled in ((1000, 1), (97, 1), (1000, 2)):  # whole group rows of one table, and of several
        for values in kinds:
            if modelled == 2 and lattice < 34:
                continue
            case = chunk(rng, lattice, 2 * 1000, lanes, m, modelled=modelled)
            case = case.changed(weight=rng.choice(values, case.tables["weight"].shape).astype(np.uint16))
            streams = case.encode(native)
            assert_same(streams, case.encode(reference))
            assert (case.decode(native, streams) == case.points).all()
            assert streams[2].size == 0
    assert (case.decode(reference, streams) == case.points).all()


def test_chances_are_exact_quotients():
    zero, one = np.meshgrid(np.arange(1, 400), np.arange(1, 400))
    rng = np.random.default_rng(50)
    large = rng.integers(1, 8 * 65535 + 1, (2, 100000))
    zero, one = np.concatenate([[zero.ravel(), one.ravel()], large], axis=1)
    expected = [1 + 4095 * b // (a + b) for a, b in zip(zero.tolist(), one.tolist(), strict=True)]
    assert chance(zero, one).tolist() == expected
    assert min(expected) == 1 and max(expected) == 4095


def test_the_reference_decodes_without_floating_point():
    """Neither a variable of a function that works on a chunk, nor what it returns, has to do with floats."""
    cases = [
        chunk(np.random.default_rng(51), n, 90, 4, 17, modelled=int(n not in (0, 3)))
        for n in (0, 1, 2, 3, 35)
    ]
    cases.append(chunk(np.random.default_rng(51), 35, 90, 4, 100, modelled=2))
    arguments = [(case.arguments(nqz.reference), case.encode(nqz.reference)) for case in cases]
    seen: set[str] = set()

    def floats(value):
        if isinstance(value, (list, tuple)):
            return any(floats(item) for item in value)
        if dataclasses.is_dataclass(value):
            return any(floats(item) for item in vars(value).values())
        return isinstance(value, (float, np.floating)) or (
            isinstance(value, np.ndarray) and value.dtype.kind not in "iub"
        )

    def watch(frame, event, value):
        if not frame.f_globals["__name__"].startswith("nqz."):
            return None
        found = {name: v for name, v in [*frame.f_locals.items(), ("returned", value)] if floats(v)}
        assert not found, (frame.f_code.co_name, found)
        seen.add(frame.f_code.co_name)
        return watch

    outs = [np.zeros_like(case.points) for case in cases]
    sys.settrace(watch)
    try:
        for (first, streams), out in zip(arguments, outs, strict=True):
            nqz.reference.entropy_decode(*first, streams, out)
    finally:
        sys.settrace(None)
    assert all((case.points == out).all() for case, out in zip(cases, outs, strict=True))
    assert {"chances", "weight_of_all", "chance", "step", "prepare", "last_residue", "branch"} <= seen


def test_rans_is_within_a_few_bits_of_the_entropy(native):
    rng = np.random.default_rng(35)
    steps = np.array([2000, 1000, 700, 300, 90, 5, 1])
    cum = np.concatenate([[0], np.cumsum(steps)]).astype(np.uint16)
    symbols = rng.choice(7, 100000, p=steps / 4096).astype(np.uint8)
    states, words = native.rans_encode(symbols, cum, 32)
    ideal = -np.log2(steps / 4096)[symbols].sum()
    assert ideal - 1 < 16 * words.size + 32 * 16 < 1.001 * ideal + 32 * 32
    assert (native.rans_decode(symbols.size, cum, 32, states, words) == symbols).all()


@pytest.mark.parametrize("lanes", LANES)
def test_rans_equals_the_reference(native, lanes):
    rng = np.random.default_rng(36 + lanes)
    for count in (0, 1, lanes, lanes + 1, 5000):
        for known in (1, 2, 17, 256):
            steps = np.bincount(rng.integers(0, known, 4096), minlength=known)
            cum = np.concatenate([[0], np.cumsum(steps)]).astype(np.uint16)
            symbols = rng.choice(np.flatnonzero(steps), count).astype(np.uint8)
            states, words = native.rans_encode(symbols, cum, lanes)
            assert_same((states, words), reference.rans_encode(symbols, cum, lanes))
            for implementation in (native, reference):
                assert_same([implementation.rans_decode(count, cum, lanes, states, words)], [symbols])


def mutate(rng, array):
    """A copy with bits flipped, items dropped, added or swapped."""
    array = array.copy()
    kind = rng.integers(0, 5) if array.size else 3
    if kind == 0:
        array.view(np.uint8)[rng.integers(0, array.nbytes)] ^= np.uint8(1 << rng.integers(0, 8))
    elif kind == 1:
        array = array[: rng.integers(0, array.size)]
    elif kind == 2:
        array = np.delete(array, rng.integers(0, array.size))
    elif kind == 3:
        array = np.append(array, rng.integers(0, 256, 1).astype(array.dtype))
    else:
        array.view(np.uint8)[:] = rng.integers(0, 256, array.nbytes)
    return np.ascontiguousarray(array)


@pytest.mark.parametrize("lattice", [0, 1, 2])
def test_corrupt_streams_are_refused_as_the_reference_does(native, lattice):
    rng = np.random.default_rng(40 + lattice)
    refused = 0
    for _ in range(60):
        lanes, count = int(rng.choice(LANES)), int(rng.integers(1, 400))
        case = chunk(rng, lattice, count, lanes, int(rng.integers(1, 300)))
        streams = list(case.encode(native))
        for _ in range(4):
            bad = list(streams)
            which = int(rng.integers(0, 5))
            bad[which] = mutate(rng, bad[which])
            actual = outcome(lambda: case.decode(native, bad))
            expected = outcome(lambda: case.decode(reference, bad))
            assert (actual is None) == (expected is None)
            assert actual is None or (actual == expected).all()
            refused += actual is None
    assert refused > 150


def test_corrupt_long_streams_never_crash(native):
    rng = np.random.default_rng(44)
    case = chunk(rng, 2, 20000, 32, 3000)
    streams = list(case.encode(native))
    refused = 0
    for _ in range(200):
        bad = list(streams)
        which = int(rng.integers(0, 5))
        bad[which] = mutate(rng, bad[which])
        refused += outcome(lambda: case.decode(native, bad)) is None
    assert refused > 150


REASONS = ["state", "words", "code bits", "low bits", "escape"]


@pytest.mark.parametrize("which, reason", list(enumerate(REASONS)))
def test_reasons_name_the_stream(which, reason):
    rng = np.random.default_rng(45)
    streams = [np.zeros(0)] * 5
    while not all(s.size for s in streams):
        case = chunk(rng, 2, 2000, 8, 100, modelled=0)
        streams = list(case.encode(kernels))
    for implementation in (kernels, reference):
        bad = list(streams)
        bad[which] = bad[which][:-1]
        with pytest.raises(CorruptStream, match=reason):
            case.decode(implementation, bad)


def test_corrupt_rans_streams_are_refused_as_the_reference_does(native):
    rng = np.random.default_rng(46)
    cum = np.array([0, 3000, 3900, 4090, 4096], dtype=np.uint16)
    for _ in range(200):
        lanes = int(rng.choice(LANES))
        symbols = rng.choice(4, int(rng.integers(0, 200)), p=np.diff(cum.astype(int)) / 4096).astype(np.uint8)
        states, words = native.rans_encode(symbols, cum, lanes)
        bad = (mutate(rng, states), words) if rng.integers(0, 3) == 0 else (states, mutate(rng, words))
        actual = outcome(lambda: native.rans_decode(symbols.size, cum, lanes, *bad))
        expected = outcome(lambda: reference.rans_decode(symbols.size, cum, lanes, *bad))
        assert (actual is None) == (expected is None)
        assert actual is None or (actual == expected).all()


def test_tables_that_are_not_valid_are_refused(native):
    case = chunk(np.random.default_rng(47), 2, 100, 8, 1000, modelled=1)
    good = case.tables
    filled = {
        "half": (0, 128),
        "raw": (21, -1),
        "rice": (21, -1),
        "offset": (-1, 2**62),
        "cum": (0,),
    }
    bad = [{name: np.full_like(good[name], value)} for name, values in filled.items() for value in values]
    bad += [
        {name: good[name][:0].copy()}
        for name in ("half", "raw", "rice", "offset", "cum", "weight", "modelled")
    ]
    bad += [{name: good[name].astype(np.float32)} for name in good]
    bad += [{"weight": good["weight"][:, :8].copy()}, {"last": np.zeros(len(good["half"]), np.int32)}]
    bad += [{"cum": good["cum"][:-1].copy()}]
    for implementation in (native, reference):
        implementation.Tables(2, **good)
        for change in bad:
            with pytest.raises((ValueError, TypeError)) as caught:
                implementation.Tables(2, **{**good, **change})
            assert not isinstance(caught.value, CorruptStream)
        with pytest.raises(ValueError, match="lattice must be"):
            implementation.Tables(4, **good)


def test_arguments_that_do_not_fit_are_refused(native):
    case = chunk(np.random.default_rng(48), 2, 100, 8, 1000)
    z = chunk(np.random.default_rng(48), 0, 100, 8, 1000)
    for implementation in (native, reference):
        where, key, tables, table_of_column = case.arguments(implementation)
        streams, out = case.encode(implementation), np.zeros_like(case.points)
        bad = [
            (where, key, tables, np.full_like(table_of_column, 99)),
            (where, key, tables, np.full_like(table_of_column, -1)),
            (where, key, tables, table_of_column[:0].copy()),
            (where, key, tables, table_of_column.astype(np.int64)),
            (where, key, z.arguments(implementation)[2], table_of_column),
        ]
        for arguments in bad:
            with pytest.raises((ValueError, TypeError)) as caught:
                implementation.entropy_encode(*arguments, case.points)
            assert not isinstance(caught.value, CorruptStream)
            with pytest.raises((ValueError, TypeError)):
                implementation.entropy_decode(*arguments, streams, out)
        with pytest.raises(ValueError, match="different lattices"):
            implementation.entropy_encode(*bad[-1], case.points)
        for points in (case.points[:-1].copy(), case.points.astype(np.int64)):
            with pytest.raises((ValueError, TypeError)):
                implementation.entropy_encode(where, key, tables, table_of_column, points)
            with pytest.raises((ValueError, TypeError)):
                implementation.entropy_decode(where, key, tables, table_of_column, streams, points)


def test_rans_tables_that_are_not_valid_are_refused(native):
    for implementation in (native, reference):
        with pytest.raises(ValueError):
            implementation.rans_encode(np.array([1], np.uint8), np.array([0, 4096], np.uint16), 1)
        with pytest.raises(ValueError):
            implementation.rans_encode(np.array([0], np.uint8), np.array([0, 5000, 4096], np.uint16), 1)
