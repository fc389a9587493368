"""``nqz sweep``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from nqz.cli.common import (
    Notices,
    common_options,
    kind_of,
    open_output,
    output_options,
    shown,
    span,
)
from nqz.cli.parameters import Command, Listed, choice
from nqz.cli.partner import PartnerOf
from nqz.cli.sweep_table import curve_table, side_name, title
from nqz.cli.text import escape, payload
from nqz.commands.opening import is_model, open_file
from nqz.commands.options import AUTO
from nqz.curve import plot
from nqz.curve.matrix import check_lengths, choose
from nqz.curve.options import RATES, SweepOptions, point_name
from nqz.curve.sweep import COMPARED, sweep
from nqz.curve.sweep import PRODUCT as EXACT
from nqz.ground.errors import InputError, UsageError
from nqz.ground.sources import SEVERAL_READ, listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.stages.codings import CODINGS
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.codings.trellis import WINDOWS
from nqz.stages.lattices import FAMILIES
from nqz.stages.partner import EQUAL, Partner, in_words

_KINDS = ("json", "csv", "png", "svg")
_AXIS = choice("01")
_SEVERAL = "a matrix to multiply with follows --against; for several: {each}"
_HELP = f"""Show the rate-distortion curve of IN, a {listed()} file ("-" for standard input).

Every lattice and rate is really encoded, into a temporary file. Reported are its size, its predicted and
measured errors, and the limits that nothing can beat on Gaussian matrices: Γ(rate), where all vectors have
the same norm, and that for vectors with the norms of these; and what rounding to int4, int8 and bfloat16 does.
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
    "--window", type=choice((AUTO, *map(str, WINDOWS))), default=AUTO, show_default=True,
    help="Bits that an entry of the trellis coding depends on.",
)  # fmt: skip
@click.option(
    "--axis", type=_AXIS, default="0", show_default=True,
    help="Contracted axis: 0 for columns as vectors, 1 for rows (weights stored [out, in]).",
)  # fmt: skip
@click.option("--axis-against", type=_AXIS, help="Contracted axis of OTHER; that of IN by default.")
@click.option("--tensor", metavar="NAME", help=f"Matrix of a {listed(SEVERAL_READ)} file that holds several.")
@click.option("--tensor-against", metavar="NAME", help="Matrix of OTHER; the name of --tensor by default.")
@click.option(
    "--partner", type=PartnerOf(), default=EQUAL, show_default=True, metavar="P",
    help="The other factor of the products: equal, coded alike; exact, not compressed; or its bits per entry.",
)  # fmt: skip
@click.option("--mark", metavar="R", help="Choose this rate: it is measured, named, and marked in a plot.")
@click.option(
    "--error", metavar="E",
    help="Choose the least rate with a predicted product error of at most E: every lattice is encoded for it too.",
)  # fmt: skip
@click.option("--theme", type=choice(plot.THEMES), help=f"Colors of a plot; {plot.THEMES[0]} by default.")
@click.option("--width", type=int, metavar="N", help=f"Width of a plot in pixels; {plot.WIDTH} by default.")
@click.option(
    "--seed", type=int, default=0, metavar="N", show_default=True, help="Seed of rotation and dither."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def command(
    source: str, against: str | None, output: str | None, force: bool, rates: tuple[str, ...],
    lattices: tuple[str, ...], states: tuple[str, ...], codings: tuple[str, ...], window: str, axis: str,
    axis_against: str | None, tensor: str | None, tensor_against: str | None, partner: Partner,
    mark: str | None, error: str | None, theme: str | None, width: int | None, seed: int, as_json: bool,
    threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Run ``nqz sweep``."""
    options = SweepOptions(
        rates=tuple(_number(item, "--rate", float) for item in _items(rates, "--rate")) or RATES,
        lattices=tuple(item.lower() for item in _items(lattices, "--lattice")),
        states=tuple(_number(item, "--states", int) for item in _items(states, "--states")),
        codings=tuple(item.lower() for item in _items(codings, "--coding")),
        window=None if window == AUTO else int(window),
        seed=seed,
        partner=partner,
        mark=None if mark is None else _number(mark, "--mark", float),
        error=None if error is None else _number(error, "--error", float),
    )
    points = [point_name(encoding) for encoding in options.encodings()]
    if against is not None:
        points.insert(0, EXACT)
    points.append(COMPARED)
    kind = None if output is None else kind_of(output, "json", _KINDS)
    if kind in ("png", "svg"):
        plot.require()
    elif theme is not None or width is not None:
        raise UsageError(
            f"{'--width' if theme is None else '--theme'}: is for plots; give -o FILE.png or FILE.svg"
        )
    if width is not None and not plot.WIDTHS[0] <= width <= plot.WIDTHS[1]:
        raise UsageError(
            f"--width {width}: a number of pixels from {plot.WIDTHS[0]} to {plot.WIDTHS[1]} is needed"
        )
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
            data = _rendered(report, str(kind), theme or plot.THEMES[0], width or plot.WIDTH)
            out.access.pwrite(data, 0)
            out.commit(len(data))
    if as_json and output != "-":
        payload(json.dumps(report, indent=2, allow_nan=False) + "\n")
    elif output is None:
        payload(escape(title(report)) + "\n\n" + curve_table(report))
    _tell(notices, report)
    if output is not None:
        found = [point["over_limit"] for point in report["points"] if point["over_limit"] is not None]
        excess = f", {span(found)} bits per entry over the limit" if found else ""
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


def _rendered(report: dict[str, Any], kind: str, theme: str, width: int) -> bytes:
    if kind == "json":
        return (json.dumps(report, indent=2, allow_nan=False) + "\n").encode()
    if kind == "csv":
        return _csv(report["points"]).encode()
    sides = [report["matrix"]] if report["against"] is None else [report["matrix"], report["against"]]
    names = [escape(side_name(side)) for side in sides]
    if report["partner"] != EQUAL:
        names = [*names[:1], f"{''.join(names[1:]) or 'an unrelated matrix'}, {in_words(report['partner'])}"]
    return plot.render(report, kind, names, theme, width)


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


def _tell(notices: Notices, report: dict[str, Any]) -> None:
    if report["warnings"]:
        more = len(report["warnings"]) - 1
        notices.warn(
            report["warnings"][0] + (f" (and {counted(more, 'more warning')}, see --json)" if more else "")
        )
