"""A coded matrix: the one loop over its blocks, and what it says of its columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nqz
from coded_cases import SCHEMES, coded, kept, scheme
from nqz.commands.factors import Coded
from nqz.commands.matmul import MatmulOptions, prepare
from nqz.commands.pairs import Pair
from nqz.ground.errors import CorruptError, OperandError
from nqz.ground.threads import Workers
from nqz.stages.transforms.hadamard2 import HADAMARD2

RNG = np.random.default_rng(11)
# the quiet columns are dropped, and one has no energy
X = RNG.standard_normal((61, 90)) * np.exp(2.5 * RNG.standard_normal(90)) + RNG.standard_normal(90)
X[:, 17] = 2.5


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def pool(request):
    pool = Workers(request.param)
    yield pool
    pool.close()


def whole(matrix, pool, dtype="float64", storage=np.float64, **options):
    out = np.full(X.shape, 77, storage)
    for panel, block, _ in matrix.blocks(
        pool, dtype=dtype, into=lambda panel: out[:, panel.first : panel.last], **options
    ):
        assert np.shares_memory(block, out) and block.shape[1] == panel.width
    return out


@pytest.mark.parametrize("name, coding", SCHEMES)
def test_pieces_are_the_columns_of_the_whole(name, coding, pool, monkeypatch):
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 61 * 40)
    matrix = coded(nqz.encode(X, rate=2.5, **scheme(name, coding)))
    assert [panel.width for panel in matrix.panels] == [40, 40, 10]
    expected, found = whole(matrix, pool), np.empty(X.shape)

    def work(first, piece):
        assert len(piece) == 61 and piece.shape[1] <= 3
        found[:, first : first + piece.shape[1]] = piece
        return first

    starts = [results for _, block, results in matrix.blocks(pool, work=work, step=3 * 61) if block is None]
    assert starts == [list(range(0, 40, 3)), list(range(40, 80, 3)), list(range(80, 90, 3))]
    assert np.array_equal(found, expected)
    share = np.square(expected - X).sum() / np.square(X - X.mean(axis=0)).sum()
    assert share == pytest.approx(matrix.predicted_reconstruction(), rel=0.5)


def test_work_sees_the_pieces_of_the_array_that_they_are_in(pool):
    matrix = coded(nqz.encode(X, rate=2))
    out = np.empty(X.shape, np.float16)
    into = lambda panel: out[:, panel.first : panel.last]  # noqa: E731
    sums = [
        x
        for *_, found in matrix.blocks(pool, "mmse", "float16", into, lambda _, piece: piece.sum())
        for x in found
    ]
    assert sum(float(x) for x in sums) == pytest.approx(float(out.sum(dtype=np.float64)), rel=0.01)


def test_narrow_types_are_rounded_once(pool):
    matrix = coded(nqz.encode(X, rate=4))
    wide = whole(matrix, pool)
    assert np.array_equal(whole(matrix, pool, "float16", np.float16), wide.astype(np.float16))
    bits = whole(matrix, pool, "bfloat16", np.uint16)
    assert np.array_equal(bits, nqz_bfloat16(wide))
    assert np.allclose(whole(matrix, pool, "float32", np.float32), wide, rtol=1e-5, atol=1e-5)


def nqz_bfloat16(x):
    """The nearest bfloat16 of float64, as its bits."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    return x.astype(ml_dtypes.bfloat16).view(np.uint16)


def test_points_alone_need_no_means(pool):
    matrix = coded(nqz.encode(X, rate=2))
    assert [block for _, block, _ in matrix.blocks(pool)] == [None]
    assert matrix.kept_means is None
    whole(matrix, pool)
    assert matrix.kept_means is matrix.load_means()


def test_columns_that_were_dropped_are_their_means(pool):
    matrix = coded(nqz.encode(X, rate=1.0))
    lost = ~kept(matrix)
    assert lost[17] and 1 < lost.sum() < 90
    back, means = whole(matrix, pool), matrix.means(slice(None))
    assert np.array_equal(back[:, lost], np.broadcast_to(means[lost], (61, lost.sum())))
    assert (back[:, 17] == 2.5).all() and matrix.mean_steps(np.array([17])).tolist() == [0.0]


@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
def test_units_are_the_same_whatever_is_asked_for(coding):
    matrix = coded(nqz.encode(X, rate=2, lattice="e8", coding=coding, allocate="column"))
    everything, few = (
        np.tile(matrix.codes, 40),
        matrix.codes[3:9],
    )  # more columns than different norms, and fewer
    assert np.array_equal(matrix.units(everything, 2)[:90], matrix.units(matrix.codes, 2))
    assert np.array_equal(matrix.units(everything)[3:9], np.ldexp(matrix.units(few, 2), 2))


def test_a_matrix_that_is_not_centered_has_means_of_zero():
    matrix = coded(nqz.encode(X, rate=2, center=False))
    assert not matrix.centered
    assert not matrix.means(slice(2, 7)).any() and not matrix.mean_steps(slice(2, 7), 5).any()


def test_damage_is_found_where_it_is(pool):
    data = bytearray(nqz.encode(X, rate=2))
    record = coded(bytes(data)).chunks[0]
    data[record.offset + 40] ^= 1
    matrix = coded(bytes(data))
    with pytest.raises(CorruptError, match="CHNK"):
        whole(matrix, pool)


def test_files_of_different_transforms_are_not_multiplied():
    disguised = type(HADAMARD2)()
    disguised.name = "other"
    one, other = (coded(nqz.encode(X, rate=2)) for _ in range(2))
    parameters = replace(other.parameters, transform=disguised)
    other.header = replace(other.header, parameters=parameters)
    with pytest.raises(OperandError, match="different transforms"):
        prepare(Pair("", Coded(one, "a"), Coded(other, "b")), MatmulOptions(), Workers(1))
