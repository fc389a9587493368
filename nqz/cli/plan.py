"""``nqz plan``."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import click

from nqz.cli.common import (
    PRODUCT,
    Notices,
    common_options,
    default_output,
    force_option,
    json_option,
    rms_cell,
    shape_text,
)
from nqz.cli.parameters import Command, choice
from nqz.cli.reports import head, open_report
from nqz.cli.text import escape, payload
from nqz.commands.division import Divided, Divisible, check_division, described, divide
from nqz.commands.opening import is_model, open_file
from nqz.commands.options import EncodeOptions
from nqz.curve.matrix import SweepMatrix, choose
from nqz.ground.errors import InputError, UnsupportedError, UsageError
from nqz.ground.patterns import literal
from nqz.ground.sources import READ, listed
from nqz.ground.threads import workers
from nqz.ground.urls import absolute, shown
from nqz.stages.lattices import DEFAULT, DEFAULT_STATES, FAMILIES

_AXIS = choice("01")
_WORTH = 0.001  # bits per entry
_HELP = f"""Divide bits between A and B, {listed()} files, so that the predicted error of AᵀB is least.

Prints the commands that encode both, for each other, with the rates that were found. A side with fewer vectors gets
more bits per entry.
"""


@click.command("plan", cls=Command, several="one product at a time", help=_HELP)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--bits", type=float, metavar="R", help="Bits per entry of both together, 0.05 to 12.")
@click.option(
    "--error", type=float, metavar="E",
    help="Instead of --bits: as few as have a predicted product error of at most E; 0.01 is 10 % rms.",
)  # fmt: skip
@click.option("--tensor-a", metavar="NAME", help="Matrix of A, where it holds several.")
@click.option("--tensor-b", metavar="NAME", help="Matrix of B, where it holds several.")
@click.option("--axis-a", type=_AXIS, default="0", show_default=True, help="Contracted axis of A.")
@click.option("--axis-b", type=_AXIS, default="0", show_default=True, help="Contracted axis of B.")
@click.option(
    "--lattice", type=choice(FAMILIES), default=DEFAULT, show_default=True,
    help="Lattice that coordinates are rounded to; conv comes closest to the limit.",
)  # fmt: skip
@click.option(
    "--states", type=int, metavar="S",
    help=f"States of the lattice conv, a power of two from 4 to 4096; {DEFAULT_STATES} by default.",
)  # fmt: skip
@json_option
@force_option
@common_options
def command(
    a: str, b: str, bits: float | None, error: float | None, tensor_a: str | None, tensor_b: str | None,
    axis_a: str, axis_b: str, lattice: str, states: int | None, json_to: str | None,
    force: bool, threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Run ``nqz plan``."""
    check_division(bits, error)
    options = EncodeOptions(rate=1.0, lattice=lattice, states=states)
    options.check()
    for given in (a, b):
        if default_output(given, READ, "nqz") == "-":
            what = "standard input" if given == "-" else given
            raise UsageError(f"{what} cannot be planned with: it would be gone before it is encoded")
        if is_model(given):
            raise InputError(f"{given}: is a model, and plan takes files: give one of its .safetensors files")
    notices = Notices(quiet, show_progress)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        opened = [stack.enter_context(open_file(given, container=False)) for given in (a, b)]
        chosen = [
            choose(one.content, tensor, int(axis), option)
            for one, tensor, axis, option in zip(
                opened, (tensor_a, tensor_b), (axis_a, axis_b), ("--tensor-a", "--tensor-b"), strict=True
            )
        ]
        for one, matrix in zip(opened, chosen, strict=True):
            if matrix.tensor.name not in (tensor.name for tensor in one.content.tensors):
                raise UnsupportedError(
                    f"{matrix.where} is one slice of a tensor, of which encode takes all; plan with a file of its own"
                )
        told = stack.enter_context(open_report(json_to, [], force, opened))
        sides = [Divisible(one, one.axis, options, pool) for one in chosen]
        found = divide(sides[0], sides[1], bits, error)
        for one in opened:
            one.check()
        report = described(found, (sides[0], sides[1]))
        outputs = _outputs((shown(a), shown(b)), chosen)
        for row, path, matrix, output in zip(report["sides"], (a, b), chosen, outputs, strict=True):
            row["file"] = shown(path)
            row["arguments"] = _arguments(row, matrix, options, output)
        told(lambda: {**head("plan", [a, b], [], []), **report})
    if json_to is None:
        payload(_text(report["sides"], found))
    rates = " and ".join(f"{rate:g}" for rate in found.division.rates)
    notices.summary(f"{rates} bits per entry: predicted error {found.division.error:.3g}, {_gain(found)}")


def _arguments(row: dict[str, Any], one: SweepMatrix, options: EncodeOptions, output: str) -> list[str]:
    """The words with which nqz encodes a side."""
    words = ["encode", _named(row["file"]), "-r", f"{row['rate']:g}", "--partner", f"{row['partner']:g}"]
    if one.axis:
        words += ["--axis", str(one.axis)]
    if one.tensor.name:
        words += ["--tensor", literal(one.tensor.name)]
    if options.lattice != DEFAULT:
        words += ["--lattice", options.lattice]
    if options.states is not None:
        words += ["--states", str(options.states)]
    if one.tensor.quantized:
        words.append("--dequantize")
    return [*words, "-o", output]


def _named(path: str) -> str:
    """A path that is not taken for an option."""
    return os.path.join(".", path) if path.startswith("-") else path


def _outputs(paths: tuple[str, str], chosen: list[SweepMatrix]) -> list[str]:
    """Containers to write, each another one."""
    outputs = [_named(default_output(path, READ, "nqz")) for path in paths]
    if absolute(outputs[0]) != absolute(outputs[1]):
        return outputs
    if chosen[0].tensor.name != chosen[1].tensor.name:
        names = [one.tensor.name.replace(os.sep, "_") for one in chosen]
        if names[0] != names[1]:
            stem = outputs[0].removesuffix(".nqz")
            return [f"{stem}-{name}.nqz" for name in names]
    if absolute(paths[0]) == absolute(paths[1]):
        raise UsageError(
            f"{paths[0]}: is both sides, and one container of it is enough: give encode its rate"
        )
    return [f"{path}.nqz" for path in map(_named, paths)]


def _gain(found: Divided) -> str:
    if found.gain < _WORTH:
        return "no better than equal rates"
    return f"{found.gain:.3f} bits per entry better than equal rates"


def _text(rows: list[dict[str, Any]], found: Divided) -> str:
    import shlex

    division = found.division
    lines = [
        f"{row['file']}{' ' * bool(row['tensor'])}{row['tensor']}: {shape_text(row['shape'])}, "
        f"{row['rate']:g} bits per entry"
        for row in rows
    ]
    share = f"{rms_cell(division.error)} % rms"
    whole = f"{division.bits:.4g} bits per entry in all"
    lines.append(f"predicted error {division.error:.4g} of {PRODUCT} ({share}), B unrelated; {whole}")
    lines.append(f"with equal rates {found.equal:.4g}: {_gain(found)}")
    commands = [f"nqz {shlex.join(row['arguments'])}" for row in rows]
    return "\n".join([*map(escape, lines), "", *commands]) + "\n"
