"""The estimate of AᵀB: exact products of points, block by block, scaled entry by entry in float64."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nqz import kernels
from nqz.ground.arithmetic import pieces, total_of
from nqz.product.integers import multiply, result_type
from nqz.product.operand import Operand, Stream
from nqz.product.risk import Signal, group, group_energies
from nqz.product.tiles import HELD, Blocks, Sample, tiles
from nqz.stages import project
from nqz.stages.estimate import alpha, expected_error

_WHOLE = 1 << 24
_SAMPLE = 4096
_STRIPE = 1 << 19
"""Entries that one thread scales at a time."""

_FEW = 16
"""So many vectors are multiplied with each chunk as it is decoded."""


class NotFiniteError(ValueError):
    """An entry of the estimate overflows; `wide` tells whether float64 would hold it."""

    def __init__(self, row: int, column: int, wide: bool):
        super().__init__(f"entry [{row}, {column}] overflows")
        self.row, self.column, self.wide = row, column, wide


class Product:
    """The estimate of AᵀB from two operands.

    Parameters
    ----------
    a, b : Operand
        Of equal length and rotation seed.
    estimator : {"auto", "mmse", "unbiased"}
    same : bool
        Whether both are one and the same tensor: they share their dither, and the diagonal comes from the norms.
    run : callable
        As `map`, perhaps in several threads; by default `map`.

    Attributes
    ----------
    theta : float
        θ of the `auto` estimator.
    guessed : float
        The share of `error` that dropped columns contribute, whose products are not known.
    error : float
        Expected ‖AᵀB - Ĉ‖² relative to ‖Ā‖²‖B̄‖²/n.
    """

    def __init__(self, a: Operand, b: Operand, estimator: str, same: bool = False, run: Callable = map):
        self.a, self.b, self.same = a, b, same
        self.estimator = estimator
        self.kappa = min(a.side.kappa, b.side.kappa)
        self._run = run
        self._raw: dict[tuple[int, int], np.ndarray] | None = None
        self._blocks: tuple[Blocks, Blocks] | None = None
        self._buffers = threading.local()
        self._measure()
        self.error = self._expected_error()

    def tiles(self, dtype: str, put: Callable[[int, int, np.ndarray], Any]) -> Iterator[tuple[float, Any]]:
        """Compute the estimate in rectangular pieces that cover it.

        Parameters
        ----------
        dtype : {"float32", "float64"}
        put : callable
            put(row, column, tile) is called for every piece, from several threads; the array is valid during the call only.

        Yields
        ------
        tuple
            Share of the product in a piece, and what `put` returned for it; the order of the pieces depends on the operands
            alone.

        Raises
        ------
        NotFiniteError
            An entry does not fit the type.
        """
        whole = max(1, self.a.columns * self.b.columns)

        def finish(piece):
            rows, columns, raw = piece()
            return raw.size / whole, put(
                rows.start, columns.start, self._estimated(rows, columns, raw, dtype)
            )

        if self._raw is not None:
            yield from self._run(finish, self._pieces_of_raw())
        elif self.a.columns and self.b.columns:
            yield from self._products()(finish, self._pieces())

    def _products(self) -> Callable:
        # BLAS has threads of its own
        return self._run if kernels.fast_product() else map

    def _sides(self) -> tuple[Blocks, Blocks]:
        """Blocks of both sides; what is held stays held until the raw products, or θ and the estimate, are there."""
        if self._blocks is None:
            shared, seed, n = min(self.a.m, self.b.m), self.a.rotation_seed, self.a.side.n
            left, right = (
                Blocks(side, project.meet(seed, n, side.m, shared), self._run) for side in (self.a, self.b)
            )
            self._blocks = left, left if self.same and left.fits else right
        return self._blocks

    def _pieces_of_raw(self):
        for (i, j), raw in self._raw.items():
            step = max(1, _STRIPE // max(1, raw.shape[1]))
            for r in range(0, len(raw), step):
                part = raw[r : r + step]
                rows, columns = slice(i + r, i + r + len(part)), slice(j, j + part.shape[1])
                yield lambda rows=rows, columns=columns, part=part: (rows, columns, part)

    def _pieces(self):
        """Pieces of the product of all blocks, each to be called for (rows, columns, raw products)."""
        for tile in tiles(*self._sides()):

            def piece(t=tile):
                rows = slice(t.first_a + t.rows.start, t.first_a + t.rows.stop)
                columns = slice(t.first_b + t.columns.start, t.first_b + t.columns.stop)
                shape = rows.stop - rows.start, columns.stop - columns.start
                out = self._buffer("raw", shape, result_type(t.a, t.b))
                multiply(t.a, t.b, t.rows, t.columns, out)
                return rows, columns, out

            yield piece

    def _all_raw(self, left: Blocks, right: Blocks) -> dict[tuple[int, int], np.ndarray]:
        """All raw products of two sides by the numbers of the first row and column of their blocks."""
        found: dict[tuple[int, int], np.ndarray] = {}

        def jobs():
            for t in tiles(left, right):
                key = t.first_a, t.first_b
                if key not in found:
                    found[key] = np.empty((len(t.a.rows), len(t.b.rows)), result_type(t.a, t.b))
                yield t, found[key][t.rows, t.columns]

        def job(pair):
            t, out = pair
            multiply(t.a, t.b, t.rows, t.columns, out)

        for _ in self._products()(job, jobs()):
            pass
        return dict(sorted(found.items()))

    def _few_raw(self) -> dict[tuple[int, int], np.ndarray] | None:
        """Raw products with a few vectors, each chunk multiplied as it is decoded; None where that does not do."""
        turned = self.a.columns < self.b.columns
        small, large = (self.a, self.b) if turned else (self.b, self.a)
        if small.columns > _FEW or self.same or small.m != large.m or 4 * small.columns * small.m > HELD:
            return None
        vectors = np.zeros((small.columns, small.m), np.int32)
        for first, last in small.blocks:
            _fill(small.stream(first, last), vectors[first:last], self._run)
        weight = float(np.abs(vectors.astype(np.float64)).sum(axis=1).max(initial=0.0))
        found = {}
        for first, last in large.blocks:
            stream = large.stream(first, last)
            out, peak = np.zeros((last - first, small.columns), np.int64), 0.0

            def take(chunk, stream=stream):
                start, points = stream.read(chunk)
                low, high = start // large.m, (start + len(points) - 1) // large.m + 1
                part = np.empty((high - low, small.columns), np.int64)
                return stream.order[low:high], part, kernels.point_products(points, start, vectors, part)

            for order, part, most in self._run(take, stream.chunks):
                if most * weight >= 2.0**53:
                    return None
                out[order] += part
                peak = max(peak, most * weight)
            raw = np.ascontiguousarray(out.T if turned else out, np.int32 if peak < 2.0**30 else np.float64)
            for i, j in small.blocks:  # as the general path has it: sums of energies run block by block
                found[(i, first) if turned else (first, i)] = raw[i:j] if turned else raw[:, i:j]
        return dict(sorted(found.items()))

    def _buffer(self, name: str, shape: tuple[int, int], dtype) -> np.ndarray:
        """Memory of this thread, valid until it asks again under this name."""
        nbytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
        held = getattr(self._buffers, name, None)
        if held is None or len(held) < nbytes:
            held = np.empty(nbytes, np.uint8)
            setattr(self._buffers, name, held)
        return held[:nbytes].view(dtype).reshape(shape)

    def _estimated(self, rows: slice, columns: slice, raw: np.ndarray, dtype: str) -> np.ndarray:
        out = self._buffer("out", raw.shape, dtype)
        position = self._scale(rows, columns, raw, out)
        if position >= 0:
            i, j = divmod(position, raw.shape[1])
            wide = np.empty((1, raw.shape[1]))
            row = slice(rows.start + i, rows.start + i + 1)
            self._scale(row, columns, raw[i : i + 1], wide)
            raise NotFiniteError(rows.start + i, columns.start + j, bool(np.isfinite(wide[0, j])))
        return out

    def _scale(self, rows: slice, columns: slice, raw: np.ndarray, out: np.ndarray) -> int:
        """Estimates from raw products; the position of the first that is not finite, or -1."""
        a, b = self.a, self.b
        if self.estimator == "unbiased":
            spread_a, spread_b, share = np.ones(len(raw)), np.ones(raw.shape[1]), 1.0
        else:
            spread_a, spread_b = 1.0 + a.side.noise[rows], 1.0 + b.side.noise[columns]
            share = 1.0 / self.kappa
        exponent = max(-2044, min(2044, a.exponent + b.exponent))
        position = kernels.estimate(
            raw, a.unit[rows], b.unit[columns], spread_a, spread_b, a.means[rows], b.means[columns], share,
            self.theta, self.theta / self.kappa, float(a.side.n), exponent, out,
        )  # fmt: skip
        first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
        if not self.same or first >= last:
            return position
        i = np.arange(first, last)
        with np.errstate(over="ignore", invalid="ignore"):
            diagonal = np.ldexp(a.energies(i), 2 * a.exponent) + a.side.n * (a.means[i] * a.means[i])
            out[i - rows.start, i - columns.start] = diagonal
        finite = np.isfinite(out)
        return -1 if finite.all() else int(np.argmin(finite))

    def _measure(self) -> None:
        """Find θ, and how the energy of the product is spread, from all of it or from a sample of columns."""
        a, b = self.a, self.b
        self.theta, self._missed, self._dropped, self.guessed = 1.0, 1.0, (1.0, 1.0), 0.0
        if not a.columns or not b.columns:
            return
        if a.columns * b.columns <= _WHOLE:
            self._raw = raw = self._few_raw() or self._all_raw(*self._sides())
            self._blocks = None
            rows = columns = None
        else:
            rows, columns = _sample(a.columns), _sample(b.columns)
            left, right = self._sides()
            raw = self._all_raw(Sample(left, rows), Sample(right, columns))
        self._match(rows, columns, raw)

    def _match(
        self, rows: np.ndarray | None, columns: np.ndarray | None, raw: dict[tuple[int, int], np.ndarray]
    ) -> None:
        """Learn from the raw products of some rows and columns, or all, where the energy of the product lies."""
        a, b = self.a, self.b
        side_a, side_b = (x.side if c is None else x.side.part(c) for x, c in ((a, rows), (b, columns)))
        rows, columns = (slice(None) if c is None else c for c in (rows, columns))
        group_a, group_b = group(side_a, a.energies(rows)), group(side_b, b.energies(columns))
        if not len(group_a.energy) or not len(group_b.energy):
            return
        unit_a, unit_b = a.unit[rows] / self.kappa, b.unit[columns]
        found = group_energies(raw, unit_a, unit_b, group_a, group_b, self.same, self._run)
        entries = side_a.spread() * side_b.spread()
        signal = Signal(found, group_a, group_b, a.side.n, self.kappa, entries)
        self.theta = signal.theta() if self.estimator == "auto" else 1.0
        self._missed = signal.missed(self.estimator, self.theta)
        self._dropped = signal.dropped

    def _expected_error(self) -> float:
        a, b = self.a, self.b
        if not a.columns or not b.columns:
            return 0.0
        scale = _summed(a.energies, a.columns) * _summed(b.energies, b.columns) / a.side.n
        if scale <= 0.0:
            return 0.0
        error = expected_error(a.side, b.side, self.estimator, self.theta, self._missed, self._dropped)
        lost_a, lost_b = 1.0 - a.side.coded_share(), 1.0 - b.side.coded_share()
        one, both = lost_a * (1.0 - lost_b) + (1.0 - lost_a) * lost_b, lost_a * lost_b
        self.guessed = (one * self._dropped[0] + both * self._dropped[1]) / error if error > 0 else 0.0
        if self.same:
            error -= self._diagonal_error() / (scale * a.side.n)
        # what rounding left in the means, times the partner's mean
        left, right = (
            _summed(lambda c, x=x: np.square(np.ldexp(x.means[c], -x.exponent)), x.columns)
            * _summed(lambda c, y=y: np.square(y.mean_step[c]), y.columns)
            for x, y in ((a, b), (b, a))
        )
        return error + (left + right) * a.side.n**2 / 12.0 / scale

    def _diagonal_error(self) -> float:
        """What `expected_error` counts for the diagonal of a matrix times itself, which the norms give instead."""

        def error(columns):
            noise, energy = self.a.side.noise[columns], self.a.energies(columns)
            nu = np.square(1.0 + noise) / self.kappa - 1.0
            factor = alpha(self.estimator, self.theta, nu)
            known = np.where(np.isfinite(nu), nu, 0.0)
            return (np.square(1.0 - factor) * self._missed + np.square(factor) * known) * energy * energy

        return _summed(error, self.a.columns)


def _summed(function: Callable[[slice], np.ndarray], count: int) -> float:
    """Sum of what a function gives for columns, some at a time."""
    return total_of(map(function, pieces(count)))


def _sample(count: int) -> np.ndarray:
    return np.arange(min(count, _SAMPLE)) * count // min(count, _SAMPLE)


def _fill(stream: Stream, out: np.ndarray, run: Callable) -> None:
    """Decode all vectors of a stream to the rows of an int32 array."""

    def copy(chunk):
        start, points = stream.read(chunk)
        kernels.narrow(points, start, stream.order, out)

    for _ in run(copy, stream.chunks):
        pass
