"""``nqz sweep``."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import Any

import click

from nqz.cli.common import (
    PRODUCT,
    RECONSTRUCTION,
    RMS,
    Notices,
    common_options,
    kind_of,
    open_output,
    output_options,
    rms_cell,
    shape_text,
    shown,
    span,
)
from nqz.cli.parameters import Command, Listed, choice
from nqz.cli.text import Row, escape, payload, table
from nqz.commands.opening import is_model, open_file
from nqz.curve import plot
from nqz.curve.matrix import check_lengths, choose
from nqz.curve.sweep import PRODUCT as EXACT
from nqz.curve.sweep import RATES, SweepOptions, point_name, sweep
from nqz.ground.errors import InputError, UsageError
from nqz.ground.sources import SEVERAL_READ, listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.stages.codings import CODINGS, label
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import FAMILIES

_KINDS = ("json", "csv", "png", "svg")
_AXIS = choice("01")
_SEVERAL = "a matrix to multiply with follows --against; for several: {each}"
_HELP = f"""Show the rate-distortion curve of IN, a {listed()} file ("-" for standard input).

Every lattice and rate is really encoded, into a temporary file. Reported are its rate, its predicted and
measured errors, the limit Γ(rate) that nothing can beat on Gaussian matrices, and the excess: the bits
per entry beyond those with which Γ reaches the same error.
"""


@click.command(
    "sweep",
    cls=Command,
    several=_SEVERAL,
    help=_HELP,
)
@click.argument("source", metavar="IN")
@click.option(
    "--against", metavar="OTHER", help="Encode this file too, and measure the error of the product."
)
@output_options(
    "File to write instead of a table: .json, .csv, .png or .svg; JSON for - (standard output) and for devices."
)
@click.option(
    "-r", "--rate", "rates", multiple=True, metavar="R,…",
    help=f"Bits per entry, repeatable; {','.join(f'{rate:g}' for rate in RATES)} by default.",
)  # fmt: skip
@click.option(
    "--lattice", "lattices", multiple=True, metavar="NAME,…", type=Listed(FAMILIES),
    help=f"Lattices of {', '.join(FAMILIES)}, repeatable; by default that of encode, and z and e8 to compare with.",
)  # fmt: skip
@click.option(
    "--states",
    multiple=True,
    metavar="S,…",
    help="States of the lattice conv, powers of two from 4 to 4096, repeatable.",
)
@click.option(
    "--coding", "codings", multiple=True, metavar="NAME,…", type=Listed(CODINGS),
    default=[CODING.name], show_default=True,
    help=f"Codings of {', '.join(CODINGS)}; a lattice is used with those that it has.",
)  # fmt: skip
@click.option(
    "--axis", type=_AXIS, default="0", show_default=True,
    help="Contracted axis: 0 for columns as vectors, 1 for rows (weights stored [out, in]).",
)  # fmt: skip
@click.option("--axis-against", type=_AXIS, help="Contracted axis of OTHER; that of IN by default.")
@click.option("--tensor", metavar="NAME", help=f"Matrix of a {listed(SEVERAL_READ)} file that holds several.")
@click.option("--tensor-against", metavar="NAME", help="Matrix of OTHER; the name of --tensor by default.")
@click.option(
    "--seed", type=int, default=0, metavar="N", show_default=True, help="Seed of rotation and dither."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def command(
    source: str, against: str | None, output: str | None, force: bool, rates: tuple[str, ...],
    lattices: tuple[str, ...], states: tuple[str, ...], codings: tuple[str, ...], axis: str,
    axis_against: str | None, tensor: str | None, tensor_against: str | None, seed: int, as_json: bool,
    threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Run ``nqz sweep``."""
    options = SweepOptions(
        rates=tuple(_number(item, "--rate", float) for item in _items(rates, "--rate")) or RATES,
        lattices=tuple(item.lower() for item in _items(lattices, "--lattice")),
        states=tuple(_number(item, "--states", int) for item in _items(states, "--states")),
        codings=tuple(item.lower() for item in _items(codings, "--coding")),
        seed=seed,
    )
    points = [point_name(encoding) for encoding in options.encodings()]
    if against is not None:
        points.insert(0, EXACT)
    kind = None if output is None else kind_of(output, "json", _KINDS)
    if kind in ("png", "svg"):
        plot.require()
    if source == "-" and against == "-":
        raise UsageError("standard input can be one of the two inputs, not both")
    if against is None and (axis_against is not None or tensor_against is not None):
        raise UsageError(f"{'--axis-against' if axis_against else '--tensor-against'}: needs --against")
    for given in (source, against):
        if given is not None and is_model(given):
            raise InputError(
                f"{given}: is a model, and sweep takes one file: give one of its .safetensors files"
            )
    notices = Notices(quiet, show_progress)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        opened = [stack.enter_context(open_file(source, container=False))]
        if against is not None:
            opened.append(stack.enter_context(open_file(against, container=False)))
        if tensor is not None and all(one.content.kind.alone for one in opened):
            raise UsageError(f"--tensor: {opened[0].content.name} holds one array, without a name")
        matrix, other = choose(opened[0].content, tensor, int(axis)), None
        if against is not None:
            name = tensor if tensor_against is None else tensor_against
            other = choose(opened[1].content, name, int(axis_against or axis), "--tensor-against")
            check_lengths(matrix, other)
        out = None if output is None else stack.enter_context(open_output(output, force, opened))
        nbytes = sum(side.tensor.nbytes for side in (matrix, other) if side is not None)
        with notices.progress(
            "sweeping", dict.fromkeys(points, nbytes), files=opened[0].content.name
        ) as progress:
            shares = progress and (lambda name, share: progress(name, share * nbytes))
            report = sweep(matrix, other, options, pool, shares)
        for one in opened:
            one.check()
        if out is not None:
            data = _rendered(report, str(kind))
            out.access.pwrite(data, 0)
            out.commit(len(data))
    if as_json and output != "-":
        payload(json.dumps(report, indent=2, allow_nan=False) + "\n")
    elif output is None:
        payload(escape(_title(report)) + "\n\n" + _table(report))
    _tell(notices, report)
    if output is not None:
        found = [point["excess"] for point in report["points"] if point["excess"] is not None]
        excess = f", excess {span(found)} bits per entry" if found else ""
        count = counted(len(report["points"]), "encoding")
        notices.summary(f"{shown(source, '<stdin>')} -> {shown(output, '<stdout>')}: {count}{excess}")


def _items(values: tuple[str, ...], option: str) -> list[str]:
    """What a repeatable option lists, separated by commas."""
    items = [item.strip() for value in values for item in value.split(",")]
    if "" in items:
        raise UsageError(f"{option} {','.join(values)!r}: an item of the list is empty")
    return items


def _number(text: str, option: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "an integer" if kind is int else "a number"
        raise UsageError(f"{option} {text!r}: {what} is needed") from None


def _rendered(report: dict[str, Any], kind: str) -> bytes:
    if kind == "json":
        return (json.dumps(report, indent=2, allow_nan=False) + "\n").encode()
    if kind == "csv":
        return _csv(report["points"]).encode()
    sides = [report["matrix"]] if report["against"] is None else [report["matrix"], report["against"]]
    return plot.render(report, kind, [escape(_name(side)) for side in sides])


def _csv(points: list[dict[str, Any]]) -> str:
    import csv
    from io import StringIO

    rows = [_flat(point) for point in points]
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(point: dict[str, Any]) -> dict[str, Any]:
    """A point without nesting: predicted_product for predicted: {product}."""
    flat: dict[str, Any] = {}
    for key, value in point.items():
        flat.update(
            {f"{key}_{part}": x for part, x in value.items()} if isinstance(value, dict) else {key: value}
        )
    return flat


def _title(report: dict[str, Any]) -> str:
    title = _name(report["matrix"])
    if report["against"] is not None:
        title += f", against {_name(report['against'])}"
    if report["signal"] is not None:
        title += f", S = {report['signal']:.3g}"
    return title


def _name(matrix: dict[str, Any]) -> str:
    name = os.path.basename(matrix["file"]) + (f", {matrix['tensor']}" if matrix["tensor"] else "")
    rows = ", vectors along axis 1" if matrix["axis"] else ""
    return f"{name}: {shape_text(matrix['shape'])} {matrix['dtype']}{rows}"


_ALONE = ["code", "asked", "rate", "‖A−Â‖²", "measured", "‖AᵀB−Ĉ‖²", "rms", "Γ", "ratio", "excess"]
_AGAINST = [
    "code",
    "asked",
    "rate",
    "‖A−Â‖²",
    "measured",
    "‖AᵀB−Ĉ‖²",
    "measured",
    "rms",
    "Γ",
    "ratio",
    "excess",
]


def _table(report: dict[str, Any]) -> str:
    alone = report["against"] is None
    alike = ", B unrelated and coded alike" if alone else ""
    units = f"errors relative to {RECONSTRUCTION} and {PRODUCT}{alike};\n{RMS}"
    lines = table(_ALONE if alone else _AGAINST, lambda: map(_row, report["points"]))
    return "".join(lines) + f"\n{units}; excess in bits per entry\n"


def _row(point: dict[str, Any]) -> Row:
    predicted, measured = point["predicted"], point["measured"]
    alone = point["bytes"]["against"] is None
    product = [predicted["product"]] if alone else [predicted["against"], measured["against"]]
    return (
        label(point["lattice"], point["coding"]),
        f"{point['rate_asked']:g}",
        f"{point['rate']:.3f}",
        *(_text(x) for x in (predicted["reconstruction"], measured["reconstruction"], *product)),
        rms_cell(point["error"]),
        f"{point['gamma']:.3g}",
        "" if point["ratio"] is None else f"{point['ratio']:.3f}",
        "" if point["excess"] is None else f"{point['excess']:.3f}",
    )


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _tell(notices: Notices, report: dict[str, Any]) -> None:
    if report["warnings"]:
        more = len(report["warnings"]) - 1
        notices.warn(
            report["warnings"][0] + (f" (and {counted(more, 'more warning')}, see --json)" if more else "")
        )
