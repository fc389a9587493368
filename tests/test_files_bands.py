"""Panels of long vectors by bands: the same numbers as ever, and every byte of the file taken once."""

from __future__ import annotations

import numpy as np
import pytest

from nqz.files import bands
from nqz.files.access import MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.sink import MatrixSink
from nqz.files.vectors import VectorView
from nqz.ground.errors import DiskFullError


class Counting(MemoryAccess):
    """Counts the bytes that go through."""

    moved = 0

    def pread_into(self, buffer, offset):
        self.moved += memoryview(buffer).nbytes
        super().pread_into(buffer, offset)

    def pwrite(self, data, offset):
        self.moved += memoryview(data).nbytes
        super().pwrite(data, offset)


def view(array: np.ndarray) -> tuple[VectorView, Counting]:
    access = Counting(array.tobytes())
    order = array.dtype.str[0]
    made = VectorView(access, 0, array.shape, "float32", axis=0, fortran_order=False, byte_order=order)
    return made, access


@pytest.fixture(params=[(64 << 10, 8 << 20), (40, 1000), (1, 1)])
def sizes(request, monkeypatch):
    """Bands of all vectors, of some, and of one panel; blocks of all rows, of some, and of one."""
    run, block = request.param
    monkeypatch.setattr(bands, "_RUN", run)
    monkeypatch.setattr(bands, "_BLOCK", block)
    monkeypatch.setattr(bands, "_PANELS", 4)


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_reading(sizes, dtype):
    array = np.random.default_rng(0).standard_normal((130, 23)).astype(dtype)
    panels, access = view(array)
    for first in range(0, 23, 4):
        last = min(first + 4, 23)
        assert np.array_equal(panels.read(first, last), array[:, first:last])
    assert access.moved == array.nbytes  # not once for every panel
    for first, last in ((20, 23), (4, 8), (5, 9), (22, 23), (0, 23), (3, 3), (0, 2), (2, 4)):
        assert np.array_equal(panels.read(first, last), array[:, first:last])


def test_reading_without_room_for_a_copy(monkeypatch):
    def full(name):
        raise DiskFullError(f"{name}: full")

    monkeypatch.setattr(bands, "temporary_access", full)
    monkeypatch.setattr(bands, "_PANELS", 4)
    array = np.random.default_rng(0).standard_normal((130, 23)).astype("<f4")
    panels, _ = view(array)
    for first in range(0, 20, 2):
        assert np.array_equal(panels.read(first, first + 2), array[:, first : first + 2])
    assert panels._bands is not None


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_writing(sizes, byte_order):
    array = np.random.default_rng(0).standard_normal((130, 23)).astype("<f4")
    access = Counting(bytearray())
    sink = MatrixSink(access, "npy", [TensorSpec("", array.shape, "float32", False, byte_order)])
    writer = sink.vectors(0, 0)
    header = access.moved
    for first in range(0, 23, 4):
        writer.write(first, array[:, first : first + 4])
    assert access.size == sink.total_bytes
    assert access.moved - header == 3 * array.nbytes
    data = np.frombuffer(bytes(access._data)[header:], byte_order + "f4").reshape(array.shape)
    assert np.array_equal(data, array)


@pytest.mark.parametrize("order", [[0, 4, 12, 8, 16, 20], [20, 0, 4, 8, 12, 16], [0, 8, 4, 16, 12, 20]])
def test_writing_out_of_order(sizes, order):
    array = np.random.default_rng(0).standard_normal((130, 23)).astype("<f4")
    access = MemoryAccess(bytearray())
    sink = MatrixSink(access, "npy", [TensorSpec("", array.shape, "float32")])
    writer = sink.vectors(0, 0)
    for first in order:
        writer.write(first, array[:, first : first + 4])
    writer.write(0, array[:, :3])  # and some of it again
    assert access.size == sink.total_bytes
    data = np.frombuffer(bytes(access._data)[-array.nbytes :], "<f4").reshape(array.shape)
    assert np.array_equal(data, array)
