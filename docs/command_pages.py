"""The reference of the command line, from the same commands and the same table as help.

usage: python docs/command_pages.py [FILE]      docs/reference/commands.md by default
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from nqz.cli import app
from nqz.cli.help import ENVIRONMENT, EXAMPLES, EXIT_STATUS, PAGES
from nqz.cli.page import Context, example_lines, groups


def page() -> str:
    """The text of docs/reference/commands.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    root = app.make_context("nqz", ["help"])
    names = app.list_commands(root)
    yield from ("# The command line", "", *_prose(app), "| command | |", "|---|---|")
    yield from (f"| [`nqz {name}`](#nqz-{name}) | {_cell(PAGES[name].summary)} |" for name in names)
    yield from ("", *_examples(EXAMPLES))
    for name in names:
        command = app.get_command(root, name)
        assert command is not None
        context = Context(command, info_name=name, parent=root)
        yield from (f"## nqz {name}", "", "```text")
        yield from (
            f"nqz {name} " + " ".join(command.collect_usage_pieces(context)),
            "```",
            "",
            *_prose(command),
        )
        for title, options in groups(command, context):
            yield from (f"### {title} of {name}", "")
            yield from _definitions(option.get_help_record(context) for option in options)
        yield from _examples(PAGES[name].examples)
    yield from ("## Environment", "", *_definitions(ENVIRONMENT.items()))
    yield from ("## Exit status", "", "| status | |", "|---|---|")
    yield from (f"| {status} | {_cell(meaning)} |" for status, meaning in EXIT_STATUS.items())
    yield ""


def _prose(command: click.Command) -> Iterator[str]:
    """Paragraphs of help; what click leaves as it is, is a block of text here."""
    for paragraph in (command.help or "").split("\n\n"):
        as_it_is = paragraph.startswith("\b")
        text = paragraph.lstrip("\b\n")
        yield from (
            ("```text", *text.splitlines(), "```", "") if as_it_is else (_text(" ".join(text.split())), "")
        )


def _definitions(records: Any) -> Iterator[str]:
    for record in records:
        if record is not None:
            yield from (f"`{record[0]}`", f": {_text(' '.join(record[1].split()))}", "")


def _examples(examples: tuple[tuple[str, str], ...]) -> Iterator[str]:
    if examples:
        yield from ("```sh", *example_lines(examples), "```", "")


def _text(text: str) -> str:
    return re.sub(r"([\\*_<>\[\]`#~$])", r"\\\1", text)


def _cell(text: str) -> str:
    return _text(text).replace("|", r"\|")


if __name__ == "__main__":
    default = Path(__file__).resolve().parent / "reference" / "commands.md"
    (Path(sys.argv[1]) if sys.argv[1:] else default).write_text(page(), encoding="utf-8")
