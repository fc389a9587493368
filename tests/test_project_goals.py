"""What the goals of the Makefile that take long lean on: which they are, what they take, and what is compiled once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path):
    """A folder of programs with nothing but what every system has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "dirname", "ls", "sed", "sort", "tail", "uname"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def run(name: str, folder: Path, *arguments: object, **variables: object) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(folder), **{key: str(value) for key, value in variables.items()}}
    return subprocess.run(
        ["/bin/sh", ROOT / "tests" / name, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_all_tests_are_every_goal_that_tests_after_what_they_need():
    (names,) = re.findall(r"^test-all: (.*)$", MAKEFILE, re.MULTILINE)
    first, *rest = names.split()
    assert first == "needed"
    goals = set(re.findall(r"^(test-[a-z0-9]+):(?! export)", MAKEFILE, re.MULTILINE)) - {"test-all"}
    assert set(rest) == goals | {"test", "fuzz", "docs", "wheel"} and len(rest) == len(set(rest))


def test_what_is_missing_is_told_with_what_to_install(bare):
    done = run("needed.sh", bare, PYTHON="no-python", CXX="no-compiler", PYENV_ROOT=bare)
    assert done.returncode == 1
    for package in ("python3-venv", "python3-dev", "g++", "chromium"):
        (line,) = [
            line
            for line in done.stderr.splitlines()
            if f"apt-get install {package}" in line.replace("python3 ", "")
        ]
        assert line.startswith("missing: ")
    assert "missing: Debian with its package sources" in done.stderr
    assert "no Python 3.10 here: it is left out" in done.stdout and "no zsh here" in done.stdout


def test_the_newest_python_of_every_version_is_found(bare):
    for version in ("3.10.2", "3.10.13", "3.12.0"):
        script(bare / "versions" / version / "bin" / f"python{version.rpartition('.')[0]}", "exit 0")
    script(bare / "python3.13", "exit 0")
    script(bare / "python3.14", "exit 1")
    done = run("pythons.sh", bare, PYENV_ROOT=bare)
    assert [line.removeprefix(f"{bare}/versions/") for line in done.stdout.splitlines()] == [
        "3.10.13/bin/python3.10", "3.12.0/bin/python3.12", "python3.13",
    ]  # fmt: skip
    assert done.stderr.splitlines() == ["no Python 3.11 here", "no Python 3.14 here"]


COMPILER = """
[ "$1" != --version ] || { echo fake "$VERSION"; exit 0; }
echo "$*" >> "$CALLS"
for argument; do
    [ "$last" != -o ] || output=$argument
    last=$argument
done
cat text > "$output"
! grep -q error text
"""


def test_kernels_are_compiled_once_from_a_text(tmp_path):
    compiler, calls = script(tmp_path / "c++", COMPILER), tmp_path / "calls"
    text, output = tmp_path / "text", tmp_path / "out.o"

    def compiled(*options: str, version: str = "1") -> tuple[int, int]:
        """Return the exit status, and how often the compiler did more than preprocess."""
        calls.write_text("")
        output.unlink(missing_ok=True)
        variables = {"NQZ_OBJECTS": str(tmp_path / "kept"), "CALLS": str(calls), "VERSION": version}
        command = [
            "/bin/sh",
            ROOT / "tests" / "compile_once.sh",
            compiler,
            *options,
            "-o",
            "out.o",
            "-c",
            "a.cpp",
        ]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | variables)
        return done.returncode, sum(" -E" not in line for line in calls.read_text().splitlines())

    text.write_text("one\n")
    assert compiled("-DNQZ_ISA=a") == (0, 1) and output.read_text() == "one\n"
    assert compiled("-DNQZ_ISA=a") == (0, 0) and output.read_text() == "one\n"
    text.write_text("two\n")
    assert compiled("-DNQZ_ISA=a") == (0, 1) and output.read_text() == "two\n"
    assert compiled("-DNQZ_ISA=b") == (0, 1)  # another set
    assert compiled("-DNQZ_ISA=a", version="2") == (0, 1)  # another compiler
    assert compiled("-DNQZ_ISA=a") == (0, 0)
    for options in (["-DNQZ_ISA=a", "-g"], ["-DOTHER=a"]):  # lines for debuggers; what is not a kernel
        assert [compiled(*options), compiled(*options)] == [(0, 1), (0, 1)]
    text.write_text("error\n")
    assert compiled("-DNQZ_ISA=a")[0] == 1 and compiled("-DNQZ_ISA=a")[0] == 1
    assert not list((tmp_path / "kept").glob("work*"))
