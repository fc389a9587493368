"""The pages of the manual, from the same commands and the same table as help: ``python -m nqz.cli.manual FOLDER``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from nqz._version import __version__
from nqz.cli import app
from nqz.cli.help import COMMON, ENVIRONMENT, EXAMPLES, EXIT_STATUS, PAGES
from nqz.cli.page import Context, groups

_ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", "|": r"|\:"}


def pages() -> dict[str, str]:
    """The text of every page, by the name of its file."""
    root = app.make_context("nqz", ["help"])
    names = app.list_commands(root)
    found = {"nqz.1": _lines(_main(root, names))}
    for name in names:
        command = app.get_command(root, name)
        assert command is not None
        context = Context(command, info_name=name, parent=root)
        found[f"nqz-{name}.1"] = _lines(_page(command, context, names))
    return found


def _main(root: click.Context, names: Sequence[str]) -> Iterator[str]:
    yield from _start("nqz", "compress matrices so that their products can be estimated from the files")
    yield r".B nqz"
    yield r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]"
    yield from _description(app)
    yield ".SH COMMANDS"
    for name in names:
        yield from (".TP", rf"\fBnqz {name}\fR(1)".replace(" ", r"\-"), _text(PAGES[name].summary))
    yield from _options(app, root)
    yield from _table("ENVIRONMENT", ENVIRONMENT.items())
    yield from _table("EXIT STATUS", EXIT_STATUS.items())
    yield from _examples(EXAMPLES)
    yield from _see_also(f"nqz-{name}" for name in names)


def _page(command: click.Command, context: click.Context, names: Sequence[str]) -> Iterator[str]:
    summary = PAGES[str(command.name)].summary.rstrip(".")
    yield from _start(f"nqz-{command.name}", summary[0].lower() + summary[1:])
    yield rf".B nqz {command.name}"
    arguments = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    yield " ".join([r"[\fIOPTIONS\fR]", *(rf"\fI{_text(piece)}\fR" for piece in arguments)])
    yield from _description(command)
    yield from _options(command, context)
    yield from _examples(PAGES[str(command.name)].examples)
    yield from _see_also(["nqz", *(f"nqz-{name}" for name in names if name != command.name)])


def _start(name: str, about: str) -> Iterator[str]:
    yield '.\\" -*- coding: utf-8 -*-'
    yield '.\\" Made by "make man" from the help of nqz.'
    yield f'.TH {_text(name.upper())} 1 "" "nqz {__version__}" "Manual of nqz"'
    yield from (".SH NAME", rf"{_text(name)} \- {_text(about)}", ".SH SYNOPSIS")


def _description(command: click.Command) -> Iterator[str]:
    yield ".SH DESCRIPTION"
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        if paragraph.startswith("\b\n"):  # lines that click leaves as they are
            yield from (".nf", *(_text(line) for line in paragraph.splitlines()[1:]), ".fi")
        else:
            yield _text(" ".join(paragraph.split()))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    yield ".SH OPTIONS"
    for title, options in groups(command, context):
        if title != COMMON:
            yield f".SS {_text(title)}"
        for option in options:
            record = option.get_help_record(context)
            assert record is not None
            names, text = record
            yield from (".TP", _names(names), _text(" ".join(text.split())))


def _names(record: str) -> str:
    """The names of an option in bold type, what its value is called in italics."""
    parts = re.split(r"((?<![\w-])--?[A-Za-z][\w-]*)", record)
    return "".join(
        (rf"\fB{_text(part)}\fR" if number % 2 else _value(part)) for number, part in enumerate(parts)
    )


def _value(text: str) -> str:
    found = re.fullmatch(r"(\s+)(\S+)(.*)", text)
    if found is None or not re.match(r"[\w\[]", found[2]):
        return _text(text)
    return rf"{found[1]}\fI{_text(found[2])}\fR{_text(found[3])}"


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in rows:
        yield from (".TP", rf"\fB{_text(name)}\fR", _text(text))


def _examples(examples: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield ".SH EXAMPLES"
    for number, (what, line) in enumerate(examples):
        if what:
            yield from ([".PP"] if number else [])
            yield _text(what) + ":"
        yield from (".PP", ".nf", ".RS", _text(line), ".RE", ".fi")


def _see_also(names: Iterable[str]) -> Iterator[str]:
    *most, last = (rf".BR {_text(name)} (1)" for name in names)
    yield from (".SH SEE ALSO", *(f"{one}," for one in most), last)


def _text(text: str) -> str:
    """A line of text, as roff has it."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def write(folder: Path) -> None:
    """Write all pages, and remove those of commands that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    found = pages()
    for old in folder.glob("nqz*.1"):
        if old.name not in found:
            old.unlink()
    for name, text in found.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
