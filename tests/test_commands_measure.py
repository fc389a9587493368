"""First pass: the digest, and the position of what is not finite."""

from __future__ import annotations

import hashlib
import itertools
import re
from functools import lru_cache

import ml_dtypes
import numpy as np
import pytest

import nqz
from nqz.commands.measure import grid, measure, settled
from nqz.files.source import array_source, open_source
from nqz.ground.errors import NqzError, UnsupportedError
from nqz.ground.threads import workers

DTYPES = ["float16", "bfloat16", "float32", "float64"]
PIECE, SUMMED = 256 << 10, 4 << 20


def digest(data):
    """The first half of SHA-256 over the SHA-256s of pieces of 256 KiB."""
    pieces = [hashlib.sha256(data[i : i + PIECE]).digest() for i in range(0, len(data), PIECE)]
    return hashlib.sha256(b"".join(pieces)).digest()[:16]


def position(x, axis):
    """The index that the refusal of an array names, and the value."""
    with pytest.raises(UnsupportedError) as refused:
        nqz.encode(x, rate=2, axis=axis)
    index, value = re.search(r"entry \[([\d, ]*)\] is (NaN|-?infinity)", str(refused.value)).groups()
    return tuple(int(i) for i in index.split(",")), value


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37,), (31, 18), (5, 7, 9)], ids=str)
def test_what_is_not_finite_is_named_with_its_position(shape, dtype, order, axis):
    rng = np.random.default_rng(1)
    for value, said in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")):
        x = rng.standard_normal(shape).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        index = tuple(int(rng.integers(0, d)) for d in shape)
        x[index] = value
        assert position(np.asarray(x, order=order), axis) == (index, said)


@pytest.mark.parametrize("axis", [0, 1])
def test_big_endian_positions(axis):
    x = np.zeros((20, 30), ">f8")
    x[11, 17] = np.nan
    assert position(x, axis) == ((11, 17), "NaN")


@pytest.mark.parametrize("index", [(0, 0), (2999, 0), (0, 699), (2999, 699), (1500, 350)])
@pytest.mark.parametrize("axis", [0, 1])
def test_positions_beyond_the_first_slab(index, axis):
    x = np.ones((3000, 700), np.float32)
    x[index] = -np.inf
    assert position(x, axis) == (index, "-infinity")


def test_the_first_of_several_is_named():
    x = np.zeros((300, 500), np.float32)
    x[200, 3] = x[100, 400] = x[100, 401] = np.nan
    assert position(x, 0)[0] == (100, 400)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_of_several_among_many_columns_is_named(order, dtype):
    x = np.zeros((3, 300_001), ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x[2, 5] = x[1, 250_000] = x[1, 299_999] = np.nan
    first = (1, 250_000) if order == "C" else (2, 5)
    assert position(np.asarray(x, order=order), 0) == (first, "NaN")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(5, 200_003), (70, 66_000)], ids=str)
def test_extreme_columns_among_many(shape, order):
    # in the first of several blocks or stripes, in the middle of them, and where they meet
    x = np.random.default_rng(4).standard_normal(shape) + 3
    scale = np.ones(shape[1])
    scale[[0, 7, 32_768, 65_535, 65_536, shape[1] - 1]] = 1e300, 1e-300, 1e290, 5e-310, 1e-290, 1e295
    source = array_source(np.asarray(x * scale, order=order))
    found = measure(source.tensors[0].vectors(0), True, "x")
    unit = np.ldexp(scale, -found.exponent)
    normal = scale > 1e-307
    assert np.allclose(
        (found.energy / np.square(unit))[normal], (x.var(axis=0) * shape[0])[normal], rtol=1e-9
    )
    assert np.allclose((found.mean / scale)[normal], x.mean(axis=0)[normal], rtol=1e-12)
    mantissa, power = found.total
    # the loudest column is far above all others
    assert mantissa * 2.0 ** (power - 2 * int(found.exponent[0])) == pytest.approx(found.energy[0], rel=1e-9)


def test_extreme_but_finite_values_are_measured():
    for scale in (1e300, 1e-300, 5e-324):
        x = np.array([[1.0, -1.0], [3.0, 1.0]]) * scale
        source = array_source(x)
        found = measure(source.tensors[0].vectors(0), True, "x")
        unit = np.ldexp(scale, -found.exponent)
        assert np.allclose(found.energy / np.square(unit), 2, rtol=1e-12)
        assert found.mean[0] == pytest.approx(2 * scale, rel=1e-15, abs=0) and found.mean[1] == 0


@lru_cache(maxsize=1)
def offset_matrix(shape, dtype):
    """Entries of mean 3 and variance 1, in C order."""
    x = (3 + np.random.default_rng(3).standard_normal(shape)).astype(dtype)
    x.setflags(write=False)
    return x


@lru_cache(maxsize=2)
def moments(shape, dtype, axis):
    """Mean of each vector of that matrix, and the energy around it."""
    x = offset_matrix(shape, dtype)
    return x.mean(axis=axis, dtype=np.float64), x.var(axis=axis, dtype=np.float64) * shape[axis]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", ">f8", "float16"])
@pytest.mark.parametrize(
    "shape", [(3001, 701), (1_300_001, 3), (2, 1_100_003), (5_000_011, 1), (40, 150_007)], ids=str
)
def test_pieces_and_threads_do_not_change_what_is_measured(tmp_path, shape, dtype, order, axis):
    # Pieces of the digest end within rows and columns; rows are longer than a piece; very many columns.
    x = np.asarray(offset_matrix(shape, dtype), order=order)
    np.save(tmp_path / "x.npy", x)
    found = []
    with open_source(tmp_path / "x.npy") as source:
        for tensor, threads in ((array_source(x).tensors[0], 3), (source.tensors[0], 1)):
            with workers(threads) as pool:
                found.append(measure(tensor.vectors(axis), True, "x", pool=pool))
        found.append(measure(source.tensors[0].vectors(axis), True, "x"))
    for other in found[1:]:
        assert other.digest == found[0].digest and other.total == found[0].total
        assert other.mean.tobytes() == found[0].mean.tobytes()
        assert other.energy.tobytes() == found[0].energy.tobytes()
    assert found[0].digest == digest(x.tobytes("A"))
    mean, energy = moments(shape, dtype, axis)
    assert np.allclose(found[0].mean, mean, rtol=1e-11)
    assert np.allclose(found[0].energy, energy, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("index", [(1_200_000, 1), (1_398_102, 0), (2_000_000, 2), (0, 1)])
def test_positions_beyond_the_first_piece(index):
    x = np.zeros((2_000_001, 3), np.float32)
    x[index] = np.nan
    for order in "CF":
        assert position(np.asarray(x, order=order), 0) == (index, "NaN")


@pytest.mark.parametrize(
    "count",
    [
        1,
        *(size // 2 + i for size in (PIECE, 2 * PIECE, 3 * PIECE, SUMMED, 2 * SUMMED) for i in (-1, 0, 1, 3)),
    ],
)
def test_digest_is_that_of_the_pieces(count):
    x = np.random.default_rng(1).integers(0, 1000, count, np.uint16).view(np.float16)
    tensor = array_source(x).tensors[0]
    assert measure(tensor.vectors(0), True, "x").digest == digest(x.tobytes())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_means_and_energies(dtype, axis):
    x = (5 + np.random.default_rng(2).standard_normal((130, 70))).astype(
        ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    )
    columns = x.astype(np.float64) if axis == 0 else x.astype(np.float64).T
    source = array_source(x)
    view = source.tensors[0].vectors(axis)
    for center in (True, False):
        found = measure(view, center, "x")
        mean = columns.mean(axis=0) if center else np.zeros(columns.shape[1])
        assert np.allclose(found.mean, mean, rtol=1e-13)
        assert np.allclose(
            found.energy * 4.0**found.exponent, np.square(columns - mean).sum(axis=0), rtol=1e-11
        )
        assert np.ldexp(*found.total) == pytest.approx(np.square(columns - mean).sum(), rel=1e-11)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "shape", [(3001, 701), (1_300_001, 2), (40, 150_007), (2, 1_100_003), (100, 70_000)], ids=str
)
def test_statistics_of_ranges_add_up_in_any_order(shape, order, extreme):
    """Ranges that end within columns, that are within one column, and that divide blocks."""
    rng = np.random.default_rng(5)
    x = 3 + rng.standard_normal(shape)
    if extreme:
        x[:, rng.integers(0, shape[1], 3)] *= 1e290
        x[rng.integers(0, shape[0], 2)] *= 1e-300
    view = array_source(np.asarray(x, order=order)).tensors[0].vectors(0)
    whole, units = measure(view, True, "x"), grid(view).units
    for _ in range(2):
        edges = sorted({0, units, *rng.integers(0, units, 4).tolist()})
        parts = [measure(view, True, "x", (first, last)) for first, last in itertools.pairwise(edges)]
        while len(parts) > 1:
            i = int(rng.integers(len(parts) - 1))
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        found = settled(view, parts[0], "x")
        assert found.complete and (found.digests, found.total) == (whole.digests, whole.total)
        for name in ("codes", "mean", "energy", "exponent"):
            assert getattr(found, name).tobytes() == getattr(whole, name).tobytes()


def test_only_neighbors_add():
    view = array_source(np.ones((3, 1_000_000))).tensors[0].vectors(0)
    first, second, third = (measure(view, True, "x", (unit, unit + 1)) for unit in range(3))
    for one, other in ((first, third), (second, first), (first, first)):
        with pytest.raises(NqzError, match="neighbors"):
            one + other
    with pytest.raises(NqzError, match="part of a matrix"):
        (first + second).codes  # noqa: B018
    with pytest.raises(NqzError, match="neighbors"):
        measure(view, True, "x").rounded(2) + first
    assert len((first + (second + third)).digests) % 32 == 0


def test_rounded_means_are_rounded_once():
    view = array_source(np.random.default_rng(6).standard_normal((50, 30)) + 1e9).tensors[0].vectors(0)
    found = measure(view, True, "x")
    kept = found.rounded(3)
    assert kept.rounded(3) is kept and kept.means.digits == 3
    assert np.allclose(kept.means.at(slice(None)), found.mean, rtol=1e-9)
    with pytest.raises(NqzError, match="rounded"):
        kept.mean  # noqa: B018
    with pytest.raises(NqzError, match="rounded"):
        found.means  # noqa: B018
