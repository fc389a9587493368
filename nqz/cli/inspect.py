"""``nqz inspect``."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from nqz.cli.text import Row, escape, payload, properties, table
from nqz.commands.inspect import describe, outline
from nqz.commands.opening import open_file
from nqz.format.reader import ContainerReader
from nqz.format.records import VERSION
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
        report = _json(reader) if as_json else _text_of(reader)
        if len(reader.manifest.tensors) <= _WHOLE:
            report = iter(["".join(report)])  # nothing of a file that is damaged
            opened.check()
        for text in report:
            payload(text)
        opened.check()


def _json(reader: ContainerReader) -> Iterator[str]:
    """The report as JSON, some tensors at a time."""
    head, tail = json.dumps({**outline(reader), "tensors": []}, indent=2, allow_nan=False).rsplit("[]", 1)
    count = len(reader.manifest.tensors)
    yield head + "["
    for first in range(0, count, _BATCH):
        batch = range(first, min(first + _BATCH, count))
        found = (json.dumps(describe(reader, i), indent=2, allow_nan=False) for i in batch)
        indented = (one.replace("\n", "\n    ") for one in found)
        yield ("," if first else "") + "\n    " + ",\n    ".join(indented)
    yield ("\n  ]" if count else "]") + tail + "\n"


def _text_of(reader: ContainerReader) -> Iterator[str]:
    """The report for people: properties of a single matrix, else a table."""
    infos = reader.manifest.tensors
    yield (
        f"{escape(reader.name)}: format {VERSION}, {reader.size} bytes, "
        f"{counted(len(infos), 'tensor')}, from .{reader.manifest.source}\n\n"
    )
    if len(infos) == 1 and (found := describe(reader, 0))["kind"] == "matrix":
        yield properties(_properties(found, reader.manifest.metadata))
        return
    rows = _Rows(reader)
    yield from table(_HEADINGS, rows)
    if rows.matrices:
        yield f"\n{_UNITS}"


class _Rows:
    """The rows of the table of a container, as often as they are asked for; what follows the names is kept."""

    def __init__(self, reader: ContainerReader) -> None:
        self._reader = reader
        self._rests: list[Row] = []
        self.matrices = False

    def __call__(self) -> Iterator[Row]:
        infos = self._reader.manifest.tensors
        for info, rest in zip(infos, self._rests or self._found(), strict=True):
            yield info.name or "array", *rest

    def _found(self) -> Iterator[Row]:
        """All but the name of each tensor: one for all exact ones that are alike."""
        reader = self._reader
        alike: dict[tuple[int, str] | None, Row] = {}
        for index, (info, count) in enumerate(zip(reader.manifest.tensors, reader.counts(), strict=True)):
            # tensors that are alike share the tuple of their shape
            key = None if count or info.kind != "exact" else (id(info.shape), info.dtype)
            rest = alike.get(key) if key else None
            if rest is None:
                found = describe(reader, index, brief=True)
                self.matrices = self.matrices or found["kind"] == "matrix"
                rest = _row(found)[1:]
                if key:
                    alike[key] = rest
            self._rests.append(rest)
            yield rest


_BATCH = 1000
_WHOLE = 10_000  # tensors up to which a report is shown as a whole or not at all
_HEADINGS = [
    "tensor", "shape", "dtype", "code", "axis", "bits", "κ", "‖A−Â‖²", "rms", "‖AᵀB−Ĉ‖²", "rms", "bytes",
]  # fmt: skip
_UNITS = (
    f"predicted errors, relative to {RECONSTRUCTION} and {PRODUCT}, B unrelated and coded alike;\n{RMS}\n"
)


def _row(tensor: dict[str, Any]) -> Row:
    start = [tensor["name"] or "array", shape_text(tensor["shape"]), tensor["dtype"]]
    size = str(tensor["bytes"]["total"])
    if tensor["kind"] != "matrix":
        return (*start, tensor["kind"], *[""] * 7, size)
    predicted = tensor["predicted"]
    return (
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
    )


def _properties(tensor: dict[str, Any], metadata: dict[str, str] | None) -> list[tuple[str, str]]:
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
    return rows + [("metadata", f"{key}: {value}") for key, value in (metadata or {}).items()]


def _summary(values: dict[str, float | None]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in values.items())


def _error(value: float | None, unit: str) -> str:
    share = "" if value is None else f" ({rms_cell(value)} % rms)"
    return f"{_text(value)} of {unit}{share}"


def _text(value: float | None) -> str:
    return "beyond float64" if value is None else f"{value:.6g}"
