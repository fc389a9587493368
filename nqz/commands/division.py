"""Division of bits between the two sides of a product: the rates with which its predicted error is least.

Where errors are small, the relative noises of the sides are in proportion to their numbers of columns: a bit of the
side with fewer of them costs less. At low rate they are not, so the predicted error itself is minimized, by the real
norms of both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from nqz.commands.contents import manifest, task_of
from nqz.commands.encode_matrix import SideInformation, fixed_bytes, vectors_of
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.options import MIN_ERROR, EncodeOptions
from nqz.commands.rounded import pays, with_rounding, without_means
from nqz.commands.sharing import target_of
from nqz.commands.treatment import treatments
from nqz.files.access import MemoryAccess
from nqz.files.contract import Tensors
from nqz.format.writer import ContainerWriter
from nqz.ground.cached import cached_property
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.threads import Workers
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.plan.limit import gamma_inverse
from nqz.plan.means import mean_digits
from nqz.plan.search import plan
from nqz.plan.task import Target
from nqz.stages.estimate import Side, expected_error
from nqz.stages.partner import EQUAL, Partner

_PLACES = 3
"""Decimals of the rates that are chosen."""

_GRID, _GOLDEN, _SEARCHES = 12, 0.6180339887498949, 12
_TRIES = 16
_NEAR, _AIM = 0.998, 0.999  # of an error that is asked for
_LEAST = 0.02  # bits an entry above what means and norms take


class Divisible:
    """A side of a product to come, measured once.

    Parameters
    ----------
    source : Tensors
        A source of one tensor.
    axis : int
    options : EncodeOptions
        How it is to be coded, with any rate.
    pool : Workers
    """

    def __init__(self, source: Tensors, axis: int, options: EncodeOptions, pool: Workers) -> None:
        (tensor,) = source.tensors
        if tensor.whole is not None:
            raise UnsupportedError(
                f"{source.name}: {tensor.name!r} is one slice of a tensor, and its rate is that of all slices; "
                "plan with a matrix"
            )
        self.options = replace(options, rate=1.0, axis=axis, dequantize=True)
        (((one,),)) = treatments([source], self.options)
        self.tensor, self.name = tensor, source.name
        self.task = task_of(source, tensor, one.options(self.options))
        self._pool, view = pool, vectors_of(tensor, self.task)
        self.length, self.columns = view.length, view.count
        found = measure(view, self.task.center is not False, self.task.where, pool=pool, hashed=False)
        self._measured = MeasuredMatrix(view, found, self.task.where, pool)
        self._writer: ContainerWriter | None = None
        if source.kind.alone:
            self._writer = ContainerWriter(MemoryAccess(bytearray()), manifest(source, [one]))
            self._writer.begin(0)
        self._side: dict[Any, SideInformation] = {}
        self._found: dict[tuple[float, Partner], Side] = {}

    @property
    def entries(self) -> int:
        """Number of entries."""
        return self.tensor.entries

    def at(self, rate: float, partner: Partner) -> Side:
        """The side as estimators see it, encoded with so many bits an entry for a partner."""
        if (rate, partner) not in self._found:
            task = replace(self.task, partner=partner)
            target = target_of(self.entries, replace(self.options, rate=rate))
            matrix = self._matrix(target)
            statistics = matrix.statistics
            digits = mean_digits(task, target, statistics)
            if digits not in self._side:
                self._side[digits] = SideInformation.of(matrix, digits, self._pool)
            fixed = fixed_bytes(task, statistics, target, self._side[digits], self._writer)
            found = plan(task, statistics, target.with_fixed(fixed), lambda _: (), rough=True).parameters
            noise = found.norm_scaling(statistics.histogram).noise
            self._found[rate, partner] = Side(statistics.histogram, noise, self.length, found.kappa)
        return self._found[rate, partner]

    def _matrix(self, target: Target) -> MeasuredMatrix:
        """The matrix as it is kept for a target."""
        return self._centered if pays(self._measured, self.task, target) else self._uncentered

    @cached_property
    def _centered(self) -> MeasuredMatrix:
        return with_rounding(self._measured, self.task, self._pool)

    @cached_property
    def _uncentered(self) -> MeasuredMatrix:
        return with_rounding(without_means(self._measured, self._pool), self.task, self._pool)

    @cached_property
    def least(self) -> float:
        """The least rate that is tried."""
        target = target_of(self.entries, replace(self.options, rate=MIN_RATE))
        matrix = self._matrix(target)
        digits = mean_digits(self.task, target, matrix.statistics)
        lengths = SideInformation.of(matrix, digits, self._pool).lengths
        bits = max(0.0, 8.0 * (sum(lengths) - target.free)) / self.entries
        return min(MAX_RATE, max(MIN_RATE, bits + _LEAST))


@dataclass(frozen=True)
class Division:
    """How bits are divided.

    Attributes
    ----------
    bits : float
        Of both together, an entry.
    rates : tuple of float
        Of both sides.
    error : float
        Predicted error of the product, relative to ‖Ā‖²‖B̄‖²/n, for unrelated matrices.
    kappa : float
        Share of the coordinates that both keep.
    """

    bits: float
    rates: tuple[float, float]
    error: float
    kappa: float


@dataclass(frozen=True)
class Divided:
    """A division, beside what equal rates would give.

    Attributes
    ----------
    division : Division
    equal : float
        Predicted error with equal rates of the same total.
    """

    division: Division
    equal: float

    @property
    def gain(self) -> float:
        """Bits an entry that equal rates would need more, on the curve of products of equal rates."""
        if min(self.division.error, self.equal) <= 0.0:  # nothing is left to gain
            return 0.0
        return gamma_inverse(self.division.error) - gamma_inverse(self.equal)


def divide(a: Divisible, b: Divisible, bits: float | None, error: float | None) -> Divided:
    """Divide bits between two sides.

    Parameters
    ----------
    a, b : Divisible
    bits : float, optional
        Of both together, an entry.
    error : float, optional
        Instead: as few of them as have a predicted error of at most this.

    Raises
    ------
    UsageError
        Neither or both are given, a value is out of range, or the error cannot be reached.
    OperandError
        Their vectors have different lengths.
    """
    check_division(bits, error)
    if a.length != b.length:
        raise OperandError(
            f"{a.task.where} and {b.task.where}: vectors of {a.length} and {b.length} entries cannot be multiplied; "
            "the contracted axes must have the same length (see --axis-a and --axis-b)"
        )
    found = _Search(a, b)
    if error is not None:
        division = found.for_error(error)
    else:
        assert bits is not None
        division = found.best(bits)
    total = min(max(division.bits, MIN_RATE), MAX_RATE)
    equal = expected_error(a.at(total, EQUAL), b.at(total, EQUAL), "mmse")
    return Divided(division, equal)


def check_division(bits: float | None, error: float | None) -> None:
    """Raise UsageError unless one of the two is given, and makes sense."""
    if (bits is None) == (error is None):
        raise UsageError(
            "one of a number of bits (--bits) and an error (--error) is needed"
            if bits is None
            else "give only one of a number of bits (--bits) and an error (--error)"
        )
    if bits is not None and not MIN_RATE <= bits <= MAX_RATE:
        raise UsageError(
            f"{bits:g} bits: a number of bits per entry from {MIN_RATE} to {MAX_RATE:g} is needed"
        )
    if error is not None and not MIN_ERROR <= error < 1.0:
        raise UsageError(f"error {error:g}: a number from {MIN_ERROR:g} to below 1 is needed")


class _Search:
    """Searches for rates of two sides."""

    def __init__(self, a: Divisible, b: Divisible) -> None:
        self._a, self._b = a, b
        whole = a.entries + b.entries
        self._shares = a.entries / whole, b.entries / whole
        # what each side needs at least, unless even equal rates are less
        self._least = a.least, b.least

    def _rates(self, bits: float, first: float) -> tuple[float, float]:
        """Rates of both, the first one rounded, that take no more than `bits` together."""
        rate = min(max(round(first, _PLACES), MIN_RATE), MAX_RATE)
        left = (bits - self._shares[0] * rate) / self._shares[1]
        rest = math.floor(left * 10**_PLACES + 1e-6) / 10**_PLACES
        return rate, min(max(rest, MIN_RATE), MAX_RATE)

    def _at(self, bits: float, first: float) -> Division:
        rates = self._rates(bits, first)
        sides = self._a.at(rates[0], rates[1]), self._b.at(rates[1], rates[0])
        error = expected_error(*sides, "mmse")
        used = self._shares[0] * rates[0] + self._shares[1] * rates[1]
        return Division(used, rates, error, min(side.kappa for side in sides))

    def _range(self, bits: float) -> tuple[float, float]:
        """Rates of the first side with which neither is out of range."""
        of_a, of_b = self._shares
        least_a, least_b = (min(least, bits) for least in self._least)
        low = max(least_a, (bits - of_b * MAX_RATE) / of_a)
        high = min(MAX_RATE, (bits - of_b * least_b) / of_a)
        return low, max(low, high)

    def best(self, bits: float) -> Division:
        """The division of so many bits an entry with the least error."""
        low, high = self._range(bits)
        tried = [self._at(bits, low + (high - low) * k / _GRID) for k in range(_GRID + 1)]
        best = min(range(len(tried)), key=lambda k: tried[k].error)
        low, high = (
            low + (high - low) * max(best - 1, 0) / _GRID,
            low + (high - low) * min(best + 1, _GRID) / _GRID,
        )
        found = [self._at(bits, bits), *tried]  # equal rates where nothing is better
        for _ in range(_SEARCHES):
            width = _GOLDEN * (high - low)
            left, right = self._at(bits, high - width), self._at(bits, low + width)
            found += [left, right]
            low, high = (low, low + width) if left.error <= right.error else (high - width, high)
        return min(found, key=lambda one: one.error)

    def for_error(self, error: float) -> Division:
        """The division with the fewest bits whose error is at most `error`."""
        bits = min(max(gamma_inverse(error) + 0.05, MIN_RATE), MAX_RATE)
        low, high = MIN_RATE, MAX_RATE
        best: Division | None = None
        before, stride = False, 0.5
        for _ in range(_TRIES):
            found = self.best(bits)
            enough = found.error <= error
            if enough:
                best, high = found, bits
                if found.error >= _NEAR * error:
                    break
            else:
                low = bits
            # a bit is a quarter of the error where it is small, and less than that elsewhere: longer steps follow
            stride = 2.0 * stride if enough is before else 0.5
            before = enough
            step = bits + stride * math.log2(max(found.error, 1e-300) / (_AIM * error))
            bits = step if low < step < high else 0.5 * (low + high)
            if high - low < 10.0**-_PLACES:
                break
        if best is None:
            best = self.best(MAX_RATE)
            if best.error > error:
                raise UsageError(
                    f"{self._a.task.where} and {self._b.task.where}: no rates have a predicted product error of "
                    f"{error:g}; the least is {best.error:.3g}"
                )
        return best


def described(found: Divided, sides: tuple[Divisible, Divisible]) -> dict[str, Any]:
    """A division in JSON types."""
    division = found.division
    rates = division.rates
    return {
        "bits": division.bits,
        "kappa": division.kappa,
        "error": division.error,
        "error_equal": found.equal,
        "gain": found.gain,
        "sides": [
            {
                "file": side.name,
                "tensor": side.tensor.name,
                "shape": list(side.tensor.shape),
                "axis": side.task.axis,
                "rate": rate,
                "partner": partner,
            }
            for side, rate, partner in zip(sides, rates, reversed(rates), strict=True)
        ],
    }
