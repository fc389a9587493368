"""Products with a few vectors: rounded vectors, and chunks that a coding multiplies as they are."""

import numpy as np
import pytest

import nqz
from coded_cases import coded as coded_matrix
from nqz.product.few import SHORT, ShortVectors
from nqz.stages.codings import Coder


def test_a_vector_is_rounded_once_where_that_adds_next_to_nothing_to_the_noise():
    x = (np.random.default_rng(1).standard_normal((3, 4096)) * [[2.0**20], [2.0**16], [90.0]]).astype(
        np.int32
    )
    short = ShortVectors.of(x, 0.07)
    assert (
        short.parts.shape == x.shape and short.parts.dtype == np.int16 and np.abs(short.parts).max() <= SHORT
    )
    assert short.shifts[0, 2] == 0  # small as it is
    lost = x - (short.parts.astype(np.int64) << short.shifts[0][:, np.newaxis])
    assert (np.square(lost).sum(1) <= 0.07 / 4096 * np.square(x, dtype=np.float64).sum(1)).all()


def test_a_vector_that_would_be_too_coarse_is_taken_apart_without_a_rest():
    x = np.random.default_rng(2).integers(-40, 41, (2, 1000)).astype(np.int32)
    x[:, 7] = [-(2**31), 2**31 - 1]
    x[1, 8] = 16319 << 15
    short = ShortVectors.of(x, 0.0)
    parts = short.parts.astype(np.int64).reshape(-1, *x.shape)
    assert np.abs(parts).max() <= SHORT
    assert ((parts << short.shifts[:, :, np.newaxis]).sum(0) == x).all()


@pytest.fixture(scope="module")
def coded():
    """A matrix in the trellis coding with means, dropped columns and several rates, and what it decodes to."""
    rng = np.random.default_rng(3)
    a = rng.standard_normal((384, 500)) * np.exp2(rng.integers(-6, 3, 500)) + 0.3
    a[:, ::50] = 0.0
    data = nqz.encode(a.astype(np.float32), rate=2.3, coding="trellis", center=True)
    return data, nqz.decode(data, estimator="unbiased", dtype="float64")


@pytest.mark.parametrize("count", [1, 5, 40])
def test_products_with_a_few_vectors_are_those_of_the_decoded_matrix(coded, count):
    data, decoded = coded
    x = np.random.default_rng(count).standard_normal((384, count))
    x -= x.mean(
        0
    )  # what decoded columns have of a mean beside the stored one is noise, which products leave out
    found = nqz.matmul(data, x, estimator="unbiased", dtype="float64")
    scale = np.linalg.norm(decoded, axis=0)[:, np.newaxis] * np.linalg.norm(x, axis=0)
    exact = decoded.T @ x
    assert np.abs(found - exact).max() <= 2e-4 * scale.max()
    assert (np.abs(found - exact) <= 1e-3 * scale / np.sqrt(384) + 1e-12).mean() > 0.99
    assert (found == nqz.matmul(x, data, estimator="unbiased", dtype="float64").T).all()
    assert (found == nqz.matmul(data, x, estimator="unbiased", dtype="float64", threads=3)).all()


def test_chunks_are_multiplied_as_if_they_were_decoded(coded):
    """As every coding does whose chunks are whole columns, unless it knows better."""
    matrix, seen = coded_matrix(coded[0]), 0
    vectors = np.random.default_rng(4).integers(-SHORT, SHORT, (3, 384), np.int16, endpoint=True)
    for panel in matrix.panels:
        for chunk in panel.panel.chunks:
            place = chunk, panel.opened.coded, matrix.chunk_sections(panel, chunk), vectors
            found = panel.coder.multiply_chunk(*place)
            assert (found == Coder.multiply_chunk(panel.coder, *place)).all() and found.any()
            seen += len(found)
    assert seen == sum(panel.panel.kept for panel in matrix.panels) > 300
