"""The page: it stands alone, asks for nothing from outside, and says so in its content security policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pkgutil import get_data
from typing import Any

from nqz._version import __version__
from nqz.ground.wording import counted
from nqz.pages.findings import Findings, findings
from nqz.pages.limits import SMALL_HEIGHT, SMALL_WIDTH, chart, curve_name, small_curve
from nqz.pages.markup import Markup, element, joined, shown
from nqz.pages.numbers import bits, grouped, percent, shape, size, times
from nqz.pages.table import MOST, chosen, table
from nqz.pages.treemap import legend, told, treemap
from nqz.pages.verdict import Verdict, origin, product_verdict, verdict
from nqz.stages.partner import EQUAL, in_words


def page(facts: dict[str, Any]) -> str:
    """The page of what `nqz.commands.report.gather` found."""
    sides = [
        None if file["inspected"] is None else findings(file["name"], file["inspected"], facts["compared"])
        for file in facts["files"]
    ]
    names = [shown(file["name"]) for file in facts["files"]]
    found = [side for side in sides if side is not None]
    products = facts["products"]
    top = verdict(found[0]) if products is None else product_verdict(names, products)
    body = [_top(" × ".join(names), top, facts["command"])]
    if products is None:
        body += [*_summary(found[0]), _side(found[0], 0, titled=False)]
    else:
        body += [_products(products, names), *(_side(side, k, titled=True) for k, side in enumerate(found))]
    title = f"{' × '.join(names)}: {top.sentence}"
    return _document(title, joined(_definitions(found), element("main", None, *body, _footer())))


_MANY = 5
"""Rows of a table that are worth a filter."""


@lru_cache(maxsize=2)
def _inline(name: str) -> str:
    """A file of this package, as it stands in the page."""
    data = get_data("nqz.pages", name)  # importlib.resources imports more while it reads
    assert data is not None
    return data.decode().strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _document(title: str, body: Markup) -> str:
    style, script = _inline("page.css"), _inline("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = [
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "referrer", "content": "no-referrer"}),
        element("meta", {"name": "generator", "content": f"nqz {__version__}"}),
        element("link", {"rel": "icon", "href": "data:,"}),
        element("title", None, title),
        element("style", None, Markup(style)),
    ]
    document = [
        element("head", None, *head),
        element("body", None, body, element("script", None, Markup(script))),
    ]
    return f"<!DOCTYPE html>\n{element('html', {'lang': 'en'}, *document)}\n"


def _top(name: str, top: Verdict, command: str) -> Markup:
    bar = element(
        "div", {"class": "top"}, element("h1", None, element("bdi", None, name)),
        element("button", {"id": "scheme", "title": "Colors"}, "Dark"),
    )  # fmt: skip
    parts = [
        element("span", {"class": f"state {top.state}".strip()}, top.label),
        element("p", {"class": "verdict"}, top.sentence),
        element("p", {"class": "lead"}, top.lead),
        element("code", {"class": "command"}, shown(command, 1000)) if command else "",
    ]
    return element("header", None, bar, *parts)


def _summary(found: Findings) -> list[Markup]:
    """What there is to say of a container as a whole, below the verdict."""
    return [_figures(found), element("p", {"class": "origin"}, origin(found)), _remarkable(found)]


def _figures(found: Findings) -> Markup:
    totals, errors = found.totals, found.products()
    boxes: list[tuple[str, str, str]] = []
    ratio = totals["times_smaller"]
    boxes.append(("Size", size(totals["bytes"]), f"{grouped(totals['bytes'])} bytes"))
    if ratio is not None:
        boxes.append(("Smaller", times(ratio), f"from {size(totals['source_bytes'])}"))
    if totals["rate"] is not None:
        boxes.append(("Bits per entry", bits(totals["rate"]), f"{grouped(totals['entries'])} entries"))
    if errors is not None:
        boxes.append(
            (
                "Products off",
                percent(errors[1]),
                f"root mean square{', median' * (len(found.matrices) > 1 and found.whole is None)}",
            )
        )
    if found.compared is not None and found.compared["totals"]["error"] is not None:
        boxes.append(("Values off", percent(found.compared["totals"]["error"]), "root mean square, measured"))
    kinds = [
        text
        for key, text in (("matrices", "compressed"), ("exact", "exact"), ("tied", "tied"))
        for text in ([f"{totals[key]} {text}"] if totals[key] else [])
    ]
    boxes.append(("Tensors", grouped(totals["tensors"]), ", ".join(kinds)))
    drawn = [
        element(
            "div", None, element("dt", None, title), element("dd", None, value, element("small", None, about))
        )
        for title, value, about in boxes
    ]
    return element("dl", {"class": "figures"}, *drawn)


def _remarkable(found: Findings) -> Markup:
    """What is remarkable, one line for each kind."""
    kinds: dict[str, list[tuple[str, str, bool]]] = {}
    for row in found.rows:
        for mark in row.marks:
            kinds.setdefault(mark.word, []).append((row.name, mark.text, mark.serious))
    lines, bad = [], False
    for several in sorted(kinds.values(), key=lambda several: not several[0][2]):
        (name, text, serious), more = several[0], len(several) - 1
        bad = bad or serious
        rest = f" (and {counted(more, 'more tensor')})" if more else ""
        lines.append(
            element(
                "li",
                None,
                element("bdi", None, shown(name, 80)),
                f": {text}{rest}",
            )
        )
    if found.compared is not None:
        if found.compared["problem"]:
            bad, line = True, element("li", None, shown(str(found.compared["problem"]), 300))
            lines.insert(0, line)
        for file in found.compared.get("files", ()):
            if file["problem"]:
                bad = True
                lines.insert(0, element("li", None, f"{shown(file['name'])}: {shown(file['problem'], 300)}"))
        left = found.compared["left_out"]
        if left:
            verb = "is" if len(left) == 1 else "are"
            lines.append(
                element(
                    "li",
                    None,
                    f"{counted(len(left), 'tensor')} {verb} in the original only, such as {shown(left[0], 80)}",
                )
            )
    if not lines:
        return Markup("")
    return element("ul", {"class": "remarkable bad" if bad else "remarkable"}, *lines)


def _side(found: Findings, number: int, titled: bool) -> Markup:
    """All that is shown of the tensors of a container."""
    prefix = "abc"[number]
    parts: list[Markup] = []
    if titled:
        parts += [
            element("h2", None, shown(found.name)),
            element("p", None, verdict(found).sentence),
            *_summary(found),
        ]
    if len(found.rows) > 1:
        parts.append(_bytes(found, prefix))
    drawn = chart(chosen(found), found.partners, prefix)
    if drawn is not None:
        parts.append(_limit(found, drawn))
    parts.append(_table(found, prefix))
    return element("div", {"class": "side titled" if titled else "side"}, *parts)


def _bytes(found: Findings, prefix: str) -> Markup:
    about = f"Each area is a tensor and its bytes; {told(chosen(found))}"
    return element(
        "section", None, element("h2", None, "Bytes and errors"), element("p", None, about),
        treemap(chosen(found), prefix), legend(),
    )  # fmt: skip


def _limit(found: Findings, drawn: Markup) -> Markup:
    partner = found.partners[0]
    curve = curve_name(partner)
    about = (
        f"Error of products against bits per entry. No method comes below {curve} on Gaussian matrices whose vectors "
        "are alike; where norms differ, bits go where they are worth most, and points may lie below it."
    )
    if partner != EQUAL:
        about += f" The partner is {in_words(partner)}."
    return element(
        "section", None, element("h2", None, "On the limit"), element("p", None, about), drawn,
    )  # fmt: skip


def _table(found: Findings, prefix: str) -> Markup:
    rows = chosen(found)
    about = "Root mean square errors: of values relative to the matrix, of products to those of unrelated vectors."
    if len(rows) < len(found.rows):
        about += (
            f" Of {grouped(len(found.rows))} tensors the remarkable ones and the largest are listed, {MOST} in all; "
            "nqz inspect has the others."
        )
    parts = [element("h2", None, "Tensors"), element("p", None, about)]
    if len(rows) >= _MANY:
        parts.append(_tools(found, rows))
    parts.append(table(found, prefix, f"{prefix}g"))
    return element("section", None, *parts)


def _tools(found: Findings, rows: Sequence[Any]) -> Markup:
    kinds = [("all", "All")]
    present = {row.tensor["kind"] if row.tensor["same_as"] is None else "tied" for row in rows}
    kinds += [
        (kind, title)
        for kind, title in (("matrix", "Matrices"), ("exact", "Exact"), ("tied", "Tied"))
        if kind in present and len(present) > 1
    ]
    if found.marked:
        kinds.append(("marked", f"Marked {len(found.marked)}"))
    buttons = [
        element("button", {"data-kind": kind, "aria-pressed": str(kind == "all").lower()}, title)
        for kind, title in kinds
    ]
    return element(
        "div", {"class": "tools"},
        element("input", {"type": "search", "placeholder": "Filter by name", "aria-label": "Filter by name"}),
        element("div", {"class": "kinds"}, *buttons), element("output", None),
    )  # fmt: skip


def _products(products: Sequence[dict[str, Any]], names: Sequence[str]) -> Markup:
    heads = [f"Tensor of {names[0]}", f"Tensor of {names[1]}", "Product", "Bits", "Expected off", "Likely"]
    rows = []
    for product in products:
        low, high = product["band"]
        same = (
            element("span", {"class": "tags"}, element("span", {"class": "tag"}, "one matrix"))
            if product["same"]
            else ""
        )
        left, right = (element("bdi", None, shown(name or "array")) for name in product["names"])
        cells = [
            (None, left), (None, joined(right, same)), ("n w", shape(product["shape"])),
            ("n", " · ".join(bits(rate) for rate in product["rates"])), ("n", percent(product["expected"])),
            ("n w", f"{percent(low)} – {percent(high)}"),
        ]  # fmt: skip
        rows.append(element("tr", None, *(element("td", {"class": style}, text) for style, text in cells)))
    styles = [None, None, "n w", "n", "n", "n w"]
    head = element(
        "tr",
        None,
        *(element("th", {"class": style}, title) for style, title in zip(styles, heads, strict=True)),
    )
    about = "What AᵀB is expected to be off by, root mean square, relative to inner products of unrelated vectors."
    return element(
        "section", {"class": "products"}, element("h2", None, "Product"), element("p", None, about),
        element("table", None, element("thead", None, head), element("tbody", None, *rows)),
    )  # fmt: skip


def _definitions(found: Sequence[Findings]) -> Markup:
    """The limits that small drawings use."""
    symbols = [
        small_curve(side.partners[0], f"{'abc'[number]}g")
        for number, side in enumerate(found)
        if side.partners
    ]
    if not symbols:
        return Markup("")
    box = {"class": "defs", "viewBox": f"0 0 {SMALL_WIDTH} {SMALL_HEIGHT}", "aria-hidden": "true"}
    return element("svg", box, *symbols)


_NOTES = (
    (
        "Products off: the root of E‖AᵀB−Ĉ‖² over ‖Ā‖²‖B̄‖²/n, for an unrelated B that was coded as the matrix "
        "expects. Values off: the root of ‖A−Â‖² over ‖Ā‖². Bars over letters: without the means of vectors."
    ),
    (
        "Marked: errors far over the median, bits that are unused, vectors too quiet to be coded or far louder than "
        "the rest, much that is carried exactly or is no entries, and whatever is wrong."
    ),
    f"Made by nqz {__version__} from what nqz inspect --json says. The page asks for nothing from outside.",
)


def _footer() -> Markup:
    return element("footer", None, *(element("p", None, text) for text in _NOTES))
