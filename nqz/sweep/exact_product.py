"""The exact product AᵀB, computed once and kept on disk, to measure estimates by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nqz.commands.matmul import Plan, tiles
from nqz.files.access import temporary_access
from nqz.ground.dtypes import widen
from nqz.stages.statistics import Statistics

_BLOCK = 1 << 22


class Factor:
    """One side of an exact product: centered columns in float64, block by block.

    Parameters
    ----------
    view : VectorView
    dtype : str
        Of its tensor.
    measured : Statistics
    """

    def __init__(self, view: Any, dtype: str, measured: Statistics):
        self.view, self._dtype = view, dtype
        mantissa, power = measured.total
        self.exponent = power // 2
        self.energy = float(np.ldexp(mantissa, power - 2 * self.exponent))
        self._mean = measured.mean
        self.scaled_mean = np.ldexp(measured.mean, -self.exponent)

    def read(self, first: int, last: int) -> np.ndarray:
        """Centered columns in units of 2 ** exponent, float64 of shape (n, last - first)."""
        block = widen(self.view.read(first, last), self._dtype).astype(np.float64)
        block -= self._mean[first:last]
        return np.ldexp(block, -self.exponent, out=block)


class ExactProduct:
    """AᵀB in float64, in an unlinked temporary file of 8ab bytes.

    Parameters
    ----------
    a, b : Factor
        Of equal length, neither without energy.
    progress : callable, optional
        Called with the share of the product computed since the last call.

    Attributes
    ----------
    signal : float
        S = ‖ĀᵀB̄‖² / (‖Ā‖²‖B̄‖²/n).

    Raises
    ------
    DiskFullError, OutputError
        The temporary file cannot be written.
    """

    def __init__(self, a: Factor, b: Factor, progress: Callable[[float], object] | None = None):
        self._columns = b.view.count
        self._exponent = a.exponent + b.exponent
        self._scale = a.energy * b.energy / a.view.length
        self._access = temporary_access("the exact product")
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self.signal = self._fill(a, b, progress) / self._scale
        except BaseException:
            self.close()
            raise

    def _fill(self, a: Factor, b: Factor, progress: Callable[[float], object] | None) -> float:
        n, height = a.view.length, a.view.count
        rows, width = max(1, _BLOCK // max(n, self._columns)), max(1, _BLOCK // n)
        energy = 0.0
        for first in range(0, height, rows):
            last = min(first + rows, height)
            left = a.read(first, last)
            out = np.empty((last - first, self._columns))
            for j in range(0, self._columns, width):
                k = min(j + width, self._columns)
                part = left.T @ b.read(j, k)
                energy += float(np.einsum("ij,ij->", part, part))
                out[:, j:k] = part
            out += (n * a.scaled_mean[first:last])[:, None] * b.scaled_mean[None, :]
            self._access.pwrite(out, 8 * first * self._columns)
            if progress is not None:
                progress((last - first) / height)
        return energy

    def error(self, plan: Plan, progress: Callable[[float], object] | None = None) -> float:
        """‖AᵀB - Ĉ‖² of an estimate, relative to ‖Ā‖²‖B̄‖²/n.

        Parameters
        ----------
        plan : Plan
            Of a product in float64.
        progress : callable, optional
            Called with the share of the product compared since the last call.

        Raises
        ------
        OperandError
            An entry of the estimate overflows.
        """

        def compare(i, j, tile):
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
        for share, found in tiles(plan, compare):
            total += found
            if progress is not None:
                progress(share)
        return total / self._scale

    def close(self) -> None:
        """Give the temporary file up."""
        self._access.close()

    def __enter__(self) -> ExactProduct:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
