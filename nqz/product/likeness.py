"""How like vectors are to each other: scores of a search from exact products of points, and what they are off by.

Inside, a score is a form that integers of both sides fit, larger for what is more alike: C for `ip`, C / (‖x‖‖q‖) for
`cosine`, and C - ‖x‖²/2 for `l2`, that is (‖q‖² - ‖x - q‖²)/2. Lengths are in units of powers of two, so that nothing
overflows on the way. `Frame.told` makes of it what is told. docs/theory.md, section 10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nqz.ground.arithmetic import exp, pieces
from nqz.product.operand import Operand
from nqz.product.vectors import Floats, Vectors
from nqz.stages import norms
from nqz.stages.estimate import related_noise

_LN2 = 0.6931471805599453

METRICS = ("ip", "cosine", "l2")


@dataclass(frozen=True)
class Frame:
    """What scores of all corpora of a search have in common.

    Attributes
    ----------
    metric : {"ip", "cosine", "l2"}
    n : int
        Entries of a vector.
    left, right : int
        Powers of two in whose units vectors of corpora, and queries, are measured.
    """

    metric: str
    n: int
    left: int
    right: int

    @classmethod
    def around(cls, metric: str, corpora: Sequence[Operand], queries: Sequence[Operand]) -> Frame:
        """A frame in which none of these operands overflows."""
        left, right = (max(_exponent(x) for x in side) for side in (corpora, queries))
        if metric == "l2":
            left = right = max(left, right)
        return cls(metric, corpora[0].side.n, left, right)

    def told(self, scores: Floats, squares: Floats) -> Floats:
        """Scores as users know them: inner products, cosines, squared distances; infinite where they overflow.

        `squares` are ‖q‖² of the queries.
        """
        with np.errstate(over="ignore"):
            if self.metric == "cosine":
                return np.minimum(np.maximum(scores, -1.0), 1.0)
            if self.metric == "l2":
                return np.ldexp(np.maximum(squares - 2.0 * scores, 0.0), 2 * self.left)
            return np.ldexp(scores, self.left + self.right)

    def told_deviations(self, sigma: Floats) -> Floats:
        """Their standard deviations."""
        with np.errstate(over="ignore"):
            if self.metric == "l2":
                return np.ldexp(2.0 * sigma, 2 * self.left)
            return sigma if self.metric == "cosine" else np.ldexp(sigma, self.left + self.right)


def _exponent(operand: Operand) -> int:
    """A power of two near the norm of the longest vector of an operand, mean included; 0 where there is none."""
    most, found = 0.0, []
    if operand.apart:
        for first, last in operand.blocks:
            for c in pieces(last - first):
                mean = operand.means(slice(first + c.start, first + c.stop))
                most = max(most, float(np.abs(mean).max(initial=0.0)))
    if most > 0.0:
        found.append(math.frexp(most)[1] + operand.side.n.bit_length() // 2)
    if (operand.side.histogram.codes != norms.ZERO).any():
        found.append(operand.exponent)
    return max(found, default=0)


class Between(NamedTuple):
    """What there is between a corpus and queries beside single vectors.

    Attributes
    ----------
    frame : Frame
    kappa : float
        The share of coordinates that both sides keep.
    shared : int
        How many these are.
    related : float
        What the errors of both sides have in common, see `related_noise`; without what is counted along each vector.
    grain : float
        The largest relative noise of queries.
    above : float
        How many times as large as what its norm says the energy of a vector may be.
    """

    frame: Frame
    kappa: float
    shared: int
    related: float
    grain: float
    above: float

    def rows(self, x: Vectors, z: float = 0.0) -> Floats:
        """Vectors of the corpus as `kernels.select` takes them; those not coded count where z is not 0 only.

        What a score may be off by is z standard deviations, or a bound of them, and that of vectors not coded all
        that it can be.
        """
        root = np.sqrt(self.frame.n / 12.0)
        more = 2.0 * (1.0 - self.kappa) / self.kappa + self.related
        variance = x.energy * more + (x.noise + self.grain * (x.energy + x.noise)) / self.kappa
        reach = np.sqrt(variance / self.frame.n) + root * x.step
        offset = np.zeros(len(x))
        if self.frame.metric == "l2":
            offset = 0.5 * (z * x.spread - x.square)
        if z:
            above = np.sqrt(self.above * x.size) / z
            reach = np.where(x.coded, reach, above + root * x.step)
        else:
            offset = np.where(x.coded, offset, -np.inf)
        found = np.stack([np.where(x.coded, x.unit / self.kappa, 0.0), x.mean, offset, reach])
        if self.frame.metric == "cosine":
            norm = np.where(x.square > 0.0, x.norm, 1.0)
            found[[0, 1, 3]] /= norm
            found[3] += x.spread / (2.0 * norm * norm)
        return found


@dataclass(frozen=True)
class Likeness:
    """Scores of vectors of one corpus.

    Attributes
    ----------
    frame : Frame
    corpus, queries : Operand
    """

    frame: Frame
    corpus: Operand
    queries: Operand

    @property
    def kappa(self) -> float:
        """The share of coordinates that both sides keep."""
        return min(self.corpus.side.kappa, self.queries.side.kappa)

    @property
    def _independent(self) -> bool:
        """Whether what the noise has to do with the vector is known: nothing, or that it is across."""
        return self.corpus.side.dependence is None or self.corpus.across

    @property
    def _related(self) -> float:
        """What `related_noise` gives, without what is counted along each vector, or across."""
        found = self.kappa * related_noise(self.corpus.side, self.queries.side)
        if self._independent:
            found -= 1.0 - self.kappa
        if self.corpus.across:
            found += self.corpus.side.mean_noise() - self.corpus.along
        if self.queries.across:
            found += self.queries.side.mean_noise()
        return found / self.kappa

    @property
    def between(self) -> Between:
        """What there is between corpus and queries beside single vectors."""
        noise = self.queries.noise(self.queries.side.histogram.codes)
        grain = float(noise[np.isfinite(noise)].max(initial=0.0)) * self.queries.counts.between
        shared = min(self.corpus.m, self.queries.m)
        return Between(self.frame, self.kappa, shared, max(self._related, 0.0), grain, self.above)

    @property
    def above(self) -> float:
        """How many times as large as what its norm says the energy of a vector may be."""
        return float(exp(_LN2 * norms.above(self.corpus.norm_step)))

    def columns(self, q: Vectors, z: float = 0.0) -> Floats:
        """Queries as `kernels.select` takes them; see `rows`."""
        found = np.stack([q.unit, self.frame.n * q.mean, z * q.norm])
        if self.frame.metric == "cosine":
            found /= np.where(q.square > 0.0, q.norm, 1.0)
        return found

    def deviations(self, x: Vectors, q: Vectors, scores: Floats, told: bool = True) -> Floats:
        """Standard deviations of scores, pair by pair, not-a-number for vectors that are not coded.

        Where `told` is not set, of what they are off by beside the scores of the same query: its own norm does not
        count.
        """
        n, kappa, metric, v = self.frame.n, self.kappa, self.frame.metric, x.variances
        product, by_product = scores, np.ones(len(scores))
        by_left, by_right = (np.full(len(scores), -0.5 if metric == "l2" else 0.0) for _ in range(2))
        if metric == "l2":
            product = scores + 0.5 * x.square
        elif metric == "cosine":
            norm = x.norm * q.norm
            product, by_product = (
                scores * norm,
                np.divide(1.0, norm, out=np.zeros(len(norm)), where=norm > 0.0),
            )
            by_left, by_right = (
                np.divide(-0.5 * scores, s, out=np.zeros(len(s)), where=s > 0.0) for s in (x.square, q.square)
            )
        product = product - n * (x.mean * q.mean)
        power = x.energy * q.energy
        cosine = np.divide(product * product, power, out=np.zeros(len(power)), where=power > 0.0)
        across = 1.0 - np.minimum(cosine, 1.0)
        if self.corpus.across:  # an energy that is not known well must not make a cosine of 1
            of_noise = np.divide(4.0 * x.noise, n * x.energy, out=np.zeros(len(power)), where=x.energy > 0.0)
            lacking = np.sqrt(v.of_energy + of_noise)
            across = 1.0 - np.minimum(cosine, 1.0) * (1.0 - np.minimum(lacking, 1.0))
        noise = (across if self._independent else 1.0) * (q.energy * (x.energy * (1.0 - kappa) + x.noise))
        own = across if self.queries.across else 1.0
        noise = (noise + own * (q.noise * (x.energy + x.noise))) / kappa + self._related * product * product
        along, size = by_product * product, x.energy
        variance = by_product * by_product * np.maximum(noise, 0.0) / n
        for known, first, second in (
            (v.kept, 1.0 - v.slope, v.energy),
            (v.along, 1.0 - 2.0 * v.slope, 2.0 * v.energy),
            (v.square, -v.slope, v.energy),
            (v.norm, v.slope, 1.0 - v.energy),
        ):
            variance = variance + known * np.square(first * along + second * (by_left * size))
        variance = variance + np.square(n * x.step * (by_product * q.mean + 2.0 * by_left * x.apart)) / 12.0
        variance = variance + np.square(n * q.step * (by_product * x.mean)) / 12.0
        # where these cancel, as beside the vector itself, squares of what means are off by are left
        variance = variance + np.square(n * x.step * (by_product * q.step)) / 144.0
        variance = variance + np.square(n * x.step * (by_left * x.step)) / 80.0
        if told:
            shared = 4.0 * q.variances.energy * q.variances.along * (along * by_right * q.energy)
            variance = np.maximum(variance + np.square(by_right * q.spread) + shared, 0.0)
        return np.where(x.coded & q.coded, np.sqrt(variance), np.nan)
