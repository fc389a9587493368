"""Errors and rates of matrices next to the limit Γ(R), in SVG whose positions are shares of its size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nqz.pages.findings import Row, limit_at
from nqz.pages.markup import Markup, element
from nqz.pages.treemap import color
from nqz.stages.partner import EQUAL, EXACT, Partner

_LEAST_RATES = 2.0  # bits that are shown at the least
_LEAST_RATIO = 8.0  # of the errors (root mean square) at both ends of the axis, at the least
_NOTHING = -200.0  # what stands for the logarithm of no error
_CURVE = 64
_STEPS = 8  # of rates that have a line, at the most
_FEW = 4  # matrices of which it is drawn what a bit more would do
_TICKS = ((1.5, (1.0, 2.0, 5.0), 1), (3.5, (1.0, 3.0), 1), (8.0, (1.0,), 1), (math.inf, (1.0,), 3))
"""Up to so many powers of ten: the errors that have a line in each, and of how many powers one has lines."""


class _Axes(NamedTuple):
    """Ranges of what is drawn: rates, and logarithms of errors in per cent."""

    left: float
    right: float
    low: float
    high: float

    def x(self, rate: float) -> float:
        return 100.0 * (rate - self.left) / (self.right - self.left)

    def y(self, error: float) -> float:
        return 100.0 * (self.high - _log(error)) / (self.high - self.low)


def _log(error: float) -> float:
    """Logarithm of an error, root mean square in per cent."""
    return math.log10(100.0 * math.sqrt(error)) if error > 0.0 else _NOTHING


def curve_name(partner: Partner) -> str:
    """What the limit is called for a partner."""
    if partner == EQUAL:
        return "Γ(R)"
    return "4⁻ᴿ" if partner == EXACT else f"limit with {partner:g} bits"


def chart(rows: Sequence[Row], partners: Sequence[Partner], prefix: str) -> Markup | None:
    """Every matrix by its rate and its error, and the limit; None if none has both."""
    drawn = [row for row in rows if row.rate is not None and row.product]
    if not drawn:
        return None
    axes = _axes(drawn, partners)
    parts = [*_grid(axes), *(_curve(axes, partner) for partner in partners), *_names(axes, partners)]
    if len(drawn) <= _FEW:
        # one of them says what they are: they may lie on each other
        last = max(drawn, key=lambda row: row.rate or 0.0)
        parts += [mark for row in drawn for mark in _more(axes, row, named=row is last)]
    parts += [
        _point(axes, row, prefix) for row in sorted(drawn, key=lambda row: (bool(row.marks), row.number))
    ]
    return element(
        "svg", {"class": "chart", "role": "img", "aria-label": "errors against bits per entry, and the limit"},
        *parts,
    )  # fmt: skip


def _axes(rows: Sequence[Row], partners: Sequence[Partner]) -> _Axes:
    rates = [float(row.rate or 0.0) for row in rows]
    errors = [float(row.product or 0.0) for row in rows]
    if len(rows) <= _FEW:
        for row in rows:
            if row.more is not None and row.more[0] and row.rate is not None:
                rates.append(row.rate + 1.0)
                errors.append(row.more[0])
    left, right = max(min(rates) - 0.35, 0.0), max(rates) + 0.35
    if right - left < _LEAST_RATES:
        middle = 0.5 * (left + right)
        left = max(middle - 0.5 * _LEAST_RATES, 0.0)
        right = left + _LEAST_RATES
    low, high = (_log(edge(errors)) for edge in (min, max))
    pad = max(0.5 * (math.log10(_LEAST_RATIO) - (high - low)), 0.12)
    return _Axes(left, right, low - pad, high + pad)


def _grid(axes: _Axes) -> list[Markup]:
    found = []
    step = 0.25
    while axes.right - axes.left > _STEPS * step:
        step *= 2.0
    first = math.ceil(axes.left / step - 1e-9)
    for k in range(first, math.floor(axes.right / step + 1e-9) + 1):
        place = f"{axes.x(k * step):.2f}%"
        found.append(element("line", {"class": "v", "x1": place, "x2": place, "y1": 0, "y2": "100%"}))
        found.append(element("text", {"class": "c", "x": place, "y": "100%", "dy": 18}, f"{k * step:g}"))
    found.append(element("text", {"class": "e", "x": "100%", "y": "100%", "dy": 34}, "bits per entry"))
    _, ticks, every = next(one for one in _TICKS if axes.high - axes.low <= one[0])
    for power in range(math.floor(axes.low) - 1, math.ceil(axes.high) + 1):
        for tick in ticks if power % every == 0 else ():
            share = (axes.high - power - math.log10(tick)) / (axes.high - axes.low)
            if 0.04 <= share <= 1.0:
                place = f"{100.0 * share:.2f}%"
                found.append(element("line", {"x1": 0, "x2": "100%", "y1": place, "y2": place}))
                label = f"{tick * 10.0**power:.12g} %"
                found.append(element("text", {"x": 2, "y": place, "dy": -4}, label))
    return found


def _curve(axes: _Axes, partner: Partner) -> Markup:
    points = []
    for k in range(_CURVE + 1):
        rate = axes.left + (axes.right - axes.left) * k / _CURVE
        error = limit_at(rate, partner)
        if error > 0.0:
            points.append(f"{axes.x(rate):.2f} {axes.y(error):.2f}")
    line = element("path", {"d": "M" + "L".join(points)})
    box = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none", "class": "curve"}
    return element("svg", {**box, "width": "100%", "height": "100%"}, line)


def _names(axes: _Axes, partners: Sequence[Partner]) -> list[Markup]:
    """The name of each curve, where it enters the drawing."""
    found = []
    for number, partner in enumerate(partners):
        rate = axes.left + (axes.right - axes.left) * (0.14 + 0.1 * number)
        y = axes.y(limit_at(rate, partner))
        if y < 5.0:  # it comes in from above
            inside = [k / 100.0 for k in range(101)]
            rate = next(
                (
                    axes.left + (axes.right - axes.left) * k
                    for k in inside
                    if axes.y(limit_at(axes.left + (axes.right - axes.left) * k, partner)) >= 8.0
                ),
                axes.right,
            )
            y = axes.y(limit_at(rate, partner))
        if y <= 100.0:
            place = {"class": "limit", "x": f"{axes.x(rate):.2f}%", "y": f"{y:.2f}%", "dx": -8, "dy": 16}
            found.append(element("text", place, curve_name(partner)))
    return found


def _point(axes: _Axes, row: Row, prefix: str) -> Markup:
    assert row.rate is not None and row.product
    place = {"cx": f"{axes.x(row.rate):.2f}%", "cy": f"{axes.y(row.product):.2f}%"}
    style = color(row) + (" m" if row.marks else "")
    dot = element("circle", {"class": style, **place})
    return element("a", {"href": f"#{prefix}{row.number}"}, dot)


def _more(axes: _Axes, row: Row, *, named: bool) -> list[Markup]:
    """Where a matrix would be with a bit more for each entry."""
    if row.more is None or not row.more[0] or row.rate is None or not row.product:
        return []
    ends = (row.rate, row.product), (row.rate + 1.0, row.more[0])
    (x1, y1), (x2, y2) = ((f"{axes.x(rate):.2f}%", f"{axes.y(error):.2f}%") for rate, error in ends)
    beyond = axes.x(row.rate + 1.0) > 70.0  # there is no room at its right
    side = {"dx": -10, "dy": 16, "text-anchor": "end"} if beyond else {"dx": 10, "dy": 4}
    name = element("text", {"x": x2, "y": y2, **side}, "one bit more")
    return [
        element("line", {"class": "more", "x1": x1, "y1": y1, "x2": x2, "y2": y2}),
        element("circle", {"class": "more", "cx": x2, "cy": y2}),
        *([name] if named else []),
    ]


SMALL_WIDTH, SMALL_HEIGHT, _SMALL_RATES = 120, 44, 8.0


def small_curve(partner: Partner, identity: str) -> Markup:
    """The limit as a symbol that drawings of single matrices use: errors (root mean square) from 1 to 0, to 8 bits."""
    points = []
    for k in range(33):
        rate = _SMALL_RATES * k / 32
        points.append(f"{SMALL_WIDTH * k / 32:g} {_small_y(limit_at(rate, partner)):.1f}")
    return element("symbol", {"id": identity}, element("path", {"d": "M" + "L".join(points)}))


def _small_y(error: float) -> float:
    return 2.0 + (SMALL_HEIGHT - 4.0) * (1.0 - math.sqrt(min(error, 1.0)))


def small_chart(row: Row, identity: str) -> Markup:
    """A matrix on the limit, and where a bit more would bring it."""
    assert row.rate is not None and row.product is not None
    scale = SMALL_WIDTH / _SMALL_RATES
    points = [element("circle", {"cx": f"{scale * row.rate:.1f}", "cy": f"{_small_y(row.product):.1f}"})]
    if row.more is not None and row.more[0] is not None:
        place = {"cx": f"{scale * (row.rate + 1.0):.1f}", "cy": f"{_small_y(row.more[0]):.1f}"}
        points.insert(0, element("circle", {"class": "more", **place}))
    return element("svg", {"class": "g"}, element("use", {"href": f"#{identity}"}), *points)
