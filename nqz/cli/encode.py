"""``nqz encode``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from nqz.cli.cluster import cluster_option, executor_of
from nqz.cli.codec import codec_options, metadata_of, window_of
from nqz.cli.common import (
    PRODUCT,
    Notices,
    bytes_text,
    common_options,
    default_folder,
    default_output,
    errors_text,
    json_option,
    open_folder,
    open_output,
    output_options,
    shape_text,
    shown,
)
from nqz.cli.each import OUT_DIR_HELP, check_words, expanded, one_or_each, run_each
from nqz.cli.parameters import Command, Offered, Size, choice
from nqz.cli.progress import Progress, Silent
from nqz.cli.remarks import remarks
from nqz.cli.reports import encoded, head, open_report
from nqz.commands.encode import encode
from nqz.commands.opening import is_model, open_collection, open_file
from nqz.commands.options import AUTO, EncodeOptions
from nqz.commands.sensitivities import SIZE, UNIFORM, read_across
from nqz.commands.treatment import MATRIX, Treatment, treatments
from nqz.files.contract import Source
from nqz.format.part_set import SUFFIX as SET
from nqz.format.reader import ContainerReader
from nqz.ground.errors import UsageError
from nqz.ground.sizes import SIZE_HELP
from nqz.ground.sources import READ, SEVERAL_READ, listed
from nqz.ground.threads import workers
from nqz.ground.urls import base, is_url, suffix
from nqz.ground.wording import counted
from nqz.matrix import open_matrix
from nqz.models.rules import SKIP
from nqz.stages.partner import EQUAL, in_words

_STAGES = (("measuring", 0.3), ("coding", 0.7))


_HELP = f"""Compress the matrices of IN, a {listed()} file ("-" for standard input), to R bits per entry.

IN may be an array of Zarr, the folder that it is in.
IN may be a model: a folder of .safetensors files, its index (*.index.json), or some .safetensors files. It becomes
the folder OUT, with a container for each, the index, and copies of everything else.

Vectors, scalars, integers and booleans of a {listed(SEVERAL_READ)} file are carried exactly.
"""


@click.command("encode", cls=Command, help=_HELP)
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@output_options(
    "Container to write, IN with the suffix .nqz by default; for a model a folder, IN-nqz by default."
)
@click.option("--out-dir", metavar="D", help=OUT_DIR_HELP)
@click.option(
    "-r",
    "--rate",
    type=float,
    metavar="R",
    help="Spend R bits per entry, 0.05 to 12, all of the file counted.",
)
@click.option(
    "--error", type=float, metavar="E",
    help="Instead of -r: the smallest file with a predicted product error of at most E; 0.01 is 10 % rms.",
)  # fmt: skip
@click.option(
    "--max-bytes", type=Size(), metavar="N",
    help=f"Instead of -r: the best file of at most N {SIZE_HELP}.",
)  # fmt: skip
@click.option(
    "--axis", type=choice(("0", "1", AUTO)),
    help="Contracted axis: 0 for columns as vectors, 1 for rows (weights stored [out, in]), "
    "auto for what names and shapes tell; by default auto for models with a config.json, else 0.",
)  # fmt: skip
@click.option(
    "--rule", "rules", multiple=True, metavar="PATTERN=ITEM[,ITEM]",
    help="What becomes of some tensors: a rate, exact, skip, axis:0|1, coding:NAME, window:12|14|16, split (a matrix "
    "for each index of the first axis) or whole; repeatable, the last that takes a tensor decides.",
)  # fmt: skip
@click.option(
    "--across", default=UNIFORM, show_default=True, metavar="HOW", type=Offered((UNIFORM, SIZE)),
    help="How matrices share the rate or error: uniform, size[:EXPONENT] (large ones coarser), or FILE.json with a "
    "sensitivity for each name or shell pattern.",
)  # fmt: skip
@click.option(
    "--center/--no-center", "center", default=None,
    help="Keep the means of the vectors apart, and finely, or not at all; by default where they are worth their bits "
    "in products with vectors whose own means are small.",
)  # fmt: skip
@codec_options
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
    "--dry-run", is_flag=True,
    help="Write nothing, but print what would become of every tensor, with its error and size.",
)  # fmt: skip
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE",
    help="Text to keep with the tensors, beside what IN has; repeatable.",
)  # fmt: skip
@cluster_option
@json_option
@common_options
def command(
    sources: tuple[str, ...], output: str | None, out_dir: str | None, axis: str | None, across: str,
    center: bool | None, force: bool, json_to: str | None, dry_run: bool, cluster: str | None,
    threads: int | None, metadata: tuple[str, ...],
    quiet: bool, show_progress: bool | None, tensors: tuple[str, ...], window: str, **choices: Any,
) -> None:  # fmt: skip
    """Run ``nqz encode``."""
    sources = expanded(sources)
    check_words(sources, out_dir, json_to)
    if choices["rate"] is None:
        for word in sources[1:]:
            if re.fullmatch(r"[0-9]*\.?[0-9]+", word) and not os.path.lexists(word):
                raise UsageError(f"{word}: is no file; a rate is given as -r {word}")
    options = EncodeOptions(
        axis=int(axis) if axis in ("0", "1") else axis, across=read_across(across), center=center,
        tensors=tensors, metadata=metadata_of(metadata), window=window_of(window), **choices
    )  # fmt: skip
    options.check()
    if dry_run:
        from nqz.cli.plan_table import show_plan

        if out_dir is not None and len(sources) > 1:
            raise UsageError("--dry-run: is for one file or model at a time; give the inputs one by one")
        if cluster is not None:
            raise UsageError("--dry-run: is worked out here, and needs no --cluster")
        show_plan(sources, output, options, threads, Notices(quiet, show_progress), json_to)
        return
    one_or_each(sources, output, out_dir)
    notices = Notices(quiet, show_progress)
    with executor_of(cluster) as executor:
        job = _Job(options, force, threads, notices, json_to, json_to is not None, executor)
        if out_dir is not None:
            run_each(sources, out_dir, _name, replace(job, json_to=None).one, json_to, force, notices)
        elif len(sources) > 1:
            job.model(sources, str(output))
        else:
            job.one(sources[0], output if output is not None else _default(sources[0]))


def _default(source: str) -> str:
    return default_folder(source) if is_model(source) else default_output(source, READ, "nqz")


def _name(source: str) -> str:
    return base(_default(source))


@dataclass(frozen=True)
class _Job:
    """How inputs are to be encoded; `wanted` tells whether what was done is to be reported."""

    options: EncodeOptions
    force: bool
    threads: int | None
    notices: Notices
    json_to: str | None
    wanted: bool
    executor: Any = None

    def one(self, source: str, target: str) -> dict[str, Any]:
        """Encode a file, or a model."""
        if is_model(source):
            return self.model([source], target)
        with (
            workers(self.threads, not is_url(source), self.executor) as pool,
            open_file(source, container=False) as opened,
        ):
            content = opened.content
            found = _taken([content], self.options)
            with (
                open_output(target, self.force, [opened]) as out,
                open_report(self.json_to, [target], self.force, [opened]) as told,
                self.progress(found, [content]) as progress,
            ):
                _check_suffix(target)
                report = encode(content, out.access, self.options, pool, progress)
                readers = [ContainerReader(out.access, out.name)]
                summary, said = self.read_back(readers, [content], self.options)
                out.commit(report["file_bytes"])
                written = [(target, report["file_bytes"])]
                whole = {**head("encode", [source], written, report["warnings"]), **said}
                told(lambda: whole)
        self.tell(
            f"{shown(source, '<stdin>')} -> {shown(target, '<stdout>')}", summary, report["warnings"], found
        )
        return whole

    def model(self, sources: Sequence[str], target: str) -> dict[str, Any]:
        """Encode a model."""
        from nqz.commands.models import encode_model, files_of

        with (
            workers(self.threads, not any(map(is_url, sources)), self.executor) as pool,
            open_collection(sources, container=False) as collection,
        ):
            files = files_of(collection)
            options = replace(self.options, config=collection.config, where=collection.name)
            found = _taken(collection.contents, options)
            inputs = [part.opened for part in collection.parts]
            with (
                open_folder(target, self.force, files.inputs, inputs) as out,
                open_report(self.json_to, [target], self.force, inputs) as told,
                self.progress(found, collection.contents) as progress,
            ):
                report = encode_model(collection, files, out, options, pool, progress)
                summary, said = self.read_back(report["readers"], collection.contents, options)
                written = out.sizes(target)
                out.commit()
                warnings = [*files.notes, *report["warnings"]]
                whole = {**head("encode", sources, written, warnings), **said}
                told(lambda: whole)
        copied = f", {counted(len(files.tree.files), 'other file')} copied" if files.tree.files else ""
        inside = report["file_bytes"]
        size = bytes_text(len(report["readers"]), inside, sum(size for _, size in written) - inside)
        self.tell(
            f"{shown(collection.name, '')} -> {shown(target, '')}",
            f"{size}, {summary}{copied}",
            warnings,
            found,
        )
        return whole

    def read_back(
        self, readers: Sequence[ContainerReader], contents: Sequence[Any], options: EncodeOptions
    ) -> tuple[str, dict[str, Any]]:
        """The summary of what was written, and its report, as far as they are wanted."""
        summary = "" if self.notices.quiet else _summary(readers, contents, options)
        return summary, encoded(readers) if self.wanted else {}

    def progress(self, found: Sequence[Treatment], contents: Sequence[Source]) -> Progress | Silent:
        """The progress on tensors that are encoded."""
        sizes = {one.name: one.tensor.nbytes for one in found}
        stages = {one.name: _STAGES for one in found if one.kind == MATRIX}
        files = {tensor.name: content.name for content in contents for tensor in content.tensors}
        return self.notices.progress("encoding", sizes, stages, files)

    def tell(self, what: str, summary: str, warnings: Sequence[str], found: Sequence[Treatment]) -> None:
        """Say what was done."""
        for warning in warnings:
            self.notices.warn(warning)
        if decoded := sorted({one.tensor.quantized for one in found if one.tensor.quantized}):
            self.notices.note(f"tensors decoded from {', '.join(decoded)} count as float32 in what follows")
        self.notices.summary(f"{what}: {summary}")


def _taken(contents: Sequence[Any], options: EncodeOptions) -> list[Treatment]:
    """What becomes of the tensors that are encoded."""
    return [one for part in treatments(contents, options) for one in part if one.kind != SKIP]


def _check_suffix(target: str) -> None:
    found = suffix(target)
    if found in (*READ, SET):  # whoever opens it would take it for one
        raise UsageError(f"{target}: a container is written, and no .{found} file; name it .nqz")


def _summary(readers: Sequence[ContainerReader], contents: Sequence[Any], options: EncodeOptions) -> str:
    """What was written, read back from it."""
    infos = [info for reader in readers for info in reader.manifest.tensors]
    if not infos:
        return "no tensors"
    matrices = [
        open_matrix(reader, index)
        for reader in readers
        for index, info in enumerate(reader.manifest.tensors)
        if info.kind == "matrix" and info.same_as is None
    ]
    tied = sum(info.same_as is not None for info in infos)
    parts = (
        [shape_text(infos[0].shape)]
        if len(infos) == 1
        else [f"{len(matrices)} of {counted(len(infos), 'tensor')} compressed"]
    )
    if tied:
        parts.append(f"{tied} the same as another")
    if matrices:
        bits = sum(8.0 * matrix.coded_bytes for matrix in matrices)
        parts.append(f"{bits / sum(matrix.entries for matrix in matrices):.2f} bits per entry")
    else:
        parts.append("carried exactly")
    before, after = sum(info.nbytes for info in infos), sum(reader.size for reader in readers)
    if before > after:
        parts.append(f"{before / after:.1f}x smaller")
    errors = [matrix.predicted_product() for matrix in matrices]
    if matrices:
        other = "" if options.partner == EQUAL else f" for B {in_words(options.partner)}"
        parts.append(f"predicted product error {errors_text(errors, PRODUCT)}{other}")
    exact = {info.name for info in infos if info.kind == "exact"}
    return ", ".join([*parts, *remarks(contents, options, exact, errors)])
