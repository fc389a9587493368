"""``nqz set``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import click

from nqz.cli.cluster import cluster_option, executor_of
from nqz.cli.codec import codec_options, metadata_of, window_of
from nqz.cli.common import (
    Notices,
    common_options,
    default_output,
    json_option,
    open_output,
    output_options,
    shape_text,
)  # fmt: skip
from nqz.cli.each import expanded
from nqz.cli.parameters import Command, choice
from nqz.cli.reports import head, open_report
from nqz.cli.text import escape, payload
from nqz.cli.verify import raise_failures
from nqz.commands.opening import is_model, open_collection, read_part_set, replaced_part_set
from nqz.commands.options import AUTO, EncodeOptions
from nqz.commands.sets.create import check_options, create_set
from nqz.commands.sets.edit import as_set, concatenated, described, split
from nqz.commands.sets.factor import check_parts
from nqz.commands.sets.source import CONTRACTED, VECTORS, cut_up, whole_of
from nqz.commands.sets.verify import verify_set
from nqz.files.places import exists
from nqz.format.part_set import SUFFIX, PartSet
from nqz.ground.errors import UsageError
from nqz.ground.sources import READ, listed
from nqz.ground.threads import Workers, workers
from nqz.ground.urls import local, suffix, with_suffix
from nqz.ground.wording import counted

ACTIONS = ("create", "check", "concat", "split")

_ENCODING = {
    "rate", "error", "axis", "seed", "center", "lattice", "states", "coding", "allocate", "window", "kappa", "partner",
    "tensor", "dequantize", "metadata",
}  # fmt: skip
_ALL = {"threads", "quiet", "show_progress"}
_ONLY = {
    "create": _ENCODING | {"output", "force", "json_to", "cluster", "parts", "along"},
    "check": {"cluster"},
    "concat": {"output", "force", "json_to", "along"},
    "split": {"output", "force", "json_to", "along"},
}
"""Options of each action, beside those of all."""

_NOT = {
    "--max-bytes": "every part is coded once, so that a size is aimed at, and not promised; give -r or --error",
    "--rule": "is for files of several tensors, and a part set is of one matrix",
    "--across": "is for files of several tensors, and a part set is of one matrix",
    "--out-dir": "a part set is a manifest with its parts beside it; name it, with -o",
    "--dry-run": "to plan a part set all of it has to be read, which is most of the work; nqz encode --dry-run tells "
    "what a file, or some of its tensors, would come to",
}
"""Options of encode that are not for part sets, and why."""

_HELP = f"""Make and change part sets: a matrix in parts, each a container, under one manifest (.{SUFFIX}).

create: IN is a {listed()} file, an array of Zarr, or a model, of which one matrix is cut into --parts; or several, each
of them a part, or with --parts a piece of the matrix. All parts are coded by one plan, for one rate or error, and
written beside the manifest. check: the manifest, every part, and that they fit. concat: one set of several, or of
containers. split: a set for each part along an axis. concat and split write manifests alone; the parts stay where they
are. compare, decode, diff, inspect, matmul, report, search and verify take sets.
"""


def _refused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that are there to say why they are not for part sets."""

    def refuse(context: click.Context, option: click.Parameter, value: Any) -> None:
        if value:
            raise UsageError(f"{option.opts[0]}: {_NOT[option.opts[0]]}")

    for name in _NOT:
        flag = name == "--dry-run"
        function = click.option(name, hidden=True, expose_value=False, is_flag=flag, callback=refuse)(
            function
        )
    return function


@click.command("set", cls=Command, help=_HELP)
@click.argument("action", metavar="create|check|concat|split", type=choice(ACTIONS))
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@output_options(
    f"Manifest to write, IN with the suffix .{SUFFIX} by default; for split what the names begin with."
)
@click.option(
    "-r", "--rate", type=float, metavar="R", help="Spend R bits per entry, 0.05 to 12, all parts counted."
)
@click.option(
    "--error", type=float, metavar="E", help="Instead of -r: a predicted product error of at most E."
)
@click.option(
    "--parts", metavar="KxJ",
    help="Cut the matrix into K parts along the contracted axis and J across it; by default 1xJ, of at most 2^30 "
    "entries each, and of several files each a part.",
)  # fmt: skip
@click.option(
    "--along", type=choice((VECTORS, CONTRACTED)), default=VECTORS, show_default=True,
    help="How several follow one another, or a set is split: more vectors, or more entries of each.",
)  # fmt: skip
@click.option(
    "--axis", type=choice(("0", "1", AUTO)),
    help="Contracted axis: 0 for columns as vectors, 1 for rows, auto for what names and shapes tell; by default auto "
    "for models with a config.json, else 0.",
)  # fmt: skip
@click.option(
    "--tensor", metavar="NAME", help="Tensor of IN, where that has several; NAME[3] is one slice of it."
)
@click.option(
    "--dequantize",
    is_flag=True,
    help="Decode quantized tensors of a .gguf file to float32, and compress these.",
)
@click.option(
    "--center/--no-center", "center", default=True, show_default=True,
    help="Keep the means of the parts of vectors apart, of all or of none.",
)  # fmt: skip
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", help="Text to keep in every part; repeatable."
)
@codec_options
@_refused
@cluster_option
@json_option
@common_options
@click.pass_context
def command(
    context: click.Context, /, action: str, sources: tuple[str, ...], output: str | None, force: bool,
    json_to: str | None,
    threads: int | None, quiet: bool, show_progress: bool | None, cluster: str | None, **choices: Any,
) -> None:  # fmt: skip
    """Run ``nqz set``."""
    for name in context.params.keys() - {"action", "sources"} - _ALL - _ONLY[action]:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            hint = "; nqz verify, which takes sets, has it" if (action, name) == ("check", "json_to") else ""
            raise UsageError(f"--{name.removesuffix('_to')}: is not for nqz set {action}{hint}")
    sources = expanded(sources)
    notices = Notices(quiet, show_progress)
    job = _Job(sources, output, force, json_to, notices, choices)
    with executor_of(cluster) as executor, workers(threads, executor=executor) as pool:
        {"create": job.create, "check": job.check, "concat": job.concat, "split": job.split}[action](pool)


@dataclass(frozen=True)
class _Job:
    """What is to be done with which files."""

    sources: Sequence[str]
    output: str | None
    force: bool
    json_to: str | None
    notices: Notices
    choices: dict[str, Any]

    def create(self, pool: Workers) -> None:
        """Make a set of a file, or of several."""
        c = self.choices
        options = self._options()
        check_options(options)
        target = self._target()
        with ExitStack() as stack:
            whole = [stack.enter_context(open_collection(path, container=False)) for path in self.sources]
            opened = [part.opened for one in whole for part in one.parts]
            wholes = [whole_of(one.contents, one.name, replace(options, config=one.config)) for one in whole]
            rows = cut_up(wholes, _parts(c["parts"]), c["along"])
            old = replaced_part_set(target) if self.force else None
            with (
                open_output(target, self.force, opened) as out,
                open_report(self.json_to, [target], self.force, opened) as told,
            ):

                def publish(made: PartSet) -> None:
                    out.access.pwrite(made.pack(), 0)
                    out.commit(len(made.pack()))

                made = create_set(rows, target, options, wholes[0].axis, pool, publish, old)
                before = set() if old is None else {part.file for part in old.parts}
                if left := before.difference(part.file for part in made.parts):
                    parts = f"{counted(len(left), 'part')} of the set that was there, such as {min(left)}"
                    self.notices.note(f"{parts}, stay: other sets may have them")
                told(lambda: self._report("create", [(target, len(made.pack()))], made))
        self._say(f"{', '.join(self.sources[:2])}{' …' * (len(self.sources) > 2)} -> {target}", made)

    def _options(self) -> EncodeOptions:
        c = self.choices
        keys = (
            "rate", "error", "seed", "center", "lattice", "states", "coding", "allocate", "kappa", "partner",
            "dequantize",
        )  # fmt: skip
        axis = c["axis"]
        return EncodeOptions(
            axis=int(axis) if axis in ("0", "1") else axis, tensors=[c["tensor"]] if c["tensor"] else (),
            metadata=metadata_of(c["metadata"]), window=window_of(c["window"]), **{key: c[key] for key in keys},
        )  # fmt: skip

    def check(self, pool: Workers) -> None:
        """Check sets."""
        for path in self.sources:
            with open_collection(path, container=True, sets=True) as collection:
                grid = as_set(collection, path)
                if collection.grid is None:
                    raise UsageError(f"{path}: is a container; nqz verify checks it")
                found = verify_set(collection, None, pool)
            raise_failures(found, collection.name, None)
            payload(f"{escape(collection.name)}: {_text(grid)}: ok\n")

    def concat(self, pool: Workers) -> None:
        """Make one set of several."""
        if self.output is None:
            raise UsageError("nqz set concat: name the new manifest, with -o")
        with ExitStack() as stack:
            opened = [
                stack.enter_context(open_collection(path, container=True, sets=True)) for path in self.sources
            ]
            sets = [(as_set(one, path), path) for one, path in zip(opened, self.sources, strict=True)]
            for one in opened:
                if one.grid is not None:
                    check_parts(one)
            made = concatenated(sets, self.output, self.choices["along"])
        self._write([(self._target(), made)], "concat")

    def split(self, pool: Workers) -> None:
        """Make a set for each part along an axis."""
        if len(self.sources) != 1:
            raise UsageError("nqz set split: takes one set")
        (path,) = self.sources
        stem = with_suffix(self.output or path, (SUFFIX,), "").rstrip(".")
        made = split(read_part_set(path), self.choices["along"])
        if self.output is not None:
            made = [concatenated([(one, path)], self.output, VECTORS) for one in made]
        self._write([(f"{stem}-{number}.{SUFFIX}", one) for number, one in enumerate(made)], "split")

    def _target(self) -> str:
        first = self.sources[0]
        if self.output is None and first == "-":
            raise UsageError("nqz set create: standard input has no name; name the manifest, with -o")
        first = first.rstrip("/")
        usual = with_suffix(first, READ, SUFFIX) if is_model(first) else default_output(first, READ, SUFFIX)
        target: str = local(self.output or usual)
        if suffix(target) != SUFFIX:
            raise UsageError(f"{target}: the manifest of a part set is written; name it .{SUFFIX}")
        return target

    def _write(self, made: Sequence[tuple[str, PartSet]], action: str) -> None:
        written = []
        for target, _ in made:
            if not self.force and exists(target):
                with open_output(target, False, []):
                    pass  # refuses it
        for target, one in made:
            text = one.pack()
            with open_output(target, self.force, []) as out:
                out.access.pwrite(text, 0)
                out.commit(len(text))
            written.append((target, len(text)))
            self._say(target, one)
        with open_report(self.json_to, [target for target, _ in made], self.force, []) as told:
            told(lambda: self._report(action, written, *(one for _, one in made)))

    def _report(self, action: str, written: Sequence[tuple[str, int]], *made: PartSet) -> dict[str, Any]:
        return {
            **head(f"set {action}", list(self.sources), written, []),
            "sets": [described(one) for one in made],
        }

    def _say(self, what: str, made: PartSet) -> None:
        self.notices.summary(f"{what}: {_text(made)}")


def _text(grid: PartSet) -> str:
    """A set in a few words."""
    rows, columns = grid.shape
    rate = 8.0 * grid.file_bytes / (rows * columns)
    parts = f"{len(grid.coordinates)}x{len(grid.vectors)} parts"
    size = counted(grid.file_bytes, "byte")
    return f"{shape_text(grid.shape)} {grid.dtype}, {parts}, {size}, {rate:.2f} bits per entry"


def _parts(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,8})[xX]([1-9][0-9]{0,8})", text)
    if found is None:
        raise UsageError(f"--parts {text[:60]!r}: KxJ is needed, such as 4x8")
    return int(found[1]), int(found[2])
