"""What the noise of nested codes has to do with the data: of Gaussian vectors, coded apart from the module's own."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import NESTED, centered, coded, scheme
from nqz.ground.threads import Workers
from nqz.stages.dependence import NONE, Dependence
from nqz.stages.estimate import related_noise


def files(name, rate, pair, seed=0):
    """Both matrices of a pair, coded with seeds of their own for the dither and one for the rotation."""
    return [coded(nqz.encode(x, rate=rate, seed=seed, kappa=1.0, **scheme(name, "voronoi"))) for x in pair]


def decoded(matrix):
    """û / g of every column."""
    found = np.empty((matrix.parameters.n, matrix.parameters.columns))
    for _ in matrix.blocks(Workers(1), "unbiased", into=lambda panel: found[:, panel.first : panel.last]):
        pass
    return found - matrix.means(slice(None))


@pytest.mark.parametrize("rate", [2.0, 3.3])
@pytest.mark.parametrize("name", NESTED)
def test_pairs_that_are_all_but_equal_have_the_noise_that_is_told(name, rate):
    """ν + c at cosine 0.999; the mean square of 256 errors is known to 9 %, twice that is allowed."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3072, 256))
    pair = x.astype(np.float32), (x + 0.01 * rng.standard_normal(x.shape)).astype(np.float32)
    a, b = files(name, rate, pair)
    noise = [m.parameters.coding_parameters.noise for m in (a, b)]
    size = np.sqrt(np.square(centered(pair[0])).sum(axis=0) * np.square(centered(pair[1])).sum(axis=0))
    exact = (centered(pair[0]) * centered(pair[1])).sum(axis=0)
    error = ((decoded(a) * decoded(b)).sum(axis=0) - exact) / size
    measured = np.square(error).mean() * len(x) - np.prod(np.add(noise, 1.0)) + 1.0
    predicted = related_noise(a.side, b.side)
    nu = np.prod(np.add(noise, 1.0)) - 1.0
    assert measured + nu == pytest.approx(predicted + nu, rel=0.18)


@pytest.mark.parametrize("name", NESTED)
def test_one_sided_products_have_half_of_it(name):
    found = files(name, 3.0, [np.random.default_rng(4).standard_normal((1024, 40)).astype(np.float32)])[
        0
    ].side
    exact = found.exact(found.histogram, found.n)
    told = found.dependence()
    assert related_noise(found, exact) == told.along
    assert related_noise(found, found) > 2.0 * told.along


def test_dithered_lattices_have_none():
    x = np.random.default_rng(5).standard_normal((256, 40)).astype(np.float32)
    side = coded(nqz.encode(x, rate=2.0)).side
    assert side.dependence is None and related_noise(side, side) == 0.0
    assert NONE.related(NONE, 100) == 0.0 == NONE.related(Dependence(0.0, 0.3, 0.1), 100)
