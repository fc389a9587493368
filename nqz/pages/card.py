"""The section of a model card that says what compression did, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from nqz._version import __version__
from nqz.ground.wording import counted
from nqz.pages.findings import Findings, findings
from nqz.pages.markup import shown
from nqz.pages.numbers import bits, grouped, percent, shape, size, times
from nqz.pages.table import MOST, chosen
from nqz.pages.verdict import Verdict, origin, product_verdict, verdict

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+.!|~$@:-])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def text(value: str) -> str:
    r"""A text that Markdown and HTML in it take as it is.

    Examples
    --------
    >>> print(text("a_b|<i>"))
    a\_b\|&lt;i&gt;
    """
    return "".join(_HTML.get(c, c) for c in _SPECIAL.sub(r"\\\1", value))


def card(facts: dict[str, Any]) -> str:
    """The section of what `nqz.commands.report.gather` found."""
    names = [shown(file["name"]) for file in facts["files"]]
    sides = [
        findings(file["name"], file["inspected"], facts["compared"])
        for file in facts["files"]
        if file["inspected"] is not None
    ]
    products = facts["products"]
    if products is None:
        parts = ["## Compression", *_opening(verdict(sides[0]), facts["command"]), *_side(sides[0])]
    else:
        parts = [
            "## Product",
            *_opening(product_verdict(names, products), facts["command"]),
            _products(products, names),
        ]
        for side in sides:
            parts += [f"### {text(shown(side.name))}", f"{text(verdict(side).sentence)}", *_side(side)]
    parts.append(
        "Errors are root mean squares: of products ‖AᵀB−Ĉ‖² over ‖Ā‖²‖B̄‖²/n with an unrelated B, of values ‖A−Â‖² over "
        f"‖Ā‖². Made by nqz {__version__}."
    )
    return "\n\n".join(parts) + "\n"


def _opening(top: Verdict, command: str) -> list[str]:
    code = [] if not command else [f"```sh\n{_code(command)}\n```"]
    return [f"**{text(top.sentence)}** {text(top.lead)}", *code]


def _code(command: str) -> str:
    """A command in a block of code, which nothing in it ends."""
    return shown(command, 1000).replace("```", "` ` `")


def _side(found: Findings) -> list[str]:
    totals, errors, rows = found.totals, found.products(), []
    rows.append(("size", f"{size(totals['bytes'])} ({grouped(totals['bytes'])} bytes)"))
    if totals["times_smaller"] is not None:
        rows.append(("smaller", f"{times(totals['times_smaller'])}, from {size(totals['source_bytes'])}"))
    rows.append(
        (
            "tensors",
            f"{totals['tensors']}: {totals['matrices']} compressed, {totals['exact']} exact, {totals['tied']} tied",
        )
    )
    if totals["rate"] is not None:
        rows.append(("bits per entry", bits(totals["rate"])))
    if errors is not None:
        what = "median" if found.whole is None else "parts"
        spread = f"{what}; {percent(errors[0])} to {percent(errors[2])}"
        rows.append(("products off", f"{percent(errors[1])} ({spread})"))
    if found.compared is not None and found.compared["totals"]["error"] is not None:
        rows.append(("values off", f"{percent(found.compared['totals']['error'])}, measured"))
    parts = [_table(("what", ""), rows), text(origin(found))]
    if found.marked:
        parts.append(
            "\n".join(
                f"- {text(shown(row.name))}: {'; '.join(text(mark.text) for mark in row.marks)}"
                for row in found.marked[:_REMARKS]
            )
        )
        if len(found.marked) > _REMARKS:
            parts.append(f"and {counted(len(found.marked) - _REMARKS, 'more tensor')} are marked below.")
    listed = chosen(found)
    more = "" if len(listed) == len(found.rows) else f", {MOST} of them"
    parts.append(
        f"<details><summary>{counted(len(found.rows), 'tensor')}{more}</summary>\n\n{_tensors(listed)}\n\n</details>"
    )
    return parts


_REMARKS = 20


def _tensors(rows: Sequence[Any]) -> str:
    head = ("tensor", "shape", "code", "bits", "bytes", "values off", "products off", "marks")
    return _table(
        head,
        (
            (
                text(shown(row.name)), shape(row.tensor["shape"]), text(row.code), bits(row.rate), size(row.bytes),
                percent(row.values), percent(row.product), ", ".join(mark.word for mark in row.marks),
            )
            for row in rows
        ),
    )  # fmt: skip


def _products(products: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    head = (text(names[0]), text(names[1]), "product", "bits", "expected off", "likely")
    rows = []
    for product in products:
        left, right = (text(shown(name or "array")) for name in product["names"])
        likely = " to ".join(percent(edge) for edge in product["band"])
        rates = " and ".join(bits(rate) for rate in product["rates"])
        rows.append((left, right, shape(product["shape"]), rates, percent(product["expected"]), likely))
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
