"""The rate-distortion curve of a matrix: what R bits an entry buy, by lattice, next to what nothing can beat.

Every point is a real encoding, into a temporary file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from nqz.commands.encode import encode
from nqz.commands.factors import Coded
from nqz.commands.matmul import MatmulOptions, Prepared, prepare
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.options import EncodeOptions
from nqz.commands.pairs import Pair
from nqz.commands.rounding import decoded_error
from nqz.commands.verify import measured_error, measured_errors
from nqz.curve.exact_product import ExactProduct, Factor, exact_product
from nqz.curve.matrix import SweepMatrix, check_lengths
from nqz.files.access import temporary_access
from nqz.format.reader import ContainerReader
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix
from nqz.plan import limit
from nqz.stages.codings import CODINGS, label
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import DEFAULT, FAMILIES

RATES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)

_COMPARED = dict.fromkeys((DEFAULT, "z", "e8"))
_DIGITS = 10
"""Digits of what is reported: below, sums depend on the number of threads."""

PRODUCT = "exact product"
Progress = Callable[[str, float], object]


@dataclass(frozen=True)
class SweepOptions:
    """What the user asks of a sweep.

    Attributes
    ----------
    rates : sequence of float
        Bits an entry.
    lattices : sequence of str
        Families; by default the usual one, and "z" and "e8" for comparison.
    states : sequence of int
        States of the convolutional code of "conv"; by default the usual ones.
    codings : sequence of str
        Keys of `CODINGS`.
        A lattice is used with those that it has.
    seed : int
    """

    rates: tuple[float, ...] = RATES
    lattices: tuple[str, ...] = ()
    states: tuple[int, ...] = ()
    codings: tuple[str, ...] = (CODING.name,)
    seed: int = 0

    def encodings(self) -> list[EncodeOptions]:
        """All encodings, by lattice, then by coding, then by rate.

        Raises
        ------
        UsageError
            A value makes no sense, or is given twice.
        """
        for what in ("rates", "lattices", "states", "codings"):
            _refuse_twice(what, getattr(self, what))
        families = self.lattices or tuple(_COMPARED)
        if self.states and "conv" not in families:
            raise UsageError(f"states {self.states[0]}: only the lattice conv has states")
        found = []
        for family in families:
            codings = [
                c
                for c in self.codings
                if c not in CODINGS or family not in FAMILIES or CODINGS[c].takes(FAMILIES[family][0])
            ]
            # a lattice that was asked for by name is not left out in silence
            for coding in codings or (self.codings if self.lattices else ()):
                for states in self.states if family == "conv" and self.states else (None,):
                    found += [
                        EncodeOptions(
                            rate=rate,
                            seed=self.seed,
                            lattice=family,
                            states=states,
                            coding=coding,
                            dequantize=True,
                        )
                        for rate in sorted(self.rates)
                    ]
        for options in found:
            options.check()
        if not found:
            raise UsageError("a sweep needs at least one rate and one lattice")
        return found


def point_name(encoding: EncodeOptions) -> str:
    """A point of a sweep, as its progress is called."""
    return f"{label(encoding.chosen_lattice.name, encoding.coding)} {encoding.rate:g}"


def _refuse_twice(what: str, values: tuple[Any, ...]) -> None:
    for number, value in enumerate(values):
        if value in values[:number]:
            text = f"{value:g}" if isinstance(value, float) else value
            raise UsageError(f"{what}: {text} is given twice")


def sweep(
    matrix: SweepMatrix,
    other: SweepMatrix | None,
    options: SweepOptions,
    pool: Workers,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the rate-distortion curve of a matrix.

    Parameters
    ----------
    matrix : SweepMatrix
    other : SweepMatrix, optional
        Encoded alike, and multiplied with the first.
    options : SweepOptions
    pool : Workers
    progress : callable, optional
        Called as progress(what, share of a point done): `PRODUCT` if there is `other`, then the `point_name` of every
        encoding.

    Returns
    -------
    dict
        Of JSON types, numbers to 10 digits; None where something does not apply, or cannot be told.

        - ``matrix``, ``against``: {file, tensor, shape, dtype, axis}; ``seed``; ``warnings``: list of str.
        - ``signal``: S = ‖ĀᵀB̄‖²/(‖Ā‖²‖B̄‖²/n).
        - ``points``, one for every encoding:

          - ``lattice``, ``coding``, ``rate_asked``; ``bytes``: {matrix, against};
          - ``rate``: bits an entry in the file, or in both files together;
          - ``predicted``: {reconstruction, product, against}, ``measured``: {reconstruction, against}:
            reconstruction ‖A - Â‖²/‖Ā‖²; product and against ‖AᵀB - Ĉ‖²/(‖Ā‖²‖B̄‖²/n), with an unrelated
            partner coded alike, and with `other`;
          - ``error``: the one that is judged, ``measured.against``, or without `other` ``predicted.product``;
          - ``error_equivalent``: what the same noise gives where S = 1;
          - ``gamma``: Γ(rate); ``ratio``: error / Γ(rate); ``excess``: rate - Γ⁻¹(error_equivalent).

    Raises
    ------
    UsageError
        See `SweepOptions.encodings`.
    OperandError
        The matrices do not fit together.
    UnsupportedError
        An entry is not finite.
    """
    encodings = options.encodings()
    points: list[dict[str, Any]] = []
    warnings: list[str] = []
    with ExitStack() as stack:
        truth = None
        if other is not None:
            check_lengths(matrix, other)
            step = _Step(progress, PRODUCT)
            truth = _truth(matrix, other, pool, step)
            if truth is not None:
                stack.enter_context(truth)
            step.finish()
        for encoding in encodings:
            step = _Step(progress, point_name(encoding))
            points.append(_point(matrix, other, truth, encoding, pool, step, warnings))
            step.finish()
    report = {
        "matrix": matrix.described(),
        "against": None if other is None else other.described(),
        "seed": options.seed,
        "signal": None if truth is None else _finite(truth.signal),
        "points": points,
        "warnings": list(dict.fromkeys(warnings)),
    }
    rounded: dict[str, Any] = _rounded(report)
    return rounded


class _Step:
    """Progress over one point, given in shares, and never more than the whole of it."""

    def __init__(self, progress: Progress | None, what: str):
        self._progress, self._what, self._left = progress, what, 1.0

    def __call__(self, share: float) -> None:
        share = min(share, self._left)
        self._left -= share
        if self._progress is not None:
            self._progress(self._what, share)

    def finish(self) -> None:
        """Report what is left."""
        self(self._left)

    def encoding(self, matrix: SweepMatrix, weight: float) -> Progress:
        """The progress of an encoding, worth `weight` of the point."""
        return lambda _, size: self(weight * size / max(1, matrix.tensor.nbytes))


def _truth(matrix: SweepMatrix, other: SweepMatrix, pool: Workers, step: _Step) -> ExactProduct | None:
    """The exact product; None where all columns of a side are constant: no error is relative to nothing."""
    a, b = (_factor(m, pool) for m in (matrix, other))
    return None if a.silent or b.silent else exact_product(a, b, step)


def _factor(matrix: SweepMatrix, pool: Workers) -> Factor:
    view, where = matrix.view(), matrix.where
    measured = MeasuredMatrix(view, measure(view, True, where, pool=pool), where, pool)
    return Factor(measured)


def _point(
    matrix: SweepMatrix, other: SweepMatrix | None, truth: ExactProduct | None, options: EncodeOptions,
    pool: Workers, step: _Step, warnings: list[str],
) -> dict[str, Any]:  # fmt: skip
    sides = 1 if other is None else 2
    with ExitStack() as stack:
        coded = stack.enter_context(
            _encoded(matrix, options, pool, step.encoding(matrix, 0.5 / sides), warnings)
        )
        partner = estimate = None
        if other is not None:
            partner = stack.enter_context(
                _encoded(other, options, pool, step.encoding(other, 0.5 / sides), warnings)
            )
            estimate = _estimate(coded, partner, matrix, other, pool)
            if estimate.product.same:
                warnings.append(
                    f"{other.where}: is the same matrix; the diagonal of the product comes from its norms"
                )
        files = [coded] if partner is None else [coded, partner]
        rate = 8.0 * sum(f.coded_bytes for f in files) / sum(f.entries for f in files)
        against = (
            None
            if estimate is None or truth is None
            else _finite(truth.error(estimate, pool, lambda share: step(0.2 * share)))
        )
        predicted = coded.predicted_product()
        error = predicted if other is None else against
        signal = 1.0 if truth is None else truth.signal
        equivalent = None if error is None else limit.equivalent(error, signal)
        needed = None if equivalent is None else limit.gamma_inverse(equivalent)
        gamma = limit.gamma(rate)
        return {
            "lattice": options.chosen_lattice.name,
            "coding": options.coding,
            "rate_asked": options.rate,
            "rate": rate,
            "bytes": {
                "matrix": coded.coded_bytes,
                "against": None if partner is None else partner.coded_bytes,
            },
            "predicted": {
                "reconstruction": decoded_error(coded, "float64"),
                "product": predicted,
                "against": None if estimate is None else _finite(estimate.error),
            },
            "measured": {"reconstruction": _reconstruction(coded, matrix, pool), "against": against},
            "error": error,
            "error_equivalent": equivalent,
            "gamma": gamma,
            "ratio": None if error is None or not gamma else error / gamma,  # gamma of thousands of bits is 0
            "excess": None if needed is None or math.isinf(needed) else rate - needed,
        }


@contextmanager
def _encoded(
    matrix: SweepMatrix, options: EncodeOptions, pool: Workers, progress: Progress, warnings: list[str]
) -> Iterator[Matrix]:
    """The matrix encoded into a temporary file, for as long as it is needed."""
    access = temporary_access(matrix.name)
    try:
        report = encode(matrix, access, replace(options, axis=matrix.axis), pool, progress)
        access.truncate(report["file_bytes"])  # what was coded again may have become shorter
        warnings += report["warnings"]
        yield open_matrix(ContainerReader(access, matrix.name), 0)
    finally:
        access.close()


def _estimate(a: Matrix, b: Matrix, matrix: SweepMatrix, other: SweepMatrix, pool: Workers) -> Prepared:
    return prepare(
        Pair("", Coded(a, matrix.name), Coded(b, other.name)), MatmulOptions(dtype="float64"), pool
    )


def _reconstruction(coded: Matrix, matrix: SweepMatrix, pool: Workers) -> float | None:
    """Measured ‖A - Â‖² / ‖Ā‖², in float64."""
    return _finite(measured_error(coded, measured_errors(coded, matrix.tensor, pool)))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _rounded(value: Any) -> Any:
    """A structure with its numbers rounded, so that it does not depend on the order of sums."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
