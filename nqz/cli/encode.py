"""``nqz encode``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from nqz.cli.common import (
    PRODUCT,
    Notices,
    common_options,
    default_output,
    errors_text,
    json_option,
    open_output,
    output_options,
    shape_text,
    shown,
)
from nqz.cli.parameters import SIZE_HELP, Command, Size, choice
from nqz.cli.reports import encoded, head, open_report
from nqz.commands.encode import encode
from nqz.commands.opening import open_file
from nqz.commands.options import AUTO, EncodeOptions
from nqz.commands.sensitivities import UNIFORM, read_across
from nqz.commands.treatment import MATRIX, treatments
from nqz.format.reader import ContainerReader
from nqz.ground.errors import UsageError
from nqz.ground.sources import READ, SEVERAL_READ, listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.matrix import open_matrix
from nqz.models.rules import SKIP
from nqz.stages.codings import ALLOCATIONS, CODINGS
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import DEFAULT, DEFAULT_STATES, FAMILIES

_STAGES = (("measuring", 0.3), ("coding", 0.7))


_HELP = f"""Compress the matrices of IN, a {listed()} file ("-" for standard input), to R bits per entry.

Vectors, scalars, integers and booleans of a {listed(SEVERAL_READ)} file are carried exactly.
"""


@click.command("encode", cls=Command, help=_HELP)
@click.argument("source", metavar="IN")
@output_options("Container to write; by default IN with the suffix .nqz.")
@click.option(
    "-r",
    "--rate",
    type=float,
    metavar="R",
    help="Spend R bits per entry, 0.05 to 12, all of the file counted.",
)
@click.option(
    "--error", type=float, metavar="E",
    help="Instead of -r: the smallest file with a predicted product error of at most E.",
)  # fmt: skip
@click.option(
    "--max-bytes", type=Size(), metavar="N",
    help=f"Instead of -r: the best file of at most N {SIZE_HELP}.",
)  # fmt: skip
@click.option(
    "--seed",
    type=int,
    default=0,
    metavar="N",
    show_default=True,
    help="Seed of rotation and dither; both operands of a product need the same.",
)
@click.option(
    "--axis", type=choice(("0", "1", AUTO)),
    help="Contracted axis: 0 for columns as vectors, 1 for rows (weights stored [out, in]), "
    "auto for what names and shapes tell; by default auto for models with a config.json, else 0.",
)  # fmt: skip
@click.option(
    "--rule", "rules", multiple=True, metavar="PATTERN=ITEM[,ITEM]",
    help="What becomes of some tensors: a rate, exact, skip, axis:0|1, coding:NAME; repeatable, the last that takes "
    "a tensor decides.",
)  # fmt: skip
@click.option(
    "--across", default=UNIFORM, show_default=True, metavar="HOW",
    help="How matrices share the rate or error: uniform, size[:EXPONENT] (large ones coarser), or FILE.json with a "
    "sensitivity for each name or shell pattern.",
)  # fmt: skip
@click.option("--no-center", is_flag=True, help="Do not keep the means of the vectors apart.")
@click.option(
    "--lattice", type=choice(FAMILIES), default=DEFAULT, show_default=True,
    help="Lattice that coordinates are rounded to; conv comes closest to the limit.",
)  # fmt: skip
@click.option(
    "--states",
    type=int,
    metavar="S",
    help=f"States of the lattice conv, a power of two from 4 to 4096; {DEFAULT_STATES} by default.",
)
@click.option(
    "--coding", type=choice(CODINGS), default=CODING.name, show_default=True,
    help="How points become bits: entropy takes the fewest, voronoi a number known in advance.",
)  # fmt: skip
@click.option(
    "--allocate", type=choice(ALLOCATIONS),
    help="Seek the least error of the whole product, as entropy does by default, or the same relative error "
    "for every vector.",
)  # fmt: skip
@click.option(
    "--kappa", type=float, metavar="K",
    help="Share of the coordinates to keep, at most 1; by default chosen from the rate.",
)  # fmt: skip
@click.option(
    "--tensor", "tensors", multiple=True, metavar="NAME",
    help="Take this tensor only; repeatable, a name or a shell pattern.",
)  # fmt: skip
@click.option(
    "--dequantize",
    is_flag=True,
    help="Decode quantized tensors of a .gguf file to float32, and compress these.",
)
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE",
    help="Text to keep with the tensors, beside what IN has; repeatable.",
)  # fmt: skip
@json_option
@common_options
def command(
    source: str, output: str | None, axis: str | None, across: str, no_center: bool, force: bool,
    json_to: str | None,
    threads: int | None, metadata: tuple[str, ...],
    quiet: bool, show_progress: bool | None, tensors: tuple[str, ...], **choices: Any,
) -> None:  # fmt: skip
    """Run ``nqz encode``."""
    options = EncodeOptions(
        axis=int(axis) if axis in ("0", "1") else axis, across=read_across(across), center=not no_center,
        tensors=tensors, metadata=_metadata(metadata), **choices
    )  # fmt: skip
    options.check()
    notices = Notices(quiet, show_progress)
    target = output if output is not None else default_output(source, READ, "nqz")
    with workers(threads) as pool, open_file(source, container=False) as opened:
        content = opened.content
        found = [one for one in treatments([content], options)[0] if one.kind != SKIP]
        sizes = {one.name: one.tensor.nbytes for one in found}
        stages = {one.name: _STAGES for one in found if one.kind == MATRIX}
        with (
            open_output(target, force, [opened]) as out,
            open_report(json_to, [target], force, [opened]) as told,
            notices.progress("encoding", sizes, stages) as progress,
        ):
            _check_suffix(target)
            report = encode(content, out.access, options, pool, progress)
            summary = "" if quiet else _summary(ContainerReader(out.access, out.name))
            said = {} if json_to is None else encoded([ContainerReader(out.access, out.name)])
            out.commit(report["file_bytes"])
            written = [(target, report["file_bytes"])]
            told(lambda: {**head("encode", [source], written, report["warnings"]), **said})
    for warning in report["warnings"]:
        notices.warn(warning)
    if decoded := sorted({one.tensor.quantized for one in found if one.tensor.quantized}):
        notices.note(f"tensors decoded from {', '.join(decoded)} count as float32 in what follows")
    notices.summary(f"{shown(source, '<stdin>')} -> {shown(target, '<stdout>')}: {summary}")


def _check_suffix(target: str) -> None:
    suffix = os.path.splitext(target)[1].lower()[1:]
    if suffix in READ:  # whoever opens it would take it for one
        raise UsageError(f"{target}: a container is written, and no .{suffix} file; name it .nqz")


def _metadata(given: Sequence[str]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given]
    for pair, (key, equals, _) in zip(given, pairs, strict=True):
        if not key or not equals:
            raise UsageError(f"--metadata {pair}: KEY=VALUE is needed")
    found = {key: value for key, _, value in pairs}
    if len(found) != len(pairs):
        raise UsageError("--metadata: a key is given twice")
    return found


def _summary(reader: ContainerReader) -> str:
    """What was written, read back from it."""
    infos = reader.manifest.tensors
    if not infos:
        return "no tensors"
    matrices = [open_matrix(reader, index) for index, info in enumerate(infos) if info.kind == "matrix"]
    parts = (
        [shape_text(infos[0].shape)]
        if len(infos) == 1
        else [f"{len(matrices)} of {counted(len(infos), 'tensor')} compressed"]
    )
    if matrices:
        bits = sum(8.0 * matrix.coded_bytes for matrix in matrices)
        parts.append(f"{bits / sum(matrix.entries for matrix in matrices):.2f} bits per entry")
    else:
        parts.append("carried exactly")
    before = sum(info.nbytes for info in infos)
    if before > reader.size:
        parts.append(f"{before / reader.size:.1f}x smaller")
    if matrices:
        errors = (matrix.predicted_product() for matrix in matrices)
        parts.append(f"predicted product error {errors_text(errors, PRODUCT)}")
    return ", ".join(parts)
