"""Encode and decode: the error is the predicted one for every shape, type, lattice, coding and rate."""

from __future__ import annotations

import math

import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16 and float8)
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nqz
from coded_cases import SCHEMES, coded, kept, scheme

SHAPES = [(1,), (7,), (97,), (61, 1), (1, 9), (2, 3), (101, 23), (64, 48), (16, 130), (3, 5, 7), (2, 31, 16)]
DTYPES = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2fnuz"]


def vectors(x, axis):
    """The matrix whose columns are the vectors along the axis, float64."""
    x = np.asarray(x, np.float64)
    if x.ndim == 1:
        return x[:, None]
    return x.reshape(-1, x.shape[-1]) if axis == 0 else x.reshape(len(x), -1).T


def spread(matrix):
    """Standard deviation of the error energy of Gaussian columns, from the norms and the noises."""
    side, n = matrix.side, matrix.parameters.n
    power, noise = side.power(), side.noise
    alive = np.isfinite(noise)
    count = max(1, side.coded_columns())
    w = 1 / (1 + noise[alive])
    coded_part = float((power[alive] * side.kappa * (1 - w)).sum()) * math.sqrt(2 / (side.kappa * n * count))
    left_out = math.sqrt(2 * side.kappa * (1 - side.kappa) / n * (1 / count + 1 / max(1, n - 1)))
    return coded_part + float((power[alive] * w).sum()) * left_out


def check(x, back, matrix, axis, center=True):
    """The reconstruction error is within 5 standard deviations of the prediction, steps of norms aside."""
    a, b = vectors(x, axis), vectors(back, axis)
    reference = a - a.mean(axis=0) if center else a
    energy = np.square(reference).sum()
    if energy == 0:
        assert np.array_equal(a, b)
        return
    error = np.square(a - b).sum() / energy
    predicted = matrix.predicted_reconstruction()
    # a Voronoi code measures its noise in fixed point: coarsely, where there are one or two entries
    allowed = 5 * spread(matrix) + 0.004 * predicted + 3e-5 / a.size
    if matrix.parameters.coding.name == "voronoi":  # a group beyond its cell is rare, and lost
        allowed += matrix.parameters.lattice.group / a.size
    assert abs(error - predicted) <= allowed


@st.composite
def arrays(draw):
    """An array, and the axis of its vectors."""
    shape = draw(st.sampled_from(SHAPES))
    x = np.random.default_rng(draw(st.integers(0, 1 << 30))).standard_normal(shape) + draw(
        st.sampled_from([0.0, 0.5])
    )
    dtype = draw(st.sampled_from(DTYPES))
    x = x.astype(dtype)
    layout = draw(st.sampled_from(["C", "F", "strided", "big-endian"]))
    if layout == "F":
        x = np.asfortranarray(x)
    elif layout == "strided":
        x = np.repeat(x, 2, axis=0)[::2]
    elif layout == "big-endian" and x.dtype.kind == "f":
        x = x.astype(x.dtype.newbyteorder(">"))
    return x, draw(st.integers(0, 1)) if x.ndim > 1 else 0


@pytest.mark.parametrize("name, coding", SCHEMES)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrays(),
    st.sampled_from([0.4, 1.0, 1.7, 2.5, 4.0, 8.0]),
    st.booleans(),
    st.sampled_from(["matrix", "column"]),
    st.sampled_from([None, None, 1.0, 0.6]),
)
def test_reconstruction_error_is_the_predicted_one(name, coding, array, rate, center, allocate, kappa):
    x, axis = array
    options = {**scheme(name, coding), "axis": axis, "center": center, "kappa": kappa}
    if coding == "entropy":
        options["allocate"] = allocate
    data = nqz.encode(x, rate=rate, **options)
    found = nqz.open(data).matrix
    assert found.shape == x.shape and found.axis == axis
    back = found.decode()
    assert back.shape == x.shape and back.dtype in (x.dtype.newbyteorder("="), np.dtype("float32"))
    assert np.isfinite(back.astype(np.float64)).all()
    check(x, found.decode("float64"), coded(data), axis, center)


@pytest.mark.parametrize("name, coding", SCHEMES)
def test_unbiased_reconstruction_has_the_predicted_error(name, coding):
    x = np.random.default_rng(2).standard_normal((512, 64)).astype(np.float32)
    for rate in (1.0, 2.5):
        data = nqz.encode(x, rate=rate, **scheme(name, coding), kappa=0.75)
        back = nqz.open(data).matrix.decode("float64", estimator="unbiased")
        error = np.square(x - back).sum() / np.square(x - x.mean(axis=0)).sum()
        assert error == pytest.approx(coded(data).predicted_reconstruction("unbiased"), rel=0.04)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, coding", SCHEMES)
def test_zero_and_constant_columns_come_back_exactly(name, coding, dtype):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((64, 12)).astype(np.float32)
    x[:, 2], x[:, 5], x[:, 11] = 0, 3.140625, -1e-3
    x = x.astype(dtype)
    back = nqz.open(nqz.encode(x, rate=2, **scheme(name, coding))).matrix.decode(x.dtype)
    for j in (2, 5, 11):
        assert np.array_equal(back[:, j], x[:, j])


@pytest.mark.parametrize("value", [0.0, 1.5, 1e300, 5e-324, -1.7976931348623157e308])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 3), (5,)])
def test_matrices_without_energy_come_back_exactly(value, shape):
    x = np.full(shape, value)
    assert np.array_equal(nqz.open(nqz.encode(x, rate=1)).matrix.decode(), x)


@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-160, 1e160, 4e-310])
def test_extreme_magnitudes_survive(coding, scale):
    rng = np.random.default_rng(8)
    x = rng.standard_normal((128, 20)) * scale
    data = nqz.encode(x, rate=3, **scheme("e8", coding))
    back = nqz.open(data).matrix.decode()
    # measured in units of the scale: squares of the entries themselves over- or underflow
    u, v = x / scale, back / scale
    error = np.square(u - v).sum() / np.square(u - u.mean(axis=0)).sum()
    assert error == pytest.approx(
        coded(data).predicted_reconstruction(), rel=5 * math.sqrt(2 / x.size) + 0.004
    )


def test_columns_of_all_magnitudes_in_one_matrix():
    """Under one absolute noise only the loud ones count; with a scale for each column all are as precise."""
    rng = np.random.default_rng(9)
    scale = 10.0 ** np.linspace(-300, 300, 30)
    x = rng.standard_normal((200, 30)) * scale
    back = nqz.open(nqz.encode(x, rate=4, allocate="column")).matrix.decode()
    u, v = x / scale, back / scale
    error = np.square(u - v).sum(axis=0) / np.square(u - u.mean(axis=0)).sum(axis=0)
    assert error.max() < 2 * np.median(error) < 0.05
    back = nqz.open(nqz.encode(x, rate=4)).matrix.decode() / scale
    assert np.isfinite(back).all()
    assert np.abs(back[:, -1] - u[:, -1]).max() < 0.1
    assert np.ptp(back[:, 0]) == 0


def test_float16_maxima_survive():
    x = np.random.default_rng(3).choice([-65504.0, 65504.0], (64, 16)).astype(np.float16)
    back = nqz.open(nqz.encode(x, rate=6)).matrix.decode()
    assert back.dtype == np.float16 and np.isfinite(back).all()
    assert np.abs(back.astype(np.float64) - x.astype(np.float64)).max() < 0.3 * 65504
    assert (np.abs(back) == 65504).any()  # what lies beyond saturates


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_largest_finite_values_survive(dtype):
    largest = np.finfo(dtype).max
    x = np.random.default_rng(3).choice([-1.0, 1.0], (64, 16)).astype(dtype) * largest
    back = nqz.open(nqz.encode(x, rate=6)).matrix.decode()
    assert np.isfinite(back).all() and np.array_equal(np.sign(back), np.sign(x))


@pytest.mark.parametrize("estimator", ["mmse", "unbiased"])
def test_dropped_columns_come_back_as_their_means(estimator):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((300, 20))
    x[:, 3] = 7 + 1e-3 * rng.standard_normal(300)
    x[:, 11] = -2 + 1e-4 * rng.standard_normal(300)
    data = nqz.encode(x, rate=2)
    matrix = coded(data)
    assert np.flatnonzero(~kept(matrix)).tolist() == [3, 11]
    back = nqz.open(data).matrix.decode(estimator=estimator)
    for j in (3, 11):
        assert np.ptp(back[:, j]) == 0
        assert back[0, j] == pytest.approx(x[:, j].mean(), abs=1e-3 * x[:, j].std())


@pytest.mark.parametrize("name, coding", SCHEMES)
def test_more_bits_mean_less_error(name, coding):
    """Down by close to a factor of four a bit, all the way."""
    x = np.random.default_rng(6).standard_normal((400, 50)).astype(np.float32)
    errors = []
    for rate in range(1, 11):
        back = nqz.open(nqz.encode(x, rate=rate, **scheme(name, coding))).matrix.decode("float64")
        errors.append(np.square(x - back).sum() / x.size)
    ratios = np.divide(errors[:-1], errors[1:])
    assert (ratios > 1).all() and (ratios[3:] > 3.4).all() and (ratios[3:] < 4.7).all()
