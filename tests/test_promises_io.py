"""Promises about what goes in and comes out: round trips, extreme values, exactness."""

from __future__ import annotations

import io
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import nqz
from cli_tools import matrix, succeed


def saved(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def round_trip(array: np.ndarray, **options) -> np.ndarray:
    """Encode and decode."""
    return nqz.open(nqz.encode(array, **{"rate": 4, **options})).matrix.decode()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("shape", [(), (0,), (0, 7), (7, 0), (3, 0, 5)])
@pytest.mark.parametrize("axis", [0, 1])
def test_empty_and_scalar_arrays_are_exact(tmp_path, monkeypatch, capsys, dtype, shape, axis):
    monkeypatch.chdir(tmp_path)
    array = np.full(shape, 1.25, dtype)
    (tmp_path / "x.npy").write_bytes(saved(array))
    succeed(capsys, "encode", "x.npy", "-r", "2", "--axis", axis, "-q")
    assert succeed(capsys, "inspect", "x.nqz").out
    succeed(capsys, "verify", "x.nqz", "--against", "x.npy", "-q")
    succeed(capsys, "decode", "x.nqz", "-o", "y.npy", "-q")
    assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "x.npy").read_bytes()
    with nqz.open("x.nqz") as container:
        assert container[""].decode().shape == shape and container[""].tobytes() == array.tobytes()


def test_an_empty_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_file({}, "none.safetensors")
    result = succeed(capsys, "encode", "none.safetensors", "-r", "2")
    assert result.err == "nqz: none.safetensors -> none.nqz: no tensors\n"
    succeed(capsys, "verify", "none.nqz", "--against", "none.safetensors")
    succeed(capsys, "decode", "none.nqz", "-o", "back.safetensors")
    assert load_file("back.safetensors") == {}
    succeed(capsys, "inspect", "none.nqz")


@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
@pytest.mark.parametrize("rate", [0.3, 2, 6])
def test_zero_and_constant_columns_come_back_exactly(coding, rate):
    array = matrix(300, 12, dtype="float64")
    array[:, 3] = 0.0
    array[:, 5] = 0.1
    array[:, 7] = -1e300
    array[:, 8] = 5e-324
    back = round_trip(array, rate=rate, lattice="e8", coding=coding)
    for column in (3, 5, 7, 8):
        assert np.array_equal(back[:, column], array[:, column])
    zeros = np.zeros((17, 9), np.float32)
    assert np.array_equal(round_trip(zeros, rate=rate, lattice="e8", coding=coding), zeros)


@pytest.mark.parametrize("power", [-300, -150, 150, 300])
def test_extreme_magnitudes(power):
    array = matrix(200, 50, dtype="float64") * 10.0**power
    container = nqz.open(nqz.encode(array, rate=5)).matrix
    back = container.decode()
    scale = 10.0**-power
    error = np.square((back - array) * scale).sum() / np.square((array - array.mean(0)) * scale).sum()
    assert error == pytest.approx(container.predicted_reconstruction, rel=0.1)
    other = matrix(200, 40, seed=1)
    product = nqz.matmul(nqz.encode(array, rate=5), nqz.encode(other, rate=5)) * scale
    truth = (array * scale).T @ other
    assert np.square(product - truth).sum() < 0.01 * np.square(truth).sum()


def test_magnitudes_mixed_in_one_matrix():
    array = matrix(256, 40, dtype="float64") * np.logspace(-300, 300, 40)
    back = round_trip(array, rate=6, allocate="column")
    scale = 1.0 / np.abs(array).max(0)
    error = np.square((back - array) * scale).sum(0) / np.square((array - array.mean(0)) * scale).sum(0)
    assert error.max() < 0.01


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_largest_values_stay_finite(dtype):
    largest = np.finfo(dtype).max
    array = np.where(matrix(128, 30) > 0, largest, -largest).astype(dtype)
    back = round_trip(array, rate=3)
    assert np.isfinite(back).all() and np.abs(back).max() == largest
    assert (np.sign(back.astype(np.float64)) == np.sign(array)).mean() > 0.99


def test_subnormal_numbers():
    array = matrix(128, 30, dtype="float64") * 1e-310
    back = round_trip(array, rate=5)
    assert np.square((back - array) / 1e-310).sum() < 0.01 * np.square(array / 1e-310).sum()


@pytest.mark.parametrize("offset", [1.0, 1e2, 1e5])
def test_large_means_do_not_spoil_the_product(offset):
    a = matrix(512, 60, dtype="float64") + offset
    b = matrix(512, 50, dtype="float64", seed=1) - 2 * offset
    left, right = nqz.encode(a, rate=3), nqz.encode(b, rate=3)
    scale = np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / 512
    error = np.square(nqz.matmul(left, right) - a.T @ b).sum() / scale
    assert error == pytest.approx(nqz.predicted_error(left, right), rel=0.12)


def test_saturation_to_a_narrower_type():
    array = matrix(128, 20, dtype="float64") * 1e6
    back = nqz.open(nqz.encode(array, rate=4)).matrix.decode("float16")
    assert np.isfinite(back).all() and np.abs(back).max() == 65504


DTYPES = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "bfloat16", "float8_e4m3fn", "float8_e5m2fnuz"]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.one_of(
        st.tuples(st.sampled_from([0, 1, 2, 3, 7, 31, 64, 257])),
        st.tuples(*[st.sampled_from([0, 1, 2, 5, 13, 32, 97])] * 2),
        st.tuples(*[st.sampled_from([0, 1, 3, 8, 11])] * 3),
    ),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from("CF"),
    axis=st.sampled_from([0, 1]),
    lattice=st.sampled_from(["z", "d4", "e8"]),
    coding=st.sampled_from(["entropy", "voronoi"]),
    rate=st.sampled_from([0.2, 1, 2.5, 4, 7]),
    center=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_round_trip_within_the_stated_error(shape, dtype, order, axis, lattice, coding, rate, center, seed):
    kind = np.dtype(dtype)
    array = np.asarray(np.random.default_rng(seed % 1000).standard_normal(shape) + 0.3).astype(
        kind, order=order
    )
    data = nqz.encode(array, rate=rate, axis=axis, lattice=lattice, coding=coding, center=center, seed=seed)
    assert data == nqz.encode(
        array, rate=rate, axis=axis, lattice=lattice, coding=coding, center=center, seed=seed
    )
    with nqz.open(data) as container:
        found = container[""]
        back = found.decode()
        assert back.shape == shape
        if array.size == 0:
            assert isinstance(found, nqz.ExactTensor)
            return
        assert back.dtype == (np.float32 if kind.kind != "f" else array.dtype.newbyteorder("="))
        assert np.isfinite(back).all()
        exact = array.astype(np.float64)
        axes = 0 if len(shape) == 1 else axis
        vectors = (
            exact.reshape(-1, shape[-1]) if axes == 0 and len(shape) > 1 else exact.reshape(shape[0], -1).T
        )
        vectors = vectors.reshape(-1, 1) if len(shape) == 1 else vectors
        energy = np.square(vectors - vectors.mean(0) * center).sum()
        error = np.square(back.astype(np.float64) - exact).sum()
        # what rounding to the type adds
        floor = array.size * (float(ml_dtypes.finfo(kind).eps) * np.abs(exact).max()) ** 2 + 1e-6 * energy
        assert (
            error <= found.predicted_reconstruction * energy * (1.02 + 8 * math.sqrt(2 / array.size)) + floor
        )


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ml_dtypes.float8_e5m2]
)
@pytest.mark.parametrize("rate", [0.5, 3, 8])
def test_verify_holds_for_every_type(tmp_path, monkeypatch, capsys, dtype, rate):
    monkeypatch.chdir(tmp_path)
    save_file({"w": matrix(200, 64).astype(dtype), "t": (3 * matrix(64, 200)).astype(dtype)}, "m.safetensors")
    for axis in (0, 1):
        succeed(capsys, "encode", "m.safetensors", "-r", rate, "--axis", axis, "-f", "-q")
        assert succeed(capsys, "verify", "m.nqz", "--against", "m.safetensors").out.count(" ok") == 2
