"""Loud columns: what they take, what is left for the others, and what is said of both."""

from __future__ import annotations

import re

import numpy as np
import pytest

import nqz
from coded_cases import coded
from nqz.commands.contents import task_of
from nqz.commands.measure import measure
from nqz.commands.options import EncodeOptions
from nqz.commands.sharing import target_of
from nqz.files.source import array_source
from nqz.plan.means import mean_digits
from nqz.stages.scale import OCTAVES

LOUD = 5


def matrix(factor=1e8, n=512, columns=64, seed=1):
    """A normal matrix with one column that is louder."""
    x = np.random.default_rng(seed).standard_normal((n, columns))
    x[:, LOUD] *= factor
    return x


def row_errors(x, a, b, partner):
    """Error of the rows of AᵀB, by column of A, relative to their energies."""
    error = np.square(nqz.matmul(a, partner, dtype="float64").reshape(-1, b.shape[1]) - x.T @ b).sum(axis=1)
    return error / (np.square(x - x.mean(0)).sum(axis=0) * np.square(b - b.mean(0)).sum() / len(x))


@pytest.mark.parametrize("factor, rate", [(1e4, 4), (1e8, 2), (1e12, 1), (1e100, 6)])
def test_each_group_has_the_error_of_a_file_of_its_own(factor, rate):
    x, b = matrix(factor), np.random.default_rng(2).standard_normal((512, 64))
    data, partner = nqz.encode(x, rate=rate), nqz.encode(b, rate=rate)
    assert 8 * len(data) >= 0.95 * rate * x.size
    found, rest = row_errors(x, data, b, partner), np.arange(64) != LOUD
    single = nqz.encode(x[:, [LOUD]], rate=12)
    assert found[LOUD] <= 1.1 * row_errors(x[:, [LOUD]], single, b, partner)[0]
    taken = 512 / 8 * min(16.6, rate + np.log2(factor))
    others = nqz.encode(x[:, rest], max_bytes=int(len(data) - taken))
    assert found[rest].mean() <= 1.1 * row_errors(x[:, rest], others, b, partner).mean()


def test_a_matrix_times_itself_knows_its_loud_column_from_the_points():
    squares = []
    for seed in range(6):
        x = matrix(1e4, seed=seed)
        data = nqz.encode(x, rate=4, seed=seed)
        found, sigma = nqz.matmul(data, data, estimator="unbiased", sigma=True)
        assert sigma[LOUD, LOUD] < 1e-4 * np.square(x[:, LOUD]).sum()
        squares.append(np.square((found - x.T @ x) / sigma)[LOUD, LOUD])
    assert 0.1 < np.mean(squares) < 3.7  # χ² of 6 degrees of freedom, 10⁻³


@pytest.mark.parametrize("scale", [1e-300, 1e295])
def test_the_rate_is_used_whatever_the_range(scale):
    x = matrix(1e8) * scale
    x[:, 7] *= 1e-20
    for rate in (1, 4):
        data = nqz.encode(x, rate=rate)
        assert 8 * len(data) >= 0.95 * rate * x.size
        assert coded(data).others().product < 0.75 * 4.0 ** (1 - rate)


def test_means_of_loud_columns_are_fine_against_their_own_noise():
    for factor in (1e2, 1e8, 1e150):
        found = coded(nqz.encode(matrix(factor), rate=2))
        exponent = int(found.histogram.codes[-1]) // 512
        codes, steps = found.codes(), found.mean_steps(slice(None), exponent)
        with np.errstate(under="ignore"):
            noise = found.side.noise_at(codes) * np.exp2(codes / 256 - 2 * exponent)
            # of an entry of a product with a partner whose mean is a tenth of its deviation
            rounding = found.parameters.n**2 * (0.1 * steps) ** 2 / 12
        assert (rounding <= 0.01 * noise)[noise > 0].all()


def test_ordinary_means_have_as_many_digits_as_before():
    x = np.random.default_rng(1).standard_normal((256, 40))
    with array_source(x) as source:
        [tensor], options = source.tensors, EncodeOptions(rate=2.5)
        task, target = task_of(source, tensor, options), target_of(tensor.entries, options)
        statistics = measure(tensor.vectors(0), True, "here")
        assert mean_digits(task, target, statistics).reference is None


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.5])
def test_where_loud_columns_would_take_most_of_the_bits_it_is_said(rate):
    x = matrix()
    with pytest.warns(
        UserWarning, match=r"1 of 64 vectors far louder than the rest.* error of the others is 0\.9|is 1,"
    ):
        data = nqz.encode(x, rate=rate)
    found = coded(data)
    assert found.predicted_product() < 1e-4  # the loud one keeps its precision
    assert 8 * len(data) >= 0.95 * rate * x.size
    assert found.others().loud == 1 and found.others().columns == 64


def test_a_partner_without_loud_columns_may_be_named_where_that_helps_the_others():
    x, b = matrix(n=1024), np.random.default_rng(2).standard_normal((1024, 64))
    partner, rest = nqz.encode(b, rate=0.5), np.arange(64) != LOUD
    words = r"bits per entry without such vectors it is (0\.\d+), and with partner=0.5 (0\.\d+)$"
    with pytest.warns(UserWarning, match=words) as caught:
        plain = nqz.encode(x, rate=0.5)
    said = [float(number) for number in re.search(words, str(caught[0].message)).groups()]
    found = nqz.encode(x, rate=0.5, partner=0.5)
    assert coded(plain).parameters.kappa == 1.0 and 0.45 <= coded(found).parameters.kappa <= 0.6
    before, after = (row_errors(x, data, b, partner) for data in (plain, found))
    assert [before[rest].mean(), after[rest].mean()] == pytest.approx(said, rel=0.05)
    taken = coded(found).parameters.m / 8 * 16.6
    others = nqz.encode(x[:, rest], max_bytes=int(len(found) - taken))
    assert after[rest].mean() <= 1.1 * row_errors(x[:, rest], others, b, partner).mean()
    single = row_errors(x[:, [LOUD]], nqz.encode(x[:, [LOUD]], rate=12), b, partner)[0]
    assert after[LOUD] <= 1.1 * single
    # nothing to say where all coordinates are best for such a partner, too, or where it was named
    with pytest.warns(UserWarning, match="which that of the whole does not show$"):
        nqz.encode(x, rate=2)


def test_a_few_loud_columns_have_fewer_bits_where_that_leaves_something_for_the_others():
    x = matrix(n=256, columns=32)
    with pytest.warns(UserWarning, match="with fewer bits than they could have, for room for the others"):
        found = coded(nqz.encode(x, rate=1))
    assert 16 <= found.parameters.octaves < OCTAVES
    loud = found.side.noise.min()
    assert loud == pytest.approx(
        found.parameters.lattice.second_moment * 2.0**-found.parameters.octaves, rel=1e-3
    )
    assert found.others().product < 0.8
    # no column at all of what is ordinary
    assert coded(nqz.encode(np.delete(x, LOUD, axis=1), rate=1)).parameters.octaves == OCTAVES


def test_sizes_and_errors_as_targets():
    x = matrix()
    data = nqz.encode(x, max_bytes=8000)
    assert 0.95 * 8000 <= len(data) <= 8000 and coded(data).others().product < 0.25
    with pytest.warns(UserWarning, match="the predicted product error of the others is 0.01, which"):
        data = nqz.encode(x, error=0.01)
    (tensor,) = nqz.inspect(data)["tensors"]
    assert tensor["predicted"]["product"] < 1e-9
    assert tensor["predicted"]["others"] == {
        "loud": 1,
        "columns": 64,
        "product": pytest.approx(0.01, rel=0.01),
    }
