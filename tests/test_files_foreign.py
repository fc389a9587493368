"""Files of other kinds: each is named, in one line with what converts it, and none is called damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import zstandard

from cli_tools import fail, listing, matrix, save, succeed
from nqz.commands.opening import open_file
from nqz.files.access import MemoryAccess
from nqz.files.foreign import TABLE, foreign
from nqz.files.source import open_source
from nqz.ground.errors import CorruptError, UnsupportedError

NUMBERS = [[1.0, 2.5, -3.0], [4.0, 5.0, 6.5]]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
PAGE = "<!DOCTYPE html>\n<html><body>Sign in, please</body></html>\n"
INDEX = {"metadata": {"total_size": 10}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors"}}


def packed(*members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in members:
            archive.writestr(name, b"\x80\x02}q\x00.")
    return stream.getvalue()


def tarred():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return stream.getvalue()


ARRAY = np.array(NUMBERS, "f4")
KINDS = {
    "an HDF5 file": [b"\x89HDF\r\n\x1a\n" + bytes(100)],
    "a Parquet file": [b"PAR1\x15\4\x15\x10" + bytes(100) + b"PAR1"],
    "an Arrow (Feather) file": [b"ARROW1\0\0\xff\xff\xff\xff" + bytes(100)],
    "a MATLAB file": [b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\1IM"],
    "a file of PyTorch": [
        packed("archive/data.pkl", "archive/data/0"),
        packed("model.v1/data.pkl"),
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
    ],
    "a pickle of Python": [
        pickle.dumps(value, protocol)
        for protocol in (2, 3, 4, 5)
        for value in (ARRAY, {"w": ARRAY}, [1, 2], (ARRAY, 1))
    ],
    "compressed with gzip": [gzip.compress(b"x")],
    "compressed with zstd": [zstandard.ZstdCompressor().compress(b"x" * 100)],
    "compressed with bzip2": [bz2.compress(b"x")],
    "compressed with xz": [lzma.compress(b"x")],
    "compressed with LZ4": [b"\x04\x22\x4d\x18\x64\x40\xa7" + bytes(20)],
    "a tar archive": [tarred()],
    "a Git LFS pointer": [POINTER.encode()],
    "an HTML page": [
        PAGE.encode(),
        PAGE.lower().encode(),
        b"\n <html>\n",
        b"<?xml version='1'?>\n<html lang='en'>",
    ],
    "the index of a model": [json.dumps(INDEX).encode(), json.dumps(INDEX, indent=2).encode()],
    "the manifest of a part set": [b'{"nqz_set": 0,\n "axis": 0,'],
    "JSON text": [json.dumps(NUMBERS).encode(), b'{"a": [1, 2, 3]}'],
    "plain text, with commas": [b"1.0,2.5,-3\n4,5,6.5\n", "\ufeff1, 2, 3\n".encode(), b"a,b\n1,2\n"],
    "plain text;": [b"1.0 2.5 -3\n4 5 6.5\n", b"# x y\n1e3\tnan\r\n", b"1.25 " * 500],
    "plain text, which does not look like numbers": [
        b"\tabc def ghi\r\n",
        ("x" * 1023 + "é").encode(),
        b"import sys, os\n\nx = 3\n",
    ],
}


def test_every_kind_of_the_table_is_tried():
    assert len(KINDS) == len(TABLE)
    for what, kind in zip(KINDS, TABLE, strict=True):
        assert kind.what.startswith(what.rstrip(";"))


@pytest.mark.parametrize(
    ("what", "content"),
    [
        pytest.param(what, content, id=f"{what} {number}")
        for what, contents in KINDS.items()
        for number, content in enumerate(contents)
    ],
)
def test_what_it_is_and_how_to_convert_it(tmp_path, what, content):
    path = tmp_path / "given.dat"
    path.write_bytes(content)
    for opened, expected in (
        (lambda: open_source(path), "(a .npy, .npz, .safetensors or .gguf file is expected)"),
        (lambda: open_file(path), "(a .npy, .npz, .safetensors or .gguf file is expected)"),
        (lambda: open_file(path, container=True), "(a .nqz container is expected)"),
        (
            lambda: open_file(MemoryAccess(content, "given.dat"), container=True),
            "(a .nqz container is expected)",
        ),
    ):
        with pytest.raises(UnsupportedError) as caught:
            opened()
        text = str(caught.value)
        assert "\n" not in text and text.endswith(expected)
        assert re.search(rf"given.dat: is {re.escape(what)}", text)
        assert any(
            word in text
            for word in (
                "convert it: python -c",
                "unpack it: ",
                "git lfs",
                "download",
                "nqz encode",
                "give a file",
                "give it by its path",
            )
        )


@pytest.mark.parametrize(
    "what", ["a pickle of Python", "JSON text", "plain text, with commas", "plain text;"]
)
def test_the_line_converts(tmp_path, what):
    contents = [pickle.dumps(ARRAY)] if "pickle" in what else KINDS[what][:1]
    (tmp_path / "it's.txt").write_bytes(contents[0])
    (tmp_path / "given.txt").write_bytes(contents[0])
    assert "FILE" in foreign(MemoryAccess(contents[0], "it's.txt"))
    line = re.search('python (-c ".*")', foreign(MemoryAccess(contents[0], "given.txt"))).group(1)
    subprocess.run([sys.executable, *shlex.split(line)], cwd=tmp_path, check=True)
    assert np.array_equal(np.load(tmp_path / "x.npy"), ARRAY)


def test_files_of_ours_are_none_of_them(tmp_path):
    header = json.dumps({"w": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}).encode()
    # lengths whose bytes are the marks of gzip and of a pickle
    for length in (0x088B1F, 0x950480, 0x7D0280):
        content = length.to_bytes(8, "little") + header.ljust(length)
        with open_source(io.BytesIO(content)) as source:
            assert [tensor.name for tensor in source.tensors] == ["w"]
    np.savez(tmp_path / "data.npz", data=ARRAY)
    with open_source(tmp_path / "data.npz") as source:
        assert source.kind.name == "npz"
    for damaged in (b"", b"PK\3", b"\x80\5", b"text", bytes(100), b"\x8eNQZ\n\x1a\n" + bytes(50)):
        with pytest.raises(CorruptError):
            open_file(MemoryAccess(damaged, "x"), container=True)
        with pytest.raises(CorruptError):
            open_file(MemoryAccess(damaged, "x"), container=False)


def test_the_commands_say_it_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(96, 20))
    succeed(capsys, "encode", "a.npy", "-r", "3", "-q")
    (tmp_path / "pointer.nqz").write_text(POINTER)
    before = listing(tmp_path)
    for command in (
        ["encode", "pointer.nqz", "-r", "3", "-f"],
        ["decode", "pointer.nqz"],
        ["inspect", "pointer.nqz"],
        ["verify", "pointer.nqz"],
        ["verify", "a.nqz", "--against", "pointer.nqz"],
        ["matmul", "a.nqz", "pointer.nqz"],
        ["matmul", "pointer.nqz", "a.nqz"],
        ["sweep", "pointer.nqz"],
    ):
        line = fail(capsys, 4, *command)
        assert (
            line.startswith("pointer.nqz: is a Git LFS pointer")
            and "git lfs pull --include pointer.nqz" in line
        )
    assert listing(tmp_path) == before
