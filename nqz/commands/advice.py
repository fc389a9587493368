"""What a product would have gained if its factors had been encoded for each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nqz.commands.factors import Coded, Factor
from nqz.commands.pairs import Pair
from nqz.commands.sets.factor import Parted
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.ground.wording import counted
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.estimate import Side, expected_error
from nqz.stages.partner import EXACT, Partner, opposite

ENOUGH = 0.03
"""Bits an entry that are worth a word."""

_HIGH = 1.5  # bits an entry from which on, with all coordinates kept, no other partner changes much


@dataclass(frozen=True)
class Advice:
    """What to say of a product.

    Attributes
    ----------
    gain : float
        Bits an entry by which both rates could be lower for the same error.
    text : str
    """

    gain: float
    text: str


def advice(pair: Pair) -> Advice | None:
    """What to say of a product, if it would have gained enough, or if its factors keep different coordinates."""
    if isinstance(pair.a, Parted) or isinstance(pair.b, Parted):
        return None
    coded = [side for side in (pair.a, pair.b) if isinstance(side, Coded)]
    if any(side.matrix.parameters.coding is not CODING for side in coded) or not _may_gain(coded):
        return None
    from nqz.plan.limit import shift  # which take a moment to load
    from nqz.plan.search import for_partner

    rates = [side.rate if isinstance(side, Coded) else math.inf for side in (pair.a, pair.b)]
    partners: list[Partner] = [EXACT if math.isinf(rate) else _asked(rate) for rate in reversed(rates)]
    now = _sides(pair, [side.matrix.side for side in coded])
    found = [
        for_partner(side.matrix.parameters, side.matrix.histogram, _asked(side.rate), partner)
        for side, partner in zip((pair.a, pair.b), partners, strict=True)
        if isinstance(side, Coded)
    ]
    better = [side for side in found if side is not None]
    gain = 0.0
    if len(better) == len(coded):
        errors = (expected_error(*sides, "mmse") for sides in (now, _sides(pair, better)))
        before, after = (shift(error, *rates) for error in errors)
        gain = before - after
    kappas = [side.kappa for side in now]
    meet = "" if len(coded) < 2 or kappas[0] == kappas[1] else _meeting(pair, kappas)
    if gain <= ENOUGH:
        return Advice(0.0, meet) if meet else None
    how = " and ".join(
        f"--partner {partner if isinstance(partner, str) else f'{partner:g}'} for {side.where}"
        for side, partner in zip((pair.a, pair.b), partners, strict=True)
        if isinstance(side, Coded)
    )
    text = f"encode {how} would be worth {gain:.2f} bits per entry in this product"
    return Advice(gain, f"{meet}; {text}" if meet else text)


def _asked(rate: float) -> float:
    """A rate as an option takes it."""
    return min(max(round(rate, 3), MIN_RATE), MAX_RATE)


def _may_gain(coded: Sequence[Coded]) -> bool:
    """Whether rates are low enough for coordinates to be shared, or columns to be dropped, in another way."""
    return any(side.matrix.parameters.kappa < 1.0 or side.rate < _HIGH for side in coded)


def _sides(pair: Pair, coded: Sequence[Side]) -> tuple[Side, Side]:
    """Both factors as estimators see them; of one that is not compressed it does not matter what it holds."""
    if len(coded) == 2:
        return coded[0], coded[1]
    exact = opposite(coded[0], EXACT)
    return (coded[0], exact) if isinstance(pair.a, Coded) else (exact, coded[0])


def _meeting(pair: Pair, kappas: Sequence[float]) -> str:
    def keeps(side: Factor | Parted, kappa: float) -> str:
        return f"{side.where} has {'all coordinates' if kappa == 1.0 else f'{kappa:.3g} of the coordinates'}"

    both = " and ".join(keeps(side, kappa) for side, kappa in zip((pair.a, pair.b), kappas, strict=True))
    return f"{both}, and the product uses those that both have"


def told(found: Sequence[Advice | None]) -> list[str]:
    """What to say of several products: of the one that would gain most, and how many others would gain."""
    advised = [one for one in found if one is not None]
    if not advised:
        return []
    best = max(advised, key=lambda one: one.gain)
    gaining = sum(one.gain > 0.0 for one in advised)
    if len(found) == 1 or gaining == 0:
        more = "" if len(advised) == 1 else f" (and so for {counted(len(advised) - 1, 'other product')})"
        return [best.text + more]
    return [f"{best.text}; {counted(gaining, 'product')} of {len(found)} would gain from another --partner"]
