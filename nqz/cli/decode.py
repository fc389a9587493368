"""``nqz decode``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import click

from nqz.cli.cluster import cluster_option, executor_of
from nqz.cli.common import (
    RECONSTRUCTION,
    Notices,
    common_options,
    default_original,
    default_output,
    errors_text,
    json_option,
    kind_of,
    open_folder,
    open_output,
    output_options,
    shape_text,
    shown,
)
from nqz.cli.each import OUT_DIR_HELP, check_words, expanded, one_or_each, run_each
from nqz.cli.parameters import Command, choice
from nqz.cli.reports import decoded, head, open_report
from nqz.commands.decode import DecodeOptions, check_records, decode_together, decoded_bytes, written_dtype
from nqz.commands.joining import taken_parts
from nqz.commands.opening import is_model, is_part_set, open_collection, open_file
from nqz.commands.rounding import decoded_error
from nqz.format.part_set import SUFFIX as SET
from nqz.format.reader import ContainerReader
from nqz.format.slices import Whole
from nqz.ground.dtypes import MATRIX_DTYPES
from nqz.ground.sources import SOURCES, listed
from nqz.ground.threads import workers
from nqz.ground.urls import base, suffix
from nqz.ground.wording import counted
from nqz.matrix import open_matrix


@click.command("decode", cls=Command)
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@output_options(
    f"File to write, {listed(SOURCES)}; by default IN with the suffix of what it was made from. For a model a folder, "
    "by default NAME for NAME-nqz; with --tensor a file too."
)
@click.option("--out-dir", metavar="D", help=OUT_DIR_HELP)
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
    metavar="TYPE",
    help=f"Type of the matrices, by default that of the original: {', '.join(MATRIX_DTYPES)}. "
    "With float32 or float64 exact tensors too, if the file has no such type as theirs.",
)
@click.option(
    "--estimator", type=choice(["mmse", "unbiased"]), default="mmse", show_default=True,
    help="mmse: the least error; unbiased: more of it, but on average over seeds exactly the original.",
)  # fmt: skip
@json_option
@cluster_option
@common_options
def command(
    sources: tuple[str, ...], output: str | None, out_dir: str | None, tensors: tuple[str, ...],
    dtype: str | None, estimator: str, force: bool, json_to: str | None, cluster: str | None, threads: int | None,
    quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Rebuild the matrices of the container IN ("-" for standard input), in their original type.

    IN may be a part set (.nqzset), or a compressed model: its folder, its index (*.index.json), or some containers.
    """
    sources = expanded(sources)
    check_words(sources, out_dir, json_to)
    one_or_each(sources, output, out_dir)
    options, notices = DecodeOptions(None, tensors, dtype, estimator), Notices(quiet, show_progress)
    with executor_of(cluster) as executor:
        job = _Job(options, force, threads, notices, json_to, json_to is not None, executor)
        if out_dir is not None:
            run_each(sources, out_dir, _name, replace(job, json_to=None).one, json_to, force, notices)
        elif len(sources) > 1:
            job.several(sources, str(output))
        else:
            job.one(sources[0], output)


def _name(source: str) -> str:
    """The name of the output for an input."""
    if is_part_set(source):
        return base(default_output(source, [SET], "npy"))
    if is_model(source):
        return base(default_original(source))
    with open_file(source, container=True) as opened:
        return base(default_output(source, ["nqz"], opened.content.manifest.source))


@dataclass(frozen=True)
class _Job:
    """How inputs are to be decoded; `wanted` tells whether what was done is to be reported."""

    options: DecodeOptions
    force: bool
    threads: int | None
    notices: Notices
    json_to: str | None
    wanted: bool
    executor: Any = None

    def one(self, source: str, output: str | None) -> dict[str, Any]:
        """Decode a file, or a model."""
        if is_part_set(source):
            return self.whole(source, output)
        if is_model(source):
            return self.several([source], output if output is not None else default_original(source))
        return self.file([source], output)

    def whole(self, source: str, output: str | None) -> dict[str, Any]:
        """Decode a part set."""
        from nqz.commands.sets.decode import bytes_of, decode_set, spec_of

        target = output if output is not None else default_output(source, [SET], "npy")
        with (
            workers(self.threads, executor=self.executor) as pool,
            open_collection(source, container=True, sets=True) as collection,
        ):
            options = replace(self.options, kind=kind_of(target, "npy"))
            spec, inputs = spec_of(collection, options), [part.opened for part in collection.parts]
            sizes = {part.name: part.tensors[0].nbytes for part in collection.parts}
            with (
                open_output(target, self.force, inputs) as out,
                open_report(self.json_to, [target], self.force, inputs) as told,
                self.notices.progress("decoding", sizes, files=collection.name) as progress,
            ):
                out.access.reserve(bytes_of(collection, options))
                size = decode_set(collection, out.access, options, pool, progress)
                out.commit(size)
                report = head("decode", [source], [(target, size)], [])
                tensor = {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "kind": "matrix"}
                whole = {**report, "estimator": options.estimator, "tensors": [{**tensor, "expected": None}]}
                told(lambda: whole)
        text = f"{shape_text(spec.shape)} {spec.dtype}, from {counted(len(sizes), 'part')}"
        self.notices.summary(f"{collection.name} -> {shown(target, '<stdout>')}: {text}")
        return whole

    def several(self, sources: Sequence[str], target: str) -> dict[str, Any]:
        """Decode a model to a folder, or some tensors of it to a file."""
        if self.options.tensors and (target == "-" or suffix(target) in SOURCES):
            return self.file(sources, target)
        return self.model(sources, target)

    def file(self, sources: Sequence[str], output: str | None) -> dict[str, Any]:
        """Decode to a file."""
        with (
            workers(self.threads, executor=self.executor) as pool,
            open_collection(sources, container=True) as collection,
        ):
            origin = collection.contents[0].manifest.source
            target = output if output is not None else default_output(sources[0], ["nqz"], origin)
            options = replace(self.options, kind=kind_of(target, origin))
            wholes = taken_parts(
                [part.tensors for part in collection.parts], options.tensors, collection.name
            )
            chosen = list(zip(collection.contents, wholes, strict=True))
            for reader, some in chosen:
                check_records(reader, some)
            sizes, inputs = _sizes(chosen, options), [part.opened for part in collection.parts]
            with (
                open_output(target, self.force, inputs) as out,
                open_report(self.json_to, [target], self.force, inputs) as told,
                self.notices.progress("decoding", sizes, files=collection.name) as progress,
            ):
                # before anything that takes long; the file is no smaller than its data
                out.access.reserve(sum(size for name, size in sizes.items() if name is not None))
                for reader in () if options.tensors else collection.contents:
                    reader.verify(progress and partial(progress, None), pool.map)
                report = decode_together(chosen, collection.name, out.access, options, pool, progress)
                summary, said = self.read_back(chosen, options)
                out.commit(report["bytes"])
                whole = {**head("decode", sources, [(target, report["bytes"])], []), **said}
                told(lambda: whole)
        given = shown(sources[0], "<stdin>") if collection.lone else collection.name
        self.notices.summary(f"{given} -> {shown(target, '<stdout>')}: {summary}")
        return whole

    def model(self, sources: Sequence[str], target: str) -> dict[str, Any]:
        """Decode a model."""
        from nqz.commands.models import chosen_parts, decode_model, files_of

        with (
            workers(self.threads, executor=self.executor) as pool,
            open_collection(sources, container=True) as collection,
        ):
            chosen = [(part.content, wholes) for part, wholes in chosen_parts(collection, self.options)]
            files, inputs = files_of(collection), [part.opened for part in collection.parts]
            where = {whole.name: one.name for one, wholes in chosen for whole in wholes}
            with (
                open_folder(target, self.force, files.inputs, inputs) as out,
                open_report(self.json_to, [target], self.force, inputs) as told,
                self.notices.progress(
                    "decoding", _sizes(chosen, self.options), None, {None: collection.name, **where}
                ) as progress,
            ):
                decode_model(collection, files, out, self.options, pool, progress)
                summary, said = self.read_back(chosen, self.options)
                summary = f"{counted(len(chosen), 'file')}, {summary}" if len(chosen) > 1 else summary
                out.commit()
                whole = {**head("decode", sources, out.sizes(target), files.skipped), **said}
                told(lambda: whole)
        for note in files.skipped:
            self.notices.warn(note)
        self.notices.summary(f"{collection.name} -> {target}: {summary}")
        return whole

    def read_back(self, chosen: _Chosen, options: DecodeOptions) -> tuple[str, dict[str, Any]]:
        """The summary of what was rebuilt, and its report, as far as they are wanted."""
        found = []
        if self.wanted:
            for reader, wholes in chosen:
                found += decoded(reader, wholes, options)
        return "" if self.notices.quiet else _summary(chosen, options), {
            "estimator": options.estimator,
            "tensors": found,
        }


_Chosen = Sequence[tuple[ContainerReader, list[Whole]]]
"""Containers, and the tensors that are taken."""


def _sizes(chosen: _Chosen, options: DecodeOptions) -> dict[str | None, int]:
    """Bytes to check and to write, by tensor."""
    whole = sum(reader.size for reader, _ in chosen)
    sizes: dict[str | None, int] = {} if options.tensors else {None: whole}
    for reader, wholes in chosen:
        for one in wholes:
            sizes[one.name] = decoded_bytes(reader, one, options)
    return sizes


def _summary(chosen: _Chosen, options: DecodeOptions) -> str:
    found = [(reader, whole) for reader, wholes in chosen for whole in wholes]
    if not found:
        return "no tensors"
    matrices = [
        open_matrix(reader, index)
        for reader, whole in found
        for index in whole.members
        if reader.manifest.tensors[index].kind == "matrix"
    ]
    if len(found) == 1:
        ((reader, whole),) = found
        info = reader.manifest.tensors[whole.members[0]]
        dtype = written_dtype(info, SOURCES[options.kind or reader.manifest.source], options.dtype)
        text = f"{shape_text(whole.shape)} {dtype}"
    else:
        text = counted(len(found), "tensor")
    if not matrices:
        return f"{text}, exact"
    errors = (
        decoded_error(matrix, options.dtype or matrix.info.dtype, options.estimator) for matrix in matrices
    )
    return f"{text}, expected error {errors_text(errors, RECONSTRUCTION)}"
