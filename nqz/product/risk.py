"""What the unbiased estimate tells about a product: how much energy it has and where; θ and the expected error.

Columns are grouped by energy, a quarter of an octave each. For every pair of groups the energy Q of the unbiased
estimate Ĉ₁ exceeds that of the product by the known noise νP, so for factors α the risk Σ (1 - α)² (Q - νP) + α² νP
is an unbiased estimate of the error. θ minimizes it, hence `auto` is at least as good as `mmse` (θ = 1) and
`unbiased` (θ → ∞) up to what the estimate of the risk is off; for small products a prior of θ = 1 is mixed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.arithmetic import GRID, exp2, pieces, total, total_of
from nqz.stages.estimate import Side, alpha, excess_noise

_PRIOR_ENTRIES = 4.0
"""Weight of θ = 1 against the data, in effective entries of a product without noise."""

_GROUP = 64
_COLUMNS = 1024
_MOST_NOISE = 1e60
"""Relative noise of columns that tell nothing any more; squares of its products stay finite."""
_OCTAVE = 8
_THETA = np.arange(-10 * _OCTAVE, 20 * _OCTAVE + 1)
"""Candidates for θ: 2 ** (j / 8)."""


@dataclass(frozen=True)
class Groups:
    """Coded columns of one side, grouped by energy.

    Attributes
    ----------
    order : ndarray of int32
        Columns, group after group, quiet ones first.
    edges : ndarray of int
        Where the groups begin in `order`; one more than there are groups.
    energy : ndarray of float64
        Total energy of each group.
    noise : ndarray of float64
        Energy-weighted mean relative noise of each group.
    quiet : ndarray of bool
        Groups of the quieter half of the columns.
    """

    order: NDArray[np.int32]
    edges: NDArray[np.int64]
    energy: NDArray[np.float64]
    noise: NDArray[np.float64]
    quiet: NDArray[np.bool_]


def group(side: Side, codes: NDArray[Any], energy: NDArray[np.float64]) -> Groups:
    """Group the coded columns of a side that are not all noise; norm codes and energies, in any unit, are of each."""
    alive = [
        np.flatnonzero((side.noise_at(codes[c]) < _MOST_NOISE) & (energy[c] > 0)).astype(np.int32)
        + np.int32(c.start)
        for c in pieces(len(energy))
    ]
    order = np.concatenate(alive) if alive else np.zeros(0, np.int32)
    order = order[np.argsort(codes[order], kind="stable")]
    bucket = codes[order] // _GROUP
    edges = (
        np.concatenate([[0], np.flatnonzero(np.diff(bucket)) + 1, [len(order)]])
        if len(order)
        else np.zeros(1, np.int64)
    )

    def summed(function: Callable[[Any], NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.array(
            [total_of(function(order[i:j][c]) for c in pieces(j - i)) for i, j in pairwise(edges.tolist())]
        )

    sums = summed(lambda columns: energy[columns])
    noise = summed(lambda columns: energy[columns] * side.noise_at(codes[columns]))
    return Groups(order, edges, sums, noise / sums if len(sums) else noise, edges[:-1] * 2 <= len(order))


class _Parts:
    """The groups within blocks of columns, in the order of the groups.

    Parameters
    ----------
    groups : Groups
    starts : list of int
        First column of each block, ascending.
    """

    def __init__(self, groups: Groups, starts: list[int]):
        self._starts, count = starts, len(groups.energy)
        self._order, edges = groups.order, groups.edges
        counts = np.diff(edges)[None, :]
        if len(starts) > 1:
            owner = np.empty(len(self._order), np.uint16 if len(starts) < 1 << 16 else np.int64)
            counts = np.zeros((len(starts), count), np.int64)
            for g in range(count):
                for c in pieces(int(edges[g + 1] - edges[g])):
                    chosen = slice(c.start + int(edges[g]), c.stop + int(edges[g]))
                    owner[chosen] = np.searchsorted(starts, self._order[chosen], side="right") - 1
                    counts[:, g] += np.bincount(owner[chosen], minlength=len(starts))
            self._order = self._order[np.argsort(owner, kind="stable")]
        self._edges = np.concatenate([[0], np.cumsum(counts)])
        self._groups = count

    def of(self, start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns of a block relative to its first one, and where its groups begin among them, and end; int64."""
        at = self._starts.index(start) * self._groups
        edges = self._edges[at : at + self._groups + 1]
        return self._order[edges[0] : edges[-1]].astype(np.int64) - start, edges - edges[0]


def group_energies(
    raw: dict[tuple[int, int], NDArray[Any]],
    unit_a: NDArray[Any],
    unit_b: NDArray[Any],
    a: Groups,
    b: Groups,
    same: bool,
    run: Callable[..., Iterable[Any]] = map,
) -> NDArray[np.float64]:
    """Energy of raw products, scaled by units of rows and columns, for every pair of groups, added in a fixed order.

    Parameters
    ----------
    raw : dict of ndarray
        Blocks of raw products by the numbers of their first row and column.
    same : bool
        Whether entries [i, i] do not count.
    run : callable
        As `map`, perhaps in several threads.
    """
    sums = np.zeros((len(a.energy), len(unit_b)))
    parts = _Parts(a, sorted({i for i, _ in raw}))

    def add(piece: Any) -> None:
        (first, last), (j, block), order, edges, unit, shift = piece
        part = np.empty((len(sums), last - first))
        kernels.group_energies(block[:, first - j : last - j], order, edges, unit, same, shift, part)
        sums[:, first:last] += part

    for i in sorted({i for i, _ in raw}):
        order, edges = parts.of(i)
        for (row, j), block in raw.items():
            if row != i:
                continue
            unit = unit_a[i : i + len(block)]
            stripes = sorted({j, *range(j - j % _COLUMNS + _COLUMNS, j + block.shape[1], _COLUMNS)})
            spans = pairwise([*stripes, j + block.shape[1]])
            for _ in run(add, ((span, (j, block), order, edges, unit, span[0] - i) for span in spans)):
                pass
    sums *= unit_b * unit_b
    return np.array(
        [
            [total_of(row[b.order[i:j][c]] for c in pieces(j - i)) for i, j in pairwise(b.edges.tolist())]
            for row in sums
        ]
    )


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

    Attributes
    ----------
    dropped : tuple of float
        Energy of the product in units of P where one column, and where both, are among the quieter half: the best
        guess for one and for two dropped columns.
    """

    def __init__(
        self, found: NDArray[np.float64], a: Groups, b: Groups, n: int, kappa: float, entries: float
    ):
        self._power = a.energy[:, None] * b.energy[None, :] / n
        self._nu = excess_noise(a.noise, b.noise, kappa)
        self._noise = self._nu * self._power
        self._found = found
        whole = _sum(self._power)
        weight = (1.0 + _sum(self._noise) / whole) ** 2 if whole > 0 else 1.0
        # the prior's share: the measurement's variance grows with the square of signal plus noise
        self._prior = _PRIOR_ENTRIES * weight / (entries + _PRIOR_ENTRIES * weight)
        both = a.quiet[:, None] & b.quiet[None, :]
        one = a.quiet[:, None] ^ b.quiet[None, :]
        # where all columns are alike there are no pairs of a quiet and a loud one
        chosen = [pairs if pairs.any() else one | both for pairs in (one, both)]
        self.dropped = self._ratio(chosen[0] * 1.0), self._ratio(chosen[1] * 1.0)

    def _ratio(self, weight: NDArray[Any]) -> float:
        """Weighted energy of the product over that of P, drawn towards 1."""
        power = _sum(weight * self._power)
        if power <= 0.0:
            return 1.0
        measured = max(_sum(weight * (self._found - self._noise)) / power, 0.0)
        return measured + self._prior * (1.0 - measured)

    def theta(self) -> float:
        """The candidate θ of least estimated risk of `auto`."""
        signal = (1.0 - self._prior) * (self._found - self._noise) + self._prior * self._power
        best, least = 1.0, np.inf
        for theta in exp2(_THETA * (GRID // _OCTAVE)):
            factor = alpha("auto", float(theta), self._nu)
            risk = _sum(np.square(1.0 - factor) * signal + np.square(factor) * self._noise)
            if risk < least:
                best, least = float(theta), risk
        return best

    def missed(self, estimator: str, theta: float) -> float:
        """Energy that α leaves out, Σ (1 - α)² C², over the model's Σ (1 - α)² P."""
        return self._ratio(np.square(1.0 - alpha(estimator, theta, self._nu)))


def _sum(x: NDArray[Any]) -> float:
    return total(np.asarray(x).ravel())
