"""``nqz diff``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from nqz.cli.common import PRODUCT, RECONSTRUCTION, RMS, Notices, common_options, rms_cell, shown
from nqz.cli.parameters import Command
from nqz.cli.text import Row, escape, payload, table
from nqz.cli.verify import max_error_option, raise_worst
from nqz.commands.diff import SETTINGS, diff
from nqz.commands.opening import open_collection
from nqz.commands.verify import check_limit, failures
from nqz.ground.errors import NqzError, UsageError, VerifyError
from nqz.ground.sources import listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted

_HELP = f"""Show what differs between A and B, containers, part sets or models of them.

Tensors that only one has, and of those in both sizes, rates, predicted errors, settings, and whether the data that was
encoded is the same. With --against, the errors of both measured against what they were made from, {listed()} files or
a model. The exit status is 0 if nothing differs, and 1 if something does; 8 if what was measured of either is further
off than verify allows.
"""
_NAMED = 20
"""Tensors of one side that are listed."""


@click.command("diff", cls=Command, several="two at a time", help=_HELP)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--against", metavar="ORIGINAL", help="Measure the errors of both against what they were made from."
)
@max_error_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
@click.pass_context
def command(
    context: click.Context, a: str, b: str, against: str | None, max_error: float | None, as_json: bool,
    threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Run ``nqz diff``."""
    if [a, b, against].count("-") > 1:
        raise UsageError("standard input can be one of the inputs, not two of them")
    check_limit(max_error, against is not None)
    notices = Notices(quiet, show_progress)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        left, right = (
            stack.enter_context(open_collection(path, container=True, sets=True)) for path in (a, b)
        )
        original = None if against is None else stack.enter_context(open_collection(against, container=False))
        sizes: dict[str | None, float] = {}
        if original is not None:
            for one in (left, right):
                for part in one.parts:
                    for tensor in part.tensors:
                        name = tensor.name if one.grid is None else part.name
                        sizes[name] = sizes.get(name, 0.0) + tensor.nbytes
                sizes[None] = sizes.get(None, 0.0) + sum(reader.size for reader in one.contents)
        with notices.progress("measuring", sizes, files=f"{left.name} {right.name}") as progress:
            found = diff(left, right, pool, original, progress, max_error)
        for one in (left, right):
            one.check()
    compared = found.pop("compared")
    given = {"a": a, "b": b, "against": against}
    if as_json:
        payload(
            json.dumps(
                {**{key: path and shown(path, "-") for key, path in given.items()}, **found},
                indent=2,
                allow_nan=False,
            )
            + "\n"
        )
    else:
        names = [shown(path, "<stdin>") for path in (a, b)]
        payload("".join(f"{line}\n" for line in _lines(found, names)))
        _show(found)
    errors: list[NqzError] = []
    for one, result in zip((left, right), compared or (), strict=False):
        errors += failures(result, one.name, shown(str(against), "<stdin>"))
    raise_worst(sorted(errors, key=lambda error: not isinstance(error, VerifyError)))
    if not found["same"]:
        context.exit(1)


def _lines(found: dict[str, Any], names: list[str]) -> list[str]:
    """What differs of the files as a whole."""
    if found["same"]:
        return [
            f"{escape(names[0])} and {escape(names[1])}: {counted(found['unchanged'], 'tensor')}, all the same"
        ]
    lines = []
    for name, totals in zip(names, found["totals"], strict=True):
        rate = "" if totals["rate"] is None else f", {totals['rate']:.4g} bits per entry"
        lines.append(
            f"{escape(name)}: {counted(totals['tensors'], 'tensor')}, {counted(totals['bytes'], 'byte')}{rate}"
        )
    for key, (first, second) in found["files"].items():
        if key not in ("file_bytes", "parts"):
            lines.append(f"{key}: {_value(first)} -> {_value(second)}")
    if "parts" in found["files"]:
        lines.append("the files that they consist of differ")
    for name, only in zip(names, (found["removed"], found["added"]), strict=True):
        if only:
            more = "" if len(only) <= _NAMED else f" and {len(only) - _NAMED} more"
            listed_ = ", ".join(escape(one or "array") for one in only[:_NAMED])
            lines.append(f"only in {escape(name)}: {listed_}{more}")
    if found["reordered"]:
        lines.append("the tensors of both are in another order")
    if found["changed"]:
        verb = "differs" if len(found["changed"]) == 1 else "differ"
        lines.append(f"{counted(len(found['changed']), 'tensor')} {verb}, {found['unchanged']} do not")
    return lines


def _show(found: dict[str, Any]) -> None:
    """The table of the tensors that differ."""
    if not found["changed"]:
        return
    measured = any(value is not None for one in found["changed"] for value in one["measured"])
    headings = [
        "tensor",
        "bytes",
        "bits",
        "‖A−Â‖² rms",
        "‖AᵀB−Ĉ‖² rms",
        *["measured rms"] * measured,
        "what differs",
    ]
    payload("\n")
    for lines in table(headings, lambda: (_row(one, measured) for one in found["changed"])):
        payload(lines)
    payload(f"\npredicted errors relative to {RECONSTRUCTION} and {PRODUCT}, B unrelated; {RMS}\n")


def _row(one: dict[str, Any], measured: bool) -> Row:
    rates = [None if rate is None else f"{rate:.3f}" for rate in one["rates"]]
    cells = [
        _pair([str(size) for size in one["bytes"]]),
        _pair(rates),
        *(_pair([rms_cell(value) for value in one[key]]) for key in ("reconstruction", "product")),
    ]
    if measured:
        cells.append(_pair([rms_cell(value) for value in one["measured"]]))
    return (one["name"] or "array", *cells, _what(one))


def _pair(values: list[str | None] | list[str]) -> str:
    """Two values of one thing, once if they are the same."""
    first, second = (value or "none" for value in values)
    if first == second:
        return "" if first == "none" else first
    return f"{first} -> {second}"


def _what(one: dict[str, Any]) -> str:
    changes = one["changes"]
    found = [
        f"{key} {_value(first)} -> {_value(second)}"
        for key, (first, second) in changes.items()
        if key.partition(".")[0] in SETTINGS
    ]
    if one["original"]:
        found.insert(0, "other data")
    if not found:
        found.append("how it is coded" if one["coded"] else ", ".join(changes))
    return "; ".join(found)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "x".join(map(str, value)) or "()"
    return escape(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
