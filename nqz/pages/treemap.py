"""Bytes as areas, error as color: a treemap in SVG, whose positions are shares so that its text keeps its size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from nqz.pages.findings import Row
from nqz.pages.markup import Markup, element, joined, shown
from nqz.pages.numbers import percent, size

STEPS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Errors in per cent (root mean square) between which colors change."""

_LAYOUTS = (("wide", 1100.0, 340.0, 150.0), ("narrow", 350.0, 380.0, 190.0))
_FEW = 8  # tensors that have room in a low drawing
_SMALL = 0.0008  # of all bytes; what is smaller is drawn together
_LETTER, _LINE = 6.9, 15.0  # pixels that a letter and a line take
_ALIKE = 1.25  # times as large is hardly another error
_LEAST_LABEL = (54.0, 22.0)


class Cell(NamedTuple):
    """A rectangle, in pixels of its layout."""

    x: float
    y: float
    width: float
    height: float


def color(row: Row) -> str:
    """Class of the color of a tensor: q0 to q6 by the error of products, x where there is none."""
    if row.product is None:
        return "x"
    rms = 100.0 * row.product**0.5
    return f"q{sum(rms >= step for step in STEPS)}"


def told(rows: Sequence[Row]) -> str:
    """What colors show; with the errors in words where all are alike, as colors then tell nothing."""
    errors = sorted(row.product for row in rows if row.product is not None)
    if len(errors) < 2 or errors[-1] > _ALIKE**2 * errors[0]:
        return "its color is how far its products are off."
    least, most = percent(errors[0]), percent(errors[-1])
    return (
        f"its color is how far its products are off, which is much the same for all: "
        f"{least if least == most else f'{least} to {most}'}."
    )


def squarified(areas: Sequence[float], width: float, height: float) -> list[Cell]:
    """Rectangles of given areas, in decreasing order, that fill one and are as square as can be.

    By the algorithm of Bruls, Huizing & van Wijk (2000): a row along the shorter side grows while that makes the worst
    of its rectangles more square.
    """
    cells: list[Cell] = []
    whole = sum(areas)
    scale = width * height / whole if whole > 0.0 else 0.0
    x = y = 0.0
    start = 0
    while start < len(areas):
        side = min(width - x, height - y)
        stop, worst, total = start, float("inf"), 0.0
        while stop < len(areas):
            grown = total + areas[stop] * scale
            ratio = max(
                side * side * areas[start] * scale / (grown * grown),
                grown * grown / (side * side * areas[stop] * scale),
            )
            if ratio > worst:
                break
            stop, worst, total = stop + 1, ratio, grown
        thick, along = total / side, 0.0
        for area in areas[start:stop]:
            length = area * scale / thick
            if width - x >= height - y:
                cells.append(Cell(x, y + along, thick, length))
            else:
                cells.append(Cell(x + along, y, length, thick))
            along += length
        if width - x >= height - y:
            x += thick
        else:
            y += thick
        start = stop
    return cells


def treemap(rows: Sequence[Row], prefix: str) -> Markup:
    """The tensors of a container as areas, one drawing for wide windows and one for narrow ones.

    Parameters
    ----------
    rows : sequence of Row
    prefix : str
        Of the anchors of the rows of the table.
    """
    stored = sorted((row for row in rows if row.bytes > 0), key=lambda row: (-row.bytes, row.number))
    whole = sum(row.bytes for row in stored)
    large = [row for row in stored if row.bytes >= _SMALL * whole]
    small = stored[len(large) :]
    areas = [float(row.bytes) for row in large]
    if small:
        areas.append(float(sum(row.bytes for row in small)))
        order = sorted(range(len(areas)), key=lambda i: (-areas[i], i))
    else:
        order = list(range(len(areas)))
    return joined(
        *(
            _drawn(name, width, low if len(order) <= _FEW else high, large, small, areas, order, prefix)
            for name, width, high, low in _LAYOUTS
        )
    )


def _drawn(
    name: str, width: float, height: float, large: Sequence[Row], small: Sequence[Row], areas: Sequence[float],
    order: Sequence[int], prefix: str,
) -> Markup:  # fmt: skip
    cells = squarified([areas[i] for i in order], width, height)
    drawn = []
    for i, cell in zip(order, cells, strict=True):
        shares = cell.x / width, cell.y / height, cell.width / width, cell.height / height
        place = {
            key: f"{100.0 * one:.2f}%" for key, one in zip(("x", "y", "width", "height"), shares, strict=True)
        }
        if i < len(large):
            row = large[i]
            lines = _labels(row, cell)
            style = color(row) + (" m" if row.marks else "")
            shape = _cell(place, style, lines)
            drawn.append(element("a", {"href": f"#{prefix}{row.number}"}, shape))
        else:
            text = f"{len(small)} smaller tensors"
            room = cell.width > len(text) * _LETTER and cell.height > _LEAST_LABEL[1]
            drawn.append(_cell(place, "x", [text] if room else []))
    return element(
        "svg",
        {
            "class": f"map {name}" + (" low" if len(order) <= _FEW else ""),
            "role": "img",
            "aria-label": "bytes of each tensor as its area",
        },
        *drawn,
    )


def _cell(place: dict[str, str], style: str, lines: Sequence[str]) -> Markup:
    """A rectangle, with text in it if there is room."""
    if not lines:
        return element("rect", {"class": style, **place})
    texts = [
        element("text", {"x": 7, "y": f"{18 + _LINE * number:.0f}", "class": "s" if number else None}, line)
        for number, line in enumerate(lines)
    ]
    inner = element("rect", {"class": style, "width": "100%", "height": "100%"})
    return element("svg", place, inner, *texts)


def _labels(row: Row, cell: Cell) -> list[str]:
    """What is written into a cell: the end of the name, and below the size and the error, as far as there is room."""
    if cell.width < _LEAST_LABEL[0] or cell.height < _LEAST_LABEL[1]:
        return []
    room = int((cell.width - 12.0) / _LETTER)
    name = shown(row.name).removesuffix(".weight")
    lines = [name if len(name) <= room else "…" + name[len(name) - room + 1 :].lstrip("._/")]
    below = size(row.bytes) + (f" · {percent(row.product)}" if row.product is not None else "")
    if cell.height >= _LEAST_LABEL[1] + _LINE and len(below) <= room:
        lines.append(below)
    return lines


def legend() -> Markup:
    """What the colors mean."""
    edges = [f"{step:g}" for step in STEPS]
    texts = [
        f"< {edges[0]} %",
        *(f"{a}–{b} %" for a, b in pairwise(edges)),
        f"≥ {edges[-1]} %",
    ]
    keys = [
        element("li", None, element("i", {"class": f"k q{number}"}), text)
        for number, text in enumerate(texts)
    ]
    keys.append(element("li", None, element("i", {"class": "k x"}), "exact"))
    return element("ul", {"class": "legend"}, *keys)
