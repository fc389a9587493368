"""Search in operands that stay in memory: the same hits as in their files, whatever their points are kept as."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import nqz
from nqz.product import kept

N, COUNT = 96, 900

CASES = {
    "bytes": {},
    "two bytes": {"rate": 6},
    "fewer coordinates": {"rate": 0.6, "kappa": 0.7},
    "nested": {"coding": "voronoi", "lattice": "e8"},
    "trellis": {"coding": "trellis", "rate": 2.3},
    "more than two bytes": {"rate": 11},
}


def same(found, expected):
    """Whether two searches found the same, to the bit."""
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_hits_in_memory_are_those_of_the_file(case, uneven, monkeypatch):
    monkeypatch.setattr(kept, "_LEAST", 20_000)  # several parts
    monkeypatch.setattr(kept, "_WIDE", 64 if case == "two bytes" else 1 << 16)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((COUNT, N)) + 0.3
    if uneven:
        a[::7] *= 3.5
        a[5], a[6], a[9] = 0.0, a[6] * 1e-6, a[9] * 300.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of loud vectors, and of those left out
        data = nqz.encode(a, axis=1, **{"rate": 3, **CASES[case]})
        m = nqz.open(data).matrix
        x = m.operand()
        copied = pickle.loads(pickle.dumps(x))  # noqa: S301 (our own)
        for queries, metric in ((1, "ip"), (30, "cosine"), (3, "l2")):
            q = rng.standard_normal((queries, N))
            expected = nqz.topk(m, q, 7, metric=metric)
            for one in (x, copied, x.T, [x]):
                assert same(nqz.topk(one, q, 7, metric=metric, threads=2)[:5], expected[:5])
        expected = nqz.topk([m, data], q, 7, rerank=[a, a])
        assert same(nqz.topk([x, data], q, 7, rerank=[a, a])[:5], expected[:5])
        b = nqz.open(nqz.encode(q, axis=1, rate=4)).matrix
        assert same(nqz.topk(x, b.operand(), 5)[:5], nqz.topk(m, b, 5)[:5])


def test_an_operand_is_searched_when_its_file_is_gone(tmp_path):
    path, rng = tmp_path / "x.nqz", np.random.default_rng(1)
    a, q = rng.standard_normal((300, N)), rng.standard_normal((2, N))
    nqz.encode({"a": a, "b": a[::-1].copy()}, path, axis=1, rate=3)
    with nqz.open(path) as container:
        expected, x = nqz.topk(container["b"], q), container["b"].operand()
    path.unlink()
    assert same(nqz.topk(x, q)[:5], expected[:5])
    with pytest.raises(nqz.OperandError, match="queries are the corpus itself"):
        nqz.topk(x, pickle.loads(pickle.dumps(x)))  # noqa: S301 (our own)
    with pytest.raises(nqz.OperandError, match="is not what was compressed"):
        nqz.topk(x, q, rerank=x)


def test_where_nothing_is_coded_there_are_no_hits_in_memory_either():
    a = np.random.default_rng(2).standard_normal((200, N))
    m = nqz.open(nqz.encode(a * 0.0, axis=1, rate=3)).matrix
    assert same(nqz.topk(m.operand(), a[:2], 3)[:5], nqz.topk(m, a[:2], 3)[:5])
