"""Figure 1 on one page gives the bits of the kernels: in a file, decoded, and multiplied."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

import nqz
from nqz import reference
from nqz.ground.threads import workers
from nqz.reference import figure1
from nqz.reference.lattices import LATTICES
from nqz.stages import scale

NAMES = [lattice.name for lattice in LATTICES.values()]
RATES = {
    "many bits": {"rate": 4.0},
    "few bits": {"rate": 0.5},
    "half of the coordinates": {"rate": 2.0, "kappa": 0.5, "allocate": "column"},
}


@lru_cache(maxsize=1)
def matrices():
    """Columns of several magnitudes and means, one of them constant; lengths that rotate in either way."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 300, 17))
    a *= np.exp2(rng.integers(-3, 4, 17))
    b = b[:, :5] + 0.3 * a[:, :5] + rng.standard_normal(5)
    a[:, 3] = 0.7
    return (a, b), (a[:256] + 1, b[:256])


def encoded(matrix, lattice, options):
    """A file of nqz's, and what the page makes of the same matrix with the parameters in the file."""
    family, states = ("conv", int(lattice[4:])) if lattice.startswith("conv") else (lattice, None)
    data = nqz.encode(matrix, lattice=family, states=states, seed=7, **options)
    coded = nqz.open(data).matrix._coded
    p, (panel,) = coded.parameters, coded.panels
    opened = coded.open_panel(panel)
    halves = np.frombuffer(p.dither_key, "<u8").tolist()
    page = figure1.encode(
        matrix,
        figure1.Code(p.lattice.number, p.n, p.m, p.rotation_seed),
        reference.Key(*halves),
        scale.column_delta(np.asarray(coded.codes, np.int64), p.delta, p.allocate),
        coded.means(slice(None)),
        opened.order,
    )
    points = np.zeros((p.columns, p.m), np.int64)
    with workers(1) as pool:
        points[opened.order] = coded.points(opened, pool)
    energetic = np.ptp(matrix, axis=0) > 0
    assert (page.norm[energetic] == coded.codes[energetic]).all()
    return data, points, page


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
        for estimator in ("mmse", "unbiased"):
            expected = nqz.matmul(*files, estimator=estimator, dtype="float64")
            assert figure1.product(*pages, estimator).tobytes() == expected.tobytes()


def test_sides_that_kept_different_shares_meet_on_the_smaller():
    a, b = matrices()[0]
    (left, _, page_a), (right, _, page_b) = (
        encoded(a, "e8", {"rate": 3.0}),
        encoded(b, "e8", RATES["few bits"]),
    )
    assert page_b.code.kept < page_a.code.kept == 300
    for estimator in ("mmse", "unbiased"):
        expected = nqz.matmul(left, right, estimator=estimator, dtype="float64")
        assert figure1.product(page_a, page_b, estimator).tobytes() == expected.tobytes()


def test_quiet_columns_are_dropped():
    a = matrices()[0][0]
    _, points, page = encoded(a, "conv16", RATES["few bits"])
    quiet = ~points.any(axis=1)
    assert 1 < quiet.sum() < 17
    for estimator in ("mmse", "unbiased"):
        assert (figure1.decode(page, estimator)[:, quiet] == page.mean[quiet]).all()
