"""``nqz report``."""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from typing import Any

import click

from nqz.cli.common import (
    Notices,
    common_options,
    default_output,
    kind_of,
    open_output,
    output_options,
    shown,
)
from nqz.cli.parameters import Command, choice
from nqz.cli.verify import max_error_option, raise_failures, verify_progress
from nqz.commands.opening import open_collection
from nqz.commands.pairs import Pair, pair_up
from nqz.commands.report import called, check_inputs, command_line, gather
from nqz.commands.verify import check_limit
from nqz.ground.errors import UsageError
from nqz.ground.sources import listed
from nqz.ground.threads import workers
from nqz.ground.urls import is_url, suffix
from nqz.models.collection import Collection
from nqz.pages.render import KINDS, render

_HELP = f"""Write a page about FILE, a container, a set or a model: what it takes, how far off it is, what stands out.

The page stands alone: it loads nothing, and is the same for the same input. With --against, what was measured against
the original is in it; the exit status is then that of nqz verify --against. With B, a second container or a
{listed()} file, it tells what to expect of the product AᵀB. --format md is a section for a model card.
"""
_SEVERAL = "a second one is the other side of a product; for several: {each}"
_DEFAULT = next(iter(KINDS))


@click.command("report", cls=Command, several=_SEVERAL, help=_HELP)
@click.argument("source", metavar="FILE")
@click.argument("other", metavar="[B]", required=False)
@click.option(
    "--against",
    metavar="ORIGINAL",
    help=f"Measure against what it was made from, a {listed()} file or a model.",
)
@max_error_option
@click.option(
    "--format", "form", type=choice(KINDS), help="Kind of page; by default what OUT is called, or html."
)
@output_options(
    f"Page to write, {listed(KINDS)}; by default FILE.html, or to standard output where FILE has no name."
)
@click.option("--tensor-a", metavar="NAME", help="Tensor of FILE to multiply, where it has several.")
@click.option("--tensor-b", metavar="NAME", help="Tensor of B to multiply, where it has several.")
@click.option(
    "--axis-a", type=choice("01"), help="Contracted axis of FILE where that is not compressed; 0 by default."
)
@click.option(
    "--axis-b", type=choice("01"), help="Contracted axis of B where that is not compressed; 0 by default."
)
@common_options
def command(
    source: str, other: str | None, against: str | None, max_error: float | None, form: str | None,
    output: str | None, force: bool,
    tensor_a: str | None, tensor_b: str | None, axis_a: str | None, axis_b: str | None,
    threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Run ``nqz report``."""
    axes = {
        "axis_a": None if axis_a is None else int(axis_a),
        "axis_b": None if axis_b is None else int(axis_b),
    }
    chosen: dict[str, Any] = {"tensor_a": tensor_a, "tensor_b": tensor_b, **axes}
    check_inputs(source, other, against, chosen)
    check_limit(max_error, against is not None)
    paths = [source] if other is None else [source, other]
    target, kind = _target(paths, form, output)
    notices = Notices(quiet, show_progress)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        alone = True if other is None else None
        opened = [stack.enter_context(open_collection(path, container=alone, sets=True)) for path in paths]
        original = None
        if against is not None:
            original = stack.enter_context(open_collection(against, container=False))
        read = [*opened, original] if original is not None else opened
        inputs = [part.opened for collection in read for part in collection.parts]
        out = stack.enter_context(open_output(target, force, inputs))
        pairs = pair_up(opened[0], opened[1], **chosen) if len(opened) == 2 else None
        with _progress(opened, original, pairs, notices) as progress:
            facts = gather(
                [(called(path), one) for path, one in zip(paths, opened, strict=True)],
                pool,
                original=None if original is None or against is None else (called(against), original),
                pairs=pairs,
                command=command_line(paths, against, None if kind == _DEFAULT else kind, chosen, max_error),
                progress=progress,
                limit=max_error,
            )
        data = render(facts, kind).encode()
        out.access.pwrite(data, 0)
        out.commit(len(data))
        given = " and ".join(shown(path, "<stdin>") for path in paths)
        notices.summary(f"{given} -> {shown(target, '<stdout>')}: {len(data)} bytes")
        if facts["compared"] is not None and against is not None:
            raise_failures(facts["compared"], opened[0].name, shown(against, "<stdin>"))


def _target(paths: list[str], form: str | None, output: str | None) -> tuple[str, str]:
    """Where the page goes, and its kind."""
    if output is None:
        kind = form or _DEFAULT
        target = _beside(paths[0], kind)
        if len(paths) > 1 and target != "-":
            second = os.path.splitext(called(paths[1]))[0]
            target = f"{target.removesuffix('.' + kind)}-{second}.{kind}"
        return target, kind
    if form is None:
        return output, kind_of(output, _DEFAULT, tuple(KINDS))
    if suffix(output) in KINDS and suffix(output) != form:
        raise UsageError(
            f"--format {form}: {output} is called .{suffix(output)}; name it .{form}, or leave --format out"
        )
    return output, form


def _beside(path: str, kind: str) -> str:
    """A page beside what it is of, which may be a folder; in the current one for what is on no disk here."""
    if is_url(path):
        return default_output(os.path.join(".", called(path)), ["nqz", "nqzset"], kind)
    if not os.path.isdir(path):
        return default_output(path, ["nqz", "nqzset"], kind)
    folder = os.path.normpath(path)
    if os.path.basename(folder) in ("", ".", ".."):
        folder = os.path.abspath(folder)
    return f"{folder}.{kind}"


def _progress(
    opened: list[Collection], original: Collection | None, pairs: list[Pair] | None, notices: Notices
) -> Any:
    if original is not None:
        return verify_progress("measuring", opened[0], True, notices)
    if pairs is None:
        return nullcontext()
    sizes = {pair.name: pair.a.nbytes + pair.b.nbytes for pair in pairs}
    return notices.progress("multiplying", sizes, files=" ".join(one.name for one in opened))
