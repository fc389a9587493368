"""Kinds of arguments and options that commands share: names in any case, sizes, and how many files a command takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import click

from nqz.cli.page import Documented
from nqz.ground.errors import UsageError
from nqz.ground.sizes import read_size
from nqz.ground.threads import MAX_THREADS, THREADS_NEEDED
from nqz.ground.wording import counted


class Size(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A number of bytes, perhaps with a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes; a fraction of one is left out."""
        if isinstance(value, int):
            return value
        try:
            return read_size(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Threads(click.ParamType):  # type: ignore[type-arg]
    """A number of threads, of the command line or of the environment; a message says which."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        if not isinstance(value, int):
            if not re.fullmatch(r"[+-]?[0-9]{1,9}", value.strip()):
                raise UsageError(f"{_given(param, ctx)} {value[:100]!r}: {THREADS_NEEDED}")
            value = int(value)
        if not 1 <= value <= MAX_THREADS:
            raise UsageError(f"{_given(param, ctx)} {value}: {THREADS_NEEDED}")
        return int(value)


def _given(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """What gave the value of an option: its name, or that of a variable of the environment."""
    if param is None or param.name is None:
        return "--threads"
    if ctx is not None and ctx.get_parameter_source(param.name) is click.core.ParameterSource.ENVIRONMENT:
        return str(param.envvar)
    return param.opts[0]


class Offered(click.ParamType):  # type: ignore[type-arg]
    """Some of the words that may be given, for shells to offer; who takes them knows what else there may be."""

    name = "word"

    def __init__(self, words: Iterable[str]) -> None:
        self.choices = tuple(words)


class Listed(click.ParamType):  # type: ignore[type-arg]
    """Some of a few names, with commas between them; who takes them checks them."""

    name = "names"

    def __init__(self, names: Iterable[str]) -> None:
        self.choices = tuple(names)


def choice(names: Iterable[str]) -> click.Choice[str]:
    """One of some names, in capital or small letters."""
    return click.Choice(list(names), case_sensitive=False)


class JsonOption(click.Option):
    """``--json``, with the name of a file or without: the next word is one if it looks so, what follows "=" always is.

    So an input may follow ``--json``.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.update(is_flag=False, flag_value="-", metavar="[FILE.json]")
        super().__init__(*arguments, **options)


_NAME_OF_REPORT = "--json=FILE takes any name, --json FILE one that ends in .json"
_REPORT = re.compile(r".*(?<!\.index)\.json", re.IGNORECASE | re.DOTALL)


def _with_value(args: Sequence[str], params: Iterable[click.Parameter]) -> list[str]:
    """Words of a command line, ``--json`` with its value in the same word: FILE, or "-" for standard output."""
    options = [param for param in params if isinstance(param, click.Option)]
    names = {name for option in options if isinstance(option, JsonOption) for name in option.opts}
    valued = {name for option in options if not (option.is_flag or option.count) for name in option.opts}
    long = {
        name[1:]: name for option in options for name in (*option.opts, *option.secondary_opts) if name[2:]
    }
    words, rest = [], list(args)
    while rest:
        word = rest.pop(0)
        if word in names:
            value = rest.pop(0) if rest and _REPORT.fullmatch(rest[0]) else "-"
            words.append(f"{word}={value}")
        else:
            if (
                name := word.partition("=")[0]
            ) in long:  # and no row of short ones: -force would write to rce
                raise click.UsageError(f"no such option {name!r}; did you mean {long[name]}?")
            words.append(word)
            if word == "--":
                return words + rest
            if word in valued and rest:
                words.append(rest.pop(0))
    return words


class Command(Documented):
    """A command that says how it is run on more files than it takes.

    Parameters
    ----------
    several : str
        What to do with more of them; ``{each}`` stands for a loop over them.
    """

    def __init__(self, *arguments: Any, several: str = "{each}", **options: Any) -> None:
        options["context_settings"] = {"allow_extra_args": True, **(options.get("context_settings") or {})}
        super().__init__(*arguments, **options)
        self._several = several

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click; extra arguments are refused here, and it is told what is the FILE of --json."""
        try:
            words = _with_value(args, self.params)
        except click.UsageError as error:
            error.ctx = ctx
            raise
        rest = super().parse_args(ctx, words)
        if rest:
            import shlex  # which costs every start a moment

            names = [param.name for param in self.params if isinstance(param, click.Argument)]
            given = [str(ctx.params[name]) for name in names if name is not None] + rest
            each = f'for f in {shlex.join(given[:3])}{" …" * (len(given) > 3)}; do {ctx.command_path} "$f" …; done'
            advice = self._several.format(each=each)
            if "--json" in args:
                takes = any(isinstance(param, JsonOption) for param in self.params)
                advice = (
                    _NAME_OF_REPORT if takes else "--json prints on standard output, as for: --json > FILE"
                )
            raise click.UsageError(
                f"takes {counted(len(names), 'file')}, and {len(given)} are given; {advice}", ctx
            )
        return rest
