"""The rate-distortion curve of a matrix: what R bits an entry buy, by lattice, next to what nothing can beat.

Every point is a real encoding, into a temporary file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from nqz.commands.column_errors import measured_error, measured_errors
from nqz.commands.encode import encode
from nqz.commands.factors import Coded, Plain
from nqz.commands.matmul import MatmulOptions, Prepared, prepare
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.options import EncodeOptions
from nqz.commands.pairs import Pair
from nqz.commands.rounding import decoded_error
from nqz.curve.exact_product import ExactProduct, Factor, exact_product
from nqz.curve.judgment import Judge
from nqz.curve.matrix import SweepMatrix, check_lengths
from nqz.curve.options import SweepOptions, opposite, point_name
from nqz.curve.units import Kept, Units
from nqz.curve.yardsticks import YARDSTICKS, Yardstick, rounding_errors
from nqz.files.access import temporary_access
from nqz.format.reader import ContainerReader
from nqz.ground.threads import Workers
from nqz.ground.wording import counted
from nqz.matrix import Matrix, open_matrix
from nqz.plan.profile import Limit, Profile
from nqz.stages.partner import EQUAL, EXACT, Partner

_DIGITS = 10
"""Digits of what is reported: below, sums depend on the number of threads."""

PRODUCT, COMPARED = "exact product", "rounding to nearest"
Progress = Callable[[str, float], object]


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
        encoding, then `COMPARED`.

    Returns
    -------
    dict
        Of JSON types, numbers to 10 digits; None where something does not apply, or cannot be told.

        - ``matrix``, ``against``: {file, tensor, shape, dtype, axis, bytes}; ``seed``; ``partner``; ``warnings``: list
          of str.
        - ``signal``: S = ‖ĀᵀB̄‖²/(‖Ā‖²‖B̄‖²/n). Energies are without means, unless no encoding keeps these.
        - ``points``, one for every encoding:

          - ``lattice``, ``coding``, ``rate_asked``, ``error_asked``; ``bytes``: {matrix, against};
          - ``rate``: bits an entry in the file, or in both files together if they are coded alike; ``times_smaller``
            than the originals of these;
          - ``predicted``: {reconstruction, product, against}, ``measured``: {reconstruction, against}:
            reconstruction ‖A - Â‖²/‖Ā‖²; product and against ‖AᵀB - Ĉ‖²/(‖Ā‖²‖B̄‖²/n), with the
            unrelated partner that it is coded for, and with `other`;
          - ``error``: the one that is judged, ``measured.against``, or without `other` ``predicted.product``;
            ``percent``: 100 times its root; ``decibels``: 10 log₁₀ of it;
          - ``error_equivalent``: what the same noise gives where S = 1;
          - ``gamma``: Γ(rate), or what takes its place with another partner (`nqz.plan.limit.pair_limit`); ``ratio``:
            error / gamma; ``excess``: by how many bits rates could be lowered until gamma is error_equivalent;
          - ``limit``: what no encoders can beat on Gaussian columns of the energies that these have, where S = 1;
            ``over_limit``: by how many bits both rates could be lowered until it is error_equivalent.

        - ``yardsticks``: rounding to nearest, with ``name`` and the numbers of a point that apply; the error without
          `other` is that with an unrelated partner rounded alike.
        - ``curve``: {rate, gamma, limit}, both limits from rate 0 on, for operands of that signal.
        - ``chosen``: {rate_asked, error_asked, point}, point being a position in ``points``.

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
    yardsticks: list[dict[str, Any]] = []
    found: list[_Found] = []
    warnings: list[str] = []
    with ExitStack() as stack:
        truth = None
        originals = [m for m in (matrix, other) if m is not None]
        factors = [_factor(m, pool) for m in originals]
        if other is not None:
            check_lengths(matrix, other)
            step = _Step(progress, PRODUCT)
            if not any(factor.silent for factor in factors):  # no error is relative to nothing
                truth = stack.enter_context(exact_product(factors[0], factors[1], step))
            step.finish()
        for encoding in encodings:
            step = _Step(progress, point_name(encoding))
            found.append(_point(matrix, other, truth, encoding, pool, step, warnings))
            step.finish()
        units = Units.of(factors, [one.kept for one in found])
        if any(one.kept != units.centered for one in found):
            warnings.append(_units_warning(originals, units, found))
        limits = _Limits(factors, truth, units)
        judge = limits.judge(options.partner)
        points = [_judged(one, judge, units, options.partner) for one in found]
        lines = list(dict.fromkeys((p["lattice"], p["coding"]) for p in points))
        points.sort(key=lambda p: (lines.index((p["lattice"], p["coding"])), p["rate"]))
        for yardstick in YARDSTICKS:
            step = _Step(progress, COMPARED, 1.0 / len(YARDSTICKS))
            yardsticks.append(_yardstick(originals, factors, truth, yardstick, options.partner, limits, step))
            step.finish()
    report = {
        "matrix": matrix.described(),
        "against": None if other is None else other.described(),
        "seed": options.seed,
        "partner": options.partner,
        "signal": None if truth is None else _finite(limits.signal),
        "points": points,
        "yardsticks": yardsticks,
        "curve": judge.curve(max(point["rate"] for point in points)),
        "chosen": _chosen(points, options),
        "warnings": list(dict.fromkeys(warnings)),
    }
    rounded: dict[str, Any] = _rounded(report)
    return rounded


class _Limits:
    """What limits there are for these matrices, in units of errors.

    Parameters
    ----------
    factors : list of Factor
    truth : ExactProduct, optional
        Of both, where there are two.
    units : Units
    """

    def __init__(self, factors: list[Factor], truth: ExactProduct | None, units: Units):
        self.units = units
        self._profiles = [
            Profile.of(factor.histogram if centered else factor.uncentered)
            for factor, centered in zip(factors, units.centered, strict=True)
        ]
        self.signal = 1.0
        if truth is not None:  # a side without means of its own has no product with those of the other
            self.signal = (truth.signal if any(units.centered) else truth.whole) * units.of_centered(2)

    def judge(self, partner: Partner) -> Judge:
        """The limits of products; a matrix alone has a partner like itself, or with columns all alike."""
        own, *others = self._profiles
        other: Profile | None = others[0] if others else own if partner == EQUAL else Profile([0.0], [1])
        if own.silent or (other is not None and other.silent):
            return Judge(None, self.signal, partner)
        return Judge(Limit(own, None if partner == EXACT else other), self.signal, partner)


def _judged(found: _Found, judge: Judge, units: Units, partner: Partner) -> dict[str, Any]:
    """A point in these units, next to the limits."""
    point = units.converted(found.point, found.kept, partner)
    rate, of_partner = point["rate"], found.partner
    error = point["predicted"]["product"] if len(found.kept) < 2 else point["measured"]["against"]
    rates = (found.own, judge.of_partner(rate) if of_partner is None else of_partner)
    return {**point, **judge.judged(error, rate, rates)}


def _units_warning(matrices: list[SweepMatrix], units: Units, found: list[_Found]) -> str:
    side = next(k for one in found for k, kept in enumerate(one.kept) if kept != units.centered[k])
    without = sum(not one.kept[side] for one in found)
    return (
        f"{matrices[side].where}: its means are not worth their bits in {without} of "
        f"{counted(len(found), 'encoding')}; all errors are relative to energies without means, where encode counts "
        "them for these"
    )


def _chosen(points: list[dict[str, Any]], options: SweepOptions) -> dict[str, Any] | None:
    """The point that the user wants marked: the best of the rate, or the least that reaches the error."""
    if options.mark is None and options.error is None:
        return None
    asked, key = ("rate_asked", "error") if options.error is None else ("error_asked", "rate")
    found = [k for k, point in enumerate(points) if point[asked] is not None]
    if options.mark is not None:
        found = [k for k in found if points[k][asked] == options.mark]
    best = min(found, key=lambda k: math.inf if points[k][key] is None else points[k][key])
    return {"rate_asked": options.mark, "error_asked": options.error, "point": best}


class _Step:
    """Progress over one point, given in shares, and never more than the whole of it."""

    def __init__(self, progress: Progress | None, what: str, whole: float = 1.0):
        self._progress, self._what, self._left = progress, what, whole

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


def _factor(matrix: SweepMatrix, pool: Workers) -> Factor:
    view, where = matrix.view(), matrix.where
    measured = MeasuredMatrix(view, measure(view, True, where, pool=pool), where, pool)
    return Factor(measured, lambda: measure(view, False, where, pool=pool, hashed=False).histogram)


def _point(
    matrix: SweepMatrix, other: SweepMatrix | None, truth: ExactProduct | None, options: EncodeOptions,
    pool: Workers, step: _Step, warnings: list[str],
) -> _Found:  # fmt: skip
    sides = 1 if other is None or options.partner == EXACT else 2
    with ExitStack() as stack:
        coded = stack.enter_context(
            _encoded(matrix, options, pool, step.encoding(matrix, 0.5 / sides), warnings)
        )
        partner = estimate = None
        if other is not None:
            how = opposite(options, _rate(coded) if options.rate is None else options.rate)
            if how is not None:
                partner = stack.enter_context(
                    _encoded(other, how, pool, step.encoding(other, 0.5 / sides), warnings)
                )
            estimate = _estimate(coded, partner, matrix, other, pool)
            if estimate.product.same:
                warnings.append(
                    f"{other.where}: is the same matrix; the diagonal of the product comes from its norms"
                )
        files = [coded] if partner is None or options.partner != EQUAL else [coded, partner]
        rate = 8.0 * sum(f.coded_bytes for f in files) / sum(f.entries for f in files)
        against = (
            None
            if estimate is None or truth is None
            else _finite(truth.error(estimate, pool, lambda share: step(0.2 * share)))
        )
        kept = [coded.centered, (partner or coded).centered]  # a plain partner is as the coded side
        compared = [m for m, _ in zip((matrix, other), files, strict=False) if m is not None]
        point = {
            "lattice": options.lattice_name,
            "coding": options.coding,
            "rate_asked": options.rate,
            "error_asked": options.error,
            "rate": rate,
            "bytes": {
                "matrix": coded.coded_bytes,
                "against": None if partner is None else partner.coded_bytes,
            },
            "times_smaller": _data_bytes(compared) / sum(f.coded_bytes for f in files),
            "predicted": {
                "reconstruction": decoded_error(coded, "float64"),
                "product": coded.predicted_product(),
                "against": None if estimate is None else _finite(estimate.error),
            },
            "measured": {"reconstruction": _reconstruction(coded, matrix, pool), "against": against},
        }
        sides = 1 if other is None else 2
        return _Found(point, tuple(kept[:sides]), _rate(coded), None if partner is None else _rate(partner))


class _Found(NamedTuple):
    """A point before it is judged: whether means are kept, of each side, and the rates of both."""

    point: dict[str, Any]
    kept: Kept
    own: float
    partner: float | None


def _rate(coded: Matrix) -> float:
    return 8.0 * coded.coded_bytes / coded.entries


def _data_bytes(matrices: Sequence[SweepMatrix]) -> int:
    """Bytes of originals."""
    return sum(matrix.tensor.nbytes for matrix in matrices)


def _yardstick(
    originals: list[SweepMatrix], factors: list[Factor], truth: ExactProduct | None, yardstick: Yardstick,
    partner: Partner, limits: _Limits, step: _Step,
) -> dict[str, Any]:  # fmt: skip
    exact = partner == EXACT
    judge = limits.judge(EXACT if exact else EQUAL)  # a partner is rounded alike, or not at all
    views = [factor.view for factor in (factors[:1] if exact else factors)]
    sizes = [yardstick.coded_bytes(view.length, view.count) for view in views]
    rates = [8.0 * size / (view.length * view.count) for size, view in zip(sizes, views, strict=True)]
    rate = 8.0 * sum(sizes) / sum(view.length * view.count for view in views)
    reconstruction = error = None
    if not any(factor.silent for factor in factors):
        own, product = rounding_errors(
            factors[0], factors[1:], truth, yardstick, lambda share: step(share / len(YARDSTICKS)), exact
        )
        reconstruction = _finite(own * limits.units.of_centered(1))
        error = _finite(product * limits.units.of_centered(2))
    return {
        "name": yardstick.name,
        "rate": rate,
        "bytes": {"matrix": sizes[0], "against": None if len(sizes) == 1 else sizes[1]},
        "times_smaller": _data_bytes(originals[: len(sizes)]) / sum(sizes),
        "measured": {"reconstruction": reconstruction, "against": None if truth is None else error},
        **judge.judged(error, rate, (rates[0], judge.of_partner(rate) if exact else rates[-1])),
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


def _estimate(
    a: Matrix, b: Matrix | None, matrix: SweepMatrix, other: SweepMatrix, pool: Workers
) -> Prepared:
    """The product of a coded matrix with another, or with a plain one."""
    right = Plain(other.tensor, other.name, other.axis) if b is None else Coded(b, other.name)
    return prepare(Pair("", Coded(a, matrix.name), right), MatmulOptions(dtype="float64"), pool)


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
