"""What is said of one tensor of a container."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.format.reader import ContainerReader
from nqz.ground.arithmetic import GRID, pieces
from nqz.ground.errors import NewerFormatError
from nqz.ground.ranks import ranked
from nqz.matrix import Matrix, open_matrix
from nqz.stages import norms
from nqz.stages.codings.trellis import Water
from nqz.stages.parameters import Parameters

_KEYS = (
    "axis", "lattice", "coding", "rate_asked", "rate", "partner", "kappa", "alpha", "delta", "window",
    "rotation_seed", "dither_key", "norms", "means", "dropped", "chunks", "predicted",
)  # fmt: skip
"""What is said of a matrix alone."""

_PARTS = {"NORM": "norms", "MEAN": "means", "CHNK": "chunks", "GAIN": "gains"}


def describe(reader: ContainerReader, index: int, brief: bool = False) -> dict[str, Any]:
    """What `inspect` says of a tensor."""
    info = reader.manifest.tensors[index]
    part = info.slice
    kind, matrix = _opened(reader, index)
    description = dict.fromkeys(_KEYS) if matrix is None else _matrix(matrix, brief)
    predicted = description.pop("predicted")
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "kind": kind,
        "slice": None
        if part is None
        else {"of": info.whole_name, "index": part.number, "slices": part.slices},
        "same_as": None if info.same_as is None else reader.manifest.tensors[info.same_as].name,
        **description,
        "bytes": _sizes(reader, index, matrix),
        "predicted": predicted,
    }


def _opened(reader: ContainerReader, index: int) -> tuple[str, Matrix | None]:
    """The kind of a tensor, ``"unknown"`` where only a later release can read it, and the matrix, if it is one."""
    kind = reader.manifest.tensors[index].kind
    try:
        reader.span(index)
        return kind, open_matrix(reader, index) if kind == "matrix" else None
    except NewerFormatError:
        return "unknown", None


def _matrix(matrix: Matrix, brief: bool) -> dict[str, Any]:
    header, p = matrix.header, matrix.parameters
    means = _means(matrix) if matrix.centered and not brief else None
    return {
        "axis": header.axis,
        "lattice": None if p.lattice is None else p.lattice.name,
        "coding": p.coding.name,
        "rate_asked": header.rate,
        "rate": matrix.rate,
        "partner": p.partner,
        "kappa": p.kappa,
        "alpha": number(matrix.shrinkage()),
        "delta": None if p.lattice is None else _power_of_two(p.delta / GRID),
        "window": _window(p),
        "rotation_seed": p.rotation_seed,
        "dither_key": p.dither_key.hex(),
        "norms": None if brief else summary_of_norms(matrix.histogram),
        "means": means,
        "dropped": matrix.side.dropped_columns(),
        "chunks": matrix.panels.chunk_count,
        "predicted": {
            "reconstruction": number(matrix.predicted_reconstruction()),
            "product": number(matrix.predicted_product()),
            "others": None if (others := matrix.others()) is None else others._asdict(),
        },
    }


def _window(parameters: Parameters) -> int | str | None:
    """Window of a trellis, "auto" for that which suits the rate; None without one."""
    own = parameters.coding_parameters
    return (own.window or "auto") if isinstance(own, Water) else None


def _sizes(reader: ContainerReader, index: int, matrix: Matrix | None) -> dict[str, int | None]:
    """Bytes that a tensor takes: of its records, framing included, and of its parameters; none if it equals another."""
    if reader.manifest.tensors[index].same_as is not None:
        return {"header": None, **dict.fromkeys(_PARTS.values()), "total": 0}
    header = None if matrix is None else matrix.header.size()
    sizes = {"header": header, **dict.fromkeys(_PARTS.values(), None if matrix is None else 0)}
    whole = sizes["header"] or 0
    for kind, size in reader.sizes(index).items():
        whole += size
        if kind in _PARTS and size and matrix is not None:
            sizes[_PARTS[kind]] = size
    sizes["total"] = whole
    return sizes


def summary_of_norms(histogram: norms.Histogram) -> dict[str, float | None]:
    """Summary of 2 ** (code / 512) from the codes: the norms themselves may be beyond float64."""
    last, count = np.cumsum(histogram.counts), histogram.columns
    middle = histogram.codes[np.searchsorted(last, [(count - 1) // 2, count // 2], side="right")]
    low, high = (_norm(code) for code in middle)
    return {
        "min": _norm(histogram.codes[0]),
        "median": None if low is None or high is None else number(0.5 * low + 0.5 * high),
        "max": _norm(histogram.codes[-1]),
    }


def _norm(code: int) -> float | None:
    return 0.0 if code == norms.ZERO else _power_of_two(int(code) / (2 * norms.STEPS))


def summary_of_means(
    parts: Callable[[], Iterable[NDArray[np.float64]]], count: int
) -> dict[str, float | None]:
    """Summary of so many means, which come in parts as often as they are asked for."""
    least, low, high, greatest = ranked(parts, count, [0, (count - 1) // 2, count // 2, count - 1])
    return {"min": number(least), "median": number(low * 0.5 + high * 0.5), "max": number(greatest)}


def _means(matrix: Matrix) -> dict[str, float | None]:
    """Summary of the means, panel by panel."""

    def parts() -> Iterator[NDArray[np.float64]]:
        return (panel.means.at(c) for panel in matrix.panels for c in pieces(len(panel.codes)))

    return summary_of_means(parts, matrix.parameters.columns)


def _power_of_two(exponent: float) -> float | None:
    try:
        return math.pow(2.0, exponent)
    except OverflowError:
        return None


def number(value: Any) -> float | None:
    """A number as JSON has it: None beyond float64."""
    value = float(value)
    return value if math.isfinite(value) else None
