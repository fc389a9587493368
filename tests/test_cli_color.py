"""Color: on terminals that can, unless somebody says no."""

from __future__ import annotations

import io

import pytest

from cli_tools import invoke, matrix, process, save, succeed
from nqz.cli.text import colored

RED, YELLOW, BOLD, END = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1m", "\x1b[0m"


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "stream, variables, expected",
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (None, {"TERM": "xterm"}, False),
    ],
)
def test_what_is_colored(monkeypatch, stream, variables, expected):
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert colored(stream) is expected


def test_errors_warnings_and_headings_are_told_by_color(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    save(tmp_path / "m.npy", matrix(2, 3000))
    assert (
        f"nqz: {YELLOW}warning{END}: m.npy: " in succeed(capsys, "encode", "m.npy", "-r", "1", "--center").err
    )
    assert invoke(capsys, "inspect", "no").err.startswith(f"nqz: {RED}error{END}: no: ")
    wrong = invoke(capsys, "encode").err
    assert wrong.startswith("Usage: nqz encode") and f"nqz: {RED}error{END}: Missing" in wrong
    text = succeed(capsys, "encode", "-h").out
    assert text.startswith(f"{BOLD}Usage:{END} nqz encode") and f"\n{BOLD}Codec options:{END}\n" in text
    table = succeed(capsys, "verify", "m.nqz", "--against", "m.npy").out
    assert table.startswith(f"{BOLD}tensor ") and table.count(BOLD) == 1
    assert "\x1b" not in succeed(capsys, "inspect", "m.nqz", "--json").out
    colors = {"\x1b[1m", "\x1b[0m"}
    assert succeed(capsys, "sweep", "-h").out.count("\x1b") == sum(
        succeed(capsys, "sweep", "-h").out.count(color) for color in colors
    )


@pytest.mark.parametrize("arguments", [["-h"], ["encode", "-h"], ["inspect", "no"], ["nonsense"]])
def test_nothing_is_colored_in_files_and_pipes(arguments):
    done = process(*arguments, env={"TERM": "xterm"})
    assert b"\x1b" not in done.stdout + done.stderr
