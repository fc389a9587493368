"""Figure 2: the estimate of AᵀB from exact products of points, scaled entry by entry in float64.

`Product.measure` finds θ and the expected error, from the whole product or from a sample of its columns;
`Product.tiles` then computes the estimate in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.ground.threads import Workers
from nqz.product import diagonal, expectation
from nqz.product.concentration import Concentration
from nqz.product.deviation import Deviations, Put
from nqz.product.directions import COLUMNS, Directions
from nqz.product.few import few_products
from nqz.product.groups import Part
from nqz.product.integers import multiply, result_type
from nqz.product.operand import Operand, Watch, lifted
from nqz.product.paired import Paired
from nqz.product.risk import Local, Signal, group_energies
from nqz.product.tiles import Blocks, Piece, Raw, Sample, blank, products, stripes, tiles
from nqz.stages import project
from nqz.stages.estimate import excess_factors, related_noise

_WHOLE = 1 << 24
_SAMPLE = 4096
_UNTOLD = 16
"""So few vectors do not tell in how many directions they point, and the others are not kept to tell."""


class NotFiniteError(ValueError):
    """An entry of the estimate overflows; `wide` tells whether float64 would hold it."""

    def __init__(self, row: int, column: int, wide: bool):
        super().__init__(f"entry [{row}, {column}] overflows")
        self.row, self.column, self.wide = row, column, wide


@dataclass(frozen=True)
class Measured:
    """What is known of a product before its estimate is computed.

    Attributes
    ----------
    theta : float
        θ of the `auto` estimator.
    error : float
        Expected ‖AᵀB - Ĉ‖² relative to ‖Ā‖²‖B̄‖²/n.
    guessed : float
        The share of `error` that dropped columns contribute, whose products are not known.
    band : tuple of float
        Between what the mean error of such products is likely to be: `error` and two standard deviations of what it was
        learned from. Within 3 % of it where that is less.
    signal : Signal, optional
        What the product shows, where it was looked at and has coded columns.
    raw : dict of ndarray, optional
        All exact products of points, where these are few.
    sides : tuple of Blocks, optional
        What was decoded so far of both sides, where `raw` is not there.
    """

    theta: float = 1.0
    error: float = 0.0
    guessed: float = 0.0
    band: tuple[float, float] = (0.0, 0.0)
    signal: Signal | None = field(default=None, repr=False)
    raw: Raw | None = field(default=None, repr=False)
    sides: tuple[Blocks, Blocks] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Product:
    """The estimate of AᵀB from two operands.

    Attributes
    ----------
    a, b : Operand
        Of equal length and rotation seed.
    estimator : {"auto", "mmse", "unbiased"}
    same : bool
        Whether both are one and the same tensor: they share their dither, and the diagonal comes from the norms.
    """

    a: Operand
    b: Operand
    estimator: str
    same: bool = False

    @property
    def kappa(self) -> float:
        """The share of coordinates that both sides keep."""
        return min(self.a.side.kappa, self.b.side.kappa)

    def measure(self, pool: Workers, watch: Watch | None = None) -> Measured:
        """Find θ, and the expected error, from the whole product or from a sample of columns.

        Parameters
        ----------
        pool : Workers
        watch : Watch, optional
            Told of the points that are read, now and by `tiles`.
        """
        a, b = self.a, self.b
        if not a.columns or not b.columns:
            return Measured()
        if fits_whole(a.columns, b.columns):
            raw, near = self.few_raw(pool, watch), None
            if raw is None:
                both = self._sides(pool, watch)
                raw, near = self._all_raw(*both, pool), self._directions(*both, pool)
            signal = self._signal(None, None, raw, pool, near)
            return self._measured(signal, raw, None)
        rows, columns = sample(a.columns), sample(b.columns)
        sides = self._sides(pool, watch)
        sampled = self._all_raw(Sample(sides[0], rows), Sample(sides[1], columns), pool)
        near = self._directions(*sides, pool)
        return self._measured(self._signal(rows, columns, sampled, pool, near), None, sides)

    @property
    def needs_measuring(self) -> bool:
        """Whether standard deviations depend on what `measure` gives."""
        return self.estimator != "unbiased" or related_noise(self.a.side, self.b.side) != 0.0

    def deviations(self, measured: Measured, put: Put) -> Deviations:
        """What computes the standard deviations of the estimate beside it, and puts them: see `tiles`."""
        local = Local.everywhere(1.0)
        if measured.signal is not None and self.estimator != "unbiased":
            local = measured.signal.local(self.estimator, measured.theta)
        return Deviations(self.a, self.b, self.estimator, measured.theta, local, self.same, put)

    def tiles(
        self, measured: Measured, dtype: str, put: Put, pool: Workers, deviations: Deviations | None = None
    ) -> Iterator[tuple[float, Any]]:
        """Compute the estimate in rectangular pieces that cover it.

        Parameters
        ----------
        measured : Measured
            What `measure` gave.
        dtype : {"float32", "float64"}
        put : callable
            put(row, column, tile) is called for every piece, from several threads; the array is valid during the call
            only.
        pool : Workers
        deviations : Deviations, optional
            Given every piece, too.

        Yields
        ------
        tuple
            Share of the product in a piece, and what `put` returned for it; the order of the pieces depends on the
            operands alone.

        Raises
        ------
        NotFiniteError, InfiniteError
            An entry, or its standard deviation, does not fit the type.
        """
        whole = max(1, self.a.columns * self.b.columns)

        def finish(piece: Piece) -> tuple[float, Any]:
            rows, columns, raw = piece()
            tile = self._estimated(measured.theta, rows, columns, raw, dtype, pool)
            if deviations is not None:
                deviations.add(rows, columns, raw, tile, pool)
            return raw.size / whole, put(rows.start, columns.start, tile)

        if measured.raw is not None:
            yield from pool.map(finish, stripes(measured.raw))
        elif measured.sides is not None:
            yield from _run(pool)(finish, products(*measured.sides, pool))

    def deviate(self, measured: Measured, dtype: str, deviations: Deviations, pool: Workers) -> None:
        """Compute the standard deviations of an estimate that is not computed: its rounding does not count.

        Parameters
        ----------
        measured : Measured
            What `measure` gave; needless for unbiased estimates whose deviations need no products.
        dtype : {"float32", "float64"}
        deviations : Deviations
            Given every piece.
        pool : Workers

        Raises
        ------
        InfiniteError
            One does not fit the type.
        """

        def finish(piece: Piece) -> None:
            rows, columns, raw = piece()
            deviations.add(rows, columns, raw, np.zeros(raw.shape, dtype), pool, rounded=False)

        found: Iterator[Piece]
        if not deviations.needs_products:
            found = blank(self.a.columns, self.b.columns)
        elif measured.raw is not None:
            found = stripes(measured.raw)
        else:
            found = iter(()) if measured.sides is None else products(*measured.sides, pool)
        for _ in (_run(pool) if measured.sides is not None else pool.map)(finish, found):
            pass

    def blocks(self, kind: type[Blocks], pool: Workers, watch: Watch | None = None) -> tuple[Blocks, Blocks]:
        """Blocks of both sides, reduced to the coordinates that they share."""
        shared, seed, n = min(self.a.m, self.b.m), self.a.rotation_seed, self.a.side.n
        left, right = (
            kind(side, project.meet(seed, n, side.m, shared), pool, watch) for side in (self.a, self.b)
        )
        return left, left if self.same and left.fits else right

    def _sides(self, pool: Workers, watch: Watch | None) -> tuple[Blocks, Blocks]:
        return self.blocks(Blocks, pool, watch)

    def raw_of(
        self, sides: tuple[Blocks, Blocks], rows: NDArray[np.int64], columns: NDArray[np.int64], pool: Workers
    ) -> Raw:
        """Raw products of some columns of both sides, ascending, numbered among these."""
        return self._all_raw(Sample(sides[0], rows), Sample(sides[1], columns), pool)

    def rectangle(
        self, sides: tuple[Blocks, Blocks], theta: float, rows: slice, columns: slice, dtype: str, pool: Workers,
        deviations: Deviations | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        """The estimate of some rows and columns; `deviations` are given its pieces, too.

        Raises
        ------
        NotFiniteError, InfiniteError
            See `tiles`.
        """
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype)
        left = Sample(sides[0], np.arange(rows.start, rows.stop))
        right = Sample(sides[1], np.arange(columns.start, columns.stop))

        def finish(piece: Piece) -> None:
            i, j, raw = piece()
            at = slice(rows.start + i.start, rows.start + i.stop)
            beside = slice(columns.start + j.start, columns.start + j.stop)
            tile = self._estimated(theta, at, beside, raw, dtype, pool)
            if deviations is not None:
                deviations.add(at, beside, raw, tile, pool)
            out[i, j] = tile

        for _ in _run(pool)(finish, products(left, right, pool)):
            pass
        return out

    def _all_raw(self, left: Blocks, right: Blocks, pool: Workers) -> Raw:
        """All raw products of two sides."""
        found: Raw = {}

        def jobs() -> Iterator[tuple[Any, NDArray[Any]]]:
            for t in tiles(left, right):
                key = t.first_a, t.first_b
                if key not in found:
                    found[key] = np.empty((len(t.a.rows), len(t.b.rows)), result_type(t.a, t.b))
                yield t, found[key][t.rows, t.columns]

        def job(pair: tuple[Any, NDArray[Any]]) -> None:
            t, out = pair
            multiply(t.a, t.b, t.rows, t.columns, out)

        for _ in _run(pool)(job, jobs()):
            pass
        return dict(sorted(found.items()))

    def few_raw(self, pool: Workers, watch: Watch | None = None) -> Raw | None:
        """Raw products with a few vectors, chunk by chunk; None where that does not do."""
        turned = self.a.columns < self.b.columns
        small, large = (self.a, self.b) if turned else (self.b, self.a)
        return None if self.same else few_products(small, large, turned, pool, watch)

    def _estimated(
        self, theta: float, rows: slice, columns: slice, raw: NDArray[Any], dtype: str, pool: Workers
    ) -> NDArray[Any]:
        out = pool.local.array("estimates", raw.shape, dtype)
        position = self._scale(theta, rows, columns, raw, out)
        if position >= 0:
            i, j = divmod(position, raw.shape[1])
            wide = np.empty((1, raw.shape[1]))
            row = slice(rows.start + i, rows.start + i + 1)
            self._scale(theta, row, columns, raw[i : i + 1], wide)
            raise NotFiniteError(rows.start + i, columns.start + j, bool(np.isfinite(wide[0, j])))
        return out

    def _scale(self, theta: float, rows: slice, columns: slice, raw: NDArray[Any], out: NDArray[Any]) -> int:
        """Estimates from raw products; the position of the first that is not finite, or -1."""
        a, b = self.a, self.b
        codes_a, codes_b = a.codes(rows), b.codes(columns)
        spread_a, spread_b, share = excess_factors(
            a.side, b.side, self.estimator, codes_a, codes_b, self.kappa
        )
        exponent = max(-2044, min(2044, a.exponent + b.exponent))
        unit_a, unit_b, exponent = lifted(a.worths(rows, codes_a), b.worths(columns, codes_b), exponent)
        position = kernels.estimate(
            raw, unit_a, unit_b, spread_a, spread_b, a.means(rows), b.means(columns), share,
            theta, theta / self.kappa, float(a.side.n), exponent, out,
        )  # fmt: skip
        first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
        if not self.same or first >= last:
            return int(position)
        i, chosen = np.arange(first, last), slice(first, last)
        with np.errstate(over="ignore", invalid="ignore"):
            means = a.means(chosen)
            place = i - rows.start, i - columns.start
            energy = diagonal.energies(
                a, a.codes(chosen), a.worths(chosen, a.codes(chosen)), raw[place], self.kappa
            )
            out[place] = np.ldexp(energy, 2 * a.exponent) + a.side.n * (means * means)
        finite = np.isfinite(out)
        return -1 if finite.all() else int(np.argmin(finite))

    def _directions(
        self, left: Blocks, right: Blocks, pool: Workers
    ) -> tuple[Directions | None, Directions | None]:
        """In how many directions the columns of both sides point; None where nothing depends on that."""
        needed = self.estimator != "unbiased" or self._dependent
        if not needed or min(self.a.columns, self.b.columns) <= _UNTOLD:
            return None, None

        def of(side: Blocks) -> Directions | None:
            some = side.some(COLUMNS)
            raw = self._all_raw(some, some, pool)
            return Directions.of(side.operand, some.chosen, raw, self.kappa, some.shift)

        near = of(left)
        return near, near if self.same else of(right)

    def _signal(
        self, rows: NDArray[np.int64] | None, columns: NDArray[np.int64] | None, raw: Raw, pool: Workers,
        near: tuple[Directions | None, Directions | None] | None = None,
    ) -> Signal | None:  # fmt: skip
        """What the raw products of some rows and columns, or all, tell about the energy of the product."""
        parts = Part.of(self.a, rows, self.kappa), Part.of(self.b, columns, 1.0)
        a, b = (part.groups for part in parts)
        if not len(a.energy) or not len(b.energy):
            return None
        apart = self.a.columns == self.b.columns > 1 or self.same
        found = group_energies(raw, *parts, apart, pool.map)
        entries = a.side.effective_columns() * b.side.effective_columns()
        related = related_noise(self.a.side, self.b.side) / a.side.n
        count = self.a.columns if rows is None else len(rows)
        paired = (
            Paired.of(raw, *parts, count) if self.a.columns == self.b.columns > 1 and not self.same else None
        )
        few = Concentration.of(raw, *parts, a.side.n, self.kappa, paired, apart)
        return Signal(
            found, a, b, a.side.n, self.kappa, entries, related, paired, near or (None, None), few,
            dependent=self._dependent, same=self.same,
        )  # fmt: skip

    @property
    def _dependent(self) -> bool:
        """Whether expectations depend on how columns lie to each other, beside θ."""
        sides = self.a.side, self.b.side
        return any(side.dependence is not None or bool(np.isinf(side.noise).any()) for side in sides)

    def _measured(
        self, signal: Signal | None, raw: Raw | None, sides: tuple[Blocks, Blocks] | None
    ) -> Measured:
        theta = 1.0
        if signal is not None and self.estimator == "auto":
            theta = signal.theta()
        found = expectation.of(self.a, self.b, self.estimator, theta, signal, self.same)
        return Measured(theta, found.error, found.guessed, found.band, signal, raw, sides)


def _run(pool: Workers) -> Callable[..., Iterator[Any]]:
    """How products are computed side by side: BLAS has threads of its own."""
    return pool.map if kernels.fast_product() else map


def fits_whole(rows: int, columns: int) -> bool:
    """Whether a product is so small that θ is found from all of it."""
    return rows * columns <= _WHOLE


def sample(count: int) -> NDArray[np.int64]:
    """The columns of a side that θ is found from."""
    return np.arange(min(count, _SAMPLE)) * count // min(count, _SAMPLE)
