"""``nqz decode``."""

from __future__ import annotations

import click

from nqz.cli.common import (
    RECONSTRUCTION,
    Notices,
    common_options,
    default_output,
    errors_text,
    json_option,
    kind_of,
    open_output,
    output_options,
    scanned,
    shape_text,
    shown,
)
from nqz.cli.parameters import Command, choice
from nqz.cli.reports import decoded, head, open_report
from nqz.commands.decode import DecodeOptions, check_records, decode
from nqz.commands.opening import open_file
from nqz.commands.rounding import decoded_error
from nqz.commands.select import select
from nqz.format.reader import ContainerReader
from nqz.ground.dtypes import MATRIX_DTYPES, data_bytes
from nqz.ground.sources import SOURCES, listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.matrix import open_matrix


@click.command("decode", cls=Command)
@click.argument("source", metavar="IN")
@output_options(f"File to write, {listed(SOURCES)}; by default IN with the suffix of what it was made from.")
@click.option(
    "--tensor",
    "tensors",
    multiple=True,
    metavar="NAME",
    help="Take this tensor only; repeatable, a pattern too.",
)
@click.option(
    "--dtype",
    type=choice(MATRIX_DTYPES),
    help="Type of the matrices; that of the original by default.",
)
@click.option(
    "--estimator", type=choice(["mmse", "unbiased"]), default="mmse", show_default=True,
    help="Make the error least, or let the mean over seeds be exactly the original.",
)  # fmt: skip
@json_option
@common_options
def command(
    source: str, output: str | None, tensors: tuple[str, ...], dtype: str | None, estimator: str, force: bool,
    json_to: str | None,
    threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Rebuild the matrices of the container IN ("-" for standard input), in their original type."""
    notices = Notices(quiet, show_progress)
    with workers(threads) as pool, open_file(source, container=True) as opened:
        reader = opened.content
        origin = reader.manifest.source
        target = output if output is not None else default_output(source, ["nqz"], origin)
        options = DecodeOptions(kind_of(target, origin), tensors, dtype, estimator)
        chosen = select([info.name for info in reader.manifest.tensors], tensors, reader.name)
        check_records(reader, chosen)
        sizes = _sizes(reader, chosen, options, checked=not tensors)
        with (
            open_output(target, force, [opened]) as out,
            open_report(json_to, [target], force, [opened]) as told,
            notices.progress("decoding", sizes) as progress,
        ):
            # before anything that takes long; the file is no smaller than its data
            out.access.reserve(sum(size for name, size in sizes.items() if name is not None))
            if not tensors:
                reader.verify(scanned(progress), pool.map)
            report = decode(reader, out.access, options, pool, progress)
            summary = "" if quiet else _summary(reader, chosen, options)
            found = [] if json_to is None else decoded(reader, chosen, dtype, estimator)
            out.commit(report["bytes"])
            written = [(target, report["bytes"])]
            told(lambda: {**head("decode", [source], written, []), "estimator": estimator, "tensors": found})
    notices.summary(f"{shown(source, '<stdin>')} -> {shown(target, '<stdout>')}: {summary}")


def _sizes(
    reader: ContainerReader, chosen: list[int], options: DecodeOptions, checked: bool
) -> dict[str | None, int]:
    """Bytes to check and to write, by tensor."""
    sizes: dict[str | None, int] = {None: reader.size} if checked else {}
    for info in (reader.manifest.tensors[index] for index in chosen):
        other = options.dtype if info.kind == "matrix" else None
        sizes[info.name] = data_bytes(info.shape, other) if other else info.nbytes
    return sizes


def _summary(reader: ContainerReader, chosen: list[int], options: DecodeOptions) -> str:
    infos = [reader.manifest.tensors[index] for index in chosen]
    if not infos:
        return "no tensors"
    matrices = [index for index, info in zip(chosen, infos, strict=True) if info.kind == "matrix"]
    if len(infos) == 1:
        dtype = options.dtype if matrices and options.dtype else infos[0].dtype
        text = f"{shape_text(infos[0].shape)} {dtype}"
    else:
        text = counted(len(infos), "tensor")
    if not matrices:
        return f"{text}, exact"
    opened = (open_matrix(reader, index) for index in matrices)
    errors = (
        decoded_error(matrix, options.dtype or matrix.info.dtype, options.estimator) for matrix in opened
    )
    return f"{text}, expected error {errors_text(errors, RECONSTRUCTION)}"
