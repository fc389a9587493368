"""``nqz verify``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from nqz.cli.common import Notices, common_options, shape_text, shown
from nqz.cli.text import escape, payload, table
from nqz.commands.opening import open_file
from nqz.commands.verify import verify
from nqz.ground.errors import UsageError, VerifyError
from nqz.ground.sources import listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted

_STAGES = (("reading", 0.3), ("comparing", 0.7))


@click.command("verify", short_help="Check a container, and how close it is to its original.")
@click.argument("source", metavar="FILE")
@click.option("--against", metavar="ORIGINAL", help=f"Compare with what it was made from, a {listed()} file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@common_options
def command(
    source: str,
    against: str | None,
    as_json: bool,
    threads: int | None,
    quiet: bool,
    show_progress: bool | None,
) -> None:
    """Check every checksum of the container FILE ("-" for standard input), and decode every tensor.

    With --against, compare the error of every matrix with its prediction. The exit status is 8 if they differ
    by more than 2 % plus 4 standard errors, or if ORIGINAL is another matrix.
    """
    notices = Notices(quiet, show_progress)
    if source == "-" and against == "-":
        raise UsageError("standard input can be one of the two inputs, not both")
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        reader = stack.enter_context(open_file(source, container=True)).content
        original = None
        if against is not None:
            original = stack.enter_context(open_file(against, container=False)).content
        infos = reader.manifest.tensors
        sizes = {None: reader.size, **{info.name: info.nbytes for info in infos}}
        compared = infos if original is not None else ()
        stages = {info.name: _STAGES for info in compared if info.kind == "matrix"}
        with notices.progress("verifying", sizes, stages) as progress:
            found = verify(reader, original, pool, progress)
        if as_json:
            payload(json.dumps({**found, "against": against}, indent=2, allow_nan=False) + "\n")
        elif original is None:
            what = counted(len(found["tensors"]), "tensor")
            payload(f"{escape(reader.name)}: {what}, {counted(found['file_bytes'], 'byte')}: ok\n")
        else:
            payload(table(_HEADINGS, map(_row, found["tensors"])))
        bad = [tensor for tensor in found["tensors"] if not tensor["ok"]]
        if bad:
            what = f"tensor {bad[0]['name']!r}: " if bad[0]["name"] else ""
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise VerifyError(
                f"{reader.name} against {shown(str(against), '<stdin>')}: {what}{bad[0]['problem']}{more}"
            )


_HEADINGS = ["tensor", "shape", "kind", "measured", "predicted", "allowed", "bytes", "result"]


def _row(tensor: dict[str, Any]) -> list[str]:
    start = [tensor["name"] or "array", shape_text(tensor["shape"]), tensor["kind"]]
    same = "same" if tensor["same_bytes"] else "other"
    result = "ok" if tensor["ok"] else "OFF"
    if tensor["kind"] == "exact":
        return [*start, "", "", "", same, result]
    measured = "not finite" if tensor["measured"] is None else f"{tensor['measured']:.6g}"
    return [*start, measured, f"{tensor['predicted']:.6g}", f"±{100 * tensor['allowed']:.2g} %", same, result]
