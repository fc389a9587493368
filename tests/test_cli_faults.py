"""Commands that are killed or interrupted at random moments: the old output or the complete new one, and no litter.

A few times each here; `make test-faults` tries it often.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from cli_tools import MANY, environment, listing, matrix, process, save

KILLED = {
    "encode": ["encode", "a.npy", "-r", "2", "-o", "out.nqz", "-f"],
    "decode": ["decode", "a.nqz", "-o", "out.npy", "-f"],
    "matmul": ["matmul", "a.nqz", "b.nqz", "-o", "out.npy", "-f"],
}
UP = """
import sys, nqz.cli, nqz.cli.{command}
import nqz.files.unpublished as unpublished
unpublished.UNNAMED = {unnamed}
print("up", flush=True)
sys.exit(nqz.cli.main())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with matrices that keep every command busy for a moment."""
    folder = tmp_path_factory.mktemp("faults")
    block = matrix(1024, 512)
    save(folder / "a.npy", np.concatenate([np.roll(block, i, axis=0) for i in range(5)], axis=1))
    save(folder / "b.npy", np.concatenate([np.roll(block, -i, axis=0) for i in range(1, 5)], axis=1))
    for name in ("a", "b"):
        done = process("encode", folder / f"{name}.npy", "-r", "2", "--lattice", "e8")
        assert done.returncode == 0, done.stderr
    return folder


def start(arguments, unnamed):
    """Start a command, and return when it is loaded."""
    program = UP.format(command=arguments[0], unnamed=unnamed)
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == b"up\n"
    return child


@pytest.mark.parametrize("command", KILLED)
def test_kills_at_random_moments(folder, monkeypatch, tmp_path, command):
    """While the output has no name, and while it has one, in turn."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    arguments = KILLED[command]
    inputs, out = listing(folder), arguments[-2]
    child, begin = start(arguments, True), time.monotonic()
    assert child.wait() == 0
    took = time.monotonic() - begin
    with open(out, "rb") as file:
        new = file.read()
    moments, found = random.Random(command), Counter()
    for number in range(100 if MANY else 6):
        unnamed = number % 2 == 0 and hasattr(os, "O_TMPFILE")
        with open(out, "wb") as file:
            file.write(b"old")
        before = listing(folder)
        child = start(arguments, unnamed)
        time.sleep(moments.uniform(0, 0.9 * took))
        child.kill()
        way = "unnamed" if unnamed else "named"
        found[f"{way} killed" if child.wait() else f"{way} done"] += 1
        with open(out, "rb") as file:
            content = file.read()
        assert content in (b"old", new)
        found[f"{way} {'old' if content == b'old' else 'new'}"] += 1
        left = [name for name in listing(folder) if name not in (*inputs, out)]
        assert len(left) <= 1 and all(
            re.fullmatch(rf"\.{re.escape(out)}\.\d+\.nqz\.tmp", name) for name in left
        ), left
        found[f"{way} left"] += len(left)
        if unnamed:
            # between the link and the renaming, if at all
            assert all(name in before or (folder / name).read_bytes() == new for name in left)
        assert listing(tmp_path) == []
    assert found["named killed"] + found["unnamed killed"]
    assert start(arguments, True).wait() == 0
    assert (folder / out).read_bytes() == new
    os.unlink(out)
    assert listing(folder) == inputs
    print(command, dict(found))
