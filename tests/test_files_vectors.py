"""Vectors of a matrix: every shape, order, type and axis, read and written, against NumPy's own indexing."""

from __future__ import annotations

import io
import threading

import ml_dtypes  # noqa: F401  (makes NumPy know float8)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nqz.files import vectors
from nqz.files.access import MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.layout import vector_layout
from nqz.files.opening import open_input
from nqz.files.sink import MatrixSink
from nqz.files.source import array_source, open_source
from nqz.ground import float8
from nqz.ground.errors import InputError, UnsupportedError, UsageError

SHAPES = [(1,), (7,), (1, 1), (5, 1), (1, 5), (6, 7), (13, 4), (2, 3, 5), (3, 1, 4), (1, 6, 1), (2, 3, 4, 5)]
DTYPES = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]


def as_columns(array, axis):
    """The [length, count] matrix of the vectors, by the definition."""
    if array.ndim == 1:
        return array.reshape(-1, 1)
    if axis == 0:
        return np.ascontiguousarray(array).reshape(-1, array.shape[-1])
    return np.ascontiguousarray(array).reshape(array.shape[0], -1).T


def sample(shape, dtype="<f4", order="C"):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    return np.array(values, dtype=dtype, order=order)


def axes(array):
    return (0,) if array.ndim == 1 else (0, 1)


def save(path, array):
    np.save(path, array)
    return open_source(str(path))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_read_is_what_numpy_indexing_gives(tmp_path, shape, dtype, order):
    array = sample(shape, dtype, order)
    with save(tmp_path / "x.npy", array) as source:
        for axis in axes(array):
            expected = as_columns(array, axis)
            view = source.tensors[0].vectors(axis)
            assert (view.length, view.count) == expected.shape
            for first in range(view.count):
                for last in range(first, view.count + 1):
                    block = view.read(first, last)
                    assert block.dtype == array.dtype.newbyteorder("=") and block.dtype.isnative
                    assert np.array_equal(block, expected[:, first:last])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_spans_hold_their_entries_in_file_order(tmp_path_factory, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    array = sample(shape, data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from("CF")))
    axis = data.draw(st.sampled_from(axes(array)))
    step = data.draw(st.integers(1, 80))
    buffer = data.draw(st.sampled_from([None, np.empty(100, np.uint8)]))
    expected, file_bytes = as_columns(array, axis), array.tobytes("A")
    with save(tmp_path_factory.mktemp("spans") / "x.npy", array) as source:
        for view in (source.tensors[0].vectors(axis), array_source(array).tensors[0].vectors(axis)):
            seen = np.zeros(expected.shape, int)
            for first in range(0, array.size, step):
                last = min(first + step, array.size)
                raw, blocks = view.span(first, last, buffer)
                assert bytes(raw) == file_bytes[first * array.itemsize : last * array.itemsize]
                assert sum(block.size for _, _, block in blocks) == last - first and len(blocks) <= 3
                for coordinate, vector, block in blocks:
                    assert block.dtype.isnative
                    for (i, j), value in np.ndenumerate(block):
                        assert array[view.index(coordinate + i, vector + j)] == value
                        logical = view._layout.logical_coordinate(coordinate + i)
                        assert expected[logical, vector + j] == value
                        seen[logical, vector + j] += 1
            assert (seen == 1).all()


@pytest.mark.parametrize(
    ("first", "last", "shapes"),
    [
        (0, 28, [(4, 7)]),
        (0, 27, [(3, 7), (1, 6)]),
        (6, 28, [(1, 1), (3, 7)]),
        (3, 16, [(1, 4), (1, 7), (1, 2)]),
        (1, 3, [(1, 2)]),
    ],
)
def test_spans_are_whole_runs_and_what_is_left(first, last, shapes):
    by_coordinate, by_vector = (array_source(sample((9, 7))).tensors[0].vectors(axis) for axis in (0, 1))
    assert [block.shape for _, _, block in by_coordinate.span(first, last)[1]] == shapes
    assert [block.shape for _, _, block in by_vector.span(first, last)[1]] == [
        shape[::-1] for shape in shapes
    ]


def test_spans_stay_valid_without_a_buffer(tmp_path):
    array = sample((64, 8))
    with save(tmp_path / "x.npy", array) as source:
        view = source.tensors[0].vectors(0)
        blocks = [view.span(first, first + 64)[1][0][2] for first in range(0, array.size, 64)]
    assert np.array_equal(np.concatenate(blocks), array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_and_memory_in_place_are_what_read_gives(tmp_path, shape, dtype, order):
    array = sample(shape, dtype, order)
    with save(tmp_path / "x.npy", array) as source:
        for axis in axes(array):
            view = source.tensors[0].vectors(axis)
            first, last = view.count // 3, view.count
            expected = view.read(first, last)
            assert view.in_place(first, last) is None
            inside = array_source(array).tensors[0].vectors(axis).in_place(first, last)
            if inside is not None:
                assert np.array_equal(inside, expected) and not inside.flags.writeable
            elif array.dtype.isnative:
                assert array.ndim > 2 and order == "F"
            rows = (view.length // 4, view.length - view.length // 5)
            if not view.by_rows:
                with pytest.raises(UsageError, match="coordinates"):
                    view.read(first, last, None, rows)
                continue
            assert np.array_equal(view.read(first, last, None, rows), expected[slice(*rows)])
            out = np.empty(expected.size, view.dtype)
            assert np.array_equal(view.read(first, last, out, rows), expected[slice(*rows)])


def test_memory_that_is_not_aligned_is_read():
    array = sample((5, 6))
    stream = io.BytesIO()
    stream.write(b"x")
    np.save(stream, array)
    stream.seek(1)
    view = open_source(stream).tensors[0].vectors(0)
    assert view.in_place(0, 6) is None
    assert np.array_equal(view.read(0, 6), array)


def test_memory_kinds():
    def kind(shape, axis, fortran):
        return vector_layout(shape, axis, fortran).memory

    assert kind((6, 7), 0, False) == "coordinate-major"
    assert kind((6, 7), 1, False) == "vector-major"
    assert kind((6, 7), 0, True) == "vector-major"
    assert kind((6, 7), 1, True) == "coordinate-major"
    # one vector, or one coordinate: the kind with the longer runs
    assert kind((6, 1), 0, False) == "vector-major"
    assert kind((1, 7), 0, True) == "coordinate-major"
    assert kind((9,), 0, False) == "vector-major"


def test_axes_that_do_not_exist():
    with pytest.raises(UsageError, match="axis must be 0 or 1, not 2"):
        vector_layout((3, 4), 2, False)
    with pytest.raises(UsageError, match="one-dimensional"):
        vector_layout((3,), 1, False)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3)])
def test_no_element_no_vectors(shape):
    with pytest.raises(UnsupportedError, match="no vectors"):
        vector_layout(shape, 0, False)


def test_ranges_outside_the_matrix():
    view = array_source(sample((3, 4))).tensors[0].vectors(0)
    for first, last in ((-1, 2), (2, 1), (0, 5)):
        with pytest.raises(UsageError, match="are not among 4"):
            view.read(first, last)


@pytest.mark.parametrize("axis", [0, 1])
def test_read_into_a_given_buffer(axis):
    array = sample((11, 12), ">f8")
    view = array_source(array).tensors[0].vectors(axis)
    out = np.full(200, -1.0)
    block = view.read(3, 8, out)
    assert np.array_equal(block, as_columns(array, axis)[:, 3:8])
    assert np.shares_memory(block, out)
    assert (out[5 * view.length :] == -1).all()


@pytest.mark.parametrize("gap", [0, 1 << 30])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (9, 20, 31)])
def test_both_ways_to_reach_pieces_of_rows(tmp_path, monkeypatch, gap, order, shape):
    """Runs one by one and whole blocks with the gaps between give the same, over more than one block."""
    monkeypatch.setattr(vectors, "_READ_GAP", gap)
    monkeypatch.setattr(vectors, "_WRITE_GAP", gap)
    monkeypatch.setattr(vectors, "_BLOCK", 2000)
    array = sample(shape, ">f4", order)
    for axis in (0, 1):
        expected = as_columns(array, axis)
        with save(tmp_path / "x.npy", array) as source:
            view = source.tensors[0].vectors(axis)
            access = MemoryAccess(bytearray())
            spec = TensorSpec("", shape, "float32", fortran_order=order == "F", byte_order=">")
            writer = MatrixSink(access, "npy", [spec]).vectors(0, axis)
            for first in range(0, view.count, 7):
                block = view.read(first, min(first + 7, view.count))
                assert np.array_equal(block, expected[:, first : first + 7])
                writer.write(first, block)
        assert bytes(access._data) == (tmp_path / "x.npy").read_bytes()


def test_panels_at_the_end_of_the_file_are_not_read_beyond(tmp_path):
    array = sample((50, 10))
    with save(tmp_path / "x.npy", array) as source:
        assert np.array_equal(source.tensors[0].vectors(0).read(7, 10), array[:, 7:])


def test_file_that_shrinks_is_an_input_error(tmp_path):
    path = tmp_path / "x.npy"
    with save(path, sample((50, 10))) as source:
        with open(path, "r+b") as file:
            file.truncate(500)
        with pytest.raises(InputError, match=r"x\.npy: ends at byte"):
            source.tensors[0].vectors(1).read(0, 50)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn"])
@pytest.mark.parametrize("shape", [(5,), (6, 7), (2, 3, 5)])
def test_writer_mirrors_reader(shape, dtype, order):
    narrow = {"bfloat16": np.uint16, "float8_e4m3fn": np.uint8}
    if dtype in narrow and order == "F":
        order = "C"  # only .safetensors has them, and that in C order
    kind = "safetensors" if dtype in narrow else "npy"
    storage = narrow.get(dtype, dtype)
    array = sample(shape, storage, order)
    for axis in axes(array):
        expected = as_columns(array, axis)
        access = MemoryAccess(bytearray())
        sink = MatrixSink(
            access, kind, [TensorSpec("t", shape, dtype, fortran_order=order == "F" and array.ndim > 1)]
        )
        writer = sink.vectors(0, axis)
        first = 0
        while first < writer.count:
            # three kinds of strides
            block = np.asarray(expected[:, first : first + 2], order="CF"[first % 2])
            writer.write(first, block)
            first += block.shape[1]
        assert access.size == sink.total_bytes
        data = bytes(access._data)[-array.nbytes :]
        assert data == array.tobytes("A")
        view = open_source(io.BytesIO(bytes(access._data))).tensors[0].vectors(axis)
        read = view.read(0, view.count)
        assert np.array_equal(read, float8.values(dtype)[expected] if dtype == "float8_e4m3fn" else expected)


@pytest.mark.parametrize("shape", [(7,), (13, 4), (300, 70_000), (3, 90_000), (2, 3, 5)], ids=str)
def test_float8_is_read_as_the_float16_of_the_same_values(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(vectors, "_BLOCK", 1 << 14)
    codes = np.random.default_rng(1).integers(0, 0x7B, shape).astype(np.uint8)
    path = tmp_path / "x.safetensors"
    sink = MatrixSink(
        access := MemoryAccess(bytearray()), "safetensors", [TensorSpec("t", shape, "float8_e5m2")]
    )
    sink.write_bytes(0, 0, codes)
    path.write_bytes(access._data)
    wide = float8.values("float8_e5m2")[codes]
    with open_source(path) as source:
        for axis in axes(codes):
            for view in (
                source.tensors[0].vectors(axis),
                array_source(codes.view("float8_e5m2")).tensors[0].vectors(axis),
            ):
                assert (view.entries, view.itemsize, view.dtype) == ("float16", 1, np.float16)
                expected, count = as_columns(wide, axis), view.count
                for first, last in ((0, count), (count // 3, count // 2), (count - 1, count)):
                    buffer = np.empty(view.length * (last - first) + 3, np.float16)
                    for out in (None, buffer):
                        assert np.array_equal(view.read(first, last, out), expected[:, first:last])
                if view.by_rows:
                    assert np.array_equal(view.read(1, 3, None, (1, 2)), expected[1:2, 1:3])
                raw, blocks = view.span(1, codes.size, np.empty(codes.size, np.uint8))
                assert bytes(raw) == codes.tobytes()[1:]
                assert all(block.dtype == np.float16 for _, _, block in blocks)


def test_threads_write_neighboring_vectors(tmp_path):
    array = sample((400, 64))
    access = MemoryAccess(bytearray())
    writer = MatrixSink(access, "npy", [TensorSpec("", array.shape, "float32")]).vectors(0, 0)

    def work(start):
        for first in range(start, 64, 4):
            writer.write(first, array[:, first : first + 1])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bytes(access._data)[-array.nbytes :] == array.tobytes()


def test_writer_refuses_blocks_that_do_not_fit():
    sink = MatrixSink(MemoryAccess(bytearray()), "npy", [TensorSpec("", (3, 4), "float32")])
    writer = sink.vectors(0, 0)
    for first, block in (
        (0, np.zeros((4, 3), "f4")),
        (3, np.zeros((3, 2), "f4")),
        (-1, np.zeros((3, 1), "f4")),
    ):
        with pytest.raises(UsageError, match="does not fit"):
            writer.write(first, block)
    with pytest.raises(UsageError, match="float64 cannot be written as float32"):
        writer.write(0, np.zeros((3, 1)))


def test_fortran_order_of_many_dimensions(tmp_path):
    shape = (2, 1, 3, 1, 2, 1, 2)
    array = sample(shape, "<f8", "F")
    view = array_source(array).tensors[0].vectors(0)
    assert np.array_equal(view.read(0, 2), as_columns(array, 0))
    long_shape = (2, *[1] * 40, 3, 4)
    with pytest.raises(UnsupportedError, match="NumPy's limit"):
        vector_layout((2,) * 40, 0, True)
    assert vector_layout(long_shape, 0, True).reversed_dims == (2, 3)


def test_vectors_of_a_file_object_in_the_middle(tmp_path):
    """A file object's current position is where the matrix begins."""
    array = sample((4, 5))
    path = tmp_path / "two.npy"
    np.save(path, array)
    content = path.read_bytes()
    path.write_bytes(b"prefix" + content)
    with open(path, "rb") as file:
        file.seek(6)
        with open_source(file) as source:
            assert np.array_equal(source.tensors[0].vectors(0).read(1, 3), array[:, 1:3])
        assert not file.closed
        assert open_input(file).size == len(content)
