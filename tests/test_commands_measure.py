"""First pass: the digest, and the position of what is not finite."""

from __future__ import annotations

import hashlib
import itertools
import re
from functools import lru_cache, partial

import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16 and float8)
import numpy as np
import pytest

import nqz
from nqz.commands.code import code, probe
from nqz.commands.contents import task_of
from nqz.commands.measure import grid, measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.options import EncodeOptions
from nqz.files.source import array_source, open_source
from nqz.ground.errors import InputError, NqzError, UnsupportedError
from nqz.ground.threads import Workers, workers
from nqz.plan.search import plan
from nqz.plan.task import Target
from nqz.stages import norms

DTYPES = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
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


def energies(found, scale=1.0):
    """Energies of all columns, divided by the squares of scales."""
    codes = found.held.codes
    mantissa, exponent = np.frexp(scale)
    octave = 256 * 2 * np.asarray(exponent, np.int64)
    return (
        found.near * norms.energy(np.where(codes == norms.ZERO, codes, codes - octave)) / np.square(mantissa)
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37,), (31, 18), (5, 7, 9)], ids=str)
def test_what_is_not_finite_is_named_with_its_position(shape, dtype, order, axis):
    rng = np.random.default_rng(1)
    for value, said in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")):
        x = rng.standard_normal(shape).astype(dtype)
        if dtype == "float8_e4m3fn" and np.isinf(value):
            continue  # has none
        index = tuple(int(rng.integers(0, d)) for d in shape)
        x[index] = value
        assert position(np.asarray(x, order=order), axis) == (index, said)


@pytest.mark.parametrize("kind", ["float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_what_would_be_a_negative_zero_is_nan(kind):
    x = np.ones((20, 30), kind)
    x.view(np.uint8)[11, 17] = 0x80
    assert position(x, 0) == ((11, 17), "NaN")


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
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e5m2"])
def test_the_first_of_several_among_many_columns_is_named(order, dtype):
    x = np.zeros((3, 300_001), dtype)
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
    normal = scale > 1e-307
    assert np.allclose(energies(found, scale)[normal], (x.var(axis=0) * shape[0])[normal], rtol=1e-9)
    assert np.allclose((found.held.mean / scale)[normal], x.mean(axis=0)[normal], rtol=1e-12)


def test_extreme_but_finite_values_are_measured():
    for scale in (1e300, 1e-300, 5e-324):
        x = np.array([[1.0, -1.0], [3.0, 1.0]]) * scale
        source = array_source(x)
        found = measure(source.tensors[0].vectors(0), True, "x")
        mean = found.held.mean
        assert np.allclose(energies(found, scale), 2, rtol=1e-12)
        assert mean[0] == pytest.approx(2 * scale, rel=1e-15, abs=0) and mean[1] == 0


def same(one, other):
    """Whether two statistics of a matrix are the same, bit by bit."""
    assert (one.held is None) == (other.held is None)
    for known in (one, other):
        assert known.histogram.columns == known.columns
    arrays = [[s.near, s.histogram.codes, s.histogram.counts] for s in (one, other)]
    if one.held is not None:
        arrays = [[*a, s.held.codes, s.held.mean] for a, s in zip(arrays, (one, other), strict=True)]
    return one.digests == other.digests and all(
        x.tobytes() == y.tobytes() for x, y in zip(*arrays, strict=True)
    )


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
    "shape", [(3001, 701), (800_001, 3), (2, 1_100_003), (2_300_011, 1), (16, 150_007)], ids=str
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
        assert same(other, found[0])
    assert found[0].digest == digest(x.tobytes("A"))
    mean, energy = moments(shape, dtype, axis)
    matrix = MeasuredMatrix(array_source(x).tensors[0].vectors(axis), found[0], "x")
    first = len(found[0].near)
    assert np.allclose(matrix.means(slice(None)), mean, rtol=1e-11)
    codes = matrix.codes(slice(None))
    assert np.allclose(norms.energy(codes), energy, rtol=2e-3, atol=1e-12)
    assert np.allclose(found[0].near * norms.energy(codes[:first]), energy[:first], rtol=1e-8, atol=1e-12)


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


@pytest.mark.parametrize("shape", [(700_001, 1), (3, 300_000), (1100, 600)])
def test_digest_of_float8_is_that_of_its_bytes(shape):
    x = np.random.default_rng(1).integers(0, 0x7B, shape).astype(np.uint8).view("float8_e5m2")
    for axis in (0, 1):
        view = array_source(x).tensors[0].vectors(axis)
        assert measure(view, True, "x").digest == digest(x.tobytes())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_means_and_energies(dtype, axis):
    x = (5 + np.random.default_rng(2).standard_normal((130, 70))).astype(dtype)
    columns = x.astype(np.float64) if axis == 0 else x.astype(np.float64).T
    source = array_source(x)
    view = source.tensors[0].vectors(axis)
    for center in (True, False):
        found = measure(view, center, "x")
        mean = columns.mean(axis=0) if center else np.zeros(columns.shape[1])
        assert np.allclose(found.held.means(), mean, rtol=1e-13)
        assert np.allclose(energies(found), np.square(columns - mean).sum(axis=0), rtol=1e-11)
        assert np.ldexp(*found.histogram.energy()) == pytest.approx(np.square(columns - mean).sum(), rel=1e-3)


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
        assert same(parts[0], whole)


def test_only_neighbors_add():
    view = array_source(np.ones((3, 1_000_000))).tensors[0].vectors(0)
    first, second, third = (measure(view, True, "x", (unit, unit + 1)) for unit in range(3))
    for one, other in ((first, third), (second, first), (first, first)):
        with pytest.raises(NqzError, match="neighbors"):
            one + other
    for name in ("held", "digest", "histogram"):
        with pytest.raises(NqzError, match="part of a matrix"):
            getattr(first + second, name)
    assert len((first + (second + third)).digests) % 32 == 0


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(5, 300_007), (1_300_001, 3), (70, 140_000)], ids=str)
def test_columns_that_are_not_kept_are_measured_again_to_the_same_bits(monkeypatch, shape, order, extreme):
    """Panels that end within pieces and stripes, columns longer than a piece, any choice of columns."""
    rng = np.random.default_rng(7)
    x = 3 + rng.standard_normal(shape)
    if extreme:
        x[:, rng.integers(0, shape[1], 9)] *= 1e290
    view = array_source(np.asarray(x, order=order)).tensors[0].vectors(0)
    whole = measure(view, True, "x")
    monkeypatch.setattr("nqz.stages.grid._HELD", 2)
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", max(shape[0], 300_001))
    units = grid(view).units
    edges = sorted({0, units, *rng.integers(0, units, 2).tolist()})
    with workers(2) as pool:
        parts = [measure(view, True, "x", ends, pool=pool) for ends in itertools.pairwise(edges)]
        matrix = MeasuredMatrix(view, sum(parts[1:], parts[0]), "x", pool)
        count = shape[1]
        rows = order == "C" and count <= 1 << 17
        assert (matrix.statistics.held is None) == (not rows)
        assert np.array_equal(matrix.histogram.counts, whole.histogram.counts)
        assert matrix.statistics.near.tobytes() == whole.near[: len(matrix.statistics.near)].tobytes()
        every = np.arange(count)
        chosen = every[rng.random(count) < 0.01] if count > 3 else every[[0, 2]]
        middle = slice(count // 3, count // 3 + max(1, count // 2))
        for columns in (slice(None), middle, slice(count - 1, count), chosen, slice(4, 4)):
            assert matrix.codes(columns).tobytes() == whole.held.codes[columns].tobytes()
            assert matrix.means(columns).tobytes() == whole.held.mean[columns].tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_changes_after_it_was_measured_is_noticed(tmp_path, monkeypatch, order):
    monkeypatch.setattr("nqz.stages.grid._HELD", 1000)
    monkeypatch.setattr("nqz.stages.panels._COLUMNS", 100_000)
    x = np.random.default_rng(8).standard_normal((3, 300_000)).astype(np.float32)
    np.save(tmp_path / "x.npy", np.asarray(x, order=order))
    with open_source(tmp_path / "x.npy") as source:
        view = source.tensors[0].vectors(0)
        matrix = MeasuredMatrix(view, measure(view, True, "x"), "x")
        task = task_of(source, source.tensors[0], EncodeOptions(rate=4, lattice="z"))
        statistics = matrix.statistics
        planned = plan(task, statistics, Target(4.0, None, None, 0), partial(probe, matrix, Workers(1)))
        records = len(list(code(matrix, planned.parameters)))
        assert records == 6 + 3
        for column, factor in ((250_000, 1.5), (250_000, 1e30)):
            changed = x.copy()
            changed[:, column] *= factor
            np.save(tmp_path / "x.npy", np.asarray(changed, order=order))
            with pytest.raises(InputError, match="x: seems to have changed while being read"):
                list(code(MeasuredMatrix(view, statistics, "x"), planned.parameters))
