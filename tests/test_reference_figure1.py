"""Figure 1 on one page gives the bits of the kernels: in a file, decoded, and multiplied."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

import nqz
from nqz import reference
from nqz.ground.arithmetic import GRID
from nqz.ground.threads import workers
from nqz.ground.units import NORM_ZERO
from nqz.product.risk import Signal
from nqz.reference import figure1
from nqz.reference.codings.voronoi import member
from nqz.reference.lattices import LATTICES, NESTED
from nqz.reference.lattices.contract import from_blocks, to_blocks
from nqz.stages import scale

NAMES = [lattice.name for lattice in LATTICES.values()]
THETAS = {"mmse": 1.0, "unbiased": np.inf}
RATES = {
    "many bits": {"rate": 4.0},
    "few bits": {"rate": 0.5},
    "half of the coordinates": {"rate": 2.0, "kappa": 0.5, "allocate": "column"},
}


@lru_cache(maxsize=1)
def matrices():
    """Columns of several magnitudes and means, two of them constant; lengths that rotate in either way."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 300, 17))
    a *= np.exp2(rng.integers(-3, 4, 17))
    b = b[:, :5] + 0.3 * a[:, :5] + rng.standard_normal(5)
    a[:, 3], a[:, 8] = 0.7, 0
    return (a, b), (a[:256] + 1, b[:256])


def encoded(matrix, lattice, options):
    """A file of nqz's, and what the page makes of the same matrix with the parameters in the file."""
    family, states = ("conv", int(lattice[4:])) if lattice.startswith("conv") else (lattice, None)
    data = nqz.encode(matrix, lattice=family, states=states, seed=7, **options)
    coded = nqz.open(data).matrix._coded
    p, (panel,) = coded.parameters, coded.panels
    opened = panel.opened
    halves = np.frombuffer(p.dither_key, "<u8").tolist()
    page = figure1.encode(
        matrix,
        figure1.Shared(p.lattice.number, p.n, p.m, p.rotation_seed),
        reference.Key(*halves),
        scale.column_delta(np.asarray(coded.codes(), np.int64), p.n, p.delta, p.allocate),
        coded.means(slice(None)),
        opened.order,
    )
    points = np.zeros((p.columns, p.m), np.int64)
    with workers(1) as pool:
        points[opened.order] = coded.points(panel, pool)
    # a file may round norms to steps that are coarser than those of the page
    assert (2 * np.abs(page.codes - coded.codes()) <= p.norm_step).all()
    return data, points, replace(page, codes=coded.codes().astype(np.int64))


@pytest.mark.parametrize("options", RATES.values(), ids=list(RATES))
@pytest.mark.parametrize("lattice", NAMES)
def test_the_page_and_the_kernels_give_the_same_bits(lattice, options):
    for a, b in matrices():
        files, pages = [], []
        for matrix in (a, b):
            data, points, page = encoded(matrix, lattice, options)
            assert (page.points == points).all()
            assert points.any()
            for estimator in ("mmse", "unbiased"):
                decoded = nqz.open(data).matrix.decode("float64", estimator)
                assert figure1.decode(page, estimator).tobytes() == decoded.tobytes()
            files.append(data)
            pages.append(page)
        for estimator, theta in THETAS.items():
            expected = nqz.matmul(*files, estimator=estimator, dtype="float64")
            assert figure1.product(*pages, theta).tobytes() == expected.tobytes()


def test_sides_that_kept_different_shares_meet_on_the_smaller():
    a, b = matrices()[0]
    (left, _, page_a), (right, _, page_b) = (
        encoded(a, "e8", {"rate": 3.0}),
        encoded(b, "e8", {"rate": 0.3}),
    )
    assert page_b.shared.m < page_a.shared.m == 300
    for estimator, theta in THETAS.items():
        expected = nqz.matmul(left, right, estimator=estimator, dtype="float64")
        assert figure1.product(page_a, page_b, theta).tobytes() == expected.tobytes()


def test_what_is_estimated_by_default_is_the_page_with_another_theta(monkeypatch):
    found, estimated = [], Signal.theta
    monkeypatch.setattr(Signal, "theta", lambda signal: found.append(estimated(signal)) or found[-1])
    (left, _, page_a), (right, _, page_b) = (encoded(x, "e8", {"rate": 2.0}) for x in matrices()[0])
    expected = nqz.matmul(left, right, dtype="float64")
    (theta,) = found
    assert theta != 1
    assert figure1.product(page_a, page_b, theta).tobytes() == expected.tobytes()


def test_quiet_columns_are_dropped():
    a = matrices()[0][0]
    _, points, page = encoded(a, "conv16", RATES["few bits"])
    quiet = ~points.any(axis=1)
    assert 1 < quiet.sum() < 17
    for estimator in ("mmse", "unbiased"):
        assert (figure1.decode(page, estimator)[:, quiet] == page.mean[quiet]).all()


@pytest.mark.parametrize("lattice", ["z", "e8", "leech", "conv16"])
def test_columns_without_energy_are_their_means_and_cost_nothing(lattice):
    a = matrices()[0][0][:, :6].copy()
    a[:, 1], a[:, 4], a[:, 5] = 0.7, -3e5, 0
    data, points, page = encoded(a, lattice, {"rate": 3.0})
    silent = [1, 3, 4, 5]
    assert np.flatnonzero(page.codes == NORM_ZERO).tolist() == silent
    assert np.isinf(page.noise()[silent]).all() and not page.energy()[silent].any()
    assert not page.points[silent].any() and not points[silent].any()
    assert page.mean[silent].tolist() == a[0, silent].tolist()
    for estimator in THETAS:
        decoded = figure1.decode(page, estimator)
        assert (decoded[:, silent] == a[:, silent]).all()
        assert decoded.tobytes() == nqz.open(data).matrix.decode("float64", estimator).tobytes()
    # by its own means, and with nothing that a file says
    alone = figure1.encode(a, page.shared, reference.Key(1, 2), -GRID)
    assert (alone.codes == page.codes).all() and not alone.points[silent].any()
    assert (figure1.decode(alone)[:, silent] == a[:, silent]).all()
    assert (
        figure1.product(alone, alone)[np.ix_(silent, silent)] == 300 * np.outer(a[0, silent], a[0, silent])
    ).all()
    nothing = figure1.encode(a[:, silent], page.shared, reference.Key(1, 2), -GRID)
    assert (figure1.decode(nothing) == a[:, silent]).all()


@pytest.mark.parametrize("options", RATES.values(), ids=list(RATES))
def test_the_diagonal_of_a_matrix_by_itself_comes_from_the_norms(options):
    a = matrices()[0][0]
    data, _, page = encoded(a, "e8", options)
    for estimator, theta in THETAS.items():
        expected = nqz.matmul(data, data, estimator=estimator, dtype="float64")
        found = figure1.product(page, page, theta)
        assert np.allclose(found.diagonal(), expected.diagonal(), rtol=0.1)  # of coarse norms, or from points
        np.fill_diagonal(expected, found.diagonal())
        assert found.tobytes() == expected.tobytes()
    assert np.allclose(figure1.product(page, page).diagonal(), np.square(a).sum(axis=0), rtol=0.1)


@pytest.mark.parametrize("name", ["z", "d4", "e8", "leech", "conv4"])
def test_points_are_reduced_modulo_the_coarse_lattice(name):
    (lattice,) = (lattice for lattice in LATTICES.values() if lattice.name == name)
    x, key = np.random.default_rng(3).standard_normal((240, 2)), reference.Key(3, 4)
    shared = figure1.Shared(lattice.number, 240, 240, 1)
    whole, same, reduced = (figure1.encode(x, shared, key, -GRID, q=q).points for q in (None, 64, 2))
    assert (whole == same).all() and (whole != reduced).any()
    place = reference.Place(lattice.number, 480, 0, 240, 1, 0)
    level = reference.levels(key, 0, place.positions).astype(np.int64)
    first, second = (points.reshape(-1) for points in (whole, reduced))
    assert ((first - second) % (2 * lattice.fine) == 0).all()
    assert ((second + level[:480]) % lattice.fine == 0).all()
    if lattice.number in NESTED:
        point, levels = (
            to_blocks(v, lattice.group, 1) for v in ((first + level[:480]) // lattice.fine, level[:480])
        )
        expected = from_blocks(member(lattice, lattice.to_digits(point, 2), levels, np.int64(2)))
        ties = (second != expected).reshape(-1, lattice.group).any(axis=1)
        lengths = (np.square(v).reshape(-1, lattice.group).sum(axis=1) for v in (second, expected))
        assert np.equal(*lengths).all() and ties.mean() < 0.2  # on the boundary of the cell
