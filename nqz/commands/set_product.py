"""Products of matrices in parts: raw products of parts, added up, and scaled once.

Where points of all parts are worth the same, raw products are added as integers: in any order, by anybody, to the same
sum. Otherwise they are added in the order of the parts. So the result does not depend on who computes what.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz import kernels
from nqz.commands.factors import CodedOperand
from nqz.commands.multiply_elsewhere import rectangles
from nqz.commands.set_operand import SetOperand
from nqz.files.opening import open_part
from nqz.files.parked import Descriptors
from nqz.format.reader import ContainerReader
from nqz.ground.errors import InputError
from nqz.ground.fleet import Fleet
from nqz.ground.recent import Recent
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix
from nqz.product import diagonal
from nqz.product.deviation import Deviations, Put
from nqz.product.directions import COLUMNS, Directions
from nqz.product.operand import Operand, Watch, lifted
from nqz.product.product import Measured, NotFiniteError, Product, fits_whole, sample
from nqz.product.tiles import Lately
from nqz.stages import project
from nqz.stages.estimate import excess_factors

_KEPT = 4  # parts whose blocks stay decoded
_OPEN = 2  # products that a thread of a worker keeps open

Sum = NDArray[Any]
"""Raw products, int64; float64 where points are not worth the same in all parts."""


class PartAddress(NamedTuple):
    """Where a part is: its path, or how its file is opened; what messages call it, and its digest."""

    opened: str | tuple[Any, ...]
    name: str
    digest: bytes
    tensor: int

    def open(self, descriptors: Descriptors) -> tuple[Matrix, Any]:
        """The part, and its file, one of few that are open at a time."""
        if isinstance(self.opened, str):
            access: Any = open_part(self.opened, descriptors)
        else:
            access = self.opened[0](*self.opened[1])
        reader = ContainerReader(access, self.name)
        if reader.digest != self.digest:
            raise InputError(f"{self.name}: is not the file that it was; workers must see the same storage")
        return open_matrix(reader, self.tensor), access


class SetAddress(NamedTuple):
    """Where a matrix in parts is; of parts that are not compressed, what was measured of them."""

    name: str
    parts: tuple[tuple[PartAddress | Operand, ...], ...]

    def open(self) -> tuple[list[list[Operand]], list[Any]]:
        """Its parts, and what has to be asked whether it has changed."""
        descriptors, accesses = Descriptors(), []

        def operand(part: PartAddress | Operand) -> Operand:
            if isinstance(part, Operand):
                return part
            matrix, access = part.open(descriptors)
            accesses.append(access)
            return CodedOperand(matrix)

        return [list(map(operand, row)) for row in self.parts], accesses


class SetSides(NamedTuple):
    """What a worker needs to know of a product; `token` tells those that it has open."""

    token: str
    a: SetAddress
    b: SetAddress


class Decoded:
    """The blocks of parts, reduced to coordinates that both sides have; those of the last few parts stay decoded."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Operand, int], Lately] = OrderedDict()

    def of(self, part: Operand, shared: int, pool: Workers) -> Lately:
        """Those of a part, of which so many coordinates are shared."""
        found = self._kept.pop((part, shared), None)
        if found is None:
            meet = project.meet(part.rotation_seed, part.side.n, part.m, shared)
            found = Lately(part, meet, pool)
        self._kept[part, shared] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


@dataclass(frozen=True)
class SetProduct(Product):
    """A product of matrices in parts, cut alike along the contracted axis."""

    a: SetOperand
    b: SetOperand
    fleet: Fleet | None = None
    sides: SetSides | None = None
    decoded: Decoded = field(default_factory=Decoded, repr=False, compare=False)

    def measure(self, pool: Workers, watch: Watch | None = None) -> Measured:
        """See `Product`."""
        a, b = self.a, self.b
        rows, columns = np.arange(a.columns), np.arange(b.columns)
        whole = fits_whole(a.columns, b.columns)
        if not whole:
            rows, columns = sample(a.columns), sample(b.columns)
        raw = {(0, 0): self._sum((a, b), rows, columns, pool).astype(np.float64)}
        near = self._near(pool)
        signal = self._signal(None if whole else rows, None if whole else columns, raw, pool, near)
        return self._measured(signal, None, None)

    def tiles(
        self, measured: Measured, dtype: str, put: Put, pool: Workers, deviations: Deviations | None = None
    ) -> Iterator[tuple[float, Any]]:
        """See `Product`."""
        whole = self.a.columns * self.b.columns
        for rows, columns, raw in self._rectangles((self.a, self.b), None, None, pool):
            exact = raw.astype(np.float64)
            tile = self._estimated(measured.theta, rows, columns, exact, dtype, pool)
            if deviations is not None:
                deviations.add(rows, columns, exact, tile, pool)
            yield tile.size / whole, put(rows.start, columns.start, tile)

    def _near(self, pool: Workers) -> tuple[Directions | None, Directions | None]:
        if self.estimator == "unbiased" and not self._dependent:
            return None, None

        def of(side: SetOperand) -> Directions | None:
            count = min(COLUMNS, side.columns)
            chosen = np.arange(count) * side.columns // count
            raw = self._sum((side, side), chosen, chosen, pool).astype(np.float64)
            return Directions.of(side, chosen, {(0, 0): raw}, self.kappa)

        near = of(self.a)
        return near, near if self.same else of(self.b)

    def _sum(
        self,
        sides: tuple[SetOperand, SetOperand],
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        pool: Workers,
    ) -> Sum:
        """Raw products of some columns of both sides."""
        out: Sum = np.empty(
            (len(rows), len(columns)), np.int64 if all(side.alike for side in sides) else np.float64
        )
        for i, j, raw in self._rectangles(sides, rows, columns, pool):
            out[i, j] = raw
        return out

    def _rectangles(
        self, sides: tuple[SetOperand, SetOperand], rows: NDArray[np.int64] | None, columns: NDArray[np.int64] | None,
        pool: Workers,
    ) -> Iterator[tuple[slice, slice, Sum]]:  # fmt: skip
        """Raw products of columns, all by default, in rectangles; by workers, if there are any."""
        chosen = [
            np.arange(side.columns) if own is None else own
            for side, own in zip(sides, (rows, columns), strict=True)
        ]
        places = list(rectangles(len(chosen[0]), len(chosen[1])))
        parts = len(self.a.lengths)
        if self.fleet is None or self.sides is None:
            for i, j in places:
                yield i, j, raw_sum(sides, chosen[0][i], chosen[1][j], range(parts), self.decoded, pool)
            return
        alike = all(side.alike for side in sides)
        # few rectangles are shared out by parts, too: sums of integers may be added by anybody
        several = min(parts, -(-2 * self.fleet.workers // len(places))) if alike else 1
        edges = [parts * part // several for part in range(several + 1)]
        which = tuple(self.b if side is not self.a else self.a for side in sides)
        turns = tuple(side is self.a for side in which)
        jobs = (
            (self.sides, turns, chosen[0][i], chosen[1][j], range(*cut), self.fleet.threads)
            for i, j in places
            for cut in pairwise(edges)
        )
        found = self.fleet.map(sum_job, jobs)
        for i, j in places:
            out = next(found)
            for _ in range(several - 1):
                out = out + next(found)
            yield i, j, out

    def _estimated(
        self, theta: float, rows: slice, columns: slice, raw: NDArray[Any], dtype: str, pool: Workers
    ) -> NDArray[Any]:
        """The estimate of a rectangle; centered parts by their points, then the products of the means of each part."""
        wide = self._centered(theta, rows, columns, raw)
        with np.errstate(over="ignore", invalid="ignore"):
            for k, length in enumerate(self.a.lengths):
                one, other = self.a.part_means(k, rows), self.b.part_means(k, columns)
                if one.any() and other.any():
                    wide += length * (one[:, None] * other[None, :])
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
            energy = diagonal.energies(a, codes, a.units(codes), raw[place], self.kappa)
            out[place] = np.ldexp(energy, 2 * a.exponent)
        return out


def raw_sum(
    sides: tuple[SetOperand, SetOperand],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    some: range,
    decoded: Decoded,
    pool: Workers,
) -> Sum:
    """Raw products of some columns of both sides, those of some parts added up."""
    alike = all(side.alike for side in sides)
    out: Sum = np.zeros((len(rows), len(columns)), np.int64 if alike else np.float64)
    for k in some:
        ratios = [side.ratio(k, own) for side, own in zip(sides, (rows, columns), strict=True)]
        for j, own_rows, place in sides[0].split(rows):
            for other, own_columns, beside in sides[1].split(columns):
                parts = sides[0].parts[k][j], sides[1].parts[k][other]
                shared = min(part.m for part in parts)
                left, right = (decoded.of(part, shared, pool) for part in parts)
                product = Product(left.operand, right.operand, "unbiased")
                found = product.raw_of((left, right), own_rows, own_columns, pool)
                for (row, column), raw in found.items():
                    at, over = place[0] + row, beside[0] + column
                    i, c = slice(at, at + len(raw)), slice(over, over + raw.shape[1])
                    if alike:
                        out[i, c] += raw.astype(np.int64)
                        continue
                    scaled = raw.astype(np.float64)
                    for ratio, own in zip(ratios, (i, c), strict=True):
                        if ratio is not None:
                            scaled *= ratio[own][:, None] if own is i else ratio[own][None, :]
                    out[i, c] += scaled
    return out


class _Open(NamedTuple):
    a: SetOperand
    b: SetOperand
    accesses: list[Any]
    decoded: Decoded
    pool: Workers

    def close(self) -> None:
        self.pool.close()
        for access in self.accesses:
            access.close()


_recent = Recent[_Open](_OPEN, _Open.close)


def sum_job(
    sides: SetSides, turns: tuple[bool, bool], rows: NDArray[np.int64], columns: NDArray[np.int64], parts: range,
    threads: int,
) -> Sum:  # fmt: skip
    """Raw products of some columns, added up over some parts, on a worker; `turns` tells which sides are the first."""

    def made() -> _Open:
        a, accesses = _opened(sides.a)
        b, others = (a, []) if sides.b == sides.a else _opened(sides.b)
        return _Open(a, b, accesses + others, Decoded(), Workers(threads))

    found = _recent.get(sides.token, made)
    for access in found.accesses:
        access.check()
    first, second = (found.a if turn else found.b for turn in turns)
    return raw_sum((first, second), rows, columns, parts, found.decoded, found.pool)


def _opened(side: SetAddress) -> tuple[SetOperand, list[Any]]:
    """A side, open, and its files."""
    parts, accesses = side.open()
    return SetOperand(side.name, parts), accesses
