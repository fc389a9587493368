"""Helpers of the command-line tests: matrices, and running commands on them in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nqz.cli import run

MANY = os.environ.get("NQZ_TEST_MANY") == "1"
"""Whether what happens at random is tried very often: `make test-faults`."""

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


@dataclass(frozen=True)
class Result:
    """Exit status and outputs of a command."""

    code: int
    out: str
    err: str


def invoke(capsys, *arguments: object) -> Result:
    """Run a command line in this process."""
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)


def succeed(capsys, *arguments: object) -> Result:
    """Run a command line that must succeed."""
    result = invoke(capsys, *arguments)
    assert result.code == 0, result.err
    return result


def fail(capsys, code: int, *arguments: object) -> str:
    """Run a command line that must fail with one line on standard error and nothing else; return the line."""
    result = invoke(capsys, *arguments, "-q")
    assert result.code == code, result
    assert result.out == ""
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result.err
    assert result.err.startswith("nqz: error: "), result.err
    assert "Traceback" not in result.err
    return result.err[len("nqz: error: ") : -1]


def environment(**more: str) -> dict[str, str]:
    """The environment of this process, its PYTHONPATH valid in any folder."""
    env = {**os.environ, **more}
    if env.get("PYTHONPATH"):
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
    return env


def process(*arguments: object, program: str | None = None, **options) -> subprocess.CompletedProcess:
    """Run a command line in a process of its own; `program` is Python code to run instead of the module."""
    start = ["-m", "nqz"] if program is None else ["-c", program]
    options.setdefault("capture_output", True)
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        env=environment(**options.pop("env", {})),
        timeout=options.pop("timeout", 60),
        **options,
    )


def matrix(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Gaussian entries."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def save(path: Path, array: np.ndarray) -> Path:
    """Write a .npy file."""
    np.save(path, array)
    return path


def listing(folder: Path) -> list[str]:
    """Names in a folder, hidden ones included."""
    return sorted(os.listdir(folder))
