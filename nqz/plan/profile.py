"""The limit for columns of given energies: what no pair of encoders can beat on Gaussian matrices with such columns.

Γ is the limit where all columns have the same energy. Where they differ, bits do more in the louder ones, and the
limit is lower: with G(r) the share of the energy that reverse water-filling of r bits an entry over the columns
describes, no error of a product is below 1 - H(R_A, R_B), H the concave hull of G_A(r) G_B(s) (docs/theory.md,
section 1). The hull is the time sharing: a share of the coordinates gets other rates than the rest.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nqz.ground.cached import cached_property
from nqz.stages import norms
from nqz.stages.norms import Histogram

Floats = npt.NDArray[np.float64]

_REACH = 8.0  # bits an entry; beyond, there is nothing to gain from time sharing
_PLANE = 512  # rates at which a hull over two rates is told
_LINE = 4096  # and over one
_GAP = 0.01  # of corners of a hull that are no neighbors
_SLACK = 1e-12
_PIVOTS = 200
_CLOSE = 1e-9


class Profile:
    """Energies of columns, and how much of them bits can describe.

    Parameters
    ----------
    octaves : array_like of float
        Binary logarithms of the different energies, in decreasing order.
    counts : array_like of int
        How many columns have each.
    silent : int
        Columns without energy, which have a share of the rate too.
    """

    def __init__(self, octaves: npt.ArrayLike, counts: npt.ArrayLike, silent: int = 0):
        self._octaves = np.asarray(octaves, np.float64)
        number = np.asarray(counts, np.float64)
        self._columns = float(number.sum()) + silent
        energy = np.exp2(self._octaves - self._octaves[:1]) * number
        whole = float(energy.sum())
        self._unit = 1.0 / whole if whole > 0.0 else 0.0
        self._several = np.cumsum(number)  # of columns that are described, if the first k energies are
        self._logs = np.cumsum(number * (self._octaves - self._octaves[:1]))
        self._left = (np.append(np.cumsum(energy[::-1])[::-1][1:], 0.0)) * self._unit
        starts = 0.5 * (self._logs - self._several * (self._octaves - self._octaves[:1]))
        self._starts = np.maximum.accumulate(
            starts / self._columns
        )  # rates at which the next energy comes in

    @classmethod
    def of(cls, histogram: Histogram) -> Profile:
        """The energies that norm codes stand for."""
        alive = histogram.codes != norms.ZERO
        codes, counts = histogram.codes[alive][::-1], histogram.counts[alive][::-1]
        return cls(codes / norms.STEPS, counts, int(histogram.counts[~alive].sum()))

    @property
    def silent(self) -> bool:
        """Whether no column has energy."""
        return not len(self._octaves)

    def _level(self, rate: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
        """How many of the energies are above the water, and its level, in units of the loudest."""
        last = np.maximum(np.searchsorted(self._starts, rate, side="right") - 1, 0)
        return last, np.exp2((self._logs[last] - 2.0 * self._columns * rate) / self._several[last])

    def missed(self, rate: npt.ArrayLike) -> Floats:
        """1 - G: the share of the energy that is not described with so many bits an entry, of all columns."""
        last, level = self._level(np.asarray(rate, np.float64))
        missed: Floats = np.minimum(self._left[last] + level * self._several[last] * self._unit, 1.0)
        return missed

    def slope(self, rate: npt.ArrayLike) -> Floats:
        """The derivative of G."""
        _, level = self._level(np.asarray(rate, np.float64))
        return 2.0 * math.log(2.0) * self._columns * self._unit * level


class Limit:
    """The limit of products of two matrices with columns of given energies, or of one with an exact one.

    Parameters
    ----------
    a : Profile
    b : Profile, optional
        None for a partner that is not compressed.
    """

    def __init__(self, a: Profile, b: Profile | None):
        self._a, self._b = a, b

    def __call__(self, rate_a: float, rate_b: float | None = None) -> float:
        """The least error, relative to ‖Ā‖²‖B̄‖²/n, for rates in bits an entry; `rate_b` is by default the same."""
        rate_b = rate_a if rate_b is None else rate_b
        if self._b is None:
            return float(self._a.missed(rate_a))
        if rate_a <= 0.0 or rate_b <= 0.0:
            return 1.0
        if self._a is self._b and rate_a == rate_b:
            return self._alike(rate_a)
        x, y = float(self._a.missed(rate_a)), float(self._b.missed(rate_b))
        here = x + y - x * y
        if self._concave(rate_a, rate_b, 1.0 - here):
            return here
        return min(here, 1.0 - self._shared(rate_a, rate_b))

    def excess(self, error: float, rate_a: float, rate_b: float | None = None) -> float:
        """By how many bits both rates may be lowered until the limit is the error; infinite for an error of 0."""
        if error <= 0.0:
            return math.inf
        rate_b = rate_a if rate_b is None else rate_b
        low, high = -1.0, rate_a if self._b is None else max(rate_a, rate_b)
        while self(rate_a - low, rate_b - low) > error:
            low *= 2.0
        while high - low > _CLOSE:
            middle = 0.5 * (low + high)
            within = self(max(rate_a - middle, 0.0), max(rate_b - middle, 0.0)) <= error
            low, high = (middle, high) if within else (low, middle)
        return low

    def _alike(self, rate: float) -> float:
        """The limit on the diagonal: off it there is nothing to gain, since log G is concave."""
        x = float(self._a.missed(rate))
        here = x * (2.0 - x)
        corners, values = self._hull
        k = int(np.searchsorted(corners, rate, side="right"))
        if k >= len(corners) or corners[k] - corners[k - 1] < _GAP * (1.0 + corners[k]):
            return here  # where the function is its own hull
        share = (rate - corners[k - 1]) / (corners[k] - corners[k - 1])
        return min(here, float(values[k - 1] + share * (values[k] - values[k - 1])))

    @cached_property
    def _hull(self) -> tuple[Floats, Floats]:
        """Corners of the convex hull from below of 1 - G(r)², rates and errors."""
        rates = _rates(_LINE)
        missed = self._a.missed(rates)
        errors = missed * (2.0 - missed)
        kept: list[int] = []
        for k in range(_LINE):
            while len(kept) > 1:
                i, j = kept[-2:]
                if (errors[j] - errors[i]) * (rates[k] - rates[i]) < (errors[k] - errors[i]) * (
                    rates[j] - rates[i]
                ):
                    break
                kept.pop()
            kept.append(k)
        return rates[kept], errors[kept]

    @cached_property
    def _products(self) -> tuple[Floats, Floats]:
        """Rates, and G_A(r) G_B(s) at all pairs of them."""
        assert self._b is not None
        rates = _rates(_PLANE)
        return rates, np.outer(1.0 - self._a.missed(rates), 1.0 - self._b.missed(rates))

    def _concave(self, rate_a: float, rate_b: float, value: float) -> bool:
        """Whether the plane that touches G_A G_B at two rates is above it everywhere, so that it is the hull there."""
        assert self._b is not None
        rates, products = self._products
        slope_a = float(self._a.slope(rate_a) * (1.0 - self._b.missed(rate_b)))
        slope_b = float(self._b.slope(rate_b) * (1.0 - self._a.missed(rate_a)))
        over = products - slope_a * (rates - rate_a)[:, None]
        over -= slope_b * (rates - rate_b)
        return float(over.max()) <= value + _SLACK

    def _shared(self, rate_a: float, rate_b: float) -> float:
        """The hull at two rates: the best shares of three pairs of rates with these as their means.

        A linear program with three equations, solved by the revised simplex method: the plane through the three
        pairs of rates is a bound once no other pair is above it.
        """
        assert self._b is not None
        rates, products = self._products
        far = rates[-1]
        if rate_a + rate_b >= far:
            return 1.0 - float(max(self._a.missed(rate_a), self._b.missed(rate_b)))
        points = [(0.0, 0.0, 0.0), (far, 0.0, 0.0), (0.0, far, 0.0)]
        for _ in range(_PIVOTS):
            basis = np.array([(1.0, r, s) for r, s, _ in points]).T
            plane = np.linalg.solve(basis.T, np.array([value for _, _, value in points]))
            over = products - (plane[0] + plane[1] * rates)[:, None] - plane[2] * rates
            i, j = np.unravel_index(int(over.argmax()), over.shape)
            if over[i, j] <= _SLACK:
                break
            shares = np.linalg.solve(basis, np.array([1.0, rate_a, rate_b]))
            entering = np.linalg.solve(basis, np.array([1.0, rates[i], rates[j]]))
            ratios = np.where(entering > _SLACK, shares / np.where(entering > _SLACK, entering, 1.0), np.inf)
            points[int(ratios.argmin())] = (float(rates[i]), float(rates[j]), float(products[i, j]))
        return float(plane @ np.array([1.0, rate_a, rate_b]))


@lru_cache(maxsize=2)
def _rates(count: int) -> Floats:
    """Rates at which hulls are told, from 0 on, closer together where they are low."""
    return _REACH * (np.arange(count) / (count - 1)) ** 3
