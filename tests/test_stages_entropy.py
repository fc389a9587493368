"""Entropy tables, expected bits against real ones, escapes, and the sections of a chunk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import nqz
from coded_cases import LATTICE_NAMES, chunk_bytes, coded, scheme
from kernel_cases import Case, assert_same, quantize
from nqz import kernels
from nqz.ground.arithmetic import round_log2
from nqz.ground.layout import lanes_of, padded
from nqz.ground.units import FIXED_POINT
from nqz.plan.columns import Columns
from nqz.reference.lattices import lattice_of
from nqz.stages import norms
from nqz.stages.codings import tables
from nqz.stages.codings.entropy import ENTROPY
from nqz.stages.lattices import LATTICES
from nqz.stages.panels import open_panel, panels
from nqz.stages.parameters import Parameters
from nqz.stages.project import project
from nqz.stages.scale import CLASSES, exponents
from nqz.stages.transforms import DEFAULT as TRANSFORM
from remembered import reference

FORMAT = Path(__file__).parent.parent / "docs" / "format.md"

LOWEST = int(round_log2(min(lattice.fine_moment for lattice in LATTICES.values()), CLASSES))
LEAST = tables.halved(int(round_log2(LATTICES["leech"].fine_moment, CLASSES)))  # of a block's last entry
HIGHEST = int(37.5 * CLASSES)  # the encoder's finest scale gives classes below


@pytest.mark.parametrize("index", range(LEAST, HIGHEST))
def test_tables_are_valid_for_the_kernels(index):
    table = tables.table(index)
    frequency = np.diff(table.cumulative.astype(np.int64), axis=1)
    assert frequency.shape == (16, 2 * table.half + 1)
    assert (frequency >= 1).all() and (frequency.sum(axis=1) == tables.TOTAL).all()
    assert (table.cumulative[:, 0] == 0).all()
    assert 1 <= table.half <= 127 and 0 <= table.raw <= 20 and 0 <= table.rice <= 20
    assert table.weight.dtype == np.uint16 and (table.weight >= 1).all()
    assert (np.maximum(table.weight, np.roll(table.weight, 8)) == tables.WEIGHT).all()


def test_all_tables_have_the_digest_of_the_format():
    digest = hashlib.sha256()
    for index in range(300):
        t = tables.table(index)
        digest.update(bytes([t.half, t.raw, t.rice]))
        digest.update(t.cumulative.astype("<u2").tobytes() + t.weight.astype("<u2").tobytes())
    assert f"`{digest.hexdigest()}`" in FORMAT.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["d4", "e8", "conv4", "conv64"])
def test_code_bits_of_real_tables_equal_the_reference(native, name):
    """From the lowest class to the last modelled one and beyond, alone and several in a group row."""
    lattice, rng = LATTICES[name], np.random.default_rng(8)
    limit = lattice.modelled_below
    for first in (int(round_log2(lattice.fine_moment, CLASSES)), limit - 2, limit - 1, limit):
        for m in (70, 600):
            classes = np.array([first, first, first + 1, limit, limit + 20])
            made, count = tables.tables(lattice, classes), m * len(classes)
            sigma = np.sqrt([max(tables.class_variance(c) - lattice.fine_moment, 0.01) for c in classes])
            u = (rng.standard_normal(count) * np.repeat(sigma, m) / lattice.fine).astype(np.float32)
            points = quantize(reference, lattice.number, u, m=m, scale=np.full(len(classes), 256, np.float32))
            used = {
                name: getattr(made, name)
                for name in ("half", "raw", "rice", "offset", "weight", "modelled", "last")
            }
            used["cum"] = made.cumulative
            case = Case(lattice.number, points, count, 0, m, 32, made.of_columns(classes), used)
            streams = case.encode(native)
            assert_same(streams, case.encode(reference))
            assert (case.decode(native, streams) == points).all()
            assert (case.decode(reference, streams) == points).all()
            assert (streams[1].size > 0) and (streams[2].size > 0)


def cost(table, variance):
    """Bits of a Gaussian of the given variance: coded with the table, and ideally, k given the context."""
    reach = int(9 * np.sqrt(variance) / 16) + 2
    stride = max(1, (2 * reach) // 40000)  # a sample of k where there are very many
    k = np.arange(-reach, reach, stride)
    y = 16.0 * k[None, :] + np.arange(16)[:, None]
    p = np.exp(-0.5 * y * y / variance)
    p /= p.sum() * stride
    given_context = p / (p.sum(axis=1, keepdims=True) * stride)
    ideal = -np.log2(np.maximum(given_context, 1e-300))
    k2 = k >> table.raw
    inside = (k2 >= -table.half) & (k2 < table.half)
    symbol = np.where(inside, k2 + table.half, 2 * table.half)
    frequency = np.diff(table.cumulative.astype(np.float64), axis=1)
    escape = tables.rice_lengths(np.where(k2 < 0, -table.half - 1 - k2, k2 - table.half), table.rice)
    real = 12.0 - np.log2(frequency[:, symbol]) + table.raw + np.where(inside, 0, escape)
    return float((p * real).sum() * stride), float((p * ideal).sum() * stride)


@pytest.mark.parametrize("index", range(LEAST, 25 * CLASSES, CLASSES // 2))
def test_tables_cost_at_most_a_thousandth_of_a_bit(index):
    table, variance = tables.table(index), tables.class_variance(index)
    real, ideal = cost(table, variance)
    assert -1e-6 <= real - ideal <= 0.0013
    assert table.bits == pytest.approx(real, abs=0.0002)


@pytest.mark.parametrize("octave", [7.5, 12, 15])
def test_the_cost_of_another_variance_is_as_modelled(octave):
    index = int(octave * CLASSES)
    lattice = LATTICES["z"]
    for factor in (2.0 ** (-0.5 / CLASSES), 2.0 ** (0.5 / CLASSES)):  # the edges of the class
        variance = tables.class_variance(index) * factor
        real, ideal = cost(tables.table(index), variance)
        modelled = tables.rate(lattice, np.array([variance]), np.array([index]))[0]
        assert modelled == pytest.approx(real, abs=0.004)
        assert real - ideal <= 0.0065


@pytest.mark.parametrize("name", LATTICE_NAMES)
def test_modelled_code_bits_cost_no_more_than_raw_ones(name):
    lattice = LATTICES[name]
    modelled = [i for i in range(LOWEST, 10 * CLASSES) if tables.is_modelled(lattice, i)]
    assert bool(modelled) == (name not in ("z", "leech"))
    saved = [
        tables.point_bits(lattice, i) + lattice.code_bits - tables.own_bits(lattice, i) for i in modelled
    ]
    assert saved[:-4] == sorted(saved[:-4], reverse=True)
    assert all(found > -0.001 for found in saved)
    if modelled:  # above, nothing is saved
        assert saved[0] > 0.3 * lattice.code_bits
        assert saved[-1] < 0.001


@pytest.mark.parametrize("rate", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("name", LATTICE_NAMES)
def test_expected_bits_are_those_of_gaussian_columns(name, rate):
    x = np.random.default_rng(3).standard_normal((2048, 96)).astype(np.float32)
    matrix = coded(nqz.encode(x, rate=rate, **scheme(name)))
    p = matrix.parameters
    columns = Columns(p.n, matrix.histogram, p.lattice, p.allocate, p.lowest_class)
    expected = columns.bits(p.m, p.delta)
    assert 8 * chunk_bytes(matrix) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", ["conv64", "conv128", "d4", "e8"])
@pytest.mark.parametrize("octave", [3.55, 3.83, 4.46])
def test_expected_bits_are_those_of_low_classes(name, octave):
    lattice, lanes, count = LATTICES[name], 32, 1 << 18
    classes = round_log2(np.array([2.0**octave]), CLASSES)
    energy = 2.0**octave / lattice.fine**2 - lattice.second_moment
    x = np.random.default_rng(5).standard_normal(count)
    x = (x * np.sqrt(energy / np.mean(x * x))).astype(np.float32)
    points, table = np.empty(count, np.int32), np.zeros(1, np.int32)
    place, key = kernels.Place(lattice.number, count, 0, count, lanes, 0), kernels.Key(5, 6)
    kernels.dither_quantize(place, key, x, np.array([FIXED_POINT], np.float32), points)
    made = tables.tables(lattice, classes)
    _, words, *rest = kernels.entropy_encode(place, key, made.bound, table, points)
    taken = 16 * (len(words) + lanes) + sum(8 * len(section) for section in rest)
    second_moment = np.mean(points.astype(np.float64) ** 2)  # near the variance
    expected = tables.rate(lattice, np.array([second_moment]), classes)[0]
    assert taken / count == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_expected_bits_hold_for_columns_of_very_different_energy(rate):
    rng = np.random.default_rng(4)
    x = (rng.standard_normal((1500, 90)) * 2.0 ** rng.uniform(-4, 4, 90)).astype(np.float32)
    matrix = coded(nqz.encode(x, rate=rate))
    p = matrix.parameters
    columns = Columns(p.n, matrix.histogram, p.lattice, p.allocate, p.lowest_class)
    expected = columns.bits(p.m, p.delta)
    assert 8 * chunk_bytes(matrix) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("count", [1, 7, 4095, 4096, 131072, 1 << 20])
def test_lanes_waste_little(count):
    lanes = lanes_of(count)
    assert lanes in (1, 2, 4, 8, 16, 32) and 32 * lanes <= max(32, count * 0.03)
    for lattice in LATTICES.values():
        size = padded(count, lattice.group, lanes)
        assert lattice.group % lattice.block == 0
        assert size % (lattice.group * lanes) == 0 and 0 <= size - count < lattice.group * lanes


@pytest.mark.parametrize("name", LATTICE_NAMES)
def test_section_sizes_are_what_the_encoder_emits(name, monkeypatch):
    """Columns of many classes, modelled and raw code bits, with and without raw low bits, in small chunks."""
    monkeypatch.setattr("nqz.stages.chunks.CHUNK_ENTRIES", 5000)
    rng = np.random.default_rng(6)
    n, m, columns = 333, 301, 60
    lowest = (4 if name == "leech" else 5) * CLASSES  # fewer dither levels a unit: lower classes
    codes = np.sort(rng.integers(-256 * 20, 256 * 20, columns)) * 2 + 256 * 8
    parameters = Parameters(
        n=n,
        columns=columns,
        m=m,
        transform=TRANSFORM,
        lattice=LATTICES[name],
        coding=ENTROPY,
        allocate="matrix",
        delta=0,
        lowest_class=lowest,
        mean_digits=None,
        norm_step=1,
        rotation_seed=0,
        dither_key=bytes(range(16)),
        coding_parameters=None,
    )
    found = parameters.norm_scaling(norms.Histogram.of(codes))
    used = [int(c) for c in np.unique(found.used)]
    assert 0 < found.histogram.look_up(found.kept, codes).sum() < columns
    assert len({tables.table(c).raw for c in used}) > 3
    assert name in ("z", "leech") or len({tables.is_modelled(LATTICES[name], c) for c in used}) == 2
    (panel,) = panels(parameters, found, lambda first, last: codes[first:last])
    assert len(panel.chunks) > 2
    coder = ENTROPY.coder(parameters, found.used)
    opened = open_panel(panel, codes, found, coder)
    u = np.empty((panel.kept, n), np.float32)
    x = rng.standard_normal((n, columns)) * np.sqrt(norms.energy(codes) / n)
    TRANSFORM.center_rotate(x, False, np.zeros(columns), exponents(codes), 0, u, opened.place)
    stream = project(u, 0, m).reshape(-1)
    coded, factors = opened.coded, ENTROPY.forward(parameters, codes[opened.order])
    for chunk in panel.chunks:
        points = np.empty(coder.working_points(chunk), np.int32)
        piece = stream[chunk.start : chunk.start + chunk.count]
        sections, _ = coder.encode_chunk(chunk, coded, factors, piece, points)
        states, _, code, low, _ = sections
        assert len(states) == chunk.lanes
        assert coder.sizes(chunk, coded) == (len(code), len(low))
        again = np.empty(chunk.count, np.int32)
        coder.decode_chunk(chunk, coded, sections, again)
        assert np.array_equal(again, points[: chunk.count])


def test_codewords_are_the_codes_of_the_kernels():
    for name in ("d4", "e8"):
        words = lattice_of(LATTICES[name].number).codewords
        assert (
            len({tuple(w) for w in words.tolist()})
            == len(words)
            == 1 << round(LATTICES[name].code_bits * LATTICES[name].block)
        )
        u = np.random.default_rng(0).standard_normal(800).astype(np.float32)
        points = np.empty(800, np.int32)
        place, key = kernels.Place(LATTICES[name].number, 800, 0, 800, 1, 0), kernels.Key(1, 2)
        kernels.dither_quantize(place, key, u, np.array([900.0], np.float32), points)
        parity = (points + kernels.levels(key, 0, 800).astype(np.int64)) // 8 & 1
        assert {tuple(w) for w in parity.reshape(-1, words.shape[1]).tolist()} == {
            tuple(w) for w in words.tolist()
        }
