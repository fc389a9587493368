"""The shell scripts of tests/cli, with what they should print and return; see tests/cli/README.md."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cli_tools import FIXTURES, environment

SCRIPTS = Path(__file__).resolve().parent / "cli"


def agree(expected: list[str], found: list[str]) -> bool:
    """Whether lines are as expected; one by one, as a pattern of all of them could be tried for minutes in vain."""
    if not expected:
        return not found
    if expected[0] == "...":
        return any(agree(expected[1:], found[number:]) for number in range(len(found) + 1))
    line = ".*".join(re.escape(part) for part in expected[0].split("*"))
    return bool(found) and re.fullmatch(line, found[0]) is not None and agree(expected[1:], found[1:])


def expected(script: Path, suffix: str, otherwise: str) -> str:
    """Contents of the file beside a script."""
    path = script.with_suffix(suffix)
    return path.read_text(encoding="utf-8") if path.exists() else otherwise


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    """A folder with nqz and python, to be first on the PATH."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in (("python", ""), ("nqz", " -m nqz")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        program.chmod(0o755)
    return folder


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda script: script.stem)
def test_script(script, path, tmp_path):
    for file in ("a.npy", "b.npy", "model.safetensors"):
        shutil.copy(FIXTURES / file, tmp_path)
    env = environment()
    env.update(PATH=f"{path}:{env['PATH']}", PYTHONIOENCODING="utf-8")
    done = subprocess.run(
        ["sh", "-eu", str(script)], cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", timeout=60
    )
    for name, text in (("stdout", done.stdout), ("stderr", done.stderr)):
        wanted = expected(script, f".{name}", "")
        assert agree(wanted.splitlines(), text.splitlines()), f"{name}:\n{text}\nexpected:\n{wanted}"
    assert done.returncode == int(expected(script, ".exit", "0"))


def test_no_expectation_without_a_script():
    known = {".sh", ".stdout", ".stderr", ".exit"}
    files = [file for file in SCRIPTS.iterdir() if file.name != "README.md"]
    assert len(files) > 20
    for file in files:
        assert file.suffix in known and file.with_suffix(".sh").exists(), file


def test_the_demo_agrees_with_itself(path):
    env = environment()
    env["PATH"] = f"{path}:{env['PATH']}"
    done = subprocess.run(
        ["sh", str(FIXTURES / "demo.sh")], env=env, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "" and "estimator    expected     actual" in done.stdout


def test_the_fixtures_are_those_of_their_formula(tmp_path):
    shutil.copy(FIXTURES / "make.py", tmp_path)
    subprocess.run([sys.executable, str(tmp_path / "make.py")], check=True, timeout=60)
    for name in ("a.npy", "b.npy"):  # the padding of the header depends on the release of NumPy
        assert np.load(tmp_path / name).tobytes() == np.load(FIXTURES / name).tobytes()
    assert (tmp_path / "model.safetensors").read_bytes() == (FIXTURES / "model.safetensors").read_bytes()
