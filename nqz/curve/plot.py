"""A plot of a rate-distortion curve, by matplotlib."""

from __future__ import annotations

import io
import logging
import math
import textwrap
import warnings
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from nqz.ground.errors import UsageError
from nqz.ground.sizes import size_text
from nqz.stages.codings import label
from nqz.stages.partner import EQUAL, EXACT

WIDTH = 1200
"""Of a plot, in pixels."""

WIDTHS = (480, 4800)
"""The least width and the largest."""

_DPI = 150.0
_MARKERS = "osD^vP*X"
_LIMITS = {EQUAL: "Γ(R), ", EXACT: "$4^{-R}$, "}
_SAME = 0.02  # of two limits that are drawn as one
_TICKS = (1.0, 2.0, 3.0, 5.0)


class _Theme(NamedTuple):
    """Colors of a plot: ground, text and axes, grid, what is said in passing, and lines."""

    ground: str
    text: str
    grid: str
    aside: str
    lines: tuple[str, ...]


_THEMES = {
    "light": _Theme(
        "#ffffff", "#1b1f24", "#d9dde2", "#5b6470",
        ("#0067a5", "#c44e00", "#00795a", "#a8327d", "#8a6d00", "#3f6ad8", "#6b6b6b", "#7a4b00"),
    ),
    "dark": _Theme(
        "#12161b", "#e6eaef", "#333a43", "#a3adb8",
        ("#5ab4f0", "#ff9d4d", "#3fd0a2", "#f28fcf", "#f0d54a", "#9fb4ff", "#c0c0c0", "#d9a066"),
    ),
}  # fmt: skip
THEMES = tuple(_THEMES)
"""Names of the sets of colors, the usual one first."""


def require() -> None:
    """Raise UsageError unless matplotlib is installed."""
    # it tells of its font cache on standard error
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError("a plot needs matplotlib: pip install nqz[plot]; or write .csv or .json") from None


def render(
    report: dict[str, Any], kind: str, names: list[str], theme: str = THEMES[0], width: int = WIDTH
) -> bytes:
    """Draw error, and bits over the limit, against rate.

    Parameters
    ----------
    report : dict
        Of `sweep`.
    kind : {"png", "svg"}
    names : list of str
        Of the matrices, printable.
    theme : {"light", "dark"}
    width : int
        Pixels, `WIDTHS` at the least and at the most.

    Returns
    -------
    bytes
        The image; the same for the same report and version of matplotlib.
    """
    require()
    import matplotlib
    from matplotlib.figure import Figure

    colors, inches = _THEMES[theme], width / _DPI
    font = min(max(10.0 * math.sqrt(inches / 8.0), 6.5), 14.0)
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # characters of the title that the font lacks
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_style(colors, font))
        texts = [names[0], *(f"against {name}" for name in names[1:])]
        wide = inches > 5.0
        room = int(inches * 100 / font)
        lines = [line for text in texts for line in textwrap.wrap(text, room)]
        figure = Figure(figsize=(inches, inches * (0.9 if wide else 1.15)), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.0, 1.0))
        _Drawing(report, colors, font, wide).draw(upper, lower)
        figure.suptitle("\n".join(lines), fontsize=1.05 * font, parse_math=False)
        buffer = io.BytesIO()
        about = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=about)
    return buffer.getvalue()


def _style(colors: _Theme, font: float) -> dict[Any, Any]:
    text = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")
    ground = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    return {
        **dict.fromkeys(text, colors.text), **dict.fromkeys(ground, colors.ground),
        "axes.axisbelow": True, "axes.grid": True, "grid.color": colors.grid, "grid.linewidth": 0.6,
        "font.size": font, "legend.fontsize": 0.92 * font, "legend.edgecolor": colors.grid,
        "legend.framealpha": 1.0, "lines.linewidth": 0.15 * font, "lines.markersize": 0.48 * font,
        "svg.hashsalt": "nqz",
    }  # fmt: skip


class _Drawing:
    """What is drawn of a report."""

    def __init__(self, report: dict[str, Any], colors: _Theme, font: float, wide: bool):
        self._report, self._colors, self._font, self._wide = report, colors, font, wide
        sides = [report["matrix"]]
        if report["against"] is not None and report["partner"] == EQUAL:
            sides.append(report["against"])
        self._entries = sum(math.prod(side["shape"]) for side in sides)
        self._files = "file" if len(sides) == 1 else "files"
        self._bytes = sum(side["bytes"] for side in sides)
        self._last = max(p["rate"] for p in report["points"]) * 1.03

    def draw(self, upper: Any, lower: Any) -> None:
        """Fill the panel of the error, and that of bits over the limit."""
        self._curves(upper, lower)
        self._limits(upper, lower)
        self._yardsticks(upper)
        self._chosen(upper, lower)
        self._axes(upper, lower)

    def _curves(self, upper: Any, lower: Any) -> None:
        lines: dict[str, list[dict[str, Any]]] = {}
        for point in self._report["points"]:
            lines.setdefault(label(point["lattice"], point["coding"], ", "), []).append(point)
        styles = cycle(zip(self._colors.lines, _MARKERS, strict=True))
        for (name, members), (color, marker) in zip(lines.items(), styles, strict=False):
            for axes, key in ((upper, "percent"), (lower, "over_limit")):
                drawn = [p for p in members if p[key] is not None and (key == "over_limit" or p[key] > 0)]
                axes.plot(
                    [p["rate"] for p in drawn], [p[key] for p in drawn], label=name, color=color,
                    marker=marker, mew=0.0, zorder=3,
                )  # fmt: skip

    def _limits(self, upper: Any, lower: Any) -> None:
        curve = self._report["curve"]
        rates, gamma, bound = (np.array(curve[key]) for key in ("rate", "gamma", "limit"))
        name = _LIMITS.get(self._report["partner"], "")
        alike = not len(bound) or bool(np.all(np.abs(bound / gamma - 1.0) < _SAME))
        if len(bound) and not alike:
            upper.plot(
                rates, 100.0 * np.sqrt(bound), color=self._colors.text, zorder=2,
                label="limit for Gaussian vectors with these norms",
            )  # fmt: skip
        upper.plot(
            rates, 100.0 * np.sqrt(gamma), color=self._colors.text if alike else self._colors.aside, zorder=2,
            linestyle="-" if alike else (0, (4, 2)),
            label=f"{name}limit for Gaussian vectors" if alike else f"{name}the same with equal norms",
        )  # fmt: skip
        lower.axhline(0.0, color=self._colors.text, zorder=2)

    def _yardsticks(self, axes: Any) -> None:
        for point in self._report["yardsticks"]:
            if not point["percent"]:
                continue
            axes.axhline(point["percent"], color=self._colors.aside, linestyle=":", zorder=1)
            if point["rate"] <= self._last:
                axes.plot(
                    [point["rate"]], [point["percent"]], marker="x", color=self._colors.aside, zorder=3,
                    markersize=0.6 * self._font, mew=0.14 * self._font,
                )  # fmt: skip
            smaller = f", {point['times_smaller']:.3g}× smaller" if self._wide else ""
            name = point["name"] if self._wide else point["name"].partition(",")[0]
            left = 0.5 * self._last < self._reached(point["error"]) < 1.2 * self._last
            axes.annotate(
                f"{name}: {point['rate']:.3g} bits{smaller}", (0.012 if left else 0.988, point["percent"]),
                xycoords=("axes fraction", "data"), xytext=(0.0, 0.2 * self._font), textcoords="offset points",
                ha="left" if left else "right", va="bottom", color=self._colors.aside, fontsize=0.88 * self._font,
                bbox={"facecolor": self._colors.ground, "edgecolor": "none", "pad": 0.6}, zorder=1.5,
            )  # fmt: skip

    def _reached(self, error: float) -> float:
        """The rate at which the curves come down to an error, so that what is written there stays beside them."""
        curve = self._report["curve"]
        bounds = curve["limit"] or curve["gamma"]
        return next((r for r, bound in zip(curve["rate"], bounds, strict=True) if bound <= error), math.inf)

    def _chosen(self, upper: Any, lower: Any) -> None:
        chosen = self._report["chosen"]
        if chosen is None:
            return
        point = self._report["points"][chosen["point"]]
        for axes in (upper, lower):
            axes.axvline(point["rate"], color=self._colors.aside, linewidth=0.09 * self._font, zorder=1)
        if not point["percent"]:
            return
        upper.plot(
            [point["rate"]], [point["percent"]], marker="o", markersize=1.1 * self._font, mew=0.15 * self._font,
            markerfacecolor="none", markeredgecolor=self._colors.text, zorder=5,
        )  # fmt: skip
        size = size_text(self._entries * point["rate"] / 8.0)
        text = (
            f"{point['rate']:.3g} bits an entry: {size},\n"
            f"{point['times_smaller']:.3g}× smaller, error {point['percent']:.3g} %"
        )
        box = {"facecolor": self._colors.ground, "edgecolor": self._colors.grid, "pad": 2.0}
        if not self._wide:  # where the legend would be
            upper.text(0.02, 0.03, text, transform=upper.transAxes, bbox=box, zorder=5)
            return
        left, away = point["rate"] > 0.55 * self._last, 1.1 * self._font
        upper.annotate(
            text, (point["rate"], point["percent"]), textcoords="offset points", bbox=box, zorder=5,
            xytext=(-away, -away) if left else (away, away),
            ha="right" if left else "left", va="top" if left else "bottom",
        )  # fmt: skip

    def _axes(self, upper: Any, lower: Any) -> None:
        upper.set_yscale("log")
        shown = [p["percent"] for key in ("points", "yardsticks") for p in self._report[key] if p["percent"]]
        low, high = min([*shown, 10.0]) / 1.35, max([*shown, 100.0]) * 1.15
        upper.set_ylim(low, high)
        upper.yaxis.set_major_locator(_fixed(_steps(low, high)))
        upper.yaxis.set_minor_locator(_fixed([]))
        upper.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        partner = "" if self._report["against"] else ("\nwith an unrelated matrix" if self._wide else "")
        upper.set_ylabel(f"error of the product{partner}\n(root mean square, per cent)")
        right = upper.secondary_yaxis("right")
        apart = 10 if high / low < 1e4 else 20
        decibels = [x for x in range(-400, 61, apart) if low <= 100.0 * 10.0 ** (x / 20.0) <= high]
        right.yaxis.set_minor_locator(_fixed([]))
        right.set_yticks(
            [100.0 * 10.0 ** (x / 20.0) for x in decibels], [f"{x:d}".replace("-", "−") for x in decibels]
        )
        right.set_ylabel("the same in decibels" if self._wide else "decibels")
        lower.set_xlim(0.0, self._last)
        from matplotlib.ticker import MaxNLocator

        places = MaxNLocator(8 if self._wide else 5, steps=[1, 2, 5, 10]).tick_values(0.0, self._last)
        ticks = [float(t) for t in places]
        ticks = [t for t in ticks if 0.0 <= t <= self._last]
        lower.set_xticks(ticks)
        top = upper.secondary_xaxis("top")
        top.set_xticks(ticks[1:], [self._size(t) for t in ticks[1:]])
        top.set_xlabel(f"size of the {self._files}, and how many times smaller")
        lower.set_ylabel("bits per entry\nover the limit")
        lower.set_xlabel(
            "rate: bits per entry, everything in the file counted" if self._wide else "rate, bits per entry"
        )
        lower.set_ylim(
            bottom=min([0.0, *(1.2 * p["over_limit"] for p in self._report["points"] if p["over_limit"])])
        )
        if self._wide:
            upper.legend(loc="lower left", borderpad=0.5)
        else:
            upper.figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", frameon=False)

    def _size(self, rate: float) -> str:
        size = rate * self._entries / 8.0
        return f"{size_text(size)}\n{self._bytes / size:.3g}×"


def _fixed(values: Any) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(values)


def _steps(low: float, high: float) -> list[float]:
    """Round numbers to be shown on a logarithmic axis: the fewer, the longer it is."""
    decades = math.log10(high / low)
    steps = _TICKS if decades < 1.5 else (1.0, 3.0) if decades < 5.0 else (1.0,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
