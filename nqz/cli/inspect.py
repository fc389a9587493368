"""``nqz inspect``."""

from __future__ import annotations

import json
from typing import Any

import click

from nqz.cli.common import (
    PRODUCT,
    RECONSTRUCTION,
    RMS,
    Notices,
    common_options,
    rms_cell,
    shape_text,
)
from nqz.cli.parameters import Command
from nqz.cli.text import escape, payload, properties, table
from nqz.commands.inspect import inspect
from nqz.commands.opening import open_file
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.stages.codings import label


@click.command("inspect", cls=Command, short_help="Show what a container holds.")
@click.argument("source", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@common_options
def command(source: str, as_json: bool, threads: int | None, quiet: bool, show_progress: bool | None) -> None:
    """Show what the container FILE ("-" for standard input) holds: parameters, sizes, predicted errors."""
    Notices(quiet, show_progress)  # warns of slow kernels
    with workers(threads), open_file(source, container=True) as opened:
        reader = opened.content
        infos = reader.manifest.tensors
        found = inspect(reader, brief=len(infos) != 1 and not as_json)
        opened.check()
        if as_json:
            payload(json.dumps(found, indent=2, allow_nan=False) + "\n")
            return
        tensors = found["tensors"]
        title = (
            f"{escape(reader.name)}: format {found['format']}, {found['file_bytes']} bytes, "
            f"{counted(len(tensors), 'tensor')}, from .{reader.manifest.source}\n\n"
        )
        if [tensor["kind"] for tensor in tensors] == ["matrix"]:
            payload(title + properties(_properties(tensors[0])))
        else:
            units = f"\n{_UNITS}" if any(tensor["kind"] == "matrix" for tensor in tensors) else ""
            payload(title + table(_HEADINGS, map(_row, tensors)) + units)


_HEADINGS = [
    "tensor", "shape", "dtype", "code", "axis", "bits", "κ", "‖A−Â‖²", "rms", "‖AᵀB−Ĉ‖²", "rms", "bytes",
]  # fmt: skip
_UNITS = (
    f"predicted errors, relative to {RECONSTRUCTION} and {PRODUCT}, B unrelated and coded alike;\n{RMS}\n"
)


def _row(tensor: dict[str, Any]) -> list[str]:
    start = [tensor["name"] or "array", shape_text(tensor["shape"]), tensor["dtype"]]
    size = str(tensor["bytes"]["total"])
    if tensor["kind"] != "matrix":
        return [*start, tensor["kind"], *[""] * 7, size]
    predicted = tensor["predicted"]
    return [
        *start,
        label(tensor["lattice"], tensor["coding"]),
        str(tensor["axis"]),
        f"{tensor['rate']:.3f}",
        f"{tensor['kappa']:.3g}",
        *(
            cell
            for x in (predicted["reconstruction"], predicted["product"])
            for cell in ("beyond float64" if x is None else f"{x:.4g}", rms_cell(x))
        ),
        size,
    ]


def _properties(tensor: dict[str, Any]) -> list[tuple[str, str]]:
    sizes, predicted = tensor["bytes"], tensor["predicted"]
    rows = [
        ("shape", f"{shape_text(tensor['shape'])} {tensor['dtype']}, vectors along axis {tensor['axis']}"),
        ("code", f"{tensor['lattice']}, {tensor['coding']}"),
        ("rate", f"{tensor['rate']:.4f} bits per entry ({tensor['rate_asked']:g} asked for)"),
        ("κ", f"{tensor['kappa']:.6g}"),
        ("α", f"{_text(tensor['alpha'])} (mmse, one side)"),
        ("Δ", _text(tensor["delta"])),
        ("rotation seed", str(tensor["rotation_seed"])),
        ("dither key", tensor["dither_key"]),
        ("norms", _summary(tensor["norms"])),
        ("means", "not centered" if tensor["means"] is None else _summary(tensor["means"])),
        ("chunks", str(tensor["chunks"])),
        ("bytes", ", ".join(f"{key} {value}" for key, value in sizes.items())),
        ("reconstruction error", _error(predicted["reconstruction"], RECONSTRUCTION)),
        ("product error", f"{_error(predicted['product'], PRODUCT)}, for an unrelated B of the same rate"),
    ]
    if tensor["name"]:
        rows.insert(0, ("tensor", tensor["name"]))
    return rows


def _summary(values: dict[str, float | None]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in values.items())


def _error(value: float | None, unit: str) -> str:
    share = "" if value is None else f" ({rms_cell(value)} % rms)"
    return f"{_text(value)} of {unit}{share}"


def _text(value: float | None) -> str:
    return "beyond float64" if value is None else f"{value:.6g}"
