"""Searches of part sets that are decoded: error bars where noise lies where both sides are loud."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from test_commands_sets import Elsewhere

N, VECTORS, QUERIES, HITS = 640, 150, 50, 10
LOUD = np.repeat([[0.5], [1.0], [4.0], [2.0]], N // 4, axis=0)
KINDS: dict[str, dict[str, object]] = {
    "voronoi": {"coding": "voronoi", "lattice": "e8"},
    "trellis": {"coding": "trellis"},
    "kappa": {"coding": "entropy", "kappa": 0.5},
}


def vectors(seed):
    """A corpus, and queries each of which is like one vector of it; all are loud in the same runs."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, VECTORS)) * LOUD + 0.5
    queries = 0.9 * x[:, :QUERIES] + 0.4 * LOUD * rng.standard_normal((N, QUERIES))
    return x.astype(np.float32), queries.astype(np.float32)


def likeness(x, queries, metric):
    """True scores."""
    x, queries = x.astype(np.float64), queries.astype(np.float64)
    inner, left, right = queries.T @ x, np.square(x).sum(0), np.square(queries).sum(0)[:, None]
    if metric == "l2":
        return left + right - 2.0 * inner
    return inner / np.sqrt(left * right) if metric == "cosine" else inner


@pytest.mark.parametrize(
    "kind, metric, partner",
    [
        ("voronoi", "ip", "plain"), ("voronoi", "cosine", "file"), ("voronoi", "l2", "set"),
        ("trellis", "cosine", "plain"), ("trellis", "ip", "set"), ("kappa", "ip", "file"),
    ],
)  # fmt: skip
def test_scores_are_off_by_their_deviations_and_certain_hits_are_right(tmp_path, kind, metric, partner):
    off, right = [], []
    for seed in range(2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        x, queries = vectors(seed)
        nqz.encode_set(x, folder / "x.nqzset", rate=3, parts=(4, 1), seed=seed, **KINDS[kind])
        asked = queries
        if partner == "file":
            asked = nqz.encode(queries, rate=3, center=True, seed=seed + 10)
        elif partner == "set":
            asked = folder / "queries.nqzset"
            nqz.encode_set(queries, asked, rate=3, parts=(3, 1), seed=seed, **KINDS[kind])
        found = nqz.topk(folder / "x.nqzset", asked, VECTORS, metric=metric)
        true = likeness(x, queries, metric)
        off.append((found.scores - np.take_along_axis(true, found.indices, 1)) / found.sigma)
        best = nqz.topk(folder / "x.nqzset", asked, HITS, metric=metric)
        order = np.argsort(true if metric == "l2" else -true, axis=1)[:, :HITS]
        for hits, count, those in zip(best.indices, best.certain, order, strict=True):
            right.append(set(hits[:count]) <= set(those))
        if partner != "plain":
            elsewhere = nqz.topk(folder / "x.nqzset", asked, HITS, metric=metric, executor=Elsewhere())
            assert np.array_equal(elsewhere.sigma, best.sigma)
            assert np.array_equal(elsewhere.certain, best.certain)
    assert np.sqrt(np.square(off).mean()) == pytest.approx(1.0, abs=0.05)
    assert sum(right) >= 95 and len(right) == 100
