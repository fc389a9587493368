"""Arrays of JAX, Dask and Arrow: `make test-torch`."""

from __future__ import annotations

import dask.array
import jax.numpy as jnp
import numpy as np
import pyarrow
import pytest

import nqz


def gaussian(*shape, dtype="float32"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "float8_e4m3fn"])
def test_arrays_of_jax(dtype):
    j = jnp.asarray(gaussian(50, 12)).astype(dtype)
    plain = np.asarray(j)  # in the types of ml_dtypes
    assert nqz.encode(j, rate=5) == nqz.encode(plain, rate=5)
    assert nqz.encode(j.T, rate=5) == nqz.encode(np.ascontiguousarray(plain.T), rate=5)
    assert nqz.open(nqz.encode(j, rate=5)).matrix.source_dtype == dtype
    m = nqz.open(nqz.encode(j, rate=5)).matrix
    assert jnp.asarray(m[:, :3]).shape == (50, 3)
    assert np.allclose(jnp.asarray(m), m.decode())


def test_arrays_of_dask():
    a = gaussian(50, 12)
    assert nqz.encode(dask.array.from_array(a, chunks=(20, 5)), rate=5) == nqz.encode(a, rate=5)
    m = nqz.open(nqz.encode(a, rate=5)).matrix
    lazy = dask.array.from_array(m, chunks=(50, 4))
    assert np.array_equal(lazy[:, 3:7].compute(scheduler="threads"), m[:, 3:7])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_of_arrow(dtype):
    a = gaussian(50, 12, dtype=dtype)
    flat = pyarrow.array(a.reshape(-1))
    rows = pyarrow.FixedSizeListArray.from_arrays(flat, 12)
    assert nqz.encode(rows, rate=5) == nqz.encode(a, rate=5)
    assert nqz.encode(rows.slice(7, 20), rate=5) == nqz.encode(a[7:27], rate=5)
    assert nqz.encode(flat, rate=5) == nqz.encode(a.reshape(-1), rate=5)
    holes = pyarrow.array([1.0, None, 2.0], pyarrow.float32())
    with pytest.raises(nqz.UnsupportedError, match="missing"):
        nqz.encode(holes, rate=5)
    with pytest.raises(nqz.UnsupportedError, match="Arrow data of format"):
        nqz.encode(pyarrow.array(["a", "b"]), rate=5)
    cube = pyarrow.FixedSizeListArray.from_arrays(pyarrow.FixedSizeListArray.from_arrays(flat, 3), 4)
    assert nqz.encode(cube, rate=5) == nqz.encode(a.reshape(50, 4, 3), rate=5)
    tensor = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(a)
    assert nqz.encode(tensor, rate=5) == nqz.encode(a, rate=5)
