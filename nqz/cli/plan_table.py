"""``nqz encode --dry-run``: what would become of every tensor, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nqz.cli.common import PRODUCT, RMS, Notices, bytes_text, rms_cell, shape_text
from nqz.cli.reports import head, open_report
from nqz.cli.text import Row, escape, payload, table
from nqz.commands.opening import open_collection
from nqz.commands.options import EncodeOptions
from nqz.commands.planning import ModelPlan, PlannedTensor, plan_collection
from nqz.ground.threads import workers
from nqz.ground.urls import base
from nqz.ground.wording import counted
from nqz.stages.partner import Partner, in_words

_HEADINGS = ["tensor", "shape", "dtype", "what", "axis", "rule", "bits", "‖AᵀB−Ĉ‖²", "rms", "bytes"]


def show_plan(
    sources: Sequence[str],
    output: str | None,
    options: EncodeOptions,
    threads: int | None,
    notices: Notices,
    json_to: str | None,
) -> None:
    """Plan how a file or a model would be encoded, and print that; nothing is written but a report in a file."""
    with workers(threads) as pool, open_collection(sources, container=False) as collection:
        sizes = {tensor.name: tensor.nbytes for tensor in collection.tensors}
        inputs = [part.opened for part in collection.parts]
        with (
            open_report(json_to, [], False, inputs) as told,
            notices.progress("planning", sizes) as progress,
        ):
            plan = plan_collection(collection, options, pool, progress)
            if collection.lone and output not in (None, "-"):
                plan = replace(plan, files=[(base(output), size) for _, size in plan.files])
            told(lambda: {**head("encode --dry-run", sources, [], []), **plan.values()})
    if json_to is None:
        payload("".join(_text(plan, options.partner)))


def _text(plan: ModelPlan, partner: Partner) -> Iterator[str]:
    """The plan for people."""
    yield from table(_HEADINGS, lambda: map(_row, plan.tensors))
    yield f"\n{_totals(plan)}\n"
    if plan.mean_error is not None:
        yield f"predicted errors, relative to {PRODUCT}, B unrelated and {in_words(partner)}; {RMS}\n"


def _row(one: PlannedTensor) -> Row:
    what = one.kind if not one.role else f"{one.kind}, {one.role}"
    if one.small:
        what = "exact (smaller)"
    if one.same_as is not None:
        what = f"as {one.same_as}"
    return (
        one.name or "array",
        shape_text(one.shape),
        one.dtype,
        what,
        "" if one.axis is None else str(one.axis),
        " ".join(one.rules),
        "" if one.rate is None else f"{one.rate:.3f}",
        "" if one.error is None else f"{one.error:.4g}",
        rms_cell(one.error),
        str(one.nbytes),
    )


def _totals(plan: ModelPlan) -> str:
    """What all of it comes to."""
    found = plan.totals
    parts = [f"{found['matrices']} of {counted(found['tensors'], 'tensor')} compressed"]
    if found["tied"]:
        parts.append(f"{found['tied']} the same as another")
    if found["left_out"]:
        parts.append(f"{found['left_out']} left out")
    if found["rate"] is not None:
        parts += [counted(found["entries"], "entry"), f"{found['rate']:.3f} bits per entry"]
    size = sum(size for _, size in plan.files)
    parts.append(bytes_text(len(plan.files), size, plan.other_bytes))
    parts.append(f"{found['smaller']:.1f}x smaller" if found["smaller"] > 1 else "not smaller")
    if plan.mean_error is not None:
        parts.append(
            f"mean error {plan.mean_error:.4g} ({rms_cell(plan.mean_error)} % rms), weighted by {plan.weights}"
        )
    return escape(", ".join(parts))
