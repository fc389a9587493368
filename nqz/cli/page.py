"""The page of help of a command: its sections in order, and how they look on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from nqz.cli.text import bold, colored, portable


class Formatter(click.HelpFormatter):
    """Headings are bold where there is color."""

    def write_heading(self, heading: str) -> None:
        """See click."""
        self.write(f"{'':>{self.current_indent}}{bold(heading + ':', colored(sys.stdout))}\n")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """See click."""
        super().write_usage(
            prog, args, bold("Usage:", colored(sys.stdout)) + " " if prefix is None else prefix
        )


class Context(click.Context):
    """Help is laid out by `Formatter`, and colored as all that is reported."""

    formatter_class = Formatter

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.color = colored(sys.stdout)

    def get_help(self) -> str:
        """See click; as standard output can show it."""
        return portable(super().get_help(), sys.stdout)


class Documented(click.Command):
    """A command whose help has its options in groups, and examples, as `nqz.cli.help` has them."""

    context_class = Context

    def get_short_help_str(self, limit: int = 45) -> str:
        """The summary of the page."""
        from nqz.cli.help import PAGES

        page = PAGES.get(self.name or "")
        return super().get_short_help_str(limit) if page is None else page.summary

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options group by group, then the examples."""
        from nqz.cli.help import PAGES

        for title, options in groups(self, ctx):
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            with formatter.section(title):
                formatter.write_dl(records)
        page = PAGES.get(self.name or "")
        if page is not None:
            write_examples(formatter, page.examples)


def groups(command: click.Command, ctx: click.Context) -> list[tuple[str, list[click.Parameter]]]:
    """The options of a command under the titles of their groups, in order; under Other those that no group has."""
    from nqz.cli.help import GROUPS, PAGES

    page = PAGES.get(command.name or "")
    order = (*GROUPS, OTHER)
    found: list[tuple[int, int, click.Parameter]] = []
    for option in command.get_params(ctx):
        if isinstance(option, click.Option) and not option.hidden:
            try:
                title, place = (OTHER, 0) if page is None else page.group(long_name(option))
            except KeyError:
                title, place = OTHER, len(found)
            found.append((order.index(title), place, option))
    found.sort(key=lambda one: one[:2])
    members = {number: [option for at, _, option in found if at == number] for number, _, _ in found}
    return [(order[number], options) for number, options in sorted(members.items())]


OTHER = "Other options"


def long_name(option: click.Parameter) -> str:
    """The name of an option that begins with two hyphens, the first one if there are several."""
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


def write_examples(formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]]) -> None:
    """Write a section of examples, none of them folded: they are copied."""
    with formatter.section("Examples"):
        indent = " " * formatter.current_indent
        for line in example_lines(examples):
            formatter.write(f"{indent}{line}\n" if line else "\n")


def example_lines(examples: Iterable[tuple[str, str]]) -> list[str]:
    """Examples as a shell takes them: what each does as a comment, and the command line."""
    lines: list[str] = []
    for what, line in examples:
        lines += [*([""] if lines and what else []), *([f"# {what}"] if what else []), line]
    return lines
