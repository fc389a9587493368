"""The examples of a page, run in their order in one folder.

``python tests/page_blocks.py PAGE...`` writes anew what they print. Blocks of ``console`` have commands after "$ " and
what they print; blocks of ``python`` share their names. A word behind the language ("python torch") names a package
that the block needs, which has tests of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command line of a page, and what is shown below it."""

    line: str
    shown: str


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and contents of every block that is run."""
    return _BLOCK.findall(text)


def commands(block: str) -> list[Command]:
    """The commands of a block of ``console``."""
    parts = re.split(r"^\$ (.*(?:\n> .*)*)\n", block, flags=re.MULTILINE)
    assert not parts[0].strip(), parts[0]
    return [
        Command(line.replace("\n> ", "\n"), shown)
        for line, shown in zip(parts[1::2], parts[2::2], strict=True)
    ]


def run_command(line: str) -> str:
    """Run a command line, which has to succeed unless it ends in "|| true"; return what it prints on a terminal."""
    done = subprocess.run(
        ["sh", "-c", line],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}"
    return done.stdout


def run_page(page: Path) -> list[tuple[Command, str]]:
    """Run all blocks of a page in the current folder; return every command with what it prints."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed = []
    for language, block in blocks(page.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(block, str(page), "exec"), names)  # noqa: S102 - our own pages
        else:
            printed += [(command, run_command(command.line)) for command in commands(block)]
    return printed


def prepare(folder: Path) -> dict[str, str]:
    """Lay a folder out as a page finds it, with fixtures/ in it; return the environment with nqz on the PATH."""
    shutil.copytree(ROOT / "fixtures", folder / "fixtures", ignore=shutil.ignore_patterns("golden", "reject"))
    programs = folder.parent / f"{folder.name}-bin"
    programs.mkdir()
    for name, words in (("nqz", " -m nqz"), ("python3", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def rewrite(page: Path) -> None:
    """Write into a page what its commands print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "page"
        folder.mkdir()
        os.environ.update(prepare(folder))
        os.chdir(folder)
        outputs = iter(run_page(page))
        os.chdir(ROOT)

    def renewed(found: re.Match[str]) -> str:
        if found[1] == "python":
            return found[0]
        lines = [
            "$ " + command.line.replace("\n", "\n> ") + "\n" + next(outputs)[1]
            for command in commands(found[2])
        ]
        return f"```console\n{''.join(lines)}```"

    text = page.read_text(encoding="utf-8")
    page.write_text(_BLOCK.sub(renewed, text), encoding="utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument).resolve())
