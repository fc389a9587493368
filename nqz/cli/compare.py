"""``nqz compare``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from nqz.cli.common import RECONSTRUCTION, RMS, Notices, common_options, rms, rms_cell, shape_text, shown
from nqz.cli.parameters import Command, choice
from nqz.cli.text import Row, payload, table
from nqz.cli.verify import max_error_option, raise_failures, verify_progress
from nqz.commands.compare import SORTS, compare
from nqz.commands.opening import open_collection
from nqz.commands.sensitivities import read_sensitivities
from nqz.commands.verify import check_limit, limit_errors
from nqz.ground.errors import NqzError, UsageError
from nqz.ground.sources import listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted

_HELP = f"""Compare COMPRESSED, a container or a part set, with ORIGINAL, a {listed()} file, or a model with a model.

For every matrix: its rate, its error measured and predicted, its share of the sum of the relative errors (every product
counting alike) and of the energy of all errors, and what one bit more or less for each of its entries would do to
that sum, in all and for each megabyte. The first rows are where bits gain most: give these a higher rate with
encode --rule, and those that lose little a lower one; or write what the products of each are worth to you to
FILE.json, as {{"name": 2.5}}, for encode --across.

The exit status is that of nqz verify --against.
"""
_SEVERAL = "the original comes first, then what was made from it; for several: {each}"


@click.command(
    "compare",
    cls=Command,
    several=_SEVERAL,
    help=_HELP,
)
@click.argument("original", metavar="ORIGINAL")
@click.argument("compressed", metavar="COMPRESSED")
@click.option(
    "--sort", type=choice(SORTS), default="gain", show_default=True,
    help="Where a megabyte more gains most, or one less costs least; by name; else the largest first.",
)  # fmt: skip
@click.option(
    "--across", metavar="FILE.json",
    help="Count the error of each by its sensitivity, for each name or shell pattern, as encode --across does.",
)  # fmt: skip
@max_error_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def command(
    original: str, compressed: str, across: str | None, sort: str, max_error: float | None, as_json: bool,
    threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Run ``nqz compare``."""
    notices = Notices(quiet, show_progress)
    check_limit(max_error, True)
    sensitivities = None if across is None else read_sensitivities(across)
    if original == compressed == "-":
        raise UsageError("standard input can be one of the two inputs, not both")
    try:
        with ExitStack() as stack:
            pool = stack.enter_context(workers(threads))
            source = stack.enter_context(open_collection(original, container=False))
            result = stack.enter_context(open_collection(compressed, container=True, sets=True))
            with verify_progress("comparing", result, True, notices) as progress:
                found = compare(result, source, pool, progress, sensitivities)
    except NqzError as error:
        if as_json and not isinstance(error, UsageError):
            payload(_json({"file_bytes": None, "ok": False, "problem": str(error), "tensors": []}, original))
        raise
    limit_errors(found, max_error)
    found["tensors"].sort(key=SORTS[sort])
    if as_json:
        payload(_json(found, original))
    else:
        _show(found, across)
    if found["left_out"]:
        notices.note(
            f"{counted(len(found['left_out']), 'tensor', 'are')} in {shown(original, '<stdin>')} only, "
            f"such as {found['left_out'][0]!r}"
        )
    raise_failures(found, result.name, shown(original, "<stdin>"))


def _json(found: dict[str, Any], original: str) -> str:
    return json.dumps({"original": shown(original, "-"), **found}, indent=2, allow_nan=False) + "\n"


def _show(found: dict[str, Any], across: str | None) -> None:
    """The table of the matrices and of what is not as it should be, and what all of it comes to."""
    rows = [_row(tensor) for tensor in found["tensors"] if tensor["kind"] != "exact" or not tensor["ok"]]
    if rows:
        for lines in table(_HEADINGS, lambda: rows):
            payload(lines)
        payload("\n")
    payload(_totals(found["totals"], across))
    if found["totals"]["matrices"]:
        payload(f"\n{_units(across)}\n")


_HEADINGS = [
    "tensor", "shape", "bits", "bytes", "measured", "rms", "predicted", "‖AᵀB−Ĉ‖²", "share", "energy", "+1 bit",
    "% a MB", "−1 bit", "% a MB", "result",
]  # fmt: skip


def _units(across: str | None) -> str:
    each = "" if across is None else f", each times its sensitivity of {across}"
    return (
        f"errors relative to {RECONSTRUCTION}; {RMS}\n"
        f"share: of the sum of the relative errors{each}, in per cent; energy: of the energy of all errors;\n"
        "+1 bit, −1 bit: what a bit an entry changes that sum by, in per cent of it, and for each megabyte that it "
        "takes"
    )


def _row(tensor: dict[str, Any]) -> Row:
    start = [tensor["name"] or "array", shape_text(tensor["shape"])]
    result = (
        "ok" if tensor["ok"] else "damaged" if tensor["damaged"] else "newer" if tensor["newer"] else "OFF"
    )
    if tensor["rate"] is None:
        return (*start, tensor["kind"] if tensor["kind"] == "exact" else "", *[""] * 11, result)
    steps = [
        cell
        for step in (tensor["more"], tensor["less"])
        for cell in (("", "") if step is None else (_percent(step["change"]), _percent(step["per_megabyte"])))
    ]
    return (
        *start, f"{tensor['rate']:.3f}", str(tensor["bytes"]), f"{tensor['measured']:.4g}",
        rms_cell(tensor["measured"]), f"{tensor['predicted']:.4g}", f"{tensor['product']:.4g}",
        f"{100 * tensor['share']:.3g}", f"{100 * tensor['energy_share']:.3g}", *steps, result,
    )  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:+.3g}".replace("-", "−")


def _totals(totals: dict[str, Any], across: str | None) -> str:
    exact = f"{counted(totals['exact'], 'tensor')} carried exactly" if totals["exact"] else ""
    if not totals["matrices"]:
        return f"{exact or 'no tensors'}\n"
    error, energy = totals["error"], totals["energy_error"]
    weighted = "" if across is None else ", weighted by sensitivity"
    matrices, entries, size = (
        counted(totals[key], what)
        for key, what in (("matrices", "matrix"), ("entries", "entry"), ("bytes", "byte"))
    )
    return (
        f"{matrices} of {entries} at {totals['rate']:.4g} bits per entry, {size}{', ' + exact if exact else ''}\n"
        f"mean error {error:.4g} ({rms(error):.3g} % rms){weighted}, "
        f"of all energy {energy:.4g} ({rms(energy):.3g} % rms)\n"
    )
