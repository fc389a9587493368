"""Completion in real shells: those that are installed, bash always."""

from __future__ import annotations

import io
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout

import pytest

from cli_tools import environment, invoke, process, succeed
from nqz.cli import app, run
from nqz.stages.codings import CODINGS
from nqz.stages.lattices import FAMILIES

COMMANDS = app.list_commands(app.make_context("nqz", ["help"]))

# a line, and what is proposed for its last word; None for names of files
LINES: list[tuple[str, list[str] | None]] = [
    ("nqz ", COMMANDS),
    ("nqz en", ["encode"]),
    ("nqz --ver", ["--version"]),
    ("nqz help ma", ["matmul"]),
    ("nqz completion z", ["zsh"]),
    ("nqz encode --lat", ["--lattice"]),
    ("nqz encode a.npy --no-", ["--no-center", "--no-progress"]),
    ("nqz encode --lattice ", list(FAMILIES)),
    ("nqz encode --coding v", ["voronoi"]),
    ("nqz matmul a b --estimator ", ["auto", "mmse", "unbiased"]),
    ("nqz decode --dtype float3", ["float32"]),
]
WORDS = [
    ("nqz sweep a.npy --coding entropy,v", ["entropy,voronoi"]),
    ("nqz encode --lattice = le", ["leech"]),
    ("nqz encode --across ", ["uniform", "size"]),
    ("nqz encode --across s", ["size"]),
    ("nqz encode --lattice =", list(FAMILIES)),
    ("nqz encode a.n", None),
    ("nqz encode -o x", None),
    ("nqz encode -r 3", None),
    ("nqz frobnicate --x", None),
]
ODD = [
    "nqz",
    "nqz '",
    "nqz = = $(touch",
    "nqz \\",
    "nqz * [",
    "nqz encode --lattice `",
    "= =",
    "",
    "nqz -- ~ -",
    "nqz \n",
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The scripts, by shell, in a folder with a file to complete."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "a.npy").touch()
    found = {}
    for shell in ("bash", "zsh", "fish"):
        found[shell] = folder / f"nqz.{shell}"
        with redirect_stdout(io.StringIO()) as text:
            assert run(["completion", shell]) == 0
        found[shell].write_text(text.getvalue(), encoding="utf-8")
    return found


def needs(shell: str) -> str:
    """A shell, or the test is left out; bash is always there."""
    path = shutil.which(shell)
    if path is None and shell != "bash":
        pytest.skip(f"no {shell} here")
    assert path is not None
    return path


def no_nqz(folder) -> dict[str, str]:
    """An environment in which a shell finds no program of this name, and no file of a user."""
    return environment(
        HOME=str(folder), ZDOTDIR=str(folder), PATH="/usr/bin:/bin", TERM="xterm", NQZ_THREADS="x"
    )


def test_bash_completes_without_running_anything(scripts):
    lines = [*LINES, *WORDS, *((line, None) for line in ODD)]
    program = [
        f"set -eu; source {scripts['bash']}",
        'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nqz || true',
    ]
    program += ['echo "<${COMPREPLY[*]-}>"; }']
    for line, _ in lines:
        words = line.split(" ")
        program.append("try " + " ".join("'" + word.replace("'", "'\\''") + "'" for word in words))
    begin = time.monotonic()
    done = subprocess.run(
        [needs("bash"), "--norc", "-c", "\n".join(program)], cwd=scripts["bash"].parent,
        env=no_nqz(scripts["bash"].parent), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    proposed = [line.strip("<>").split() for line in done.stdout.splitlines()]
    assert len(proposed) == len(lines)
    assert proposed[: -len(ODD)] == [words or [] for _, words in lines[: -len(ODD)]]
    assert time.monotonic() - begin < 5.0


def typed(program: list[str], setup: str, line: str, expected: str, folder) -> str:
    """What a shell on a terminal shows when a line is typed and completed, until `expected` is there."""
    child, master = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe(program[0], program, no_nqz(folder))
    shown = b""

    def until(text: bytes) -> bool:
        nonlocal shown
        shown, deadline = b"", time.monotonic() + 20
        while text not in shown and time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                shown += os.read(master, 4096)
        return text in shown

    try:
        os.write(master, f"{setup}; echo rea''dy\n".encode())
        assert until(b"ready"), shown
        time.sleep(0.1)  # the prompt
        os.write(master, line.encode() + b"\t")
        until(expected.encode())
        return shown.decode(errors="replace")
    finally:
        os.close(master)
        os.kill(child, 9)
        os.waitpid(child, 0)


TYPED = [("nqz enc", "encode"), ("nqz encode --lattice le", "leech"), ("nqz encode -r 3 a.n", "a.npy")]


@pytest.mark.parametrize("line, expected", TYPED)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_terminal_completes_what_is_typed(scripts, shell, line, expected):
    start = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
    load = {"bash": "", "zsh": "autoload -Uz compinit; compinit -u -D; "}[shell]
    program = [needs(shell), *start]
    rest = expected.removeprefix(line.split()[-1])
    shown = typed(program, f"{load}source {scripts[shell]}", line, rest, scripts[shell].parent)
    assert rest in shown, shown


def test_zsh_takes_every_command_of_the_script(scripts):
    """Its parts are checked as they are used: every command is asked for its options."""
    program = needs("zsh")
    for command in ("sweep", "compare"):
        shown = typed(
            [program, "-f", "-i"], f"autoload -Uz compinit; compinit -u -D; source {scripts['zsh']}",
            f"nqz {command} --q", "uiet", scripts["zsh"].parent,
        )  # fmt: skip
        assert "uiet" in shown and "invalid" not in shown and "error" not in shown, shown


def test_fish_completes(scripts):
    program, lines = needs("fish"), [*LINES, ("nqz encode a.n", ["a.npy"]), ("nqz encode -o a.n", ["a.npy"])]
    for line, words in lines:
        done = subprocess.run(
            [program, "--no-config", "-c", f"source {scripts['fish']}; complete -C {line!r}"],
            cwd=scripts["fish"].parent, env=no_nqz(scripts["fish"].parent), capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0 and done.stderr == ""
        proposed = [proposal.split("\t")[0] for proposal in done.stdout.splitlines()]
        assert sorted(proposed) == sorted(words or []), line


def test_the_scripts_know_all_choices_and_nothing_is_left_out(capsys):
    for shell in ("bash", "zsh", "fish"):
        text = succeed(capsys, "completion", shell).out
        assert all(command in text for command in COMMANDS)
        assert (
            " ".join(FAMILIES) in text
            and " ".join(CODINGS) in text
            and "--max-bytes" in text.replace("-l ", "--")
        )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_whole_where_there_is_only_ascii(tmp_path, shell):
    done = process("completion", shell, env={"PYTHONIOENCODING": "ascii"})
    (tmp_path / "script").write_text(done.stdout.decode("ascii"))
    checked = subprocess.run([needs(shell), "-n", str(tmp_path / "script")], capture_output=True, timeout=30)
    assert checked.returncode == 0 and checked.stderr == b""


def test_other_shells_are_refused(capsys):
    assert "'tcsh' is not one of" in invoke(capsys, "completion", "tcsh").err
    assert invoke(capsys, "completion").code == invoke(capsys, "completion", "bash", "zsh").code == 2
    assert "bash" in succeed(capsys, "completion", "--help").out


def test_a_pipe_that_closes_is_quiet():
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -n 1', "sh", sys.executable, "-m", "nqz", "completion", "bash"],
        capture_output=True, text=True, timeout=60, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") == 1
