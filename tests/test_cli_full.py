"""File systems that are full: one line, status 11, nothing left behind; at once where it is certain beforehand."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nqz
from cli_tools import environment, fail, listing, matrix, save, succeed
from nqz.commands import encode_matrix
from nqz.files.access import FileAccess
from nqz.format.reader import ContainerReader

RUNS = """
import json, os, subprocess, sys
folder, size, unnamed, lines = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
with open(os.path.join(folder, "old"), "wb") as file:
    file.write(b"old")
start = f"import sys, nqz.cli, nqz.files.unpublished as u; u.UNNAMED = {unnamed}; sys.exit(nqz.cli.main())"
for line in json.loads(lines):
    done = subprocess.run([sys.executable, "-c", start, *line], capture_output=True)
    free = os.statvfs(folder).f_bfree
    with open(os.path.join(folder, "old"), "rb") as file:
        assert file.read() == b"old"
    print(json.dumps([done.returncode, done.stderr.decode(), sorted(os.listdir(folder)), free]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a matrix of 4 MiB, plain and compressed."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(1024, 1024))
    nqz.encode(np.load("a.npy"), "a.nqz", rate=6)
    return tmp_path


def on_small_disk(folder, unnamed, *lines):
    """Run command lines on a file system of 256 KiB; return status, error and listing of each."""
    disk = folder / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(
            ["unshare", "--map-root-user", "--mount", sys.executable, "-c", RUNS, disk, "256k", str(unnamed),
             json.dumps(lines)],
            env=environment(TMPDIR=str(disk)), capture_output=True, timeout=600,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if done.returncode and (b"mount" in done.stderr or b"unshare" in done.stderr):
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_full_file_system(folder, unnamed):
    surely = [
        ["encode", "a.npy", "-r", "4", "-o", "disk/x.nqz"],
        ["encode", "a.npy", "-r", "4", "-o", "disk/old", "-f"],
        ["encode", "a.npy", "-r", "4", "-o", "-"],
        ["encode", "a.npy", "-r", "3", "--lattice", "e8", "--coding", "voronoi", "-o", "disk/x.nqz"],
        ["decode", "a.nqz", "-o", "disk/x.npy"],
        ["decode", "a.nqz", "-o", "-"],
        ["matmul", "a.nqz", "a.nqz", "-o", "disk/x.npy"],
        ["matmul", "a.nqz", "a.npy", "-o", "disk/x.safetensors"],
        ["sweep", "a.npy", "--against", "a.npy", "-r", "1"],
        ["sweep", "a.npy", "-r", "4"],
    ]
    while_writing = [["encode", "a.npy", "-r", "2.2", "--lattice", "leech", "-o", "disk/x.nqz"]]
    fits = [
        ["encode", "a.npy", "-r", "1.8", "-o", "/dev/null"],
        ["encode", "a.npy", "-r", "1.8", "-o", "disk/x.nqz"],
    ]
    found = on_small_disk(folder, unnamed, *([*line, "-q"] for line in surely + while_writing + fits))
    for line, (code, error, files, free) in zip(surely + while_writing, found, strict=False):
        assert code == 11 and error.startswith("nqz: error: ") and error.count("\n") == 1, (line, error)
        known = ": no space left on device: " in error and " bytes are needed, there is room for " in error
        assert known == (line in surely), (line, error)
        assert error.endswith("; free some space or write elsewhere\n")
        assert files == ["old"] and free > 60, (line, files)
    assert [(code, error) for code, error, _, _ in found[-2:]] == [(0, "")] * 2
    assert found[-1][2] == ["old", "x.nqz"]


def little(free):
    """What a file system says that has so many bytes left."""
    return lambda fd: SimpleNamespace(f_bfree=free, f_frsize=1, f_blocks=10**9)


def never(*arguments, **options):
    raise AssertionError("this takes long")


def test_a_rate_that_cannot_fit_is_refused_before_coding(folder, capsys, monkeypatch):
    monkeypatch.setattr(os, "fstatvfs", little(100_000))
    monkeypatch.setattr(encode_matrix, "code", never)
    error = fail(capsys, 11, "encode", "a.npy", "-r", "2", "-o", "x.nqz")
    assert error.startswith("x.nqz: cannot write: no space left on device: 1") and "bytes are needed" in error
    assert listing(folder) == ["a.npy", "a.nqz"]


@pytest.mark.parametrize("known", [False, True])
def test_data_that_cannot_fit_is_refused_before_anything_is_read(folder, capsys, monkeypatch, known):
    def full(fd, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(os, "fstatvfs", little(100_000 if known else 10**12))
    monkeypatch.setattr(ContainerReader, "verify", never)
    for line in (["decode", "a.nqz", "-o", "x.npy"], ["matmul", "a.nqz", "a.npy", "-o", "x.npy"]):
        error = fail(capsys, 11, *line)
        wanted = (
            "4194304 bytes are needed, there is room for 1" if line[0] == "decode" else "bytes are needed"
        )
        assert error.startswith("x.npy: cannot write: no space left on device")
        assert (wanted in error) == known
        assert listing(folder) == ["a.npy", "a.nqz"]


@pytest.mark.parametrize("says", ["nothing", "no size"])
def test_a_file_system_that_tells_nothing_is_written_to(folder, capsys, monkeypatch, says):
    def unknown(fd):
        if says == "nothing":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return SimpleNamespace(f_bfree=0, f_frsize=4096, f_blocks=0)

    monkeypatch.setattr(os, "fstatvfs", unknown)
    succeed(capsys, "encode", "a.npy", "-r", "2", "-o", "x.nqz")
    succeed(capsys, "decode", "x.nqz", "-o", "x.npy")


def spiky(shape):
    """Few large entries."""
    array = matrix(*shape)
    return array * (np.random.default_rng(1).random(shape) < 0.003)


@pytest.mark.parametrize("make", [lambda shape: matrix(*shape), spiky, np.zeros, lambda s: np.eye(*s)])
@pytest.mark.parametrize(
    "options", [{}, *({"lattice": name} for name in ("z", "d4", "e8", "leech")), {"lattice": "e8", "coding": "voronoi"}]
)  # fmt: skip
def test_what_is_needed_is_no_more_than_what_is_taken(tmp_path, monkeypatch, make, options):
    needed = []
    monkeypatch.setattr(FileAccess, "require", lambda self, size: needed.append(size))
    array = make((256, 9000)).astype(np.float32)
    for rate in (0.1, 1, 2, 5):
        nqz.encode(array, tmp_path / "x.nqz", rate=rate, center=False, force=True, **options)
        assert needed.pop() <= os.path.getsize(tmp_path / "x.nqz")
        assert not needed
