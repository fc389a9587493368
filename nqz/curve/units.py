"""Units of errors: energies of vectors without their means, or with them, the same for all points of a sweep.

Means of short vectors are kept apart at some rates and not at others; the error of an encoding is relative to what it
takes for the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nqz.curve.exact_product import Factor
from nqz.stages.partner import EQUAL, Partner

Kept = tuple[bool, ...]
"""Whether means are kept apart, of each side."""


@dataclass(frozen=True)
class Units:
    """What errors are relative to.

    Attributes
    ----------
    centered : tuple of bool
        Of each side, whether energies are without means: where any encoding keeps these.
    ratios : tuple of float
        ‖A‖²/‖Ā‖² of each side.
    """

    centered: Kept
    ratios: tuple[float, ...]

    @classmethod
    def of(cls, factors: Sequence[Factor], kept: Sequence[Kept]) -> Units:
        """Those of encodings of some matrices."""
        return cls(tuple(map(any, zip(*kept, strict=True))), tuple(one.with_means for one in factors))

    def converted(self, point: dict[str, Any], kept: Kept, partner: Partner) -> dict[str, Any]:
        """A point whose predictions, and whose own reconstruction, are relative to energies as they were coded.

        The product with the other side is relative to energies without means.
        """
        own = self._times(0, kept)
        other = own if partner == EQUAL else 1.0  # an unrelated partner that is coded alike is like it
        both = own * self._times(1, kept) if len(kept) > 1 else own
        predicted, measured = point["predicted"], point["measured"]
        return {
            **point,
            "predicted": {
                "reconstruction": _product(predicted["reconstruction"], own),
                "product": _product(predicted["product"], own * other),
                "against": _product(predicted["against"], both),
            },
            "measured": {
                "reconstruction": _product(measured["reconstruction"], own),
                "against": _product(measured["against"], self.of_centered(len(kept))),
            },
        }

    def of_centered(self, sides: int) -> float:
        """What turns an error relative to energies without means, of one side or two, into these units."""
        found = 1.0
        for side in range(sides):
            number = min(side, len(self.ratios) - 1)
            found /= 1.0 if self.centered[number] else self.ratios[number]
        return found

    def _times(self, side: int, kept: Kept) -> float:
        return self.ratios[side] if self.centered[side] and not kept[side] else 1.0


def _product(error: float | None, factor: float) -> float | None:
    return None if error is None else error * factor
