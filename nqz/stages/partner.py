"""The partner that a matrix is coded for: the other factor of its products, and what it would leave of them.

A partner is coded alike (`EQUAL`), or not compressed (`EXACT`), or has so many bits an entry of its own. Both sides of
a product keep the same coordinates, so that two files made for each other must arrive at the same κ: of a pair of
rates it follows from these alone, by a nominal curve, that of the default lattice and columns that are alike.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nqz.ground.arithmetic import GRID, exp2
from nqz.stages.estimate import Side, expected_error
from nqz.stages.lattices import DEFAULT, choose
from nqz.stages.norms import Histogram
from nqz.stages.scale import CLASSES

EQUAL, EXACT = "equal", "exact"
NAMED = (EQUAL, EXACT)

Partner = str | float
"""`EQUAL`, `EXACT`, or bits an entry."""

_MOST = 64.0  # bits beyond which nothing of the noise is left

SHARES = 64
"""Steps in which κ is chosen."""


def check(partner: Partner) -> None:
    """Raise ValueError unless it is one."""
    if isinstance(partner, str):
        if partner not in NAMED:
            raise ValueError(f"unknown partner {partner!r}")
    elif not (math.isfinite(partner) and partner > 0.0):
        raise ValueError("the rate of the partner is out of range")


def in_words(partner: Partner) -> str:
    """What a partner is, as reports say it."""
    if isinstance(partner, str):
        return "coded alike" if partner == EQUAL else "not compressed"
    return f"of {partner:g} bits per entry"


@lru_cache(maxsize=1)
def _curve() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Bits a kept coordinate, ascending, and w = 1 / (1 + d) there, of the lowest classes of the default lattice."""
    lattice = choose(DEFAULT)
    classes = np.arange(lattice.modelled_below - len(lattice.low_bits), lattice.modelled_below)
    x = np.maximum(exp2(classes * (GRID // CLASSES)) / lattice.fine_moment - 1.0, 0.0)
    return np.array(lattice.low_bits), x / (1.0 + x)


def nominal(bits: float) -> float:
    """What noise leaves, w = 1 / (1 + d), of columns that are alike, at so many bits a kept coordinate."""
    rates, kept = _curve()
    if bits <= rates[0]:
        return float(kept[0]) * bits / float(rates[0])
    if bits >= rates[-1]:  # noise is a quarter for every bit
        beyond = math.floor(-2.0 * GRID * (min(bits, _MOST) - float(rates[-1])))
        return 1.0 - (1.0 - float(kept[-1])) * float(exp2(beyond))
    at = int(np.searchsorted(rates, bits, side="right"))
    share = (bits - float(rates[at - 1])) / float(rates[at] - rates[at - 1])
    return float(kept[at - 1]) + share * float(kept[at] - kept[at - 1])


def nominal_error(rate: float, partner: float, kappa: float) -> float:
    """Error of a product of two sides of columns that are alike, of some rates, with a share κ of the coordinates."""
    return 1.0 - kappa * nominal(rate / kappa) * nominal(partner / kappa)


@lru_cache(maxsize=256)
def common_kappa(rate: float, partner: float) -> float:
    """The share of the coordinates that both sides of a pair of rates keep: of least nominal error."""
    low, high = min(rate, partner), max(rate, partner)
    shares = range(SHARES, 0, -1)
    return min(shares, key=lambda share: nominal_error(low, high, share / SHARES)) / SHARES


def opposite(own: Side, partner: Partner) -> Side:
    """The partner as estimators see it: its columns alike, and with the coordinates that its partner has."""
    if partner == EQUAL:
        return own
    one = Histogram.of(np.zeros(1, np.int32))
    if isinstance(partner, str):
        return Side.exact(one, own.n)
    left = max(nominal(partner / own.kappa), 1e-300)
    return Side(one, np.array([1.0 / left - 1.0]), own.n, own.kappa)


def product_error(own: Side, partner: Partner) -> float:
    """Expected error of the product with an unrelated partner, relative to ‖Ā‖²‖B̄‖²/n."""
    return expected_error(own, opposite(own, partner), "mmse")
