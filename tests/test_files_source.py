"""Opening inputs: files, pipes, file objects and arrays all give the same; anything else is refused."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tempfile
import threading
from functools import partial

import ml_dtypes
import numpy as np
import pytest

from nqz.commands.opening import open_file
from nqz.files.access import FileAccess, MemoryAccess
from nqz.files.opening import open_input
from nqz.files.source import array_source, open_source
from nqz.ground.errors import (
    CorruptError,
    DiskFullError,
    InputError,
    OutputError,
    UnsupportedError,
    UsageError,
)
from nqz.ground.sources import SOURCES


@pytest.fixture
def matrix(tmp_path):
    array = np.random.default_rng(4).standard_normal((300, 1000)).astype(np.float32)
    path = tmp_path / "x.npy"
    np.save(path, array)
    return array, str(path)


def feed(write_fd, content):
    def work():
        with open(write_fd, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def content_of(source):
    return [
        (tensor.name, tensor.shape, tensor.dtype, b"".join(tensor.pieces(4096))) for tensor in source.tensors
    ]


def test_every_way_in_gives_the_same(matrix, tmp_path, monkeypatch):
    array, path = matrix
    with open_source(path) as source:
        expected = content_of(source)
        assert source.identity == (os.stat(path).st_dev, os.stat(path).st_ino)
        assert source.name == path and source.kind is SOURCES["npy"] and source.metadata is None
    assert expected[0][3] == array.tobytes()
    with open(path, "rb") as file:
        content = file.read()

    read_fd, write_fd = os.pipe()
    thread = feed(write_fd, content)
    with open(read_fd, "rb") as pipe, open_source(pipe) as source:
        assert content_of(source) == expected
        assert source.identity is None
    thread.join()

    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    thread = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(content))
    thread.start()
    with open_source(fifo) as source:
        assert content_of(source) == expected and source.name == fifo
    thread.join()

    with gzip.open(tmp_path / "x.gz", "wb") as file:
        file.write(content)
    with gzip.open(tmp_path / "x.gz") as file, open_source(file) as source:
        assert content_of(source) == expected
    for given in (tmp_path / "x.npy", os.fsencode(path), io.BytesIO(content)):
        with open_source(given) as source:
            assert content_of(source) == expected
    with array_source(array) as source:
        assert content_of(source) == expected and source.identity is None

    read_fd, write_fd = os.pipe()
    thread = feed(write_fd, content)
    with io.TextIOWrapper(open(read_fd, "rb")) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with open_source("-") as source:
            assert content_of(source) == expected and source.name == "<stdin>"
    thread.join()


def test_redirected_standard_input_is_read_in_place(matrix, monkeypatch):
    array, path = matrix
    with io.TextIOWrapper(open(path, "rb")) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with open_source("-") as source:
            assert source.identity == (os.stat(path).st_dev, os.stat(path).st_ino)
            assert content_of(source)[0][3] == array.tobytes()


def test_pieces_have_the_size_asked_for(matrix):
    _, path = matrix
    with open_source(path) as source:
        sizes = [len(piece) for piece in source.tensors[0].pieces(1 << 18)]
    assert sizes == [1 << 18] * 4 + [1_200_000 - (1 << 20)]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (4, 5), (2, 3, 4)])
def test_array_is_what_save_would_write(shape, order):
    array = np.array(np.arange(np.prod(shape, dtype=int)).reshape(shape), dtype=">f8", order=order)
    for given in (array, array[..., ::2] if shape else array, array.tolist() if shape == (4,) else array):
        stream = io.BytesIO()
        np.save(stream, given)
        stream.seek(0)
        with open_source(stream) as saved, array_source(given) as source:
            assert content_of(source) == content_of(saved)
            ours, theirs = source.tensors[0], saved.tensors[0]
            assert (ours.byte_order, ours.fortran_order) == (theirs.byte_order, theirs.fortran_order)


def test_array_is_not_copied():
    array = np.zeros((3, 4), order="F")
    with array_source(array) as source:
        array[2, 1] = 7
        assert source.tensors[0].vectors(0).read(1, 2)[2, 0] == 7


def test_array_of_bfloat16():
    array = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    with array_source(array) as source:
        assert source.tensors[0].dtype == "bfloat16"
        assert np.array_equal(source.tensors[0].vectors(0).read(0, 3), array.view(np.uint16))


def test_masked_array_is_refused():
    with pytest.raises(UnsupportedError, match="masked"):
        array_source(np.ma.masked_array([1.0], [True]))


def test_vectors_of_other_types_are_refused():
    source = array_source(np.zeros((2, 2), "i4"))
    with source, pytest.raises(UnsupportedError, match="int32 is not a matrix"):
        source.tensors[0].vectors(0)


def test_what_cannot_be_opened(tmp_path):
    for path, words in (
        (tmp_path / "missing.npy", r"missing\.npy: cannot open: no such file"),
        (tmp_path, "is a directory, not a file"),
        (tmp_path / "x" / "y", "no such file"),
        ("a\0b", "cannot open: embedded null"),
    ):
        with pytest.raises(InputError, match=words):
            open_source(path)
    for other in (17, None, np.zeros(3)):
        with pytest.raises(UsageError, match="must be a path or a binary file object"):
            open_source(other)


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(3))

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(InputError, match=r"x\.npy: cannot open: permission denied"):
        open_source(path)


def test_standard_input_that_cannot_be_used(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        open_source("-")
    terminal, other = os.openpty()
    with open(other, closefd=True) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(UsageError, match="is a terminal"):
            open_source("-")
    os.close(terminal)
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(InputError, match="directory"):
        open_source(FdReader(fd))
    os.close(fd)


class FdReader(io.RawIOBase):
    """A stream that reads from a descriptor as a file object over a directory would."""

    def __init__(self, fd):
        self.fd = fd

    def readable(self):
        return True

    def readinto(self, buffer):
        return os.readv(self.fd, [buffer])


def test_streams_of_the_wrong_kind(tmp_path):
    with pytest.raises(UsageError, match="binary mode"):
        open_source(io.StringIO("x"))

    class Stream:
        def __init__(self, item):
            self.item = item

        def read(self, size):
            return self.item

    for item in ("text", None):
        with pytest.raises(InputError, match="must be a blocking stream of bytes"):
            open_source(Stream(item))


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", CorruptError, "is empty"),
        (b"\x80hello, world", CorruptError, "neither a .npy nor a .npz nor a .safetensors"),
        (b"cut", CorruptError, "neither"),
        (bytes(100), CorruptError, "neither"),
        (b"\x93NUMPX" + bytes(100), CorruptError, "neither"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), UnsupportedError, "is an HDF5 file"),
    ],
)
def test_other_content(tmp_path, content, error, words):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        open_source(path)


def test_a_container_where_a_matrix_is_expected():
    with pytest.raises(UnsupportedError, match=r"is a \.nqz container; a \.npy, \.npz, "):
        open_file(io.BytesIO(b"\x8eNQZ\r\n\x1a\n" + bytes(100)), container=False)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_are_closed(matrix, tmp_path):
    _, path = matrix
    bad = tmp_path / "bad"
    bad.write_bytes(b"\x80hello")
    before = open_descriptors()
    for _ in range(3):
        open_source(path).close()
        with pytest.raises(CorruptError):
            open_source(bad)
        with pytest.raises(InputError):
            open_source(tmp_path)
        read_fd, write_fd = os.pipe()
        thread = feed(write_fd, b"\x80hello")
        with open(read_fd, "rb") as pipe, pytest.raises(CorruptError):
            open_source(pipe)
        thread.join()
    assert open_descriptors() == before


def test_full_disk_under_the_temporary_copy(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "r+b"))
    stream = FdReader(os.open("/dev/zero", os.O_RDONLY))
    with pytest.raises(
        DiskFullError, match=r"temporary copy of <file object> in .*: cannot write: no space left"
    ):
        open_input(stream)
    os.close(stream.fd)


def test_no_place_for_the_temporary_copy(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="temporary copy of <file object>"):
        open_input(FdReader(-1))


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_access_reads_and_writes_everywhere(tmp_path, kind):
    if kind == "file":
        access = FileAccess(os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT), "f")
    else:
        access = MemoryAccess(bytearray(), "f")
    access.pwrite(b"world", 6)
    access.pwrite(memoryview(b"hello"), 0)
    access.pwrite(b"", 100)
    assert access.size == 11
    buffer = bytearray(11)
    access.pread_into(buffer, 0)
    assert buffer == b"hello\0world"
    table = np.zeros((2, 2), np.uint8)
    access.pread_into(table[1], 9)
    assert table.tolist() == [[0, 0], [ord("l"), ord("d")]]
    access.truncate(3)
    assert access.size == 3
    access.truncate(5)
    access.pread_into(buffer[:0], 99)
    small = bytearray(5)
    access.pread_into(small, 0)
    assert small == b"hel\0\0"
    with pytest.raises(InputError, match="f: ends at byte 5"):
        access.pread_into(small, 1)
    access.close()


def test_short_reads_and_writes_are_completed(tmp_path, monkeypatch):
    access = FileAccess(os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT), "f")
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:3], offset))
    monkeypatch.setattr(
        os, "preadv", lambda fd, views, offset: preadv(fd, [memoryview(views[0])[:2]], offset)
    )
    access.pwrite(b"0123456789", 5)
    back = bytearray(10)
    access.pread_into(back, 5)
    assert back == b"0123456789" and access.size == 15
    access.close()


def test_memory_that_cannot_be_written():
    access = MemoryAccess(b"abc")
    with pytest.raises(OutputError, match="read only"):
        access.pwrite(b"x", 0)
    with pytest.raises(OutputError, match="read only"):
        access.truncate(0)
