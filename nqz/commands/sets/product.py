"""Products of matrices in parts: raw products of parts, added up, and scaled once.

Sums of integers are the same in any order, and every entry is scaled by itself: the result does not depend on who
computes what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.commands.rectangles import rectangles, room
from nqz.commands.sets.operand import SetOperand
from nqz.commands.sets.raw import Decoded, Sum, exact, raw_sum
from nqz.ground.arithmetic import pieces
from nqz.ground.threads import Workers
from nqz.product import diagonal
from nqz.product.deviation import Deviations, Put
from nqz.product.directions import COLUMNS, Directions
from nqz.product.operand import Watch, lifted
from nqz.product.product import Measured, NotFiniteError, Product, fits_whole, sample
from nqz.product.risk import Signal
from nqz.product.tiles import Blocks, Raw
from nqz.stages import norms
from nqz.stages.estimate import excess_factors

_STRIPE = 1 << 19
"""Entries that are scaled at a time."""

Wanted = tuple[tuple[SetOperand, SetOperand], NDArray[np.int64], NDArray[np.int64]]
"""Raw products of some columns of two sides."""

Means = list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]
"""Of both sides, and of how many entries, part by part; not those that are all zero."""


@dataclass(frozen=True)
class SetProduct(Product):
    """A product of matrices in parts, cut alike along the contracted axis."""

    a: SetOperand
    b: SetOperand
    decoded: Decoded = field(default_factory=Decoded, repr=False, compare=False)

    def measure(self, pool: Workers, watch: Watch | None = None) -> Measured:
        """See `Product`."""
        a, b = self.a, self.b
        rows, columns = np.arange(a.columns), np.arange(b.columns)
        whole = fits_whole(a.columns, b.columns)
        if not whole:
            rows, columns = sample(a.columns), sample(b.columns)
        wanted: list[Wanted] = [((a, b), rows, columns)]
        if self.estimator != "unbiased" or self._dependent:
            sides = (a,) if self.same else (a, b)
            wanted += (((side, side), chosen, chosen) for side in sides for chosen in [_some(side)])
        sums = self._sums(wanted, pool)
        raw = {(0, 0): next(sums)}
        near = [
            Directions.of(sides[0].alone, chosen, {(0, 0): found}, self.kappa)
            for (sides, chosen, _), found in zip(wanted[1:], sums, strict=True)
        ]
        both = (near[0], near[-1]) if near else (None, None)
        signal = self._signal(None if whole else rows, None if whole else columns, raw, pool, both)
        return self._measured(signal, raw if whole else None, None)

    def _measured(
        self, signal: Signal | None, raw: Raw | None, sides: tuple[Blocks, Blocks] | None
    ) -> Measured:
        """See `Product`; errors are relative to the energies of whole columns around their means."""
        found, share = super()._measured(signal, raw, sides), self.a.within * self.b.within
        return replace(found, error=share * found.error, band=(share * found.band[0], share * found.band[1]))

    def tiles(
        self, measured: Measured, dtype: str, put: Put, pool: Workers, deviations: Deviations | None = None
    ) -> Iterator[tuple[float, Any]]:
        """See `Product`."""
        whole = self.a.columns * self.b.columns
        for rows, columns, raw in self._rectangles(measured, dtype, pool):
            tile = self.scaled(measured.theta, rows, columns, raw, dtype, pool, deviations)
            yield tile.size / whole, put(rows.start, columns.start, tile)

    def deviate(self, measured: Measured, dtype: str, deviations: Deviations, pool: Workers) -> None:
        """See `Product`."""
        if not deviations.needs_products:
            super().deviate(measured, dtype, deviations, pool)
            return
        for rows, columns, raw in self._rectangles(measured, dtype, pool):
            deviations.add(rows, columns, exact(raw), np.zeros(raw.shape, dtype), pool, rounded=False)

    def _sums(self, wanted: Sequence[Wanted], pool: Workers) -> Iterator[Sum]:
        """Raw products, each as kernels take them."""
        parts = range(len(self.a.lengths))
        for sides, rows, columns in wanted:
            yield exact(raw_sum(sides, rows, columns, parts, self.decoded, pool))

    def places(self, dtype: str, workers: int = 1) -> list[tuple[slice, slice]]:
        """The rectangles that the product is computed in, by so many workers."""
        size, blocks = (self.a.columns, self.b.columns), (self.a.panels, self.b.panels)
        return list(rectangles(*size, room(max(self.a.lengths), dtype), blocks, workers))

    def _rectangles(
        self, measured: Measured, dtype: str, pool: Workers
    ) -> Iterator[tuple[slice, slice, Sum]]:
        """Raw products of all columns, in rectangles."""
        for rows, columns in self.places(dtype):
            if measured.raw is not None:
                yield rows, columns, measured.raw[0, 0][rows, columns]
            else:
                yield rows, columns, self.raw(rows, columns, pool)

    def raw(self, rows: slice, columns: slice, pool: Workers) -> Sum:
        """Raw products of a rectangle."""
        one, other = (np.arange(own.start, own.stop) for own in (rows, columns))
        return raw_sum((self.a, self.b), one, other, range(len(self.a.lengths)), self.decoded, pool)

    def scaled(
        self, theta: float, rows: slice, columns: slice, raw: Sum, dtype: str, pool: Workers,
        deviations: Deviations | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        """The estimate of a rectangle; `deviations` are given its pieces, too.

        Raises
        ------
        NotFiniteError, InfiniteError
            See `Product.tiles`.
        """
        out, means = np.empty(raw.shape, dtype), self._part_means(rows, columns)

        def stripe(own: slice) -> None:
            at, found = slice(rows.start + own.start, rows.start + own.stop), exact(raw[own])
            out[own] = tile = self._stripe(theta, at, columns, found, dtype, means, own)
            if deviations is not None:
                deviations.add(at, columns, found, tile, pool)

        for _ in pool.map(stripe, pieces(len(raw), max(1, _STRIPE // max(1, raw.shape[1])))):
            pass
        return out

    def _part_means(self, rows: slice, columns: slice) -> Means:
        found = (
            (length, self.a.part_means(k, rows), self.b.part_means(k, columns))
            for k, length in enumerate(self.a.lengths)
        )
        return [(length, one, other) for length, one, other in found if one.any() and other.any()]

    def _stripe(
        self, theta: float, rows: slice, columns: slice, raw: Sum, dtype: str, means: Means, own: slice
    ) -> NDArray[Any]:
        """The estimate of rows `own` of a rectangle: of centered parts by their points, then of the means of each."""
        wide = self._centered(theta, rows, columns, raw)
        with np.errstate(over="ignore", invalid="ignore"):
            for length, one, other in means:
                wide += length * (one[own, None] * other[None, :])
            out = wide.astype(dtype)
        finite = np.isfinite(out)
        if not finite.all():
            i, j = divmod(int(np.argmin(finite)), out.shape[1])
            raise NotFiniteError(rows.start + i, columns.start + j, bool(np.isfinite(wide[i, j])))
        return out

    def _centered(self, theta: float, rows: slice, columns: slice, raw: NDArray[Any]) -> NDArray[np.float64]:
        a, b, out = self.a, self.b, np.empty(raw.shape)
        codes_a, codes_b = a.codes(rows), b.codes(columns)
        spread_a, spread_b, share = excess_factors(
            a.side, b.side, self.estimator, codes_a, codes_b, self.kappa
        )
        unit_a, unit_b, exponent = lifted(a.units(codes_a), b.units(codes_b), a.exponent + b.exponent)
        kernels.estimate(
            raw, unit_a, unit_b, spread_a, spread_b, np.zeros(len(raw)), np.zeros(raw.shape[1]), share,
            theta, theta / self.kappa, float(a.side.n), max(-2044, min(2044, exponent)), out,
        )  # fmt: skip
        first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
        if self.same and first < last:
            i = np.arange(first, last)
            place, codes = (i - rows.start, i - columns.start), a.codes(slice(first, last))
            energy = diagonal.energies(a.alone, codes, a.units(codes), raw[place], self.kappa)
            out[place] = np.ldexp(energy, 2 * a.exponent)
        return out


def _some(side: SetOperand) -> NDArray[np.int64]:
    """A few of the columns that are stored with the first that is coded, which show how all lie to each other."""
    codes = side.codes(slice(None))
    coded = np.isfinite(side.noise(codes)) & (codes != norms.ZERO)
    first = int(np.argmax(coded))
    low, high = next(block for block in side.panels if first < block[1])
    count = min(COLUMNS, high - low)
    return low + np.arange(count) * (high - low) // count
