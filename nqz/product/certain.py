"""How many of the first hits are surely among the true ones, by the standard deviations of scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nqz.product.normal import tail
from nqz.product.vectors import Floats

CHANCE = 0.05
"""With this probability at most, one of those that are called certain is not among the true ones."""

_LEVELS = 24
_ENTRIES = 1 << 20


def certain(
    scores: Floats, sigma: Floats, k: int, others: float, most: Floats, least: Floats
) -> NDArray[np.int64]:
    """How many of the first k of each query are among its true k best, all of them at once.

    Parameters
    ----------
    scores, sigma : ndarray, shape (queries, kept)
        Best first; what is known of more than k vectors.
    k : int
    others : float
        How many vectors there are beside these; their scores are at most the last of those.
    most : ndarray, shape (queries,)
        The largest standard deviation of the scores of others.
    least : ndarray, shape (queries,)
        Scores must be above this, too, for what is not known of vectors without one.

    Notes
    -----
    For any level t, the first c are among the true k best if all of them are above t and all behind the k-th below.
    The chance of anything else is at most the sum of the tails; t is the level at which c is the largest.
    """
    found = np.zeros(len(scores), np.int64)
    if not scores.shape[1]:
        return found  # no vector is coded
    step = max(1, _ENTRIES // max(1, scores.shape[1] * _LEVELS))
    for first in range(0, len(scores), step):
        part = slice(first, first + step)
        found[part] = _certain(scores[part], sigma[part], k, others, most[part], least[part])
    return found


def _certain(
    scores: Floats, sigma: Floats, k: int, others: float, most: Floats, least: Floats
) -> NDArray[np.int64]:
    kept = scores.shape[1]
    if kept <= k and not others and (least == -np.inf).all():
        return np.full(len(scores), kept, np.int64)  # all there are
    low, high = scores[:, min(k, kept - 1)], scores[:, 0]
    share = np.arange(_LEVELS) / (_LEVELS - 1.0)
    level = low[:, None] + (high - low)[:, None] * (share * share)
    level = np.maximum(level, least[:, None])
    wrong = np.where(level > least[:, None], 0.0, 1.0)
    wrong = wrong + others * tail(_units(level - scores[:, -1:], most[:, None]))
    for j in range(k, kept):
        wrong += tail(_units(level - scores[:, j : j + 1], sigma[:, j : j + 1]))
    count = np.zeros(level.shape, np.int64)
    for j in range(min(k, kept)):  # one after the other, best first
        wrong += tail(_units(scores[:, j : j + 1] - level, sigma[:, j : j + 1]))
        count += wrong <= CHANCE
    best: NDArray[np.int64] = count.max(axis=1)
    return best


def _units(distance: Floats, sigma: Floats) -> Floats:
    """Distances in standard deviations; what is exact is infinitely far off, or half of it beyond."""
    far = np.where(distance > 0.0, 38.0, np.where(distance < 0.0, -38.0, 0.0))
    found: Floats = np.divide(distance, sigma, out=far, where=sigma > 0.0)
    return found
