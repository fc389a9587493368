"""What the first pass over a matrix finds, of any range of it: `Statistics`, which neighbors add up to.

Norms and means follow from the sums of a column (`sums`); of a great many columns they are counted, and not kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nqz.ground.cached import cached_property
from nqz.ground.errors import NqzError
from nqz.stages import norms
from nqz.stages.digest import ContentDigest
from nqz.stages.grid import Grid
from nqz.stages.sums import Found

_GATHERED = 1 << 16  # norm codes of histograms that wait to be added


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
    columns_found : Found or Histogram
        Norm codes and means where they are `held`; otherwise the codes, counted.
    near : ndarray of float64
        Energies of those columns that are in the first panel, relative to what their norm codes stand for, before these
        were rounded; 0 of a column without energy.
    rounding : Rounding
        How norm codes were rounded.
    """

    grid: Grid
    center: bool
    first: int
    last: int
    digests: bytes
    columns_found: Found | norms.Histogram
    near: npt.NDArray[np.float64]
    rounding: norms.Rounding = norms.EXACTLY

    def __add__(self, other: Statistics) -> Statistics:
        """The statistics of both ranges; `other` must continue this one."""
        return merged([self, other])

    def rounded(self, rounding: norms.Rounding) -> Statistics:
        """The same with rounded norm codes."""
        self._check_complete()
        if rounding.step == 1:
            return self
        found = self.columns_found
        if isinstance(found, Found):
            return replace(self, columns_found=found.rounded(rounding), rounding=rounding)
        return replace(self, columns_found=rounding.counted(found), rounding=rounding)

    def _check_complete(self) -> None:
        if (self.first, self.last) != (0, self.grid.units):
            raise NqzError("internal error: statistics of part of a matrix")

    @property
    def n(self) -> int:
        """Length of a column."""
        return self.grid.n

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.grid.columns

    @property
    def held(self) -> Found | None:
        """Norm codes and means of all columns, None where there are too many."""
        self._check_complete()
        return self.columns_found if isinstance(self.columns_found, Found) else None

    @cached_property
    def digest(self) -> bytes:
        """The content digest."""
        self._check_complete()
        whole = ContentDigest()
        whole.add(self.digests)
        return whole.value()

    @cached_property
    def histogram(self) -> norms.Histogram:
        """The norm codes, counted."""
        self._check_complete()
        found = self.columns_found
        return norms.Histogram.of(found.codes) if isinstance(found, Found) else found


def merged(parts: Iterable[Statistics]) -> Statistics:
    """Statistics of ranges that follow one another, at least one."""
    first: Statistics | None = None
    last, digests, near = 0, bytearray(), []
    held: list[Found] = []
    counted: list[norms.Histogram] = []
    for part in parts:
        if first is None:
            first, last = part, part.first
        if (part.grid, part.center, part.first) != (first.grid, first.center, last):
            raise NqzError("internal error: statistics that are not neighbors")
        last = part.last
        digests += part.digests
        near += [part.near] if len(part.near) else []
        if isinstance(part.columns_found, Found):
            held.append(part.columns_found)
            continue
        counted.append(part.columns_found)
        if sum(len(found.codes) for found in counted[1:]) > max(_GATHERED, len(counted[0].codes)):
            counted = [norms.Histogram.joined(counted)]
    assert first is not None
    return Statistics(
        first.grid,
        first.center,
        first.first,
        last,
        bytes(digests),
        Found.joined(held) if held else norms.Histogram.joined(counted),
        np.concatenate([np.zeros(0), *near]),
    )
