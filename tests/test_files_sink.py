"""Rebuilding matrix files: layouts, refusals, and a file rebuilt tensor by tensor equals its source."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from safetensors.numpy import load_file

from nqz.files.access import MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.output import Output
from nqz.files.sink import MatrixSink
from nqz.files.source import open_source
from nqz.ground.errors import DiskFullError, UnsupportedError, UsageError


def memory_sink(kind, specs, metadata=None):
    access = MemoryAccess(bytearray())
    return access, MatrixSink(access, kind, specs, metadata)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (4, 6), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|b1", ">i4", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_rebuilt_from_its_pieces(shape, dtype, order):
    array = np.ones(shape, dtype, order=order)
    stream = io.BytesIO()
    np.save(stream, array)
    stream.seek(0)
    with open_source(stream) as source:
        tensor = source.tensors[0]
        spec = TensorSpec("", tensor.shape, tensor.dtype, tensor.fortran_order, tensor.byte_order)
        access, sink = memory_sink("npy", [spec])
        offset = 0
        for piece in tensor.pieces(7):
            sink.write_bytes(0, offset, piece)
            offset += len(piece)
    assert access.size == sink.total_bytes
    loaded = np.load(io.BytesIO(bytes(access._data)))
    assert loaded.dtype == array.dtype and loaded.shape == shape and np.array_equal(loaded, array)
    assert loaded.flags.f_contiguous == array.flags.f_contiguous


def test_safetensors_of_matrices_and_exact_tensors(tmp_path):
    matrix = np.arange(20, dtype=np.float32).reshape(4, 5)
    specs = [
        TensorSpec("ids", (3,), "int64"),
        TensorSpec("w", (4, 5), "float32"),
        TensorSpec("s", (), "bool"),
    ]
    path = tmp_path / "x.safetensors"
    with Output(path) as output:
        sink = MatrixSink(output.access, "safetensors", specs, {"format": "pt"})
        sink.vectors(1, 1).write(0, matrix.T)
        sink.write_bytes(0, 8, np.array([2, 3]))
        sink.write_bytes(0, 0, np.array([1]))
        sink.write_bytes(2, 0, b"\1")
        output.commit()
    assert path.stat().st_size == sink.total_bytes
    loaded = load_file(path)
    assert loaded["ids"].tolist() == [1, 2, 3] and loaded["s"] == np.True_
    assert np.array_equal(loaded["w"], matrix)


@pytest.mark.parametrize("native", ["<", "|"])
def test_byte_order_of_the_spec_is_normalized(native):
    _, sink = memory_sink("npy", [TensorSpec("", (2,), "float32", byte_order=native)])
    assert sink.vectors(0, 0)._stored == np.dtype("<f4")
    access, _ = memory_sink("npy", [TensorSpec("", (2,), "int8")])
    assert b"'|i1'" in bytes(access._data)


@pytest.mark.parametrize(
    ("kind", "specs", "error", "words"),
    [
        ("npy", [], UsageError, "one array, not 0"),
        ("npy", [TensorSpec("a", (1,), "float32")] * 2, UsageError, "one array, not 2"),
        ("zarr", [TensorSpec("a", (1,), "float32")], UsageError, "unknown kind"),
        ("npy", [TensorSpec("a", (1,), "bfloat16")], UnsupportedError, "cannot hold bfloat16"),
        ("npy", [TensorSpec("a", (1,), "float8_e5m2")], UnsupportedError, "cannot hold float8_e5m2"),
        ("safetensors", [TensorSpec("a", (1,), "complex128")], UnsupportedError, "cannot hold complex128"),
        ("safetensors", [TensorSpec("a", (1,), "float32", byte_order=">")], UnsupportedError, "big-endian"),
        (
            "safetensors",
            [TensorSpec("a", (2, 2), "float32", fortran_order=True)],
            UnsupportedError,
            "Fortran",
        ),
        ("safetensors", [TensorSpec("a", (1,), "float32")] * 2, UsageError, "two tensors are named 'a'"),
    ],
)
def test_what_a_format_cannot_hold(kind, specs, error, words):
    with pytest.raises(error, match=words):
        memory_sink(kind, specs)


def test_writes_stay_inside_their_tensor():
    _, sink = memory_sink("safetensors", [TensorSpec("a", (4,), "uint8"), TensorSpec("b", (4,), "uint8")])
    for offset, data in ((0, b"12345"), (3, b"12"), (-1, b"1")):
        with pytest.raises(UsageError, match="tensor 'a': bytes beyond its 4"):
            sink.write_bytes(0, offset, data)
    with pytest.raises(UsageError, match="has no vectors"):
        sink.vectors(0, 0)


def test_space_is_reserved_before_anything_is_written(tmp_path, monkeypatch):
    def full(fd, offset, size):
        raise OSError(28, "No space left on device")

    spec = TensorSpec("", (640, 64), "float32")
    with Output(tmp_path / "out") as output:
        sink = MatrixSink(output.access, "npy", [spec])
        assert os.fstat(output.access.fileno()).st_blocks * 512 >= sink.total_bytes
    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        pytest.raises(DiskFullError, match="out: cannot write: no space left"),
        Output(tmp_path / "out") as output,
    ):
        MatrixSink(output.access, "npy", [spec])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_writing_vectors(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(DiskFullError, match="out: cannot write: no space left"),
        Output(tmp_path / "out") as output,
    ):
        sink = MatrixSink(output.access, "npy", [TensorSpec("", (64, 64), "float32")])
        monkeypatch.setattr(os, "pwrite", full)
        sink.vectors(0, 0).write(0, np.zeros((64, 3), np.float32))
    assert list(tmp_path.iterdir()) == []
