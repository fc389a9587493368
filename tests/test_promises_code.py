"""Promises about what the code does not do, and about the disk and the memory that it uses."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

import nqz
from cli_tools import environment, matrix, save

Node = TypeVar("Node", bound=ast.AST)
PACKAGE = Path(__file__).resolve().parent.parent / "nqz"


def nodes(kind: type[Node]) -> Iterator[tuple[str, Node]]:
    """Yield all nodes of a kind, each with the module that it stands in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield path.relative_to(PACKAGE).as_posix(), node


def imported() -> Iterator[tuple[str, str]]:
    """Yield every module that is imported from elsewhere, with the importing one."""
    for where, node in nodes(ast.Import):
        yield from ((where, alias.name) for alias in node.names)
    yield from ((where, node.module or "") for where, node in nodes(ast.ImportFrom))


def test_data_is_never_run():
    runs = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code"}
    assert [(where, name) for where, name in imported() if name.split(".")[0] in runs] == []
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


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="nothing tells the peak of a program alone"
)
def test_memory_does_not_grow_with_the_input(tmp_path):
    block = matrix(4096, 512, dtype="float16")
    peaks = []
    for copies in (16, 64):  # 64 and 256 MiB
        save(tmp_path / "x.npy", np.tile(block, (1, copies)))
        of_this = []
        for arguments in (
            ["encode", "x.npy", "-r", "2", "--lattice", "z"],
            ["decode", "x.nqz", "-o", "x.npy"],
        ):
            done = subprocess.run(
                [sys.executable, "-c", PEAK, *arguments, "-f", "-q", "--threads", "2"],
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            of_this.append(int(done.stderr))
        peaks.append(of_this)
    for small, large in zip(*peaks, strict=True):
        assert large < 1.25 * small < 500, peaks
