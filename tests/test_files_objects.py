"""Containers behind Python file objects: read in place where that is cheap, and little of them."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
import zipfile
from contextlib import suppress

import numpy as np
import pytest

import nqz
from cli_tools import matrix
from coded_cases import rewritten
from nqz.files.access import FileAccess
from nqz.files.objects import ObjectAccess
from nqz.files.opening import open_input
from nqz.ground.errors import CorruptError, InputError, OutputError
from nqz.ground.threads import Workers

DATA = nqz.encode(matrix(200, 40), rate=3)


class Remote(io.RawIOBase):
    """What a library for files elsewhere gives: no descriptor, and every read takes a while."""

    def __init__(self, data, most=1 << 30):
        self.data, self.place, self.most = data, 0, most
        self.reads = []

    def seekable(self):
        return True

    def readable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.place = offset + (0, self.place, len(self.data))[whence]
        return self.place

    def tell(self):
        return self.place

    def read(self, size=-1):
        if self.closed:
            raise ValueError("I/O operation on closed file")
        found = self.data[self.place : self.place + min(size, self.most)]
        self.reads.append((self.place, len(found)))
        self.place += len(found)
        return found


def test_a_file_object_is_read_in_place_from_where_it_stands():
    expected = nqz.open(DATA).matrix.decode()
    for most in (1 << 30, 1000):
        stream = Remote(b"before" + DATA, most)
        stream.seek(6)
        with nqz.open(stream) as container:
            assert np.array_equal(container.matrix.decode(threads=3), expected)
        assert not stream.closed and min(place for place, _ in stream.reads) == 6
        with pytest.raises(InputError, match="is closed, and can no longer be read"):
            container.matrix.decode()
    # operands are used whole
    assert np.array_equal(nqz.matmul(Remote(DATA), DATA), nqz.matmul(DATA, DATA))


def test_open_reads_the_end_of_a_file_of_many_chunks_and_a_column_its_own(monkeypatch):
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 16)
    monkeypatch.setattr("nqz.stages.chunks.CHUNK_ENTRIES", 4)
    # four columns a panel, a chunk each
    one = nqz.encode(
        np.array([[1, 2, 4, 7], [5, 1, 3, 2], [1, 8, 1, 9], [4, 4, 6, 5]], "f4") * 3, error=0.01, center=True
    )
    first = nqz.open(one).matrix._coded.panels[0].panel
    assert len(first.chunks) == 4
    columns = 100_000
    stream = Remote(rewritten(one, shape=(4, columns), times=columns // 4))
    with nqz.open(stream) as container:
        coded = container.matrix._coded
        assert coded.panels.chunk_count == columns and len(coded.panels) == columns // 4
        assert len(stream.reads) <= 4 and sum(size for _, size in stream.reads) < len(stream.data) / 10
        stream.reads.clear()
        panel = coded.panels[12345]
        numbers = [coded.reader.numbers(0, kind)[12345] for kind in ("NORM", "MEAN")]
        (chunk,) = (c for c in panel.panel.chunks if c.start == 4 * panel.opened.place[2])
        with suppress(CorruptError):  # its dither is another
            coded.columns(np.array([4 * 12345 + 2]), Workers(1))
        expected = [*map(coded.reader.record, numbers), coded.panels.chunk(chunk.number)]
        assert [(place, size) for place, size in stream.reads] == [
            (r.offset, r.end - r.offset) for r in expected
        ]


def test_what_seeks_by_reading_again_is_copied(tmp_path):
    expected = nqz.open(DATA).matrix.decode()
    packed = {"gz": gzip.compress(DATA), "bz2": bz2.compress(DATA)}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("x", DATA)
    for name in ("tar", "tar.gz"):
        (tmp_path / "x").write_bytes(DATA)
        with tarfile.open(tmp_path / f"x.{name}", "w:gz" if name.endswith("gz") else "w") as file:
            file.add(tmp_path / "x", "x")
    with (
        zipfile.ZipFile(tmp_path / "x.zip") as archive,
        tarfile.open(tmp_path / "x.tar") as tar,
        tarfile.open(tmp_path / "x.tar.gz") as tar_gz,
    ):
        for stream, copied in (
            (gzip.GzipFile(fileobj=io.BytesIO(packed["gz"])), True),
            (bz2.BZ2File(io.BytesIO(packed["bz2"])), True),
            (archive.open("x"), True),
            (tar_gz.extractfile("x"), True),
            (tar.extractfile("x"), False),
            (Remote(DATA), False),
        ):
            access = open_input(stream, in_place=True)
            assert isinstance(access, FileAccess if copied else ObjectAccess)
            access.close()
            stream.seek(0)
            assert np.array_equal(nqz.open(stream).matrix.decode(), expected)
    assert isinstance(open_input(Remote(DATA)), FileAccess)


def test_a_file_object_that_fails_is_named():
    stream = Remote(DATA)
    container = nqz.open(stream)
    stream.close()
    with pytest.raises(
        InputError, match=r"<file object>: cannot read at byte [0-9]+: I/O operation on closed file"
    ):
        container.matrix.decode()
    for answer, problem in (
        (None, "must be a blocking stream"),
        ("text", "must be a blocking"),
        (b"", "bytes short"),
    ):
        stream = Remote(DATA)
        container = nqz.open(stream)
        stream.read = lambda size, answer=answer: answer
        with pytest.raises(InputError, match=problem):
            container.matrix.decode()
    access = ObjectAccess(Remote(DATA), "x")
    for write in (lambda: access.pwrite(b"x", 0), lambda: access.truncate(0), lambda: access.reserve(9)):
        with pytest.raises(OutputError, match="x: is read only"):
            write()
    with pytest.raises(TypeError, match="cannot be passed to another process"):
        pickle.dumps(access)
    stuck = Remote(DATA)
    stuck.seek = lambda *_: (_ for _ in ()).throw(OSError("no seek"))
    with pytest.raises(InputError, match="cannot seek: no seek"):
        nqz.open(stuck)
