"""The same command on each of several inputs by itself, for ``--out-dir``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from nqz.cli.common import Notices
from nqz.cli.reports import open_report
from nqz.cli.text import escape, report
from nqz.ground.errors import NqzError, OutputError, OutputExistsError, UsageError
from nqz.ground.sources import READ
from nqz.ground.urls import absolute, is_url, joined, shown
from nqz.ground.wording import counted

OUT_DIR_HELP = "Write each input by itself into the folder D, which is made if there is none."


def expanded(sources: Sequence[str]) -> tuple[str, ...]:
    """Inputs, in place of an address that is a pattern those that it takes: no shell knows them."""
    found: list[str] = []
    for source in sources:
        if is_url(source) and "*" in shown(source):
            from nqz.files.remote.folders import matching

            found += matching(source)
        else:
            found.append(source)
    return tuple(found)


def check_words(sources: Sequence[str], out_dir: str | None, json_to: str | None) -> None:
    """Raise UsageError for a word after --json that is no input, but seems to be the name of a report."""
    if json_to != "-" or out_dir is not None or len(sources) < 2:
        return
    for word in sources:
        if not word.lower().endswith((*READ, "nqz")) and not (is_url(word) or os.path.lexists(word)):
            raise UsageError(f"{word}: is no file; for a report in it, give --json={word}")


def one_or_each(sources: Sequence[str], output: str | None, out_dir: str | None) -> None:
    """Raise UsageError for inputs and outputs that do not go together."""
    if out_dir is not None:
        if output is not None:
            raise UsageError("give either -o, for one output, or --out-dir, for one output for each input")
        if "-" in sources:
            raise UsageError("--out-dir: standard input has no name; give -o OUT")
        if not out_dir:
            raise UsageError("--out-dir '': the name of the folder is empty")
    elif len(sources) > 1 and output is None:
        raise UsageError(
            f"{counted(len(sources), 'input')} are given: if they are the parts of one model, give a folder for it, "
            "with -o OUT; if each is by itself, give a folder for all outputs, with --out-dir D"
        )


def run_each(
    sources: Sequence[str],
    out_dir: str,
    name_of: Callable[[str], str],
    run: Callable[[str, str], Any],
    json_to: str | None,
    force: bool,
    notices: Notices,
) -> None:
    """Run a command on each input; all are tried, every failure is reported, and the first decides the exit status.

    Parameters
    ----------
    sources : sequence of str
    out_dir : str
    name_of : callable
        The name of the output for an input; may raise the error that the input has.
    run : callable
        Called as run(input, output); gives what is to be told of it.
    json_to, force
        Where the report of all goes, as of `open_report`.
    notices : Notices

    Raises
    ------
    UsageError, OutputExistsError
        Two outputs have one name, or an output is an input: before anything is done.
    """
    targets: list[str | NqzError] = []
    for source in sources:
        try:
            targets.append(joined(out_dir, name_of(source)))
        except NqzError as error:
            targets.append(error)
    _check(sources, targets)
    failed: list[NqzError] = []
    reports: list[Any] = []
    with open_report(json_to, [], force, []) as told:
        try:
            if not is_url(out_dir):
                os.makedirs(out_dir, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{out_dir}: cannot make the folder: {str(error.strerror).lower()}") from error
        for source, target in zip(sources, targets, strict=True):
            try:
                if isinstance(target, NqzError):
                    raise target
                reports.append(run(source, target))
            except NqzError as error:
                report(f"nqz: error: {escape(str(error))}")
                failed.append(error)
                reports.append(
                    {"inputs": [shown(source)], "error": str(error), "exit_status": error.exit_code}
                )
        told(lambda: {"reports": reports})
    if failed:
        notices.summary(f"{len(failed)} of {counted(len(sources), 'input')} failed")
        raise click.exceptions.Exit(failed[0].exit_code)


def _check(sources: Sequence[str], targets: Sequence[str | NqzError]) -> None:
    """Refuse outputs that are in each other's way, or in that of an input."""
    inputs = {absolute(source): source for source in sources}
    seen: dict[str, str] = {}
    for source, target in zip(sources, targets, strict=True):
        if isinstance(target, NqzError):
            continue
        if target in seen:
            raise UsageError(
                f"{seen[target]} and {source} would both be written to {target}; rename one, or run one by one"
            )
        if absolute(target) in inputs:
            raise OutputExistsError(f"{target}: is an input; write to another folder")
        seen[target] = source
