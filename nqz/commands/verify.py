"""Verification: that a container is whole, can be decoded, and is as close to its original as predicted."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from nqz.commands.column_errors import (
    Errors,
    expected_error,
    measured_error,
    measured_errors,
    standard_error,
)
from nqz.commands.elsewhere.verify import decoded_elsewhere, hashed_elsewhere
from nqz.commands.partners import partners
from nqz.commands.rounding import decoded_error, rounding_error
from nqz.files.access import has_address
from nqz.files.contract import Source, SourceTensor
from nqz.format.exct import decode_exact
from nqz.format.reader import ContainerReader
from nqz.ground.errors import CorruptError, NewerFormatError, NqzError, UsageError, VerifyError
from nqz.ground.threads import SMALL, Workers
from nqz.matrix import Matrix, open_matrix
from nqz.models.collection import Collection
from nqz.stages import digest

TOLERANCE, STANDARD_ERRORS = 0.02, 4.0
_HASHED = 16 * digest.PIECE  # bytes hashed at a time


def verify(
    reader: ContainerReader,
    original: Source | Collection | None,
    pool: Workers,
    progress: Callable[[str | None, float], object] | None = None,
) -> dict[str, Any]:
    """Check every checksum, decode every tensor, and compare with the original.

    Parameters
    ----------
    reader : ContainerReader
    original : Source, or Collection of these, optional
        What the container was made from.
    pool : Workers
    progress : callable, optional
        Called as progress(name, bytes): None and the bytes of the container checked, then the name of each tensor and
        bytes of its data, half of which count for reading the original of a matrix, if there is one.

    Returns
    -------
    dict
        ``file_bytes``, ``ok``; ``problem`` of the file as a whole; and ``tensors``: for each its name, shape, dtype and
        kind; with an original, ``same_bytes`` (whether it is the very data that was encoded), ``measured`` and
        ``predicted`` (the error relative to ‖Ā‖²), ``standard_error`` and ``allowed`` (relative to the prediction);
        ``ok``, ``damaged``, ``newer`` (it takes a later release) and ``problem`` (None, or what is wrong). None
        where it does not apply, and without an original.
    """
    report = progress or (lambda name, size: None)
    problem = None
    try:
        reader.verify(partial(report, None), pool.map)
    except CorruptError as error:  # the tensors tell where it lies
        problem = str(error)
    infos = reader.manifest.tensors
    pairs = None if original is None else partners(reader, original)

    def check(index: int, inner: Workers) -> dict[str, Any]:
        info, partner = infos[index], None if pairs is None else pairs[index]
        result: dict[str, Any] = {
            "name": info.name, "shape": list(info.shape), "dtype": info.dtype, "kind": info.kind, "ok": True,
            "damaged": False, "newer": False, "same_bytes": None, "measured": None, "predicted": None,
            "standard_error": None, "allowed": None, "problem": None,
        }  # fmt: skip
        other = partner if isinstance(partner, SourceTensor) else None
        done = partial(report, info.name)
        try:
            if info.same_as is not None and other is None:
                reader.span(index)  # what it equals is decoded for both
                done(info.nbytes)
            elif info.kind == "exact":
                result.update(_exact(reader, index, other, inner, done))
            else:
                matrix = open_matrix(reader, index)
                result.update(
                    _decoded(matrix, inner, done) if other is None else _compared(matrix, other, inner, done)
                )
        except (CorruptError, NewerFormatError) as error:
            damaged = isinstance(error, CorruptError)
            problem = str(error).removeprefix(f"{reader.name}: ").removeprefix(f"tensor {info.name!r}: ")
            result.update(ok=False, damaged=damaged, newer=not damaged, problem=problem)
        else:
            if isinstance(partner, str):
                result.update(ok=False, problem=partner)
        return result

    small = [info.entries <= SMALL for info in infos]
    results = list(pool.each(check, range(len(infos)), small.__getitem__))
    for info, result in zip(infos, results, strict=True):
        if info.same_as is not None and result["ok"] and pairs is None:
            target = results[info.same_as]
            result.update({key: target[key] for key in ("ok", "damaged", "newer", "problem")})
    good = problem is None and all(r["ok"] for r in results)
    return {"file_bytes": reader.size, "ok": good, "problem": problem, "tensors": results}


def check_limit(limit: float | None, against: bool) -> None:
    """Raise UsageError for a limit of errors that is none, or that nothing is measured for."""
    if limit is None:
        return
    if not against:
        raise UsageError("--max-error: only --against measures errors")
    if not (math.isfinite(limit) and limit >= 0.0):
        raise UsageError(f"--max-error {limit:g}: an error is a finite number, and not negative")


def limit_errors(found: dict[str, Any], limit: float | None) -> None:
    """Let matrices fail, in the result of `verify`, whose measured error is above a limit of one's own.

    What has another fault keeps that. Whatever nothing was measured of has one: it is damaged, another matrix, or
    errors are not finite.
    """
    if limit is None:
        return
    found["max_error"] = limit
    for tensor in found["tensors"]:
        measured = tensor["measured"]
        if tensor["ok"] and measured is not None and not measured <= limit:
            tensor["ok"] = False
            rms = 100.0 * math.sqrt(measured)
            tensor["problem"] = (
                f"error {measured:.4g} of the energy, {rms:.3g} % rms, where {limit:g} at most is wanted"
            )
            found["ok"] = False


def failures(found: dict[str, Any], name: str, against: str | None) -> list[NqzError]:
    """The errors that the result of `verify` stands for, each naming its tensor; the last one is the worst.

    Parameters
    ----------
    found : dict
    name, against : str
        The container, and what it was compared with, as messages call them.
    """
    compared = name if against is None else f"{name} against {against}"
    errors: list[NqzError] = []
    for tensor in sorted(
        (t for t in found["tensors"] if not t["ok"]), key=lambda t: (t["damaged"], t["newer"])
    ):
        which = f"{tensor['part']}: " if "part" in tensor else ""
        which += f"tensor {tensor['name']!r}: " if tensor["name"] else ""
        if tensor["damaged"]:
            errors.append(CorruptError(f"{name}: {which}{tensor['problem']}"))
        elif tensor["newer"]:
            errors.append(NewerFormatError(f"{name}: {which}{tensor['problem']}"))
        else:
            errors.append(VerifyError(f"{compared}: {which}{tensor['problem']}"))
    errors += [
        VerifyError(f"{compared}: {file['name']}: {file['problem']}")
        for file in found.get("files", ())
        if file["problem"]
    ]
    errors.sort(key=lambda error: not isinstance(error, VerifyError))
    if found["problem"] is not None and not any(tensor["damaged"] for tensor in found["tensors"]):
        errors.append(CorruptError(found["problem"]))
    return errors


def _decoded(matrix: Matrix, pool: Workers, done: Callable[[float], object]) -> dict[str, Any]:
    if pool.fleet is not None and len(matrix.panels) > 1 and has_address(matrix.reader.access):
        decoded_elsewhere(matrix, pool.fleet, done)
        return {}
    for panel, _, _ in matrix.blocks(pool):
        done(matrix.info.nbytes * panel.width / matrix.parameters.columns)
    return {}


def _exact(
    reader: ContainerReader,
    index: int,
    partner: SourceTensor | None,
    pool: Workers,
    done: Callable[[float], object],
) -> dict[str, Any]:
    pieces = decode_exact(reader, index, each=pool.map)
    if partner is None:
        for piece in pieces:
            done(len(piece))
        return {}
    info = reader.manifest.tensors[index]
    same = (info.order == "F") == partner.fortran_order and info.byte_order == partner.byte_order
    # both sides come in pieces of 4 MiB
    for ours, theirs in zip(pieces, partner.pieces(), strict=True):
        same = same and ours == theirs
        done(len(ours))
    return {
        "same_bytes": same,
        "ok": same,
        "problem": None if same else "carried exactly, but differs from the original",
    }


def _compared(
    matrix: Matrix, partner: SourceTensor, pool: Workers, done: Callable[[float], object]
) -> dict[str, Any]:
    whole = digest.ContentDigest()
    if pool.fleet is not None and len(matrix.panels) > 1 and has_address(partner.access):
        hashed = hashed_elsewhere(partner, pool.fleet)
    else:
        hashed = pool.map(lambda piece: (digest.of_pieces(piece), len(piece)), partner.pieces(_HASHED))
    for digests, size in hashed:
        whole.add(digests)
        done(size / 2)
    errors = measured_errors(matrix, partner, pool, lambda share: done(share * partner.nbytes / 2))
    same = whole.value() == matrix.header.digest
    result = _judge(matrix, errors)
    if result["problem"] and not same:
        result["problem"] += "; its bytes are not those that were encoded"
    return {"same_bytes": same, **result}


def _excess(error: float) -> float:
    """What a sum of squares of this relative standard error may be above its mean: so many standard errors.

    By the approximation of Wilson & Hilferty (1931) for χ², which has a longer tail than a normal distribution where a
    few entries are all that there are.
    """
    width = error * error / 9.0
    return float((1.0 - width + STANDARD_ERRORS * math.sqrt(width)) ** 3 - 1.0)


def _judge(matrix: Matrix, errors: Errors) -> dict[str, Any]:
    """Compare the errors of the columns with their predictions."""
    predicted = decoded_error(matrix, "float64")  # entries are compared as they are rebuilt
    error = standard_error(matrix, errors)
    allowed = TOLERANCE + _excess(error)
    measured = measured_error(matrix, errors)
    problem = None
    if not measured <= predicted * (1.0 + allowed):  # to be better is no fault
        problem = f"error {measured:.4g} of the energy where {predicted:.4g} is predicted"
    elif errors.others is not None and (beyond := _beyond(matrix, errors.others)) is not None:
        problem = beyond
    elif not errors.exact:
        problem = "constant columns, which come back exactly, differ from the original"
    return {
        "measured": measured if math.isfinite(measured) else None,
        "predicted": predicted,
        "standard_error": error,
        "allowed": allowed,
        "ok": problem is None,
        "problem": problem,
    }


def _beyond(matrix: Matrix, errors: Errors) -> str | None:
    """What is wrong with the errors of all columns but loud ones, beside which they do not show."""
    predicted = expected_error(matrix, errors) + rounding_error(matrix, "float64", errors.among)
    measured = measured_error(matrix, errors)
    if measured <= predicted * (1.0 + TOLERANCE + _excess(standard_error(matrix, errors))):
        return None
    return (
        f"error {measured:.4g} of the energy of all vectors but loud ones, where {predicted:.4g} is predicted"
    )
