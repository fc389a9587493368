"""A plot of a rate-distortion curve, by matplotlib."""

from __future__ import annotations

import io
import logging
import textwrap
import warnings
from itertools import cycle
from typing import Any

import numpy as np

from nqz.ground.errors import UsageError
from nqz.plan import limit
from nqz.stages.codings import label

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a800")
_MARKERS = "osD^vP*X"
_TITLE_WIDTH = 68
_STYLE: dict[Any, Any] = {
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "axes.titlesize": 10.5,
    "font.size": 10.0, "grid.alpha": 0.3, "legend.frameon": False,
    "lines.linewidth": 1.4, "lines.markersize": 4.5, "svg.hashsalt": "nqz",
}  # fmt: skip


def require() -> None:
    """Raise UsageError unless matplotlib is installed."""
    # it tells of its font cache on standard error
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError("a plot needs matplotlib: pip install nqz[plot]; or write .csv or .json") from None


def render(report: dict[str, Any], kind: str, names: list[str]) -> bytes:
    """Draw error, and excess, against rate.

    Parameters
    ----------
    report : dict
        Of `sweep`.
    kind : {"png", "svg"}
    names : list of str
        Of the matrices, printable.

    Returns
    -------
    bytes
        The image; the same for the same report and version of matplotlib.
    """
    require()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # characters of the title that the font lacks
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        texts = [names[0], *(f"against {name}" for name in names[1:])]
        lines = [line for text in texts for line in textwrap.wrap(text, _TITLE_WIDTH)]
        figure = Figure(figsize=(7.0, 6.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1.0))
        _draw(report, upper, lower)
        upper.set_title("\n".join(lines), parse_math=False)
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {"Software": None}
        )
    return buffer.getvalue()


def _draw(report: dict[str, Any], upper: Any, lower: Any) -> None:
    points = report["points"]
    lines: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        lines.setdefault(label(point["lattice"], point["coding"], ", "), []).append(point)
    styles = cycle(zip(_COLORS, _MARKERS, strict=True))
    for (name, members), (color, marker) in zip(lines.items(), styles, strict=False):
        for axes, key in ((upper, "error"), (lower, "excess")):
            drawn = [p for p in members if p[key] is not None and (key == "excess" or p[key] > 0)]
            axes.plot(
                [p["rate"] for p in drawn],
                [p[key] for p in drawn],
                label=name,
                color=color,
                marker=marker,
                mew=0.0,
            )
    signal = 1.0 if report["signal"] is None else report["signal"]
    unrelated = abs(signal - 1.0) < limit.UNRELATED
    rates = np.linspace(0.0, max(p["rate"] for p in points) * 1.02, 400)
    bound = [limit.gamma(rate) for rate in rates]
    upper.plot(
        rates, bound if unrelated else [limit.related(x, signal) for x in bound],
        label="Γ(R), Gaussian limit" if unrelated else f"Γ(R), for S = {signal:.3g}",
        color="black", linewidth=1.2,
    )  # fmt: skip
    upper.set_yscale("log")
    upper.set_ylabel(
        ("error of the product" if report["against"] else "error of the product with an unrelated matrix")
        + "\n"
        + r"$\Vert A^T B-\hat C\,\Vert^2\;/\;(\Vert\bar A\Vert^2\Vert\bar B\Vert^2/n)$"
    )
    upper.legend()
    lower.axhline(0.0, color="black", linewidth=1.2)
    lower.set_ylim(bottom=1.05 * min([0.0, *(p["excess"] for p in points if p["excess"] is not None)]))
    lower.set_xlim(left=0.0, right=float(rates[-1]))
    lower.set_ylabel("excess over Γ\n(bits per entry)")
    lower.set_xlabel("rate R (bits per entry)")
