"""What the noise of a coded matrix has to do with the data, beyond their norms: nothing for dithered lattices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_QUARTIC, _SEXTIC = 0.83, 0.75
"""The multiples of ρ² closest to ρ⁴ and ρ⁶ over all cosines: docs/theory.md, section 6."""

_EQUAL = 0.25
"""Columns of which shares of the larger q vary as much, but for this, are coded alike."""


class Together(NamedTuple):
    """How the columns of a whole product lie to each other, where that is known.

    Attributes
    ----------
    quartic : float
        Sum of ρ⁴ over all pairs of a column of each side, beside that of ρ².
    pairs : float
        What share of Σρ² is that of the i-th columns of both.
    square, common : tuple of float
        Of both sides, the mean square of the cosines among their own columns, and the cosine that all have, as far as
        all lie in one direction: products of the three cosines of three columns beside squares.
    """

    quartic: float = _QUARTIC
    pairs: float = 0.0
    square: tuple[float, float] = (0.0, 0.0)
    common: tuple[float, float] = (0.0, 0.0)


ANYHOW = Together()


@dataclass(frozen=True)
class Dependence:
    """How the noise w of a column u is related to it; all in units of the variance of an entry.

    Attributes
    ----------
    along : float
        Variance of ⟨w, u⟩ beyond that of ⟨w, v⟩ for unrelated v, per entry.
    alike : float
        Covariance of ⟨w, u⟩ and ⟨w', u⟩ for two noises of one vector, per entry.
    bent : float
        E⟨w, w'⟩ per entry: the share of a product that the estimates of alike vectors are off together.
    uneven : float
        What of `along` is alike in the i-th columns of both sides, if they are coded alike.
    measured : bool
        Whether points were divided by the mean of what they are worth.
    across : bool
        Whether no noise is along u: then `along` is what nevertheless is, and `bent` is in units of the noise.
    """

    along: float = 0.0
    alike: float = 0.0
    bent: float = 0.0
    uneven: float = 0.0
    measured: bool = False
    across: bool = False

    def of_noise(self, noise: float) -> Dependence:
        """The same for columns of so much relative noise, nothing of it in other units."""
        if not self.across:
            return self
        return Dependence(self.along - noise, self.alike, self.bent * noise)

    def related(self, other: Dependence, n: int, together: Together = ANYHOW) -> float:
        """What beyond νP, in units of C²/n, the noise of products of columns of length n has.

        What is alike in all columns of a side is divided out by its gain.
        """
        both = 2.0 * math.sqrt(max(self.alike, 0.0) * max(other.alike, 0.0))
        shared = math.sqrt(together.common[0] * together.common[1])
        alike = (together.quartic - (4.0 - 2.0 * shared) * shared**3) * both
        sextic = _SEXTIC if together is ANYHOW else together.quartic * together.quartic
        uneven = 0.0
        if abs(self.uneven - other.uneven) <= _EQUAL * max(self.uneven, other.uneven):
            uneven = 2.0 * together.pairs * math.sqrt(self.uneven * other.uneven)
        return self.along + other.along + alike + uneven + sextic * n * self.bent * other.bent

    def unsure(self, other: Dependence, together: Together) -> float:
        """By how much `related` may be off: half of what gains divide out."""
        shared = math.sqrt(together.common[0] * together.common[1])
        both = 2.0 * math.sqrt(max(self.alike, 0.0) * max(other.alike, 0.0))
        return (2.0 - shared) * shared**3 * both + shared * shared * (self.uneven + other.uneven)

    def divided(self, other: Dependence, together: Together, cosine: float) -> float:
        """What gains divide out of the noise of coordinates that were dropped, in units of that of a pair itself.

        `cosine` is the mean square of those of a column of each side.
        """
        gains = [float(side.measured) for side in (self, other)]
        found = 4.0 * gains[0] * gains[1] * cosine
        for gain, square, common in zip(gains, together.square, together.common, strict=True):
            found += gain * (2.0 * square - 4.0 * common)
        return found


NONE = Dependence()


def averaged(parts: Sequence[tuple[float, Dependence, float]]) -> Dependence:
    """That of vectors in parts, of each of which the energy is known, what its noise has to do with it, and how much.

    Where noise is across in some parts only, it is said of all in the same units.
    """
    whole = math.fsum(energy for energy, _, _ in parts)
    if whole <= 0.0:
        return NONE
    if len({one.across for _, one, _ in parts}) > 1:
        parts = [(energy, one.of_noise(noise), noise) for energy, one, noise in parts]

    def mean(name: str) -> float:
        return math.fsum(energy * float(getattr(one, name)) for energy, one, _ in parts) / whole

    measured = any(one.measured for _, one, _ in parts)
    across = parts[0][1].across
    return Dependence(mean("along"), mean("alike"), mean("bent"), mean("uneven"), measured, across)
