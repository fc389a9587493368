"""The report of ``nqz sweep`` as text: a table of all points, and the one that is chosen in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from nqz.cli.common import PRODUCT, RECONSTRUCTION, RMS, rms_cell, shape_text
from nqz.cli.text import Row, table
from nqz.ground.sizes import size_text
from nqz.plan import limit
from nqz.stages.codings import label
from nqz.stages.partner import EQUAL, EXACT, Partner, in_words

_ALONE = "‖A−Â‖²", "‖AᵀB−Ĉ‖²"
_AGAINST = "‖AᵀB−Ĉ‖²", "measured"
_CHOSEN = " (chosen)"
_GAMMA = {EQUAL: "Γ", EXACT: "4⁻ᴿ"}


def title(report: dict[str, Any]) -> str:
    """What was swept over."""
    text = side_name(report["matrix"])
    if report["against"] is not None:
        text += f", against {side_name(report['against'])}"
    if report["signal"] is not None:
        text += f", S = {report['signal']:.3g}"
    return text


def side_name(matrix: dict[str, Any]) -> str:
    """A matrix, with its shape and type."""
    name = os.path.basename(matrix["file"]) + (f", {matrix['tensor']}" if matrix["tensor"] else "")
    rows = ", vectors along axis 1" if matrix["axis"] else ""
    return f"{name}: {shape_text(matrix['shape'])} {matrix['dtype']}{rows}"


def curve_table(report: dict[str, Any]) -> str:
    """The table, what its columns are, and what is chosen."""
    alone = report["against"] is None
    headings = ["code", "rate", "MB", "smaller", *(_ALONE if alone else _AGAINST)]
    headings += ["rms", "dB", _GAMMA.get(report["partner"], "alike"), "limit", "over"]
    lines = "".join(table(headings, lambda: _rows(report)))
    other = in_words(report["partner"])
    if alone:
        kinds = (
            f"‖A−Â‖² measured, relative to {RECONSTRUCTION}; ‖AᵀB−Ĉ‖² predicted, relative to {PRODUCT}, "
            f"B unrelated and {other};\n"
        )
    else:
        both = report["partner"] == EQUAL
        sides = "MB of both files" if both else f"sizes of the first, the other {other}"
        kinds = f"errors relative to {PRODUCT}, predicted and measured; {sides};\n"
    if not isinstance(report["partner"], str):
        kinds += "rounding: both sides alike; "
    of_signal = f", S = {signal:.3g}" if (signal := report["signal"]) is not None and _related(signal) else ""
    kinds += (
        f"{RMS}; limit: for Gaussian columns with these norms{of_signal}; over: bits per entry beyond it\n"
    )
    return f"{lines}\n{kinds}{_choice(report)}"


def _rows(report: dict[str, Any]) -> Iterator[Row]:
    chosen = report["chosen"] and report["chosen"]["point"]
    for k, point in enumerate(report["points"]):
        predicted, measured = point["predicted"], point["measured"]
        errors = (
            (measured["reconstruction"], predicted["product"])
            if report["against"] is None
            else (predicted["against"], measured["against"])
        )
        name = label(point["lattice"], point["coding"]) + (_CHOSEN if k == chosen else "")
        yield _row(name, point, errors, stored(point, report["partner"]), report["signal"])
    for point in report["yardsticks"]:
        measured = point["measured"]
        alone = report["against"] is None
        errors = (measured["reconstruction"], point["error"]) if alone else (None, point["error"])
        yield _row(point["name"], point, errors, stored(point, EQUAL), report["signal"])


def _row(
    name: str,
    point: dict[str, Any],
    errors: tuple[float | None, float | None],
    size: int,
    signal: float | None,
) -> Row:
    return (
        name,
        f"{point['rate']:.3f}",
        megabytes(size),
        f"{point['times_smaller']:.3g}x",
        *(_text(error) for error in errors),
        rms_cell(point["error"]),
        "" if point["decibels"] is None else f"{point['decibels']:.1f}",
        *(_text(_of_signal(point[key], signal), 3) for key in ("gamma", "limit")),
        "" if point["over_limit"] is None else f"{point['over_limit']:.3f}",
    )


def _of_signal(bound: float | None, signal: float | None) -> float | None:
    """A limit for unrelated operands, as it is for those of some signal."""
    if bound is None or signal is None or not _related(signal):
        return bound
    return limit.related(bound, signal)


def _related(signal: float) -> bool:
    return abs(signal - 1.0) >= limit.UNRELATED


def stored(point: dict[str, Any], partner: Partner) -> int:
    """Bytes of a point: of both sides if they are coded alike."""
    sizes = point["bytes"].values() if partner == EQUAL else [point["bytes"]["matrix"]]
    return int(sum(size for size in sizes if size is not None))


def megabytes(size: float) -> str:
    """Millions of bytes, to three digits."""
    return f"{size / 1e6:.0f}" if size >= 1e8 else f"{size / 1e6:.3g}"


def _text(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _choice(report: dict[str, Any]) -> str:
    """What is chosen, as a sentence; nothing where nothing is."""
    if report["chosen"] is None:
        return ""
    point = report["points"][report["chosen"]["point"]]
    error = (
        "" if point["percent"] is None else f", error {point['percent']:.3g} % ({point['decibels']:.1f} dB)"
    )
    return (
        f"chosen: {label(point['lattice'], point['coding'])} at {point['rate']:.3f} bits per entry: "
        f"{size_text(stored(point, report['partner']))}, {point['times_smaller']:.3g}x smaller{error}\n"
    )
