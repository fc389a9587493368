"""Commands that are killed or interrupted at random moments: the old output or the complete new one, and no litter.

A few times each here; `make test-faults` tries it often.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import nqz
from cli_tools import MANY, environment, listing, matrix, process, save

# a frame of ours; an editable install's own line, which a traceback may quote, lists our paths too
OURS = b'File "' + os.path.dirname(nqz.__file__).encode() + b"/"
PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"

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
    """While the output has no name, then while it has one."""
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
    times = 100 if MANY else 4
    for number in range(times):
        unnamed = number < times // 2 and hasattr(os, "O_TMPFILE")
        with open(out, "wb") as file:
            file.write(b"old")
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
            assert all((folder / name).read_bytes() == new for name in left)
        assert listing(tmp_path) == []
    assert found["named killed"] + found["unnamed killed"]
    assert start(arguments, True).wait() == 0
    assert (folder / out).read_bytes() == new
    assert set(listing(folder)) == {*inputs, out}
    print(command, dict(found))


LINES = """
import os, signal, sys
import nqz.__main__ as program
folder = os.path.dirname(program.__file__)
numbers = os.path.join(folder, "reference", "")  # loops, where there are no native kernels
left = int(sys.argv.pop(1))
def trace(frame, event, argument):
    global left
    if not frame.f_code.co_filename.startswith(folder) or frame.f_code.co_filename.startswith(numbers):
        return None
    if event == "line" and frame.f_code.co_name != "_leave":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
    return trace
sys.settrace(trace)
code = program.main()
sys.settrace(None)
print(left, file=sys.stderr) if left > 0 else None
sys.exit(code)
"""


def interrupted(returncode, error):
    """Whether a command was interrupted as it should be: one line and its status."""
    return (returncode, error) == (130, b"nqz: error: interrupted\n")


def test_an_interrupt_at_any_line(folder, monkeypatch):
    """Of ours, from the first that does something: those that load it, those that clean up, those that end it."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    inputs = listing(folder)
    arguments = ["decode", "b.nqz", "-q", "-o", "out.npy", "-f", "--threads", "1"]
    done = process(10**9, *arguments, program=LINES)
    assert done.returncode == 0, done.stderr
    lines = 10**9 - int(done.stderr)
    assert lines > 3000
    moments = random.Random("lines")
    ends = [2, 4, 10, *range(lines - 60, lines, 1 if MANY else 12)]
    for number in ends + moments.sample(range(30, lines), 200 if MANY else 6):
        done = process(number, *arguments, program=LINES)
        late = done.returncode == 0 and done.stderr == b"" and number > lines - 60
        assert late or interrupted(done.returncode, done.stderr), (number, lines, done)
        assert set(listing(folder)) <= {*inputs, "out.npy"}


@pytest.mark.parametrize("module", [True, False], ids=["python -m", "script"])
def test_interrupts_from_the_start_of_the_process(folder, monkeypatch, tmp_path, module):
    """What comes before our first line is Python's: it ends, or goes on, with a traceback of its own or none."""
    monkeypatch.chdir(folder)
    begin = ["-m", "nqz"]
    if not module:
        entry = re.search(r'^nqz = "([\w.]+):(\w+)"$', PROJECT.read_text(), re.MULTILINE)
        assert entry is not None
        begin = [str(tmp_path / "nqz")]
        lines = ["import re", "import sys", f"from {entry[1]} import {entry[2]}", f"sys.exit({entry[2]}())"]
        (tmp_path / "nqz").write_text("\n".join(lines))
    inputs = listing(folder)
    arguments = [sys.executable, *begin, "encode", "b.npy", "-r", "2", "-q", "-o", "out.nqz", "-f"]
    started = time.monotonic()
    assert subprocess.run(arguments, env=environment()).returncode == 0
    took = time.monotonic() - started
    moments, found = random.Random("start"), Counter()
    for number in range(200 if MANY else 12):
        child = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE)
        # half of them while it is loaded
        time.sleep(moments.uniform(0, took) if number % 2 else moments.uniform(0, 0.3) * took)
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=60)
        if interrupted(child.returncode, error):
            found["interrupted"] += 1
        elif child.returncode == 0 and error == b"":
            found["done"] += 1
        elif child.returncode == 0:
            # Python looks at what is to be run, and goes on after whatever happens there
            found["swallowed"] += 1
            assert error.startswith(b"Failed checking if argv[0] is an import path entry"), error
            assert b"KeyboardInterrupt" in error and OURS not in error, error
        else:
            found["before"] += 1
            assert child.returncode in (-signal.SIGINT, 1) and OURS not in error, error
    assert found["interrupted"]
    assert set(listing(folder)) <= {*inputs, "out.nqz"}
    print(begin[0], dict(found))
