"""Comparison of a container with its original: which tensors its error comes from, and what a bit would change where.

The engine is that of `verify`. The total error is the sum of the relative errors ‖A - Â‖²/‖Ā‖² of all matrices, which
counts every product alike, or each by how sensitive it is. A bit more or less for every entry of a matrix is what its
planner predicts from its norm codes, with the measured error in place of the predicted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nqz.commands.inspect import Item, items
from nqz.commands.sensitivities import check_sensitivities, importance
from nqz.commands.sets.factor import check_parts, energy_shares, parted, set_operand
from nqz.commands.verify import verify
from nqz.commands.verify_model import verify_parts
from nqz.files.contract import Source
from nqz.format.reader import ContainerReader
from nqz.ground.threads import Workers
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.matrix import Matrix, open_matrix
from nqz.models.collection import Collection
from nqz.plan.search import nearby
from nqz.stages.estimate import reconstruction_error
from nqz.stages.partner import product_error

KEYS = (
    "axis", "rate", "bytes", "energy", "product", "sensitivity", "share", "energy_share", "more", "less",
)  # fmt: skip
"""What is said of a matrix beside what `verify` says."""

_MEGABYTE = 10**6


def compare(
    compressed: ContainerReader | Collection,
    original: Source | Collection,
    pool: Workers,
    progress: Callable[[str | None, float], object] | None = None,
    across: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Compare every tensor of a container, or of those of a model, with its original.

    Parameters
    ----------
    compressed : ContainerReader, or Collection of these
    original : Source, or Collection of these
    pool : Workers
    progress : callable, optional
        See `verify`.
    across : mapping of str to float, optional
        How sensitive matrices are, by names or shell patterns, of which the last that takes a tensor counts. By
        default they all count alike, and the parts of a set by their energies, as they do in any product of it.

    Returns
    -------
    dict
        What `verify` returns, and what `weighed` adds; ``left_out``: the names of the tensors of the original that
        were not compressed.

    Raises
    ------
    UsageError
        A pattern takes no tensor, or a matrix has no sensitivity.
    """
    everything = items(compressed)
    infos = [reader.manifest.tensors[index] for reader, index in everything]
    in_parts = isinstance(compressed, Collection) and compressed.grid is not None
    if isinstance(compressed, Collection) and in_parts:
        check_parts(compressed)
        matrices = {part.name: part.name for part in compressed.parts}
        shares = energy_shares([open_matrix(*item) for item in everything])
        weights = [len(shares) * share for share in shares]
        known = list(matrices)
    else:
        matrices = {info.name: info.whole_name for info in infos if info.kind == "matrix"}
        weights = [1.0] * len(matrices)
        known = [info.name for info in infos] + [tensor.name for tensor in original.tensors]
    if across is not None:
        check_sensitivities(across)
        weights = importance(matrices, known, across, compressed.name)
    if isinstance(compressed, Collection):
        assert isinstance(original, Collection)
        found = verify_parts(compressed, original, pool, progress)
    else:
        found = verify(compressed, original, pool, progress)
    alone = in_parts or len(infos) == len(original.tensors) == 1
    names = {info.whole_name for info in infos}
    left_out = [] if alone else [t.name for t in original.tensors if t.name not in names]
    weighed_ = weighed(found, everything, dict(zip(matrices, weights, strict=True)), pool)
    if isinstance(compressed, Collection) and in_parts:
        # errors of parts are relative to energies around their own means
        within, totals = set_operand(parted(compressed)).within, weighed_["totals"]
        keys = ["energy_error"] if across is not None else ["error", "energy_error"]
        totals.update({key: within * totals[key] for key in keys})
    return {**weighed_, "left_out": left_out}


def weighed(
    found: dict[str, Any], items: Sequence[Item], weights: Mapping[str, float], pool: Workers
) -> dict[str, Any]:
    """What `verify` found, with what each matrix contributes and what a bit more or less would change.

    Parameters
    ----------
    found : dict
        What `verify` returns for tensors that were compared.
    items : sequence of (ContainerReader, int)
        Where each of its tensors is, in the same order.
    weights : mapping of str to float
        How sensitive each of the matrices is.
    pool : Workers

    Returns
    -------
    dict
        The same, with more of each matrix, None where it does not apply: ``axis``; its ``rate`` and ``bytes``;
        ``energy`` ‖Ā‖²; predicted error ``product`` of a product with an unrelated matrix that it was coded for;
        ``sensitivity``; ``share`` of the sum of the relative errors, each times its sensitivity, and ``energy_share``
        of the sum of ‖A - Â‖²; ``more`` and ``less``, what a bit more or less for each of its entries would make of
        it: ``rate``, ``bytes`` (what it adds), measured ``error`` and predicted ``product``, ``change`` of that sum
        as a share of it, and ``per_megabyte``, the same for each 10⁶ bytes; None for rates that nobody can ask for,
        and of what equals another, which counts in the ``change`` of that.
        And ``totals`` of the matrices: ``matrices``, ``exact``, ``entries``, ``rate``, ``bytes``, ``error`` (the mean
        of the relative errors, by sensitivity) and ``energy_error`` (Σ‖A - Â‖² / Σ‖Ā‖²).
    """
    targets = [reader.manifest.tensors[index].same_as for reader, index in items]
    names = {
        (reader, index): tensor["name"]
        for (reader, index), tensor in zip(items, found["tensors"], strict=True)
    }
    used = dict(weights)  # by a matrix, and by all that equal it
    for (reader, _), target, tensor in zip(items, targets, found["tensors"], strict=True):
        if target is not None and tensor["name"] in weights:
            used[names[reader, target]] += weights[tensor["name"]]

    def of(number: int) -> dict[str, Any] | None:
        tensor = found["tensors"][number]
        if tensor["kind"] != "matrix" or tensor["measured"] is None:
            return None
        matrix = open_matrix(*items[number])
        one = _matrix(matrix, tensor["measured"], tensor["predicted"], weights[tensor["name"]])
        return one if targets[number] is None else {**one, "bytes": 0, "more": None, "less": None}

    described = list(pool.map(of, range(len(items))))
    matrices = [(t, d) for t, d in zip(found["tensors"], described, strict=True) if d is not None]
    whole = math.fsum(one["sensitivity"] * tensor["measured"] for tensor, one in matrices)
    exponent = max((described["energy"][1] for _, described in matrices), default=0)
    energies = [math.ldexp(d["energy"][0], d["energy"][1] - exponent) for _, d in matrices]
    spent = [energy * tensor["measured"] for energy, (tensor, _) in zip(energies, matrices, strict=True)]
    stored = [
        (math.prod(tensor["shape"]), described["rate"])
        for tensor, described in matrices
        if described["bytes"]
    ]
    entries, bits = sum(size for size, _ in stored), sum(size * rate for size, rate in stored)
    for lost, (tensor, one) in zip(spent, matrices, strict=True):
        one["energy"] = _scaled(*one["energy"])
        weight = one["sensitivity"]
        one["share"] = _ratio(weight * tensor["measured"], whole)
        one["energy_share"] = _ratio(lost, math.fsum(spent))
        for step in (one["more"], one["less"]):
            if step is not None:
                step["change"] = _ratio(used[tensor["name"]] * (step["error"] - tensor["measured"]), whole)
                step["per_megabyte"] = step["change"] * _MEGABYTE / abs(step["bytes"])
    totals = {
        "matrices": len(stored),
        "exact": sum(
            tensor["kind"] == "exact" and target is None
            for tensor, target in zip(found["tensors"], targets, strict=True)
        ),
        "entries": entries,
        "rate": bits / entries if entries else None,
        "bytes": sum(described["bytes"] for _, described in matrices),
        "error": whole / math.fsum(one["sensitivity"] for _, one in matrices) if matrices else None,
        "energy_error": _ratio(math.fsum(spent), math.fsum(energies)) if matrices else None,
    }
    none = dict.fromkeys(KEYS)
    tensors = [{**t, **(d or none)} for t, d in zip(found["tensors"], described, strict=True)]
    return {**found, "tensors": tensors, "totals": totals}


SORTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "gain": lambda found: _last(found["more"] and found["more"]["per_megabyte"]),
    "cost": lambda found: _last(found["less"] and found["less"]["per_megabyte"]),
    "share": lambda found: _last(found["share"], -1.0),
    "energy": lambda found: _last(found["energy_share"], -1.0),
    "error": lambda found: _last(found["measured"], -1.0),
    "rate": lambda found: _last(found["rate"], -1.0),
    "size": lambda found: _last(found["bytes"], -1.0),
    "name": lambda found: found["name"],
}
"""What tensors can be sorted by: where a byte more gains most, or one less costs least; by name; else the largest
first. What has no such value is last."""


def _last(value: float | None, sign: float = 1.0) -> tuple[bool, float]:
    return value is None, sign * (value or 0.0)


def _matrix(matrix: Matrix, measured: float, predicted: float, weight: float) -> dict[str, Any]:
    more, less = (_step(matrix, step, _ratio(measured, predicted)) for step in (1, -1))
    return {
        "axis": matrix.header.axis,
        "rate": matrix.rate,
        "bytes": matrix.coded_bytes,
        "energy": matrix.histogram.energy(),
        "product": matrix.predicted_product(),
        "sensitivity": weight,
        "share": None,
        "energy_share": None,
        "more": more,
        "less": less,
    }


def _step(matrix: Matrix, bits: int, factor: float) -> dict[str, Any] | None:
    """What a matrix would be with so many bits more for each of its entries.

    Parameters
    ----------
    matrix : Matrix
    bits : int
    factor : float
        By which its error is larger than predicted.
    """
    rate = matrix.rate + bits
    if not MIN_RATE <= rate <= MAX_RATE:
        return None
    side = nearby(matrix.parameters, matrix.histogram, float(bits * matrix.entries))
    if side is None:
        return None
    return {
        "rate": rate,
        "bytes": bits * matrix.entries / 8,
        "error": factor * reconstruction_error(side),
        "product": product_error(side, matrix.parameters.partner),
    }


def _ratio(value: float, whole: float) -> float:
    return value / whole if whole > 0.0 else 0.0


def _scaled(mantissa: float, exponent: int) -> float | None:
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return None
