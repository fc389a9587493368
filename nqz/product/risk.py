"""What the unbiased estimate tells about a product: how much energy it has and where; θ and the expected error.

Columns are grouped by energy, a quarter of an octave each. For every pair of groups the energy Q of the unbiased
estimate Ĉ₁ exceeds that of the product by the known noise νP, so for factors α the risk Σ (1 - α)² (Q - νP) + α² νP
is an unbiased estimate of the error. θ minimizes it, hence `auto` is at least as good as `mmse` (θ = 1) and
`unbiased` (θ → ∞) up to what the estimate of the risk is off; for small products a prior of θ = 1 is mixed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import GRID, exp2, total
from nqz.product.concentration import Concentration
from nqz.product.directions import Directions, energy_variance, not_negative
from nqz.product.groups import Groups, Part
from nqz.product.paired import Paired
from nqz.product.prior import Hypothesis, Unrelated, mixed, spread
from nqz.stages.dependence import ANYHOW, Together
from nqz.stages.estimate import alpha, excess_noise

_PRIOR_ENTRIES = 4.0
"""Weight of θ = 1 against the data, in effective entries of a product without noise."""

_COLUMNS, _ENTRIES = 1 << 10, 1 << 16
"""Columns of raw products that are summed at a time, or more of them where there are only so many entries."""
_TINY = 1e-300
_LEAST = 1e-30
"""Variance of a measured energy where there is no noise."""
_FAINT = 1e-280
"""Energy of products beside that of the loudest vectors below which float64 holds too little of it to be seen."""
_OCTAVE = 8
_Counted = tuple[NDArray[np.float64], NDArray[np.float64]]
"""How many columns there are, and their relative noise."""
_THETA = np.arange(-10 * _OCTAVE, 20 * _OCTAVE + 1)
"""Candidates for θ: 2 ** (j / 8)."""


def group_energies(
    raw: dict[tuple[int, int], NDArray[Any]],
    a: Part,
    b: Part,
    same: bool,
    run: Callable[..., Iterable[Any]] = map,
) -> NDArray[np.float64]:
    """Energy of raw products, scaled by units of rows and columns, for every pair of groups, added in a fixed order.

    Parameters
    ----------
    raw : dict of ndarray
        Blocks of raw products by the numbers of their first row and column.
    a, b : Part
        Rows and columns.
    same : bool
        Whether entries [i, i] do not count.
    run : callable
        As `map`, perhaps in several threads.
    """
    sums = np.zeros((len(a.groups.energy), len(b.groups.energy)))
    for i in sorted({i for i, _ in raw}):
        (height,) = {len(block) for (row, _), block in raw.items() if row == i}
        codes = a.codes(slice(i, i + height))
        (order, edges), unit = a.groups.of(codes), a.units(codes)
        width = max(_COLUMNS, _ENTRIES // height)

        pieces = (
            (first, last, first - i, block[:, first - j : last - j])
            for (row, j), block in raw.items()
            if row == i
            for first, last in pairwise([*range(j, j + block.shape[1], width), j + block.shape[1]])
        )
        add = partial(_stripe, order, edges, unit, same, b)
        for found in run(add, pieces):
            sums += found
    return sums


def _stripe(
    order: NDArray[np.int64], edges: NDArray[np.int64], unit: NDArray[np.float64], same: bool, b: Part,
    piece: tuple[int, int, int, NDArray[Any]],
) -> NDArray[np.float64]:  # fmt: skip
    """The same of some columns, with all rows of a block in the order of their groups."""
    first, last, shift, block = piece
    part = np.empty((len(edges) - 1, last - first))
    kernels.group_energies(block, order, edges, unit, same, shift, part)
    codes = b.codes(slice(first, last))
    part *= np.square(b.units(codes))
    order, edges = b.groups.of(codes)
    sums = np.zeros((len(part), len(edges) - 1))
    for g in np.flatnonzero(np.diff(edges)).tolist():
        sums[:, g] = np.add.accumulate(part[:, order[edges[g] : edges[g + 1]]], axis=1)[:, -1]
    return sums


class Signal:
    """Energy of a product by groups of columns, and the estimators' parameters that follow.

    Parameters
    ----------
    found : ndarray of float64, shape (groups of a, groups of b)
        Energy of the unbiased estimate, see `group_energies`.
    a, b : Groups
    n : int
    kappa : float
    entries : float
        Effective number of entries of the product.
    related : float
        c/n, see `stages.estimate.related_noise`.
    paired : Paired, optional
        Entries [i, i], where `found` is without them.
    directions : tuple of Directions, optional
        In how many directions both sides point; anywhere by default.
    concentration : Concentration, optional
        Whether few entries hold the energy.
    dependent : bool
        Whether expectations depend on how columns lie to each other.
    same : bool
        Whether both sides are one tensor: entries [i, j] and [j, i] are one.

    Attributes
    ----------
    dropped : tuple of float
        Energy of the product in units of P where all columns of A, all of B, and where those of both count alike: the
        best guess for dropped columns of A, of B, and of both, but for the entries [i, i] of `paired`.
    dropped_variance : tuple of float
        How well these are known.
    along : float
        Energy of those entries.
    paired : bool
        Whether there are such.
    together : Together
        How columns lie to each other.
    """

    def __init__(
        self, found: NDArray[np.float64], a: Groups, b: Groups, n: int, kappa: float, entries: float,
        related: float = 0.0, paired: Paired | None = None,
        directions: tuple[Directions | None, Directions | None] = (None, None),
        concentration: Concentration | None = None, dependent: bool = False, same: bool = False,
    ):  # fmt: skip
        self._power = a.energy[:, None] * b.energy[None, :] / n
        self._related, self._few = related, Concentration() if concentration is None else concentration
        self.paired = paired is not None
        self._nu = excess_noise(a.noise, b.noise, kappa)
        self._noise = self._nu * self._power
        self._a, self._b, self._kappa = a, b, kappa
        self._directions = tuple(
            side or Directions.unrelated(_sum(g.energy * g.noise) / _sum(g.energy), n, kappa)
            for side, g in zip(directions, (a, b), strict=True)
        )
        left, right = self._directions
        self.together, self._twice = ANYHOW, 2.0 if same else 1.0
        if dependent:
            among = (left.square, right.square), (left.common, right.common)
            self.together = Together(self._few.quartic, self._few.pairs, *among)
        self._sides = (a, (-1, 1)), (b, (1, -1))
        self._whole = tuple((g.effective_columns(), _mean(g.noise, g.energy)) for g in (a, b))
        self._counted = tuple((np.array(total(g.columns)), _mean(g.noise, g.columns)) for g in (a, b))
        whole = _sum(self._power)
        weight = (1.0 + _sum(self._noise) / whole) ** 2 if whole > 0 else 1.0
        # the prior's share: the measurement's variance grows with the square of signal plus noise
        self._prior = _PRIOR_ENTRIES * weight / (entries + _PRIOR_ENTRIES * weight)
        own, power, self._chance = np.zeros_like(found), self._power, 1.0
        if paired is not None:
            own, shared = paired.energies(found.shape), paired.powers(found.shape) / n
            power = np.maximum(power - shared, 0.0)
            # columns are related whatever their energies: all count alike
            estimates, count = paired.estimates(n, self._nu), float(len(paired.power))
            self.along = self._drawn(total(estimates), count)
            if count:
                nu = total(np.square(self._nu[paired.groups[0], paired.groups[1]])) / count
                self._chance = Unrelated.of(3.0, 1.0 / count, 0.0).chance(
                    total(estimates) / count, lambda energy: 2.0 * (nu + 2.0 * np.sqrt(nu) * energy) / count
                )
        self._found = found + own
        self._chance = self._cases(np.ones_like(found))[0].chance
        signal = found - self._nu * power
        alike_a, alike_b = a.alike()[:, None], b.alike()[None, :]
        weights = (alike_a, (1, 0)), (alike_b, (0, 1)), (alike_a * alike_b, (1, 1))
        guesses = [self._elsewhere(_sum(w * signal), _sum(w * power), alike) for w, alike in weights]
        self.dropped, self.dropped_variance = zip(*guesses, strict=True)

    def _drawn(self, signal: float, power: float) -> float:
        """Energy of the product over that of P, drawn towards 1."""
        if power <= 0.0:
            return 1.0
        measured = max(signal / power / (1.0 + self._related), 0.0)
        return measured + self._prior * (1.0 - measured)

    def _elsewhere(self, signal: float, power: float, alike: tuple[int, int]) -> tuple[float, float]:
        """The same for columns that are not seen, by those of one side or both, all alike; and its variance."""
        if power <= 0.0:
            return 1.0, 0.0
        sides = tuple((self._whole, self._counted)[of][side] for side, of in enumerate(alike))
        measured = signal / power / (1.0 + self._related)
        unrelated, noise = self._unrelated(sides), partial(self._variance, a=sides[0], b=sides[1])
        chance = min(self._chance, unrelated.chance(measured, noise))
        seen, drawn = noise(np.array([1.0, max(measured, 0.0)])), self._drawn(signal, power)
        cases = (
            unrelated.elsewhere(measured, float(seen[0]), chance),
            Hypothesis(1.0 - chance, drawn, float(seen[1]) * (1.0 - self._prior) ** 2),
        )
        return float(mixed(cases, lambda case: case.energy)), spread(cases)

    def _unrelated(self, sides: tuple[_Counted, ...]) -> Unrelated:
        """What unrelated matrices of so many columns would have."""
        among = [side.square for side in self._directions]
        share = self._share(*(float(side[0]) for side in sides))
        return Unrelated.of(self._few.seen, self._twice * share, self._twice * among[0] * among[1])

    def _cases(self, weight: NDArray[Any]) -> tuple[Hypothesis, ...]:
        """The same, weighted, of unrelated matrices and of others.

        The latter is drawn the less, the farther from 1 it is beside what noise explains.
        """
        power = _sum(weight * self._power)
        if power <= 0.0:
            return (Hypothesis(1.0, 1.0, 0.0),)
        measured = _sum(weight * (self._found - self._noise)) / power / (1.0 + self._related)
        noise = partial(self._variance, a=self._whole[0], b=self._whole[1])
        none, variance = noise(np.array([0.0, max(measured, 0.0)])).tolist()
        distance = max(measured, 0.0) - 1.0
        share = min(self._prior, variance / (variance + distance * distance)) if distance else self._prior
        unrelated = self._unrelated(self._whole)
        chance = min(self._chance, unrelated.chance(measured, noise))
        floor, doubt = (1.0 - self._prior) ** 2 * none, variance * (1.0 - share) ** 2
        drawn = measured + share * (1.0 - measured)
        return unrelated.known(measured, noise, chance), Hypothesis(1.0 - chance, drawn, doubt, floor, doubt)

    def theta(self) -> float:
        """The candidate θ of least estimated risk of `auto`."""
        drawn = self._chance * self._unrelated(self._whole).drawn(float(self._variance(1.0, *self._whole)))
        drawn += (1.0 - self._chance) * self._prior
        signal = (1.0 - drawn) * (self._found - self._noise) + drawn * self._power
        noise = self._noise + self._related * np.maximum(signal, 0.0)
        best, least = 1.0, np.inf
        for theta in exp2(_THETA * (GRID // _OCTAVE)):
            factor = alpha("auto", float(theta), self._nu)
            risk = _sum(np.square(1.0 - factor) * signal + np.square(factor) * noise)
            if risk < least:
                best, least = float(theta), risk
        return best

    def missed(self, estimator: str, theta: float) -> float:
        """Energy that α leaves out, Σ (1 - α)² C², over the model's Σ (1 - α)² P.

        So much of it that errors are 1 in the mean, in units of what is expected: see `_cautious`.
        """
        cases, left_out, noise = self._left_out(estimator, theta)

        def of(case: Hypothesis) -> NDArray[np.float64]:
            energy, floor, doubt = (np.array(x) for x in (case.energy, case.floor, case.doubt))
            return _cautious(energy, floor, doubt, left_out, noise)

        return float(mixed(cases, of))

    def missed_variance(self, estimator: str, theta: float) -> float:
        """Variance of what errors are expected to be for that, in units of ΣP."""
        cases, left_out, _ = self._left_out(estimator, theta)
        return spread(cases) * left_out * left_out

    def _left_out(self, estimator: str, theta: float) -> tuple[tuple[Hypothesis, ...], float, float]:
        """Energy of what α leaves out; and what it is in errors beside noise."""
        factor = alpha(estimator, theta, self._nu)
        weight = np.square(1.0 - factor)
        power = max(_sum(self._power), _TINY)
        errors = _sum(weight * self._power) / power, _sum(np.square(factor) * self._noise) / power
        return self._cases(weight), *errors

    def sample_variance(self, columns_a: float, columns_b: float) -> float:
        """Relative variance of the energy of a product of so many of such columns."""
        return (self._few.kurtosis - 1.0) * self._share(columns_a, columns_b)

    def _share(self, columns_a: float, columns_b: float) -> float:
        """One over the number of products that are not alike of so many columns."""
        shares = [
            side.square + max(1.0 - side.square, 0.0) / columns
            for side, columns in zip(self._directions, (columns_a, columns_b), strict=True)
        ]
        return min(1.0, shares[0] * shares[1])

    def passed(self, estimator: str, theta: float) -> float:
        """Energy that α lets through, Σ α² C², over the model's Σ α² P."""
        cases = self._cases(np.square(alpha(estimator, theta, self._nu)))
        return float(mixed(cases, lambda c: not_negative(np.array(c.energy), np.sqrt(np.array(c.floor)))))

    def local(self, estimator: str, theta: float) -> Local:
        """Energy of the product in units of P, for every pair of groups, for which squared errors are what is expected.

        That of all, which counts most where `estimator` leaves most out, is the better guess for pairs of groups of
        so few entries that noise hides what is their own: how much they differ tells how far each is to be believed
        (DerSimonian & Laird 1986). What is learned from little is as often too small as too large, and no energy is
        below 0; squared errors are to be 1 in the mean in units of what is said, so that what is too small counts more.
        """
        factor = alpha(estimator, theta, self._nu)
        cases = self._cases(np.square(1.0 - factor))
        table = mixed(cases, lambda case: self._table(case, factor))
        rest = max(self.missed(estimator, theta), 0.0)
        return Local(self._a.label, self._b.label, np.pad(table, (0, 1), constant_values=rest))

    def _table(self, case: Hypothesis, factor: NDArray[np.float64]) -> NDArray[np.float64]:
        """That if all have what one case says."""
        pooled = case.energy
        seen = self._power > _FAINT
        power = np.where(seen, self._power, 1.0)
        measured = np.where(seen, (self._found - self._noise) / power / (1.0 + self._related), pooled)
        groups = tuple((g.columns.reshape(shape), g.noise.reshape(shape)) for g, shape in self._sides)
        own_variance = self._variance(max(pooled, 0.0), *groups) + _LEAST
        weight = np.where(seen, 1.0 / own_variance, 0.0)
        weights = max(_sum(weight), _LEAST)
        mean = _sum(weight * measured) / weights
        spread = _sum(weight * (measured - mean) ** 2) - (int(seen.sum()) - 1)
        own = max(spread, 0.0) / max(weights - _sum(weight**2) / weights, _LEAST)
        trusted = np.where(seen, own / (own + own_variance), 0.0)
        floor, variance = (
            np.square(trusted) * one + np.square(1.0 - trusted) * all_
            for one, all_ in ((self._variance(0.0, *groups), case.floor), (own_variance, case.doubt))
        )
        found = pooled + trusted * (measured - pooled)
        # where groups differ by more than they have in the mean, most have nothing
        sparse = trusted * (own / (own + pooled * pooled + _LEAST))
        left_out = np.square(1.0 - factor) + np.square(factor) * self._related
        return _cautious(found, floor, variance, left_out, np.square(factor) * self._nu, sparse)

    def _variance(self, energy: float | NDArray[np.float64], a: _Counted, b: _Counted) -> NDArray[np.float64]:
        known = energy_variance(np.array(energy), self._directions, (a[0], b[0]), (a[1], b[1]), self._kappa)
        return self._twice * known


def _cautious(
    found: NDArray[np.float64], floor: NDArray[np.float64], variance: NDArray[np.float64],
    left_out: NDArray[np.float64] | float, noise: NDArray[np.float64] | float,
    sparse: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:  # fmt: skip
    """Energies for which squared errors, in units of what is expected of them, are 1 in the mean.

    What is found is too small as often as too large, no energy is below 0, and where it is too small errors are many
    times what is expected: by the relative variance of that, s², and 3 s⁴.

    Parameters
    ----------
    found : ndarray of float64
        Measured energies.
    floor, variance : ndarray of float64
        Their variances, where there is nothing to be found, and as it is.
    left_out, noise
        Squared errors are left_out times the energy, and noise.
    sparse
        See `not_negative`.
    """
    deviation = np.sqrt(floor)
    likely = not_negative(found, deviation)
    believed = np.divide(np.maximum(found, 0.0), likely, out=np.ones_like(likely), where=likely > 0.0)
    energy = not_negative(found, deviation, sparse)
    squared = left_out * energy + noise
    share = np.divide(left_out, squared, out=np.zeros_like(squared), where=squared > 0.0)
    relative = share * share * variance
    # the mean of 1 / (1 + e) is 1 + s² + 3 s⁴ of a normal e
    return energy + believed * share * variance * (1.0 + np.minimum(3.0 * relative, 1.0))


class Local(NamedTuple):
    """Energy of a product in units of P by groups of columns.

    Attributes
    ----------
    a, b : ndarray of int64
        Labels of the groups.
    table : ndarray of float64, shape (groups of a + 1, groups of b + 1)
        The last row and column are for columns of no group.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    table: NDArray[np.float64]

    @classmethod
    def everywhere(cls, theta: float) -> Local:
        """The same for all."""
        none = np.zeros(0, np.int64)
        return cls(none, none, np.full((1, 1), theta))


def _mean(x: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(_sum(weight * x) / _sum(weight))


def _sum(x: NDArray[Any]) -> float:
    return total(np.asarray(x).ravel())
