"""The size of a file: just under what was asked for, and never more."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import SCHEMES, coded, scheme
from nqz.commands.encode import encode
from nqz.commands.options import EncodeOptions
from nqz.files.access import MemoryAccess
from nqz.files.source import array_source
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers


def encoded(x, **options):
    """The container, and the report of its encoding."""
    data = bytearray()
    report = encode(array_source(x), MemoryAccess(data), EncodeOptions(**options), Workers(1))
    return bytes(data[: report["file_bytes"]]), report


@pytest.fixture(scope="module")
def million():
    return np.random.default_rng(1).standard_normal((1000, 1000), dtype=np.float32)


@pytest.mark.parametrize("rate", [0.7, 2.0, 4.3])
@pytest.mark.parametrize("name, coding", SCHEMES)
def test_a_million_entries_take_the_rate_within_one_percent(million, name, coding, rate):
    data, report = encoded(million, rate=rate, **scheme(name, coding))
    assert 0.99 <= len(data) / (rate * million.size / 8) <= 1.0
    assert report["warnings"] == []
    assert report["bits"] == 8 * len(data) and report["entries"] == million.size


@pytest.mark.parametrize("kind", ["heavy", "signs", "scaled"])
def test_the_rate_is_met_whatever_the_data(kind):
    rng = np.random.default_rng(2)
    shape = (2500, 400)
    x = rng.standard_t(3, shape) if kind == "heavy" else rng.choice([-1.0, 1.0], shape)
    if kind != "signs":
        x = x * rng.lognormal(0, 1 if kind == "heavy" else 2, 400)
    for rate in (1.0, 3.0):
        data, _ = encoded(x.astype(np.float32), rate=rate)
        assert 0.99 <= len(data) / (rate * x.size / 8) <= 1.0


@pytest.mark.parametrize("rate", [1.0, 1.5, 2.0, 3.0, 6.0, 10.0])
@pytest.mark.parametrize("shape", [(100, 50), (4097, 1), (63, 1000), (1009,), (512, 7), (3000, 17)], ids=str)
@pytest.mark.parametrize("name, coding", SCHEMES)
def test_small_matrices_get_four_hundred_bytes_on_top(name, coding, shape, rate):
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    data, _ = encoded(x, rate=rate, **scheme(name, coding))
    budget = rate * x.size / 8
    if budget >= 300:  # below, headers alone take more
        assert len(data) <= budget + 448
        assert len(data) >= 0.97 * budget + 300 or len(data) >= 0.99 * budget


@pytest.mark.parametrize("rate", [0.05, 0.5, 2.0, 12.0])
@pytest.mark.parametrize("shape", [(1,), (2,), (16,), (40, 1), (1, 300), (4, 5000), (4097, 1)], ids=str)
@pytest.mark.parametrize("name, coding", SCHEMES)
def test_every_small_matrix_can_be_coded_at_every_rate(name, coding, shape, rate):
    """Also where side information alone takes more than the rate allows: then the file is hardly larger."""
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    data, _ = encoded(x, rate=rate, **scheme(name, coding))
    matrix = coded(data)
    back = nqz.open(data).matrix.decode("float64")
    assert np.isfinite(back).all()
    if x.size > 16 and len(x) > 1:
        left = x - x.mean(axis=0) if matrix.centered else x
        assert np.square(back - x).sum() <= 1.1 * np.square(left).sum()
    side = sum(
        len(matrix.reader.read(r, r.type)) for kind in ("NORM", "MEAN") for r in matrix.reader.find(0, kind)
    )
    assert len(data) <= rate * x.size / 8 + 2000 + side


@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
def test_a_file_beyond_its_rate_is_announced(coding):
    """Norms and fine means of short vectors alone take more than was asked for."""
    x = np.random.default_rng(3).standard_normal((4, 5000)).astype(np.float32)
    data, report = encoded(x, rate=2.0, center=True, **scheme("e8", coding))
    assert len(data) > 2.0 * x.size / 8 + 448
    assert len(report["warnings"]) == 1


@pytest.mark.parametrize("kappa", [0.1, 0.5])
@pytest.mark.parametrize("name, coding", SCHEMES)
def test_few_coordinates_can_have_many_bits(name, coding, kappa):
    x = np.random.default_rng(3).standard_normal((400, 30)).astype(np.float32)
    for rate in (3.0, 8.0, 12.0):
        data, _ = encoded(x, rate=rate, **scheme(name, coding), kappa=kappa)
        matrix = coded(data)
        assert len(data) <= rate * x.size / 8 + 448
        assert matrix.parameters.kappa == pytest.approx(kappa, abs=0.01)
        assert matrix.predicted_reconstruction() == pytest.approx(1 - kappa, abs=0.03)


@pytest.mark.parametrize(
    "option",
    [
        {"rate": 0.0},
        {"rate": -1.0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"rate": 100.0},
        {"seed": -1},
        {"seed": 1 << 64},
        {"axis": 2},
        {"lattice": "e9"},
        {"coding": "huffman"},
        {"allocate": "row"},
        {"kappa": 0.0},
        {"kappa": 1.5},
        {"kappa": float("nan")},
    ],
    ids=str,
)
def test_senseless_options_are_refused(option):
    with pytest.raises(UsageError):
        nqz.encode(np.ones((4, 4), np.float32), **{"rate": 2.0, **option})


@pytest.mark.parametrize(
    "options", [{"kappa": 0.8}, {"kappa": 0.8, "lattice": "e8", "coding": "voronoi"}], ids=str
)
def test_an_error_that_no_rate_reaches_is_refused(options):
    x = np.random.default_rng(3).standard_normal((400, 30))
    with pytest.raises(UsageError, match=r"the least is 0\.2"):
        nqz.encode(x, error=0.1, **options)
    assert nqz.open(nqz.encode(x, error=0.3, **options)).matrix.predicted_error <= 0.3


@pytest.mark.parametrize("rate, factor", [(3, 3e4), (4, 1e5), (6, 1e4), (8, 3e3), (12, 1e8), (3, 1e150)])
def test_a_loud_column_does_not_keep_the_others_from_their_rate(rate, factor):
    a = np.random.default_rng(0).standard_normal((512, 64))
    a[:, 3] *= factor
    data = nqz.encode(a, rate=rate)
    matrix = coded(data)
    assert 8 * len(data) > 0.95 * rate * a.size
    decoded = nqz.open(data).matrix.decode()
    with np.errstate(over="ignore"):
        energies = np.square(decoded - a).sum(axis=0) / np.square(a - a.mean(axis=0)).sum(axis=0)
    # the noise of each column is the one that is predicted for it
    noise = matrix.side.noise_at(matrix.codes())
    assert energies == pytest.approx(noise / (1.0 + noise), rel=0.3)
    rest = np.delete(a, 3, axis=1)
    apart = nqz.open(nqz.encode(rest, rate=min(12, (64 * rate - 16) / 63))).matrix.decode() - rest
    assert np.square(np.delete(decoded, 3, axis=1) - rest).sum() < 1.2 * np.square(apart).sum()


def test_an_error_is_reached_beside_a_loud_column():
    a = np.random.default_rng(0).standard_normal((512, 64))
    a[:, 3] *= 1e6
    data = nqz.encode(a, error=1e-6)
    assert nqz.open(data).matrix.predicted_error <= 1e-6


@pytest.mark.parametrize("shape, rate", [((17,), 4), ((17,), 12), ((32,), 12), ((8, 4), 12), ((100, 1), 1)])
def test_a_short_vector_keeps_something_within_what_comes_on_top(shape, rate):
    a = np.random.default_rng(0).standard_normal(shape)
    data = nqz.encode(a, rate=rate)
    assert len(data) <= rate * a.size / 8 + 448
    assert nqz.open(data).matrix.predicted_reconstruction < 0.5


def test_a_single_entry_with_an_error_makes_a_file_that_can_be_read():
    for code in ({}, {"lattice": "e8", "coding": "voronoi"}):
        data = nqz.encode(np.ones((1, 1)), error=0.01, **code)
        assert abs(nqz.open(data).matrix.decode() - 1.0) < 0.05
