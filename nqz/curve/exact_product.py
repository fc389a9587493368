"""The exact product AᵀB, computed once and kept on disk, to measure estimates by."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nqz.commands.matmul import Prepared, tiles
from nqz.commands.measured import MeasuredMatrix
from nqz.files.access import FileAccess, temporary_access
from nqz.ground.arithmetic import pieces
from nqz.ground.cached import cached_property
from nqz.ground.dtypes import widen
from nqz.ground.threads import Workers
from nqz.stages.norms import Histogram

_BLOCK = 1 << 22
_MOST = 1e300  # that a ratio of energies may be


class Factor:
    """One side of an exact product: centered columns in float64, block by block.

    Parameters
    ----------
    matrix : MeasuredMatrix
    uncentered : callable
        Measures the norm codes of columns with their means.
    """

    def __init__(self, matrix: MeasuredMatrix, uncentered: Callable[[], Histogram]):
        self.view, self._matrix, self._uncentered = matrix.view, matrix, uncentered

    @property
    def silent(self) -> bool:
        """Whether no column has energy."""
        return self._matrix.histogram.energy()[0] == 0.0

    @property
    def histogram(self) -> Histogram:
        """The norm codes of all columns."""
        return self._matrix.histogram

    @cached_property
    def uncentered(self) -> Histogram:
        """The norm codes of all columns with their means."""
        return self._uncentered()

    @cached_property
    def exponent(self) -> int:
        """Columns are given in units of 2 ** exponent."""
        return self._matrix.histogram.energy()[1] // 2

    @cached_property
    def with_means(self) -> float:
        """‖A‖²/‖Ā‖²: what means add to energies; 1 where no column has energy."""
        if self.silent:
            return 1.0
        mantissa, exponent = self._matrix.histogram.energy()
        energy, n, square = math.ldexp(mantissa, exponent - 2 * self.exponent), self.view.length, 0.0
        with np.errstate(over="ignore"):
            for chosen in pieces(self.view.count):
                square += float(np.square(self.scaled_means(chosen.start, chosen.stop)).sum())
        return min(1.0 + n * square / energy, _MOST)

    def scaled_means(self, first: int, last: int) -> NDArray[np.float64]:
        """Means in units of 2 ** exponent."""
        means: NDArray[np.float64] = np.ldexp(self._matrix.means(slice(first, last)), -self.exponent)
        return means

    def read(self, first: int, last: int) -> NDArray[np.float64]:
        """Centered columns in units of 2 ** exponent, float64 of shape (n, last - first)."""
        block = self._wide(first, last)
        block -= self._matrix.means(slice(first, last))
        np.ldexp(block, -self.exponent, out=block)
        return block

    def raw(self, first: int, last: int) -> NDArray[np.float64]:
        """Columns as they are, in the same units."""
        block = self._wide(first, last)
        np.ldexp(block, -self.exponent, out=block)
        return block

    def _wide(self, first: int, last: int) -> NDArray[np.float64]:
        return widen(self.view.read(first, last), self.view.entries).astype(np.float64)


class Stand(Protocol):
    """What stands for one side of a product."""

    def read(self, first: int, last: int) -> NDArray[np.float64]:
        """Columns with their means, in units of 2 ** exponent of the side, shape (n, last - first)."""


class Uncoded:
    """A side that stands for itself.

    Parameters
    ----------
    factor : Factor
    """

    def __init__(self, factor: Factor):
        self._factor = factor

    def read(self, first: int, last: int) -> NDArray[np.float64]:
        """Columns with their means."""
        return self._factor.raw(first, last)


class ExactProduct:
    """AᵀB in float64, in an unlinked temporary file of 8ab bytes; made by `exact_product`.

    Attributes
    ----------
    signal : float
        S = ‖ĀᵀB̄‖² / (‖Ā‖²‖B̄‖²/n).
    whole : float
        ‖AᵀB‖² in the same units.
    """

    def __init__(
        self,
        access: FileAccess,
        n: int,
        rows: int,
        columns: int,
        exponent: int,
        scale: float,
        signal: float,
        whole: float,
    ):
        self._access, self._n, self._rows, self._columns = access, n, rows, columns
        self._exponent, self._scale = exponent, scale
        self.signal, self.whole = signal, whole

    def error(
        self, estimate: Prepared, pool: Workers, progress: Callable[[float], object] | None = None
    ) -> float:
        """‖AᵀB - Ĉ‖² of an estimate, relative to ‖Ā‖²‖B̄‖²/n.

        Parameters
        ----------
        estimate : Prepared
            Of a product in float64.
        pool : Workers
        progress : callable, optional
            Called with the share of the product compared since the last call.

        Raises
        ------
        OperandError
            An entry of the estimate overflows.
        """

        def compare(i: int, j: int, tile: NDArray[np.float64]) -> float:
            exact = np.empty(tile.shape)
            if tile.shape[1] == self._columns:
                self._access.pread_into(exact, 8 * i * self._columns)
            else:
                for r, row in enumerate(exact):
                    self._access.pread_into(row, 8 * ((i + r) * self._columns + j))
            with np.errstate(over="ignore", invalid="ignore"):
                exact -= np.ldexp(tile, -self._exponent)
                return float(np.einsum("ij,ij->", exact, exact))

        total = 0.0
        for share, found in tiles(estimate, compare, pool):
            total += found
            if progress is not None:
                progress(share)
        return total / self._scale

    def error_of(self, a: Stand, b: Stand, progress: Callable[[float], object]) -> float:
        """‖AᵀB - ÂᵀB̂‖² relative to ‖Ā‖²‖B̄‖²/n, for columns that stand for those of both sides.

        Parameters
        ----------
        a, b : Stand
        progress : callable
            Called with the share of the product compared since the last call.
        """
        total = 0.0
        rows, step = _steps(self._n, self._columns)
        for first in range(0, self._rows, rows):
            last = min(first + rows, self._rows)
            exact = np.empty((last - first, self._columns))
            self._access.pread_into(exact, 8 * first * self._columns)
            left = a.read(first, last)
            with np.errstate(over="ignore", invalid="ignore"):
                for j in range(0, self._columns, step):
                    exact[:, j : j + step] -= left.T @ b.read(j, min(j + step, self._columns))
                total += _energy(exact)
            progress((last - first) / self._rows)
        return total / self._scale

    def close(self) -> None:
        """Give the temporary file up."""
        self._access.close()

    def __enter__(self) -> ExactProduct:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def exact_product(a: Factor, b: Factor, progress: Callable[[float], object] | None = None) -> ExactProduct:
    """Compute AᵀB.

    Parameters
    ----------
    a, b : Factor
        Of equal length, neither without energy.
    progress : callable, optional
        Called with the share of the product computed since the last call.

    Raises
    ------
    DiskFullError, OutputError
        The temporary file cannot be written.
    """
    access = temporary_access("the exact product")
    try:
        access.reserve(8 * a.view.count * b.view.count)
        with np.errstate(over="ignore", invalid="ignore"):
            energy, whole, *sides = _fill(access, a, b, progress)
    except BaseException:
        access.close()
        raise
    scale = sides[0] * sides[1] / a.view.length
    return ExactProduct(
        access,
        a.view.length,
        a.view.count,
        b.view.count,
        a.exponent + b.exponent,
        scale,
        energy / scale,
        whole / scale,
    )


def _fill(
    access: FileAccess, a: Factor, b: Factor, progress: Callable[[float], object] | None
) -> tuple[float, float, float, float]:
    """Write the product; return the energies of its centered part, of all of it, and of both sides."""
    n, height, width = a.view.length, a.view.count, b.view.count
    rows, step = _steps(n, width)
    energy = whole = energy_a = energy_b = 0.0
    for first in range(0, height, rows):
        last = min(first + rows, height)
        left = a.read(first, last)
        energy_a += _energy(left)
        means = n * a.scaled_means(first, last)
        out = np.empty((last - first, width))
        for j in range(0, width, step):
            k = min(j + step, width)
            right = b.read(j, k)
            energy_b += 0.0 if first else _energy(right)
            part = left.T @ right
            energy += _energy(part)
            out[:, j:k] = part + means[:, None] * b.scaled_means(j, k)[None, :]
        whole += _energy(out)
        access.pwrite(out, 8 * first * width)
        if progress is not None:
            progress((last - first) / height)
    return energy, whole, energy_a, energy_b


def _steps(n: int, width: int) -> tuple[int, int]:
    """Rows of a product, and columns, that are computed at a time."""
    return max(1, _BLOCK // max(n, width)), max(1, _BLOCK // n)


def _energy(x: NDArray[np.float64]) -> float:
    return float(np.einsum("ij,ij->", x, x))
