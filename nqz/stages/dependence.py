"""What the noise of a coded matrix has to do with the data, beyond their norms: nothing for dithered lattices."""

from __future__ import annotations

import math
from dataclasses import dataclass

_QUARTIC, _SEXTIC = 0.83, 0.75
"""The multiples of ρ² closest to ρ⁴ and ρ⁶ over all cosines: docs/theory.md, section 6."""


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
    """

    along: float = 0.0
    alike: float = 0.0
    bent: float = 0.0

    def related(self, other: Dependence, n: int, cosine: float = 0.0) -> float:
        """What beyond νP, in units of C²/n, the noise of products of columns of length n has.

        `cosine` is the mean square of cosines over all pairs: what is alike in all columns is divided out by the gain.
        """
        both = 2.0 * math.sqrt(max(self.alike, 0.0) * max(other.alike, 0.0))
        alike = (_QUARTIC - 2.0 * cosine * cosine) * both
        return self.along + other.along + alike + _SEXTIC * n * self.bent * other.bent


NONE = Dependence()
