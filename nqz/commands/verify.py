"""Verification: that a container is whole, can be decoded, and is as close to its original as predicted.

For a column of relative noise d, the energy of its reconstruction error has a relative variance of about
(2/n)(1 + 2d)/(1 + d)², from the noise itself and from its product with the signal. Where only m = κn
coordinates are kept, their share of the energy fluctuates too, alike for columns that are alike. The spread
between the columns is measured as well, and the larger of the two counts, up to a quarter of the error of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nqz.commands.partners import partners
from nqz.commands.rounding import decoded_error
from nqz.files.contract import Source, SourceTensor
from nqz.format.exct import decode_exact
from nqz.format.reader import ContainerReader
from nqz.ground.arithmetic import total
from nqz.ground.dtypes import widen
from nqz.ground.errors import CorruptError, NewerFormatError, NqzError, VerifyError
from nqz.ground.threads import SMALL, Workers
from nqz.matrix import Matrix, open_matrix
from nqz.models.collection import Collection
from nqz.stages import digest, norms
from nqz.stages.panels import Panel

TOLERANCE, STANDARD_ERRORS = 0.02, 4.0
_FEW_COLUMNS = 8
_MOST_SPREAD = 0.25  # of the errors of columns about what is expected, relative to that
_LARGE = 1000  # exponent of norms of columns whose differences may be beyond float64
_STEP = 1 << 18  # entries rebuilt at a time
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


@dataclass
class Errors:
    """Sums over columns of the errors of their reconstruction, to be compared with what is expected of them.

    Energies are in units of 4 ** exponent. Of the differences of a column's error and its expected one there are the
    sums that give their spread about any multiple of what is expected.

    Attributes
    ----------
    exponent : int
        A power of two near the norm of the loudest column.
    spent : float
        Energy of all errors.
    finite : bool
        Whether all are finite.
    square, mixed, expected_square : float
        Σ δ², Σ δ x and Σ x² over columns with x > 0 expected and x + δ measured.
    count : int
        Number of these.
    exact : bool
        Whether columns without energy, which come back exactly, did.
    """

    exponent: int
    spent: float = 0.0
    finite: bool = True
    square: float = 0.0
    mixed: float = 0.0
    expected_square: float = 0.0
    count: int = 0
    exact: bool = True

    def add(self, errors: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> None:
        """Add columns: energies of their errors, and what is expected, 0 for columns without energy."""
        self.spent += float(errors.sum())
        self.finite = self.finite and bool(np.isfinite(errors).all())
        loud = expected > 0.0
        x = expected[loud]
        with np.errstate(over="ignore", invalid="ignore"):
            delta = errors[loud] - x
            self.square += float((delta * delta).sum())
            self.mixed += float((delta * x).sum())
        self.expected_square += float((x * x).sum())
        self.count += len(x)

    def spread(self, ratio: float) -> float:
        """Sum of the squares of what errors have beyond `ratio` times the expected ones."""
        more = 1.0 - ratio
        return max(0.0, self.square + more * (2.0 * self.mixed + more * self.expected_square))


def measured_errors(
    matrix: Matrix,
    original: SourceTensor,
    pool: Workers,
    done: Callable[[float], object] | None = None,
) -> Errors:
    """Energies of the errors of the reconstructed columns, before any rounding to a narrower type, summed.

    Parameters
    ----------
    matrix : Matrix
    original : SourceTensor
    pool : Workers
    done : callable, optional
        Called with the share of the columns compared since the last call.
    """
    view, p = original.vectors(matrix.header.axis), matrix.parameters
    found = Errors(norms.loudest(matrix.histogram.codes) // norms.DOUBLING)
    expected = _Expected.of(matrix, found.exponent).error
    held: list[tuple[int, npt.NDArray[Any]]] = []  # first column and entries of the panel in the original

    def read(panel: Panel) -> None:
        buffer = pool.buffers.array("block", (p.n * panel.width,), view.dtype)
        held[:] = [(panel.first, view.read(panel.first, panel.last, buffer))]

    def compare(first: int, rebuilt: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        ((start, block),), last = held, first + rebuilt.shape[1]
        return _energies(block[:, first - start : last - start], rebuilt, view.entries, found.exponent)

    for panel, _, errors in matrix.blocks(pool, into=read, work=compare, step=_STEP):
        codes = matrix.codes(slice(panel.first, panel.last))
        energies = np.concatenate(errors)
        found.add(energies, matrix.histogram.look_up(expected, codes))
        found.exact = found.exact and not energies[codes == norms.ZERO].any()
        if done is not None:
            done(panel.width / p.columns)
    return found


def _energies(
    block: npt.NDArray[Any], rebuilt: npt.NDArray[Any], dtype: str, exponent: int
) -> npt.NDArray[np.float64]:
    """Energies of the differences of columns, in units of 4 ** exponent; `rebuilt` is used up."""
    with np.errstate(over="ignore", invalid="ignore"):
        values, halved = widen(block, dtype), int(exponent > _LARGE)
        if halved:
            values, rebuilt = np.ldexp(values, -1), np.ldexp(rebuilt, -1, out=rebuilt)
        np.subtract(values, rebuilt, out=rebuilt)
        np.ldexp(rebuilt, halved - exponent, out=rebuilt)
        energies: npt.NDArray[np.float64] = np.einsum("ij,ij->j", rebuilt, rebuilt)
    return energies


def measured_error(matrix: Matrix, errors: Errors) -> float:
    """‖A - Â‖² / ‖Ā‖² from the `measured_errors`; infinite for an error where there should be none."""
    whole = total(matrix.histogram.energies(norms.DOUBLING * errors.exponent))
    return 0.0 if errors.spent == 0.0 else errors.spent / whole if whole > 0.0 else math.inf


def _compared(
    matrix: Matrix, partner: SourceTensor, pool: Workers, done: Callable[[float], object]
) -> dict[str, Any]:
    whole = digest.ContentDigest()
    for digests, size in pool.map(
        lambda piece: (digest.of_pieces(piece), len(piece)), partner.pieces(_HASHED)
    ):
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


class _Expected(NamedTuple):
    """By the norm codes of a matrix: energy of a column, its relative noise d and w (0 if dropped), expected error."""

    energy: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    shrink: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]

    @classmethod
    def of(cls, matrix: Matrix, exponent: int) -> _Expected:
        """Energies in units of 4 ** exponent."""
        side = matrix.side
        energy = norms.energy(side.histogram.codes, norms.DOUBLING * exponent)
        alive = np.isfinite(side.noise)
        shrink = np.where(alive, 1.0 / (1.0 + side.noise), 0.0)
        return cls(energy, np.where(alive, side.noise, 0.0), shrink, energy * (1.0 - side.kappa * shrink))


def standard_error(matrix: Matrix, errors: Errors) -> float:
    """Relative standard error of the measured reconstruction error."""
    p, counts = matrix.parameters, matrix.histogram.counts
    energy, d, shrink, expected = _Expected.of(matrix, errors.exponent)
    whole = total(counts * expected)
    if whole <= 0.0:
        return 0.0
    own = total(counts * np.square(energy * p.kappa * shrink * d * shrink) * (1.0 + 2.0 * d))
    # the share of the energy that the kept coordinates have, common to columns that are alike
    share = total(counts * energy * shrink * (2.0 - shrink)) * math.sqrt(
        2.0 * p.kappa * (1.0 - p.kappa) / p.n
    )
    theory, between = own * 2.0 / p.m + share * share, 0.0
    if errors.count >= _FEW_COLUMNS and errors.finite:
        between = errors.spread(errors.spent / whole) * errors.count / (errors.count - 1)
        # a column that is off by more is no accident, and must not excuse itself
        between = min(between, _MOST_SPREAD**2 * errors.expected_square)
    return math.sqrt(max(theory, between)) / whole
