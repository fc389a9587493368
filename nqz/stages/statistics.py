"""First pass over a matrix: column means and energies, sums in a fixed order, and the search for non-finite entries.

Sums run over d = x - first, first the column's first entry, so that a large mean does no harm; constant columns have energy
exactly 0. Columns of extreme magnitude are summed in units of a power of two.
"""

from __future__ import annotations

import numpy as np

from nqz import kernels
from nqz.ground.arithmetic import pieces, total_of

_LARGE, _SMALL = 1e120, 1e-120
_NOTHING = -(1 << 40)


class ColumnStatistics:
    """Accumulates blocks of a matrix, coordinates of each column in increasing order.

    Parameters
    ----------
    columns : int
    center : bool
        Whether energies are about the mean (True) or about zero.
    exponent : ndarray of int32, shape (columns,), optional
        Columns are summed in units of 2 ** exponent.
    """

    def __init__(self, columns: int, center: bool, exponent: np.ndarray | None = None):
        self.center = center
        self.exponent = np.zeros(columns, np.int32) if exponent is None else exponent
        self.state = np.zeros((4, columns))

    def begin(self, firsts: np.ndarray, bfloat16: bool, first_column: int = 0) -> None:
        """Set the first entries of columns: a piece of the first row of the matrix, shape (1, w)."""
        if self.center:
            chosen = slice(first_column, first_column + firsts.shape[1])
            row = np.zeros((len(self.state), firsts.shape[1]))
            kernels.statistics(firsts, bfloat16, row, self.exponent[chosen], False)
            self.state[0, chosen] = row[0]

    def part(self, first_column: int, last_column: int) -> ColumnStatistics:
        """Statistics of some of the columns, of which this knows the first entries, without entries so far."""
        chosen = slice(first_column, last_column)
        part = ColumnStatistics(last_column - first_column, self.center, self.exponent[chosen])
        part.state[0] = self.state[0, chosen]
        return part

    def add(self, part: ColumnStatistics, first_column: int) -> None:
        """Add a part: further coordinates of the columns from `first_column` on."""
        chosen = self.state[:, first_column : first_column + part.state.shape[1]]
        chosen[0] = part.state[0]
        chosen[1:3] += part.state[1:3]
        np.maximum(chosen[3], part.state[3], out=chosen[3])

    def taken(self, count: int) -> ColumnStatistics:
        """Take the first columns out: return theirs, and keep those of the others, moved to the front."""
        taken = ColumnStatistics(count, self.center, self.exponent[:count].copy())
        taken.state[:] = self.state[:, :count]
        left = self.state.shape[1] - count
        self.state[:, :left] = self.state[:, count:].copy()
        self.state[:, left:] = 0.0
        return taken

    def update(self, block: np.ndarray, bfloat16: bool, first_column: int, started: bool) -> int:
        """Add a block of shape (coordinates, columns); return the row-major position of a non-finite entry, or -1.

        The first entries of its columns are known if `started`; otherwise they are those of the block.
        """
        chosen = slice(first_column, first_column + block.shape[1])
        state = np.ascontiguousarray(self.state[:, chosen])
        position = kernels.statistics(
            block, bfloat16, state, self.exponent[chosen], started or not self.center
        )
        if state.base is not self.state:
            self.state[:, chosen] = state
        return int(position)

    def rescaled(self) -> np.ndarray | None:
        """Exponents with which the sums must be taken anew, None where the sums are safe."""
        largest = self.state[3]
        if not any(
            ((x > _LARGE) | ((x > 0) & (x < _SMALL))).any()
            for x in map(largest.__getitem__, pieces(len(largest)))
        ):
            return None
        _, exponent = np.frexp(largest)
        return np.where(largest > 0, exponent, 0).astype(np.int32)

    def result(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Means (float64), and energies in units of 4 ** exponent, of columns of length n."""
        count = self.state.shape[1]
        if not self.center:
            return np.zeros(count), self.state[2].copy()
        mean, energy = np.empty(count), np.empty(count)
        for chosen in pieces(count):
            first, linear, square, _ = self.state[:, chosen]
            np.maximum(square - linear * (linear / n), square / (n + 1.0), out=energy[chosen])
            np.ldexp(first + linear / n, self.exponent[chosen], out=mean[chosen])
        return mean, energy


def total_energy(energy: np.ndarray, exponent: np.ndarray) -> tuple[float, int]:
    """Sum of the columns' energies as (mantissa in [0.5, 1), exponent of two); (0.0, 0) for nothing."""
    parts = pieces(len(energy))
    top = max((int(_split(energy[c], exponent[c])[1].max()) for c in parts), default=_NOTHING)
    if top == _NOTHING:
        return 0.0, 0

    def shifted(chosen):
        mantissa, power = _split(energy[chosen], exponent[chosen])
        return np.ldexp(mantissa, np.clip(power - top, -1100, 0).astype(np.int32))

    value, extra = np.frexp(total_of(map(shifted, parts)))
    return float(value), top + int(extra)


def add_energies(a: tuple[float, int], b: tuple[float, int]) -> tuple[float, int]:
    """Sum of two energies, each as mantissa and exponent of two; (0.0, 0) is nothing."""
    if a[0] == 0.0 or b[0] == 0.0:
        return b if a[0] == 0.0 else a
    top = max(a[1], b[1])
    value, extra = np.frexp(sum(float(np.ldexp(x, max(power - top, -1100))) for x, power in (a, b)))
    return float(value), top + int(extra)


def _split(energy: np.ndarray, exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mantissas, 0 where there is no energy, and exponents of two, very low there."""
    mantissa, power = np.frexp(energy)
    positive = energy > 0
    return np.where(positive, mantissa, 0.0), np.where(
        positive, power.astype(np.int64) + 2 * exponent, _NOTHING
    )
