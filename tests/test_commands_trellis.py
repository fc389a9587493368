"""The trellis coding: files of a fixed rate whose noise, sizes and products are the predicted ones."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import coded
from container_builder import integers, taken_apart
from golden import GOLDEN, load, made, parts_of
from independent import decode_file
from nqz.commands.options import EncodeOptions
from nqz.ground.errors import CorruptError, UsageError
from nqz.ground.threads import Workers
from nqz.stages import norms
from nqz.stages.codings.rings import Rings, ring_columns
from nqz.stages.codings.trellis import THRESHOLDS, Water, water_of
from nqz.stages.estimate import related_noise


def matrix(*shape, seed=1):
    """A Gaussian one."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def encoded(x, rate, **options):
    """A container."""
    return nqz.encode(x, rate=rate, coding="trellis", **options)


def error(x, data, estimator="mmse"):
    """Of the decoded matrix, relative to the energy about means."""
    back = nqz.open(data).matrix.decode("float64", estimator=estimator)
    return np.square(back - x).sum() / np.square(x - x.mean(axis=0)).sum()


@pytest.mark.parametrize("rate", [1.02, 1.7, 2.0, 3.0, 4.0])
def test_the_rate_is_used_and_the_error_is_the_predicted_one(rate):
    x = matrix(1024, 160)
    data = encoded(x, rate)
    budget = rate * x.size / 8 + 448  # of a small matrix
    assert 0.99 * budget <= len(data) <= budget or rate == 4.0
    found = coded(data)
    assert error(x, data) == pytest.approx(found.predicted_reconstruction(), rel=0.02)
    assert error(x, data, "unbiased") == pytest.approx(found.predicted_reconstruction("unbiased"), rel=0.02)
    assert 0.5 * np.log2(error(x, data)) + 8 * len(data) / x.size < 0.15


def test_columns_of_one_norm_are_mixed_for_rates_in_between():
    x = np.tile(matrix(512, 1), (1, 200))
    levels = set()
    for rate in (1.6, 1.75, 2.2):
        data = encoded(x, rate, center=False)
        assert 0.99 <= 8 * len(data) / x.size / (rate + 8 * 448 / x.size) <= 1.0
        found = coded(data)
        water = water_of(found.parameters)
        levels.add(water.level)
        assert len(set(water.classes(found.histogram.codes).tolist())) == 2
    assert len(levels) == 2


def test_noise_that_is_not_that_of_gaussian_entries_is_told():
    x = matrix(2048, 16)
    x[np.random.default_rng(3).integers(0, 2048, 16), np.arange(16)] = 1e3
    data = encoded(x, 4.1)
    found = coded(data)
    assert water_of(found.parameters).spread[-1] > 8
    assert error(x, data) == pytest.approx(found.predicted_reconstruction(), rel=0.02)
    aim = 2.0 * found.predicted_reconstruction() * 1.5
    again = coded(nqz.encode(x, error=aim, coding="trellis"))
    assert 0.9 * aim < again.predicted_product() <= aim


def test_columns_too_many_to_be_held_are_mixed_all_the_same(monkeypatch):
    x = np.concatenate([np.tile(matrix(64, 1), (1, 900)), matrix(64, 300, seed=2)], axis=1)
    held = encoded(x, 2.25, center=False)
    monkeypatch.setattr("nqz.stages.grid._HELD", 1000)
    for source in (x, np.asfortranarray(x)):
        monkeypatch.setattr("nqz.stages.grid._WIDE", 1000)
        data = encoded(source, 2.25, center=False)
        assert 0.995 * len(held) <= len(data) <= len(held)
        assert error(source, data) == pytest.approx(error(x, held), rel=0.06)
        assert (coded(data).codes() == coded(held).codes()).mean() > 0.99


def test_the_louder_columns_have_more_bits_and_the_quiet_none():
    scale = 2.0 ** np.arange(-6, 6)
    x = np.repeat(scale, 8).astype(np.float32) * matrix(512, 96)
    data = encoded(x, 1.5)
    found = coded(data)
    classes = water_of(found.parameters).classes(found.codes().astype(np.int64)).reshape(12, 8)
    assert (classes[0] == 0).all() and (classes[-1] == 8).all() and (np.diff(classes.mean(axis=1)) >= 0).all()
    assert error(x, data) == pytest.approx(found.predicted_reconstruction(), rel=0.03)
    entropy = nqz.encode(x, rate=1.5)
    assert error(x, data) < 2.0 * error(x, entropy)


@pytest.mark.parametrize("n", [1, 5, 33, 100, 512, 700, 1025])
def test_short_columns_share_rings_and_any_of_them_decodes_alone(n):
    x = matrix(n, 150 if n < 512 else 9, seed=n)
    data = encoded(x, 3.0, center=False)
    opened = nqz.open(data).matrix
    whole = opened.decode("float64")
    assert np.isfinite(whole).all()
    chosen = np.array([0, 3, 8])
    assert (coded(data).columns(chosen, Workers(1)) == whole[:, chosen]).all()
    rings = Rings.of(np.full(10, 4, np.int32), n)
    together = ring_columns(n)
    assert rings.lengths.sum() == 10 * n and (np.diff(rings.lengths) <= 0).all()
    assert together == 1 if n % 32 == 0 and n >= 512 else together > 1


@pytest.mark.parametrize("name", [name for name in GOLDEN if name.startswith("trellis")])
def test_a_stranger_decodes_the_same(name, tmp_path):
    data = load(name)
    (tmp_path / "x.nqz").write_bytes(data)
    for estimator in ("mmse", "unbiased"):
        with nqz.open(data) as opened:
            own = opened.matrix.decode(estimator=estimator)
        assert (decode_file(tmp_path / "x.nqz", estimator)[""] == own).all()
    assert made(GOLDEN[name]) == data


def test_bytes_depend_on_neither_threads_nor_where_columns_lie():
    x = matrix(640, 70)
    data = encoded(x, 2.3, threads=1)
    assert encoded(x, 2.3, threads=3) == data
    assert encoded(np.asfortranarray(x), 2.3) != b""
    rows = encoded(np.ascontiguousarray(x.T), 2.3, axis=1)
    assert (nqz.open(data).matrix.decode() == nqz.open(rows).matrix.decode().T).all() or rows != data


@pytest.mark.parametrize("cosine", [0.0, 0.7, 1.0])
def test_products_of_related_columns_have_the_noise_that_is_told(cosine):
    rng = np.random.default_rng(5)
    n, count = 512, 96
    x = rng.standard_normal((n, count))
    y = cosine * x + np.sqrt(1.0 - cosine**2) * rng.standard_normal((n, count))
    x, y = x.astype(np.float32), 2.0 * y.astype(np.float32)
    a, b = (nqz.open(encoded(z, 2.0, center=False)).matrix for z in (x, y))
    estimate = nqz.matmul(a, b, estimator="unbiased")
    exact = x.astype(np.float64).T @ y
    z = (estimate - exact)[np.arange(count), np.arange(count)]
    size = np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
    sides = coded(encoded(x, 2.0, center=False)).side, coded(encoded(y, 2.0, center=False)).side
    d = sides[0].mean_noise()
    nu = (1.0 + d) ** 2 - 1.0 + related_noise(*sides) * cosine**2
    assert np.mean(np.square(z / size) * n) == pytest.approx(nu, rel=0.5 if cosine == 1.0 else 0.35)


def test_slopes_out_of_range_are_refused():
    parts = parts_of(load("trellis"))
    kind, _ = parts.tensors[0][3]
    assert kind == "GAIN"
    count = parts.manifest["tensors"][0][2][1]
    parts.tensors[0][3] = (kind, integers([-(1 << 20)] + [0] * (count - 1)))
    with pytest.raises(CorruptError, match=r"GAIN at byte .*: the slope of a column is out of range"):
        nqz.open(parts.build()).matrix.decode()


def test_rings_of_other_lengths_are_refused():
    parts = taken_apart(load("trellis"), [0, 4])
    kind, payload = parts.tensors[0][2]
    for wrong in (payload[:-1], payload + b"\0", b""):
        parts.tensors[0][2] = (kind, wrong)
        with pytest.raises(
            CorruptError, match=r"CHNK at byte .*: the chunk is (shorter|longer) than its sections"
        ):
            nqz.open(parts.build()).matrix.decode()
    parts.tensors[0][2] = (kind, bytes(len(payload)))  # any bytes are those of some values
    assert np.isfinite(nqz.open(parts.build()).matrix.decode()).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rate": 4.5}, "at most 4 bits per entry; the entropy coding makes use of more"),
        ({"rate": 2.0, "kappa": 0.5}, "keeps all coordinates"),
        ({"rate": 2.0, "lattice": "e8"}, "has no lattice"),
        ({"rate": 2.0, "states": 8}, "has no lattice"),
        ({"rate": 2.0, "allocate": "column"}, "shares bits for the least error"),
        ({"rate": 2.0, "window": 13}, "window 13: auto or one of 12, 14, 16"),
        ({"rate": 2.0, "window": 12, "coding": "entropy"}, "only the trellis coding has one"),
        ({"rate": 2.0, "rules": ["a=5"]}, "at most 4 bits"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        EncodeOptions(**{"coding": "trellis", **options}).check()


def test_an_error_takes_the_least_rate_that_has_it_and_too_small_a_one_is_refused():
    x = matrix(512, 64)
    data = nqz.encode(x, error=0.1, coding="trellis")
    predicted = coded(data).predicted_product()
    assert 0.097 <= predicted <= 0.1
    with pytest.raises(UsageError, match=r"no rate has a predicted product error of 0\.001"):
        nqz.encode(x, error=0.001, coding="trellis")
    for partner in ("exact", 3.0):
        assert coded(nqz.encode(x, error=0.1, coding="trellis", partner=partner)).predicted_product() <= 0.1


def test_raised_columns_are_those_a_step_below_a_threshold():
    water = Water(0, 1000, 1 << 15)
    codes = np.array(
        [norms.ZERO, *(1000 + t + d for t in THRESHOLDS.values() for d in (-5, -3, 0))], np.int32
    )
    many = np.tile(codes, 500)
    kept = water.kept_codes(many, 0, 4)
    change = kept - many
    assert set(np.flatnonzero(change) % len(codes)) == {3 * i + 2 for i in range(7)}
    assert change.sum() == pytest.approx(4 * 500 * 7 / 2, rel=0.02)
    assert (water.kept_codes(many[100:], 100, 4) == kept[100:]).all()


def test_a_number_of_bytes_is_kept_to():
    x = matrix(512, 80)
    data = nqz.encode(x, max_bytes=11000, coding="trellis")
    assert 0.97 * 11000 <= len(data) <= 11000
