"""A coded matrix: the one loop over its blocks, and what it says of its columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nqz
from coded_cases import SCHEMES, coded, kept, rewritten, scheme, verified
from nqz.commands.factors import Coded
from nqz.commands.matmul import MatmulOptions, prepare
from nqz.commands.pairs import Pair
from nqz.files.access import MemoryAccess
from nqz.format.reader import ContainerReader
from nqz.ground.errors import CorruptError, OperandError
from nqz.ground.threads import Workers
from nqz.matrix import open_matrix
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
    assert [panel.panel.width for panel in matrix.panels] == [40, 40, 10]
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


class Counting(MemoryAccess):
    """A file in memory that remembers where it was read."""

    def __init__(self, data):
        super().__init__(memoryview(data).toreadonly(), "test.nqz")
        self.reads = []

    def pread_into(self, buffer, offset):
        self.reads.append(offset)
        super().pread_into(buffer, offset)


@pytest.fixture
def cut_small(monkeypatch):
    """Three panels of 40, 40 and 10 columns, of three chunks at most."""
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 61 * 40)
    monkeypatch.setattr("nqz.stages.chunks.CHUNK_ENTRIES", 1000)


@pytest.mark.parametrize(
    "options",
    [{"rate": 2.5}, {"rate": 2, "lattice": "e8", "coding": "voronoi"}, {"rate": 1.2, "center": False}],
)
@pytest.mark.parametrize("size", [1000, 50])
def test_a_column_is_decoded_from_its_chunks_and_the_side_information_of_its_panel(
    options, size, pool, monkeypatch, cut_small
):
    monkeypatch.setattr("nqz.stages.chunks.CHUNK_ENTRIES", size)
    data = nqz.encode(X, **options)
    expected, chunks = whole(coded(data), pool), set()
    for column in range(90):
        access = Counting(data)
        matrix = open_matrix(ContainerReader(access, "test.nqz"), 0)
        assert len(access.reads) <= 3
        access.reads.clear()
        found = matrix.columns(np.array([column]), pool)
        assert np.array_equal(found[:, 0], expected[:, column])
        panel = matrix.panels[column // 40]
        row = panel.opened.place[column % 40]
        m = matrix.parameters.m
        mine = [
            c
            for c in panel.panel.chunks
            if c.start < row * m + m and row * m < c.start + c.count and row >= 0
        ]
        assert len(mine) == (row >= 0) * ((row * m + m - 1) // size + 1 - row * m // size)
        side = [
            matrix.reader.find(0, kind)[column // 40].offset
            for kind in ("NORM", "MEAN")[: 1 + matrix.centered]
        ]
        assert sorted(access.reads) == sorted(side + [matrix.panels.chunk(c.number).offset for c in mine])
        chunks |= {c.number for c in mine}
    assert len(chunks) == matrix.panels.chunk_count > 2


def test_columns_come_in_the_order_asked_for_and_each_panel_is_read_once(pool, cut_small):
    data = nqz.encode(X, rate=2)
    expected, matrix = whole(coded(data), pool), coded(data)
    codes, means, steps = matrix.codes(), matrix.means(), matrix.mean_steps(slice(None))
    assert len(codes) == len(means) == len(steps) == 90
    chosen = np.array([89, 3, 41, 3, 79, 80, 0, 40, 39])
    access = Counting(data)
    matrix = open_matrix(ContainerReader(access, "test.nqz"), 0)
    access.reads.clear()
    assert np.array_equal(matrix.codes(chosen), codes[chosen])
    assert np.array_equal(matrix.means(chosen), means[chosen])
    assert np.array_equal(matrix.mean_steps(chosen), steps[chosen])
    assert len(access.reads) == 6  # NORM and MEAN of each panel
    assert np.array_equal(matrix.columns(chosen, pool), expected[:, chosen])
    for few in (slice(39, 41), slice(5, 5), slice(80, 200), np.zeros(0, int)):
        assert np.array_equal(matrix.codes(few), codes[few])
        assert np.array_equal(matrix.means(few), means[few])


def test_only_the_last_panels_are_kept(monkeypatch, cut_small):
    monkeypatch.setattr("nqz.matrix.panels._HELD", 80)
    access = Counting(nqz.encode(X, rate=2))
    matrix = open_matrix(ContainerReader(access, "test.nqz"), 0)
    access.reads.clear()
    for columns, more in (
        (slice(0, 80), 2),
        (slice(0, 80), 0),
        (slice(80, 90), 1),
        (slice(40, 90), 0),
        (slice(1), 1),
    ):
        matrix.codes(columns)
        assert len(access.reads) == more
        access.reads.clear()


def test_threads_that_ask_for_the_same_panel_read_it_once(cut_small):
    access = Counting(nqz.encode(X, rate=2))
    matrix = open_matrix(ContainerReader(access, "test.nqz"), 0)
    access.reads.clear()
    threads = Workers(4)
    means = list(threads.map(lambda _: matrix.means(slice(0, 80)), range(40)))
    threads.close()
    assert all(np.array_equal(found, means[0]) for found in means)
    assert len(access.reads) == 4


def test_a_missing_chunk_is_found_where_its_panel_is_read(pool, cut_small):
    data = nqz.encode(X, rate=2)
    assert rewritten(data) == data
    kinds = [record.type for record in coded(data).reader.records(0)]
    last = len(kinds) - 1 - kinds[::-1].index("CHNK")
    matrix = coded(rewritten(data, lambda kind, payload, number: payload if number != last else None))
    offset = matrix.reader.find(0, "NORM")[2].offset
    matrix.codes(slice(0, 80))
    with pytest.raises(CorruptError, match=f"chunks where the norms at byte {offset} call for"):
        matrix.codes(slice(0, 81))
    with pytest.raises(CorruptError, match=f"chunks where the norms at byte {offset} call for"):
        whole(matrix, pool)


def test_missing_panels_are_found_before_anything_is_read(cut_small):
    data = nqz.encode(X, rate=2)
    kinds = [record.type for record in coded(data).reader.records(0)]
    last = len(kinds) - 1 - kinds[::-1].index("NORM")
    with pytest.raises(CorruptError, match="2 records NORM where its shape calls for 3"):
        coded(rewritten(data, lambda kind, payload, number: payload if number < last else None))


def test_means_are_checked_whether_columns_are_rebuilt_or_not(pool, cut_small):
    data = nqz.encode(X, rate=2)
    matrix = coded(
        rewritten(data, lambda kind, payload, number: payload + b"!" if kind == "MEAN" else payload)
    )
    assert len(matrix.codes()) == 90
    with pytest.raises(CorruptError, match=r"record MEAN at byte [0-9]+: 1 bytes are left over"):
        list(matrix.blocks(pool))
    with pytest.raises(CorruptError, match=r"record MEAN at byte [0-9]+: 1 bytes are left over"):
        verified(matrix.reader)


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
    codes = matrix.codes()
    everything = np.tile(codes, 40)  # more columns than there are different norms
    assert np.array_equal(matrix.units(everything, 2)[:90], matrix.units(codes, 2))
    assert np.array_equal(matrix.units(codes[3:9]), np.ldexp(matrix.units(codes[3:9], 2), 2))


def test_a_matrix_that_is_not_centered_has_means_of_zero():
    matrix = coded(nqz.encode(X, rate=2, center=False))
    assert not matrix.centered
    assert not matrix.means(slice(2, 7)).any() and not matrix.mean_steps(slice(2, 7), 5).any()


def test_damage_is_found_where_it_is(pool):
    data = bytearray(nqz.encode(X, rate=2))
    record = coded(bytes(data)).panels.chunk(0)
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
