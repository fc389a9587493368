"""What the first pass over a matrix finds, of any range of it: `Statistics`, which neighbors add up to.

Norms and means follow from the sums of a column (`sums`); how sums of ranges are added is in `merging`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import pieces
from nqz.ground.cached import cached_property
from nqz.ground.errors import NqzError
from nqz.stages import norms
from nqz.stages.center import Means, quantize
from nqz.stages.digest import ContentDigest
from nqz.stages.grid import Grid
from nqz.stages.merging import Again, Merger
from nqz.stages.sums import Energy, KnownColumns, Sums, add_energies


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of units first … last - 1 of a matrix.

    Attributes
    ----------
    grid : Grid
    center : bool
        Whether energies are about the mean (True) or about zero.
    first, last : int
    digests : bytes
        SHA-256s of the pieces of data: 32 bytes for 256 KiB.
    parts : tuple of Sums and KnownColumns
        Columns in order.
    rounded_means : Means or None
        The means of all columns, once they are rounded.
    """

    grid: Grid
    center: bool
    first: int
    last: int
    digests: bytes
    parts: tuple[Sums | KnownColumns, ...]
    rounded_means: Means | None = None

    def __add__(self, other: Statistics) -> Statistics:
        """The statistics of both ranges; `other` must continue this one."""
        return merged([self, other])

    @property
    def seen(self) -> bool:
        """Whether all units have been seen."""
        return (self.first, self.last) == (0, self.grid.units)

    @property
    def complete(self) -> bool:
        """Whether all columns are known. If all units have been seen and they are not, some need to be summed again."""
        return self.seen and len(self.parts) == 1 and isinstance(self.parts[0], KnownColumns)

    @property
    def whole(self) -> KnownColumns:
        """What is known of all columns."""
        if not self.complete:
            raise NqzError("internal error: statistics of part of a matrix")
        found = self.parts[0]
        assert isinstance(found, KnownColumns)
        return found

    @property
    def n(self) -> int:
        """Length of a column."""
        return self.grid.n

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.grid.columns

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """Norm codes of all columns."""
        return self.whole.codes

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Means of all columns as they were found, zero if the matrix is not centered."""
        found = self.whole.mean
        if found is None and self.center:
            raise NqzError("internal error: the means have been rounded")
        return np.zeros(self.columns) if found is None else found

    @property
    def energy(self) -> npt.NDArray[np.float64]:
        """Energies of the columns of the first panel, in units of 4 ** `exponent`."""
        return self.whole.energy

    @property
    def exponent(self) -> npt.NDArray[np.int32]:
        """See `energy`."""
        return self.whole.exponent

    @cached_property
    def digest(self) -> bytes:
        """The content digest."""
        whole = ContentDigest()
        whole.add(self.digests)
        return whole.value()

    @property
    def total(self) -> Energy:
        """Energy of the matrix."""
        value = (0.0, 0)
        for block in self.whole.totals:
            value = add_energies(value, block)
        return value

    @cached_property
    def histogram(self) -> norms.Histogram:
        """The norm codes, counted."""
        return norms.Histogram.of(self.codes)

    def rounded(self, digits: int | None) -> Statistics:
        """The same with means as they are kept, with so many digits; None for a matrix that is not centered."""
        kept, whole = self.rounded_means, self.whole
        if kept is not None and kept.digits == digits:
            return self
        kept = Means.none(whole.codes, self.n) if digits is None else _rounded(self, digits)
        return replace(self, parts=(replace(whole, mean=None),), rounded_means=kept)

    @property
    def means(self) -> Means:
        """The means of all columns as the decoder will see them."""
        if self.rounded_means is None:
            raise NqzError("internal error: the means have not been rounded")
        return self.rounded_means


def merged(parts: Iterable[Statistics], again: Again | None = None) -> Statistics:
    """Statistics of ranges that follow one another.

    Parameters
    ----------
    parts : iterable of Statistics
        At least one.
    again : callable, optional
        Sums columns once more. Without it, blocks with columns of extreme magnitude are left as they are.
    """
    left = iter(parts)
    first = next(left)
    grid, center, last = first.grid, first.center, first.first
    merger, digests = Merger(grid, center, again), bytearray()
    for part in chain([first], left):
        if (part.grid, part.center, part.first) != (grid, center, last) or part.rounded_means is not None:
            raise NqzError("internal error: statistics that are not neighbors")
        last = part.last
        digests += part.digests
        merger.add(part.parts, last)
    return Statistics(grid, center, first.first, last, bytes(digests), merger.value())


def _rounded(statistics: Statistics, digits: int) -> Means:
    mean, codes, n = statistics.mean, statistics.codes, statistics.n
    shift, q = np.empty(len(mean), np.uint8), np.empty(len(mean), np.int32)
    wide: npt.NDArray[np.int64] | None = None
    for chosen in pieces(len(mean)):
        shift[chosen], exact = quantize(mean[chosen], codes[chosen], n, digits)
        if wide is None and not -(1 << 31) <= exact.min() <= exact.max() < 1 << 31:
            wide = q.astype(np.int64)
        (q if wide is None else wide)[chosen] = exact
    return Means(codes, n, digits, shift, q if wide is None else wide)
