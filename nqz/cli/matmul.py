"""``nqz matmul``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

from nqz.cli.cluster import cluster_option, executor_of
from nqz.cli.common import (
    PRODUCT,
    Notices,
    common_options,
    errors_text,
    json_option,
    kind_of,
    open_output,
    output_options,
    span,
)
from nqz.cli.parameters import Command, choice
from nqz.cli.reports import head, multiplied, open_report, place
from nqz.commands.matmul import PROMISED, MatmulOptions
from nqz.commands.multiply import Target, multiply
from nqz.commands.opening import open_two
from nqz.commands.pairs import pair_up
from nqz.files.output import publish_together
from nqz.ground.errors import UsageError
from nqz.ground.sources import SEVERAL, SOURCES, listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.stages.estimate import ESTIMATORS

_STAGES = (("decoding", 0.6), ("computing", 0.4))


_HELP = f"""Estimate AᵀB: the products of all vectors of A with all vectors of B, straight from two containers.

Either A or B may be a plain {listed()} file, or a model: its folder or its index. Tensors of equal name are
multiplied, into a {listed(SEVERAL)} file, where there are several. A matrix that a container carries exactly is
multiplied with one that is compressed. --sigma writes error bars: the standard deviation of every entry with unbiased;
with auto and mmse, which shrink what is uncertain, the root mean square error of entries alike; NaN for entries of
vectors too quiet to be coded.
"""


@click.command(
    "matmul",
    cls=Command,
    several="one product at a time",
    help=_HELP,
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@output_options(f"File to write, {listed(SOURCES)}; by default .npy to standard output.")
@click.option(
    "--estimator", type=choice(ESTIMATORS), default="auto", show_default=True,
    help="auto: the least error, by what the two show; mmse: the same for unrelated ones; unbiased: right on average.",
)  # fmt: skip
@click.option(
    "--sigma", metavar="OUT",
    help=f"Write the standard deviation of every entry as well, {listed(SOURCES)}.",
)  # fmt: skip
@click.option("--tensor-a", metavar="NAME", help="Tensor of A, where it has several: its name, no pattern.")
@click.option("--tensor-b", metavar="NAME", help="Tensor of B, where it has several: its name, no pattern.")
@click.option(
    "--axis-a",
    type=choice("01"),
    help="Contracted axis of A where that is not compressed; 0 by default.",
)
@click.option(
    "--axis-b",
    type=choice("01"),
    help="Contracted axis of B where that is not compressed; 0 by default.",
)
@click.option(
    "--dtype",
    type=choice(["float32", "float64"]),
    help="Type of the product; by default that of the operands.",
)
@cluster_option
@json_option
@common_options
def command(
    a: str, b: str, output: str | None, force: bool, axis_a: str | None, axis_b: str | None,
    json_to: str | None, sigma: str | None, cluster: str | None,
    tensor_a: str | None, tensor_b: str | None,
    threads: int | None,
    quiet: bool, show_progress: bool | None, **choices: Any,
) -> None:  # fmt: skip
    """Run ``nqz matmul``."""
    notices = Notices(quiet, show_progress)
    target = "-" if output is None else output
    options = MatmulOptions(**choices)
    with (
        executor_of(cluster) as executor,
        workers(threads, executor=executor) as pool,
        open_two(a, b) as (left, right),
    ):
        axes = [None if axis is None else int(axis) for axis in (axis_a, axis_b)]
        pairs = pair_up(left, right, tensor_a, tensor_b, *axes)
        kind = kind_of(target, "npy" if len(pairs) == 1 else "safetensors")
        if len(pairs) > 1 and (SOURCES[kind].alone or output is None):
            raise UsageError(
                f"{len(pairs)} pairs of tensors: give -o OUT.safetensors, or choose by --tensor-a, --tensor-b"
            )
        sigma_kind = None if sigma is None else _sigma_kind(sigma, target, kind, len(pairs))
        # the operands' bytes, an equal part for every pair: what `multiply` reports is shares of the whole
        total = sum(side.nbytes for pair in pairs for side in (pair.a, pair.b))
        sizes = {pair.name: total / len(pairs) for pair in pairs}
        stages = dict.fromkeys(sizes, _STAGES)
        inputs = [part.opened for part in (*left.parts, *right.parts)]
        with (
            open_output(target, force, inputs) as out,
            nullcontext() if sigma is None else open_output(sigma, force, inputs) as beside,
            open_report(json_to, [target] if sigma is None else [target, sigma], force, inputs) as told,
            notices.progress("multiplying", sizes, stages, f"{left.name} {right.name}") as progress,
        ):
            shares = progress and (lambda name, share: progress(name, share * total))
            deviations = None
            if beside is not None and sigma_kind is not None:
                deviations = Target(beside.access, sigma_kind)
            report = multiply(pairs, out.access, kind, options, pool, shares, deviations)
            outputs = [out] if beside is None else [out, beside]
            publish_together(outputs)
            written = [(target, out.access.size)]
            if sigma is not None and beside is not None:
                written.append((sigma, beside.access.size))
            names = [pair.name for pair in pairs]
            found = {"estimator": options.estimator, "products": multiplied(names, report)}
            said = [*report["notes"], *report["warnings"]]
            told(lambda: {**head("matmul", [a, b], written, said), **found})
    for note in report["notes"]:
        notices.note(note)
    for warning in report["warnings"]:
        notices.warn(warning)
    rates = " and ".join(span(side) for side in zip(*report["rates"], strict=True))
    what = " x ".join(map(str, report["shapes"][0])) or "1" if len(pairs) == 1 else f"{len(pairs)} products"
    bars = "" if sigma is None else f"; {_sigma_text(report['sigmas'])}"
    expected = f"{errors_text(report['errors'], PRODUCT)}{_band_text(report['errors'], report['bands'])}"
    notices.summary(f"{what} from {rates} bits per entry: expected error {expected}{bars}")


def _sigma_kind(sigma: str, target: str, kind: str, products: int) -> str:
    """Format of the file of standard deviations, from its suffix."""
    if not sigma:
        raise UsageError("--sigma '': the name of the output is empty")
    if place(sigma) == place(target):
        where = "standard output" if place(sigma) == "-" else target
        raise UsageError(
            f"--sigma: {where} carries the product; name another file, as in --sigma sigma.{kind}"
        )
    found = kind_of(sigma, kind)
    if products > 1 and SOURCES[found].alone:
        raise UsageError(f"--sigma {sigma}: {products} pairs of tensors: give --sigma OUT.safetensors")
    return found


def _band_text(errors: list[float], bands: list[tuple[float, float]]) -> str:
    """Between what expected errors are, where they are known to no better than what is promised of all."""
    wide = [
        (error, band)
        for error, band in zip(errors, bands, strict=True)
        if band[1] > error * (1.0 + 1.01 * PROMISED) or band[0] < error * (1.0 - 1.01 * PROMISED)
    ]
    if not wide:
        return ""
    if len(errors) == 1:
        return f", likely {wide[0][1][0]:.3g} to {wide[0][1][1]:.3g}"
    off = max(max(band[1] / error - 1.0, 1.0 - band[0] / error) for error, band in wide)
    return f", known to {100.0 * PROMISED:g} % but for {len(wide)} of them, known to {100.0 * off:.2g} %"


def _sigma_text(sigmas: list[dict[str, Any]]) -> str:
    """The standard deviations in a few words, and how many entries have none."""
    known = [one[key] for one in sigmas for key in ("least", "greatest") if one[key] is not None]
    text = f"standard deviations {span(known)}"
    unknown = sum(one["unknown"] for one in sigmas)
    if not unknown:
        return text
    bound = max(one["bound"] for one in sigmas if one["bound"] is not None)
    return f"{text}, unknown (NaN) of {counted(unknown, 'entry')}, off by {bound:.3g} at most"
