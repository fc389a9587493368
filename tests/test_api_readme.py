"""What README.md and docs/api.md show works as shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli_tools import FIXTURES, environment

README = (FIXTURES.parent / "README.md").read_text(encoding="utf-8")
API = (FIXTURES.parent / "docs" / "api.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def tour(tmp_path, monkeypatch):
    """A current folder with fixtures/ in it, and nqz on the PATH."""
    shutil.copytree(FIXTURES, tmp_path / "fixtures")
    program = tmp_path / "bin" / "nqz"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nqz "$@"\n')
    program.chmod(0o755)
    environment_ = environment()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{environment_['PATH']}")
    if "PYTHONPATH" in environment_:
        monkeypatch.setenv("PYTHONPATH", environment_["PYTHONPATH"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_five_minute_tour(tour):
    commands = re.findall(r"^\$ (.*)$", "".join(blocks("console")), re.MULTILINE)
    assert len(commands) >= 8
    outputs = {}
    for command in commands:
        done = subprocess.run(["sh", "-c", command], capture_output=True, encoding="utf-8", timeout=60)
        assert done.returncode == 0, (command, done.stderr)
        outputs[command] = done.stderr + done.stdout
    # what was printed when the README was written, but for the digits, which depend on tuning
    digits = re.compile(r"[0-9a-f]{32}|[0-9.]+|[ ─]+")
    for command, output in outputs.items():
        assert digits.sub("#", output.strip()) in digits.sub("#", README), (command, output)


def test_the_python_example(tour):
    (code,) = blocks("python")
    for name in ("a.npy", "b.npy"):
        shutil.copy(tour / "fixtures" / name, tour)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"expected 0\.\d+, actual 0\.\d+", done.stdout)


def test_the_examples_of_the_python_interface(tour):
    found = blocks("python", API)
    assert len(found) >= 9
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(found)], capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    (shown,) = re.findall(r"^print\(x\) +# (.*)$", API, re.MULTILINE)
    assert shown in done.stdout.splitlines(), done.stdout


def test_every_function_of_the_interface_is_in_its_page():
    import nqz

    for name in nqz.__all__:
        if not isinstance(getattr(nqz, name), type) and name != "__version__":
            assert f"nqz.{name}(" in API or f"`{name}`" in API, name


def test_every_exit_status_and_command_is_listed():
    from nqz.ground import errors

    codes = {error.exit_code for error in vars(errors).values() if isinstance(error, type)} | {
        0,
        130,
        141,
        143,
    }
    table = README[README.index("| exit status") :]
    for code in codes:
        assert re.search(rf"^\|.*\b{code}\b.*\|", table, re.MULTILINE), code
    for command in ("encode", "decode", "matmul", "inspect", "verify", "compare"):
        assert f"| `nqz {command} " in README
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(FIXTURES).parent / link).exists(), link
