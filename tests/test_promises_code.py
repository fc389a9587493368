"""Promises about what the code does not do, and about the disk and the memory that it uses."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

import nqz
from cli_tools import environment, matrix, save
from coded_cases import rewritten

Node = TypeVar("Node", bound=ast.AST)
PACKAGE = Path(__file__).resolve().parent.parent / "nqz"


KINDS = (ast.Import, ast.ImportFrom, ast.Call, ast.Attribute)


@cache
def looked_at() -> list[tuple[str, ast.AST]]:
    """What statements about the code are about, each with the module that it stands in."""
    return [
        (path.relative_to(PACKAGE).as_posix(), node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, KINDS)
    ]


def nodes(kind: type[Node]) -> Iterator[tuple[str, Node]]:
    """Yield all nodes of one of these kinds, each with its module."""
    assert kind in KINDS
    return ((where, node) for where, node in looked_at() if isinstance(node, kind))


def imported() -> Iterator[tuple[str, str]]:
    """Yield every module that is imported from elsewhere, with the importing one."""
    for where, node in nodes(ast.Import):
        yield from ((where, alias.name) for alias in node.names)
    yield from ((where, node.module or "") for where, node in nodes(ast.ImportFrom))


def test_data_is_never_run():
    runs = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code"}
    found = [(where, name) for where, name in imported() if name.split(".")[0] in runs]
    assert found == [
        ("files/rectangle.py", "pickle")
    ]  # which asks how long a pickle would be, and reads none
    used = {ast.unparse(node) for _, node in nodes(ast.Attribute) if ast.unparse(node.value) == "pickle"}
    assert used == {"pickle.Pickler", "pickle.HIGHEST_PROTOCOL"}
    for where, call in nodes(ast.Call):
        name = ast.unparse(call.func)
        assert name not in {"eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"}, where
        # the command line has a list of its commands
        assert "import_module" not in name or where == "cli/__init__.py", where
        for keyword in call.keywords:
            assert keyword.arg != "allow_pickle" or ast.unparse(keyword.value) == "False", where


def test_no_random_numbers_of_a_library():
    assert [(where, name) for where, name in imported() if name.split(".")[0] in {"random", "secrets"}] == []
    used = {
        where for where, node in nodes(ast.Attribute) if ast.unparse(node) in {"np.random", "numpy.random"}
    }
    assert used == set()


def test_the_file_is_flushed_then_its_folder(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def recorded(fd: int) -> None:
        flushed.append(stat.S_IFMT(os.fstat(fd).st_mode))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", recorded)
    nqz.encode(matrix(64, 8), tmp_path / "x.nqz", rate=3)
    assert flushed == [stat.S_IFREG, stat.S_IFDIR]


PEAK = """
import pathlib, re, sys
from nqz.cli import run
code = run(sys.argv[1:])
status = pathlib.Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) >> 10, file=sys.stderr)
sys.exit(code)
"""


told = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="nothing tells the peak of a program alone"
)


def peaks(folder: Path, commands: Iterable[list[str]]) -> list[int]:
    """Most memory that each of some command lines takes, in MiB."""
    found = []
    for arguments in commands:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *arguments, "-q", "--threads", "2"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        found.append(int(done.stderr))
    return found


@told
def test_memory_does_not_grow_with_the_input(tmp_path):
    block = matrix(4096, 512, dtype="float16")
    found = []
    for copies in (16, 64):  # 64 and 256 MiB
        save(tmp_path / "x.npy", np.tile(block, (1, copies)))
        encode = ["encode", "x.npy", "-r", "2", "--lattice", "z", "-f"]
        found.append(peaks(tmp_path, [encode, ["decode", "x.nqz", "-o", "x.npy", "-f"]]))
    for small, large in zip(*found, strict=True):
        assert large < 1.25 * small < 500, found


@told
@pytest.mark.native(reason="millions of vectors take minutes there")
def test_memory_does_not_grow_with_the_number_of_vectors(tmp_path):
    """What comes of norms, means, errors and products of four million more would be 16 MiB for every four bytes."""
    commands = [
        ["decode", "x.nqz", "-o", "y.npy", "-f"],
        ["verify", "x.nqz"],
        ["verify", "x.nqz", "--against", "x.npy"],
        ["inspect", "x.nqz"],
        ["matmul", "x.nqz", "b.nqz", "-o", "c.npy", "-f"],
        ["matmul", "b.nqz", "x.nqz", "-o", "c.npy", "-f"],
    ]
    save(tmp_path / "b.npy", matrix(2, 1))
    peaks(tmp_path, [["encode", "b.npy", "-r", "4"]])
    found = []
    for columns in (5 << 19, 13 << 19):  # of 2²⁰ each panel, of which two are kept
        save(tmp_path / "x.npy", matrix(columns, 2) + np.float32(1))
        peaks(tmp_path, [["encode", "x.npy", "-r", "2", "--lattice", "z", "--axis", "1", "-f"]])
        found.append(peaks(tmp_path, commands))
    for command, small, large in zip(commands, *found, strict=True):
        least = large
        for _ in range(3):  # what is held at the same time is chance, by 50 MB; what grows is there each time
            if least >= small + 48:
                least = min(least, *peaks(tmp_path, [command]))
        assert least < small + 48 and small < 400, (command, least, found)


@told
def test_a_small_file_of_very_many_vectors_takes_little_memory(tmp_path):
    """Vectors without energy have no chunks, and norms that are all alike take no room."""
    one = nqz.encode(np.zeros((1, 1 << 20), np.float32), rate=1)
    (tmp_path / "x.nqz").write_bytes(rewritten(one, shape=(1, 1 << 24), times=1 << 4))
    assert (tmp_path / "x.nqz").stat().st_size < 1 << 13
    (peak,) = peaks(tmp_path, [["inspect", "x.nqz"]])
    assert peak < 130
