"""``nqz matmul``."""

from __future__ import annotations

from typing import Any

import click

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
from nqz.cli.reports import head, multiplied, open_report
from nqz.commands.factors import Coded
from nqz.commands.matmul import MatmulOptions, multiply
from nqz.commands.opening import open_two
from nqz.commands.pairs import pair_up
from nqz.ground.errors import UsageError
from nqz.ground.sources import SEVERAL, SOURCES, listed
from nqz.ground.threads import workers
from nqz.stages.estimate import ESTIMATORS

_STAGES = (("decoding", 0.6), ("computing", 0.4))


_HELP = f"""Estimate AᵀB: the products of all vectors of A with all vectors of B, straight from two containers.

Either A or B may be a plain {listed()} file, or a model: its folder or its index. Tensors of equal name are
multiplied, into a {listed(SEVERAL)} file, where there are several. A matrix that a container carries exactly is
multiplied with one that is compressed.
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
@json_option
@common_options
def command(
    a: str, b: str, output: str | None, force: bool, axis_a: str | None, axis_b: str | None,
    json_to: str | None,
    tensor_a: str | None, tensor_b: str | None,
    threads: int | None,
    quiet: bool, show_progress: bool | None, **choices: Any,
) -> None:  # fmt: skip
    """Run ``nqz matmul``."""
    notices = Notices(quiet, show_progress)
    target = "-" if output is None else output
    options = MatmulOptions(**choices)
    with workers(threads) as pool, open_two(a, b) as (left, right):
        axes = [None if axis is None else int(axis) for axis in (axis_a, axis_b)]
        pairs = pair_up(left, right, tensor_a, tensor_b, *axes)
        for place, option in enumerate(("--axis-a", "--axis-b")):
            coded = [side for pair in pairs if isinstance(side := (pair.a, pair.b)[place], Coded)]
            if axes[place] is not None and coded:
                raise UsageError(
                    f"{option}: {coded[0].where} is compressed; its axis was chosen by encode --axis"
                )
        kind = kind_of(target, "npy" if len(pairs) == 1 else "safetensors")
        if len(pairs) > 1 and (SOURCES[kind].alone or output is None):
            raise UsageError(
                f"{len(pairs)} pairs of tensors: give -o OUT.safetensors, or choose by --tensor-a, --tensor-b"
            )
        # the operands' bytes, an equal part for every pair: what `multiply` reports is shares of the whole
        total = sum(side.nbytes for pair in pairs for side in (pair.a, pair.b))
        sizes = {pair.name: total / len(pairs) for pair in pairs}
        stages = dict.fromkeys(sizes, _STAGES)
        inputs = [part.opened for part in (*left.parts, *right.parts)]
        with (
            open_output(target, force, inputs) as out,
            open_report(json_to, [target], force, inputs) as told,
            notices.progress("multiplying", sizes, stages, f"{left.name} {right.name}") as progress,
        ):
            shares = progress and (lambda name, share: progress(name, share * total))
            report = multiply(pairs, out.access, kind, options, pool, shares)
            out.commit()
            written, names = [(target, out.access.size)], [pair.name for pair in pairs]
            found = {"estimator": options.estimator, "products": multiplied(names, report)}
            told(lambda: {**head("matmul", [a, b], written, report["notes"]), **found})
    for note in report["notes"]:
        notices.note(note)
    rates = " and ".join(span(side) for side in zip(*report["rates"], strict=True))
    what = " x ".join(map(str, report["shapes"][0])) or "1" if len(pairs) == 1 else f"{len(pairs)} products"
    notices.summary(
        f"{what} from {rates} bits per entry: expected error {errors_text(report['errors'], PRODUCT)}"
    )
