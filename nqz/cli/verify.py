"""``nqz verify``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import click

from nqz.cli.cluster import cluster_option, executor_of
from nqz.cli.common import (
    RECONSTRUCTION,
    RMS,
    Notices,
    bytes_text,
    common_options,
    rms_cell,
    shape_text,
    shown,
)
from nqz.cli.parameters import Command
from nqz.cli.progress import Progress, Silent
from nqz.cli.text import Row, escape, payload, report, table
from nqz.commands.opening import open_collection
from nqz.commands.verify import check_limit, failures, limit_errors
from nqz.commands.verify_model import verify_parts
from nqz.format.reader import ContainerReader
from nqz.ground.errors import NqzError, UsageError
from nqz.ground.sources import listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.models.collection import Collection

_SEVERAL = "what a container was made from follows --against; for several containers: {each}"
_STAGES = (("reading", 0.3), ("comparing", 0.7))


def max_error_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Option of commands that measure errors: --max-error."""
    return click.option(
        "--max-error", type=float, metavar="E",
        help="Fail, with status 8, if the error of a matrix as it is measured is above E, relative to its energy: "
        "0.01 is 10 per cent rms. Beside the prediction, which counts as ever.",
    )(function)  # fmt: skip


@click.command(
    "verify",
    cls=Command,
    several=_SEVERAL,
)
@click.argument("source", metavar="FILE")
@click.option("--against", metavar="ORIGINAL", help=f"Compare with what it was made from, a {listed()} file.")
@max_error_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@cluster_option
@common_options
def command(
    source: str,
    against: str | None,
    max_error: float | None,
    as_json: bool,
    cluster: str | None,
    threads: int | None,
    quiet: bool,
    show_progress: bool | None,
) -> None:
    """Check every checksum of FILE, a container ("-" for standard input), a set or a model, and decode every tensor.

    With --against, compare the error of every matrix with its prediction. The exit status is 8 if one is larger
    by more than 2 % plus 4 standard errors, or than E with --max-error E, or if ORIGINAL holds another matrix.
    Every tensor is checked, and all that fail are listed; one that is damaged makes the status 5. Of models in
    folders, the index and what was copied are compared too; without --against nothing tells what they should be.
    """
    notices = Notices(quiet, show_progress)
    check_limit(max_error, against is not None)
    if source == "-" and against == "-":
        raise UsageError("standard input can be one of the two inputs, not both")
    try:
        with ExitStack() as stack:
            executor = stack.enter_context(executor_of(cluster))
            pool = stack.enter_context(workers(threads, executor=executor))
            collection = stack.enter_context(open_collection(source, container=True, sets=True))
            original = None
            if against is not None:
                original = stack.enter_context(open_collection(against, container=False))
            compared = original is not None
            with verify_progress("verifying", collection, compared, notices) as progress:
                found = verify_parts(collection, original, pool, progress)
        limit_errors(found, max_error)
    except NqzError as error:
        if as_json and not isinstance(error, UsageError):
            payload(_json({"file_bytes": None, "ok": False, "problem": str(error), "tensors": []}, against))
        raise
    other = None if against is None else shown(against, "<stdin>")
    if as_json:
        payload(_json(found, against))
    elif original is not None:
        for lines in table(_HEADINGS, lambda: map(_row, found["tensors"])):
            payload(lines)
        payload(f"\n{_UNITS}\n")
        if found.get("files"):
            payload(f"{_files(found['files'])}\n")
    elif not failures(found, collection.name, other):
        what = counted(len(found["tensors"]), "tensor")
        size = bytes_text(len(collection.parts), found["file_bytes"])
        payload(f"{escape(collection.name)}: {what}, {size}: ok\n")
    raise_failures(found, collection.name, other)


def raise_failures(found: dict[str, Any], name: str, against: str | None) -> None:
    """Raise the worst of the errors that the result of `verify` stands for, if any, once the others are reported."""
    raise_worst(failures(found, name, against))


def raise_worst(errors: Sequence[NqzError]) -> None:
    """Raise the last of some errors, if any, once the others are reported."""
    if errors:
        for one in errors[:-1][:_LISTED]:
            report(f"nqz: error: {escape(str(one))}")
        if len(errors) > _LISTED + 1:
            report(f"nqz: error: {counted(len(errors) - _LISTED - 1, 'more tensor')}, see --json")
        raise errors[-1]


def verify_progress(what: str, collection: Collection, compared: bool, notices: Notices) -> Progress | Silent:
    """The progress of `verify`, with an original to compare with or without one."""
    readers: list[ContainerReader] = collection.contents
    infos = [info for reader in readers for info in reader.manifest.tensors]
    whole = sum(reader.size for reader in readers)
    sizes: dict[str | None, int] = {None: whole, **{info.name: info.nbytes for info in infos}}
    if collection.grid is not None:  # of one matrix, whose parts have the names of their files
        sizes = {
            None: whole,
            **{part.name: part.tensors[0].nbytes for part in collection.parts if part.tensors},
        }
    stages = {info.name: _STAGES for info in infos if info.kind == "matrix"} if compared else {}
    files = {info.name: reader.name for reader in readers for info in reader.manifest.tensors}
    return notices.progress(what, sizes, stages, {None: collection.name, **files})


def _json(found: dict[str, Any], against: str | None) -> str:
    return json.dumps({**found, "against": against and shown(against, "-")}, indent=2, allow_nan=False) + "\n"


def _files(files: Sequence[dict[str, Any]]) -> str:
    good = sum(file["problem"] is None for file in files)
    same = "all as in the original" if good == len(files) else f"{good} of them as in the original"
    return f"index and copies: {counted(len(files), 'file')}, {same}"


_LISTED = 20
_UNITS = f"errors relative to {RECONSTRUCTION}; {RMS}"
_HEADINGS = ["tensor", "shape", "kind", "measured", "rms", "predicted", "rms", "allowed", "bytes", "result"]


def _row(tensor: dict[str, Any]) -> Row:
    start = [tensor["name"] or "array", shape_text(tensor["shape"]), tensor["kind"]]
    same = {None: "", True: "same", False: "other"}[tensor["same_bytes"]]
    result = (
        "ok" if tensor["ok"] else "damaged" if tensor["damaged"] else "newer" if tensor["newer"] else "OFF"
    )
    if tensor["predicted"] is None:
        return (*start, *[""] * 5, same, result)
    measured = "not finite" if tensor["measured"] is None else f"{tensor['measured']:.6g}"
    return (
        *start, measured, rms_cell(tensor["measured"]), f"{tensor['predicted']:.6g}",
        rms_cell(tensor["predicted"]), f"+{100 * tensor['allowed']:.2g} %", same, result,
    )  # fmt: skip
