"""A row for each tensor, and what unfolds below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nqz.pages.findings import Findings, Row
from nqz.pages.limits import small_chart
from nqz.pages.markup import Markup, element, joined, shown
from nqz.pages.numbers import bits, grouped, percent, plain, shape, share, size
from nqz.stages.partner import EQUAL, in_words

MOST = 1000
"""Rows of a page. Of more tensors the remarkable ones are listed, and the largest."""

_PARTS = ("chunks", "norms", "means", "gains", "header")


class _Column(NamedTuple):
    """A heading, what it stands for, whether numbers are in it, and whether only wide windows have room for it."""

    title: str
    about: str
    number: bool = True
    wide: bool = False


def _columns(measured: bool) -> list[_Column]:
    return [
        _Column("Tensor", "name, as in the container", number=False),
        _Column("Shape", "entries along each dimension", wide=True),
        _Column("Code", "lattice and coding", number=False, wide=True),
        _Column("Bits", "per entry, everything in the file counted"),
        _Column("Bytes", "in the container"),
        _Column("Values off", f"root mean square, {'measured' if measured else 'predicted'}", wide=True),
        _Column("Products off", "root mean square, predicted for unrelated matrices"),
        _Column("Over limit", "bits per entry over the least that its product error needs", wide=True),
    ]


def chosen(found: Findings) -> list[Row]:
    """The rows that are listed, in the order of the container."""
    rows = found.rows
    if len(rows) <= MOST:
        return rows
    order = sorted(rows, key=lambda row: (not row.marks, -row.bytes, row.number))
    return sorted(order[:MOST], key=lambda row: row.number)


def table(found: Findings, prefix: str, curve: str) -> Markup:
    """The table of a container.

    Parameters
    ----------
    found : Findings
    prefix : str
        Of the anchors of rows.
    curve : str
        The symbol of the limit that small drawings use.
    """
    columns = _columns(found.compared is not None)
    rows = chosen(found)
    largest = max((row.bytes for row in rows), default=0)
    opened = len(rows) == 1
    heads = [
        element(
            "th", {"scope": "col", "class": _style(column), "title": column.about},
            element("button", None, column.title),
        )
        for column in columns
    ]  # fmt: skip
    body = joined(*(_row(row, columns, prefix, largest, curve, opened) for row in rows))
    return element(
        "table",
        {"class": "tensors"},
        element("thead", None, element("tr", None, *heads)),
        element("tbody", None, body),
    )


def _style(column: _Column) -> str | None:
    return " ".join(["n"] * column.number + ["w"] * column.wide) or None


def _row(row: Row, columns: Sequence[_Column], prefix: str, largest: int, curve: str, opened: bool) -> Markup:
    tensor, entries = row.tensor, 1
    for length in tensor["shape"]:
        entries *= length
    excess = None if row.position is None else row.position.excess
    anchor = f"{prefix}{row.number}"
    bar = (
        element("svg", {"class": "b"}, element("rect", {"width": f"{100 * row.bytes / largest:.1f}%"}))
        if largest
        else ""
    )
    cells: list[tuple[Markup | str, Any]] = [
        (_name(row), row.number),
        (shape(tensor["shape"]), entries),
        (row.code, None),
        (bits(row.rate), row.rate),
        (joined(bar, size(row.bytes)), row.bytes),
        (percent(row.values), row.values),
        (percent(row.product), row.product),
        (bits(excess), excess),
    ]
    drawn = []
    for column, (text, value) in zip(columns, cells, strict=True):
        sorted_by = None if value is None or not column.number else _exact(value)
        drawn.append(element("td", {"data-v": sorted_by}, text))
    kind = tensor["kind"] if tensor["same_as"] is None else "tied"  # the usual one is not said
    head = element(
        "tr",
        {"id": anchor, "data-kind": None if kind == "matrix" else kind, "class": "m" if row.marks else None},
        *drawn,
    )
    folded = element("td", {"colspan": len(columns)}, _details(row, curve))
    return joined(head, element("tr", {"class": "more open" if opened else "more"}, folded))


def _exact(value: float) -> str:
    """A number that rows are sorted by."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _name(row: Row) -> Markup:
    tags = [element("span", {"class": "tag bad" if mark.serious else "tag"}, mark.word) for mark in row.marks]
    name = element("bdi", None, shown(row.name))
    button = element("button", None, name)
    return joined(button, element("span", {"class": "tags"}, *tags)) if tags else button


def _details(row: Row, curve: str) -> Markup:
    """What unfolds: remarks, and properties in groups."""
    remarks = [element("li", {"class": "bad" if mark.serious else None}, mark.text) for mark in row.marks]
    groups = [*_about_limit(row), *_about_numbers(row), *_about_code(row)]
    listed = [
        element(name, None, text) for group in groups for name, text in zip(("dt", "dd"), group, strict=True)
    ]
    drawing = small_chart(row, curve) if row.rate is not None and row.product is not None else ""
    remarked = element("ul", {"class": "remarks"}, *remarks) if remarks else ""
    return joined(remarked, drawing, element("dl", None, *listed))


def _about_limit(row: Row) -> list[tuple[str, str]]:
    found, place = [], row.position
    if place is not None and row.product is not None:
        away = ""
        if place.excess is not None:
            where = "over" if place.excess >= 0.0 else "under"
            away = f", {bits(abs(place.excess))} bits {where} that"
        found.append(
            (
                "products",
                f"{percent(row.product)} off, {percent(place.limit)} at the limit for vectors of one norm{away}",
            )
        )
    if row.more is not None:
        error, more = row.more
        found.append(("one bit more", f"{percent(error)} off, for {size(more)}"))
    return found


def _about_numbers(row: Row) -> list[tuple[str, str]]:
    tensor, measured, found = row.tensor, row.measured, []
    if measured is not None and measured["measured"] is not None:
        found.append(
            ("values", f"{percent(measured['measured'])} off, predicted {percent(measured['predicted'])}")
        )
        if measured["share"] is not None:
            found.append(
                (
                    "share of errors",
                    f"{share(measured['share'])}, {share(measured['energy_share'])} by energy",
                )
            )
    elif tensor["predicted"] is not None:
        found.append(("values", f"{percent(tensor['predicted']['reconstruction'])} off, predicted"))
    for key in ("norms", "means"):
        if tensor[key] is not None:
            low, middle, high = (plain(tensor[key][one]) for one in ("min", "median", "max"))
            found.append((key, low if low == high else f"{low} to {high}, median {middle}"))
    return found


def _about_code(row: Row) -> list[tuple[str, str]]:
    tensor = row.tensor
    found = [("shape", f"{shape(tensor['shape'])} {tensor['dtype']}")]
    if tensor.get("part"):
        found.append(("file", shown(tensor["part"])))
    if tensor["same_as"] is not None:
        found.append(("the same as", shown(tensor["same_as"])))
    if tensor["kind"] == "matrix":
        found[0] = ("shape", f"{found[0][1]}, vectors along axis {tensor['axis']}")
        asked = "" if tensor["rate_asked"] is None else f", {bits(tensor['rate_asked'])} asked for"
        found.append(("bits", f"{bits(tensor['rate'])} an entry{asked}"))
        numbers = [row.code, f"κ {plain(tensor['kappa'])}", f"α {plain(tensor['alpha'])}"]
        if tensor["delta"] is not None:
            numbers.append(f"Δ {plain(tensor['delta'])}")
        if tensor["partner"] != EQUAL:
            numbers.append(f"for a partner {in_words(tensor['partner'])}")
        found.append(("code", ", ".join(numbers)))
    sizes = tensor["bytes"]
    parts = [f"{part} {sizes[part]}" for part in _PARTS if sizes[part]]
    found.append(("bytes", f"{grouped(sizes['total'])}" + (f": {', '.join(parts)}" if parts else "")))
    return found
