"""Search: hits are those of all scores, scores are as far off as is said, and exact hits cost few reads."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

import nqz
from nqz.product import corpus
from nqz.product import search as streaming
from nqz.product.certain import certain
from nqz.product.normal import quantile, tail

METRICS = ("ip", "cosine", "l2")


def related(n, count, queries, seed, *, uneven=False, offset=0.0):
    """Vectors, one a row, and queries, each at some angle to one of them; and which."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, n))
    if uneven:
        x *= rng.lognormal(0, 1, count)[:, None]
    x += offset
    near = rng.integers(0, count, queries)
    cosine = rng.uniform(0, 1, queries)[:, None]
    length = np.linalg.norm(x[near], axis=1, keepdims=True)
    q = cosine * x[near] + np.sqrt(1 - cosine**2) * rng.standard_normal((queries, n)) * length / math.sqrt(n)
    return x.astype(np.float32), q.astype(np.float32), near


def clustered(n, count, queries, seed):
    """Vectors of length 1 in clusters of some dozen, one a row, and queries among them."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((max(1, count // 40), n))
    x = centers[rng.integers(0, len(centers), count + queries)]
    x = x + 0.8 * rng.standard_normal(x.shape)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return x[:count], x[count:]


def truth(x, q, metric):
    """All scores."""
    x, q = x.astype(np.float64), q.astype(np.float64)
    found = q @ x.T
    if metric == "l2":
        return np.square(q)[:, :].sum(1)[:, None] + np.square(x).sum(1) - 2 * found
    norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    return found / norms if metric == "cosine" else found


def best(scores, k, metric):
    """The true hits; ties go to the lower index."""
    return np.argsort(scores if metric == "l2" else -scores, axis=1, kind="stable")[:, :k]


def same(one, other):
    """Whether two results are the same, bit for bit."""
    arrays = zip(one[:5], other[:5], strict=True)
    return one.read == other.read and all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in arrays)


KINDS = {
    "normal": ({"n": 192}, {"rate": 2}, None),
    "uneven": ({"n": 192, "uneven": True}, {"rate": 4}, None),
    "columns": ({"n": 192, "uneven": True}, {"rate": 2, "allocate": "column"}, None),
    "offset": ({"n": 192, "offset": 3.0}, {"rate": 3}, None),
    "short": ({"n": 32}, {"rate": 4}, None),
    "coded": ({"n": 192}, {"rate": 3}, {"rate": 4}),
    "coded short": ({"n": 48, "uneven": True}, {"rate": 2}, {"rate": 4, "allocate": "column"}),
    "nested": ({"n": 192}, {"rate": 3, "coding": "voronoi", "lattice": "e8"}, None),
    "rings": ({"n": 192, "uneven": True}, {"rate": 3, "coding": "trellis"}, None),
    "short rings": ({"n": 64}, {"rate": 3, "coding": "trellis"}, None),
    "coded rings": ({"n": 192}, {"rate": 2, "coding": "trellis"}, {"rate": 3, "coding": "trellis"}),
    "low": ({"n": 384}, {"rate": 0.7}, None),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_as_far_off_as_their_standard_deviations_say(kind):
    """And normally distributed, of unrelated vectors and of near ones."""
    options, encoding, queries = KINDS[kind]
    units, near = ({metric: [] for metric in METRICS} for _ in range(2))
    for seed in range(3):
        x, q, place = related(count=110, queries=110, seed=seed, **options)
        data = nqz.encode(x, axis=1, seed=seed, **encoding)
        asked = q if queries is None else nqz.encode(q, axis=1, seed=seed, **queries)
        for metric in METRICS:
            hits = nqz.topk(data, asked, len(x), metric=metric)
            found = np.full((len(q), len(x)), np.nan)
            off = hits.scores - np.take_along_axis(truth(x, q, metric), hits.indices, 1)
            np.put_along_axis(found, hits.indices, off / hits.sigma, 1)
            units[metric].append(found[~np.isnan(found)])
            own = found[np.arange(len(q)), place]
            near[metric].append(own[~np.isnan(own)])
    for metric in METRICS:
        everything, close = np.concatenate(units[metric]), np.concatenate(near[metric])
        assert abs(everything.mean()) < 0.12
        assert np.sqrt(np.square(everything).mean()) == pytest.approx(1.0, abs=0.08)
        assert (np.abs(everything) > 1.96).mean() == pytest.approx(0.05, abs=0.015)
        assert abs(close.mean()) < 0.25
        assert np.sqrt(np.square(close).mean()) == pytest.approx(1.0, abs=0.17)


def test_near_vectors_err_less_than_products_of_unrelated_ones():
    """What rounding did along a vector is taken out again: of its variance 1 - cosine² is left."""
    x, _ = clustered(256, 400, 1, 0)
    rng = np.random.default_rng(1)
    q = (x + 0.2 / 16 * rng.standard_normal(x.shape)).astype(np.float32)
    data = nqz.encode(x, rate=3, axis=1)
    hits = nqz.topk(data, q, 1)
    assert (hits.indices[:, 0] == np.arange(len(x))).all()
    off = hits.scores[:, 0] - np.einsum("ij,ij->i", x, q, dtype=np.float64)
    _, sigma = nqz.matmul(q.T, data, estimator="unbiased", sigma=True)
    before = sigma[np.arange(len(x)), np.arange(len(x))]
    assert np.sqrt(np.square(off / before).mean()) < 0.65
    # norms are coarse here: of what points say, some may be the norm's
    assert (hits.sigma[:, 0] / before).mean() < 0.8
    assert 0.6 < np.sqrt(np.square(off / hits.sigma[:, 0]).mean()) < 1.1
    # where norms are known, 1 - cosine² of the variance is left
    cosine = truth(x, q, "cosine")[np.arange(len(x)), np.arange(len(x))]
    sigma = nqz.topk(data, q, 1, metric="cosine").sigma[:, 0] * np.linalg.norm(q, axis=1)
    assert sigma == pytest.approx(before * np.sqrt(1 - cosine**2), rel=0.25)


@pytest.mark.parametrize("metric, rate", [("ip", 4), ("cosine", 6), ("l2", 3)])
def test_hits_that_are_called_certain_are_true_in_95_of_100_searches(metric, rate):
    wrong, count, queries = 0, 0, 0
    for seed in range(4):
        x, q = clustered(96, 500, 100, seed)
        hits = nqz.topk(nqz.encode(x, rate=rate, axis=1, seed=seed), q, 5, metric=metric)
        true = best(truth(x, q, metric), 5, metric)
        for found, sure, right in zip(
            hits.indices.tolist(), hits.certain.tolist(), true.tolist(), strict=True
        ):
            wrong += not set(found[:sure]) <= set(right)
            count, queries = count + sure, queries + 1
    assert wrong <= 0.05 * queries
    assert count >= {3: 0.15, 4: 0.5, 6: 3.0}[rate] * queries


def test_certain_counts_what_others_may_still_be():
    scores, sigma = np.array([[9.0, 8.0, 3.0, 2.5]]), np.full((1, 4), 0.5)
    none, below = np.zeros(1), np.full(1, -np.inf)
    assert certain(scores, sigma, 2, 0.0, none, below).tolist() == [2]
    assert certain(scores, sigma, 3, 0.0, none, below).tolist() == [2]
    assert certain(scores, sigma, 4, 0.0, none, below).tolist() == [4]  # all there are
    assert certain(scores, sigma, 2, 1e6, np.full(1, 3.0), below).tolist() == [0]
    assert certain(scores, sigma, 2, 0.0, none, np.full(1, 8.5)).tolist() == [0]
    assert certain(scores, np.zeros((1, 4)), 3, 0.0, none, below).tolist() == [3]


def test_tails_are_those_of_the_normal_distribution():
    x = np.linspace(-6, 12, 997)
    exact = np.array([0.5 * math.erfc(one / math.sqrt(2)) for one in x])
    assert (tail(x) >= exact * (1 - 1e-12)).all()
    assert tail(x)[x > 0] == pytest.approx(exact[x > 0], rel=4e-4)
    assert quantile(0.025) == pytest.approx(1.96, abs=0.005) and tail(np.array([quantile(1e-9)]))[0] <= 1e-9


@pytest.mark.parametrize("metric", METRICS)
def test_hits_do_not_depend_on_how_the_work_is_cut_or_on_threads(metric, monkeypatch):
    x, q = clustered(40, 1500, 70, 3)
    data = nqz.encode(x, rate=2, axis=1)
    whole = nqz.topk(data, q, 7, metric=metric, threads=1)
    assert same(whole, nqz.topk(data, q, 7, metric=metric, threads=3))
    monkeypatch.setattr(streaming, "_KEPT", 1000)
    for name, value in (("_SIDE", 33), ("_TILE", 500), ("_SPACE", 16)):
        monkeypatch.setattr(corpus, name, value)
    assert same(whole, nqz.topk(data, q, 7, metric=metric, threads=2))
    every = nqz.topk(data, q, len(x), metric=metric)
    assert np.array_equal(whole.indices, every.indices[:, :7])
    assert np.array_equal(whole.scores, every.scores[:, :7])


def test_scores_are_never_all_in_memory():
    x, q = clustered(24, 12000, 800, 4)
    data = nqz.encode(x, rate=2, axis=1)
    nqz.topk(data, q[:2], 3, threads=1)
    tracemalloc.start()
    nqz.topk(data, q, 3, threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.75 * 8 * len(x) * len(q), peak


def test_ties_go_to_the_lower_index():
    x = np.zeros((300, 16), np.float32)
    x[7] = 1.0
    data, q = nqz.encode(x, rate=4, axis=1), np.full((2, 16), -1.0, np.float32)
    for metric in ("ip", "cosine"):
        hits = nqz.topk(data, q, 4, metric=metric)
        assert hits.indices.tolist() == [[0, 1, 2, 3]] * 2 and not hits.scores.any()
    assert nqz.topk(data, -q, 3, metric="cosine").indices.tolist() == [[7, 0, 1]] * 2
    assert nqz.topk(data, 0 * q, 3, metric="cosine").indices.tolist() == [[0, 1, 2]] * 2
    assert nqz.topk(data, q, 400).indices.shape == (2, 300)  # more than there are


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rate, dtype, axis", [(0.7, "float32", 1), (4, "float64", 0), (8, "float16", 1)])
def test_reranked_hits_are_the_true_ones_and_few_vectors_are_read_for_them(
    metric, rate, dtype, axis, tmp_path
):
    x, q = clustered(96, 900, 30, 5)
    x = x.astype(dtype)
    np.save(tmp_path / "x.npy", x if axis else np.ascontiguousarray(x.T))
    data = nqz.encode(str(tmp_path / "x.npy"), rate=rate, axis=axis)
    original = str(tmp_path / "x.npy") if axis else x.T
    hits = nqz.topk(data, q, 6, metric=metric, rerank=original, axis=1)
    scores = truth(x, q, metric)
    assert np.array_equal(hits.indices, best(scores, 6, metric))
    assert hits.scores == pytest.approx(np.take_along_axis(scores, hits.indices, 1), rel=1e-12, abs=1e-12)
    assert not hits.sigma.any() and (hits.certain == 6).all()
    assert same(hits, nqz.topk(data, q, 6, metric=metric, rerank=original, axis=1, threads=3))
    assert 30 <= hits.read <= {0.7: 900, 4: 850, 8: 380}[rate]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_vectors_too_quiet_to_be_coded_are_left_out_or_read():
    rng = np.random.default_rng(6)
    x = (rng.standard_normal((200, 96)) * np.exp(2.5 * rng.standard_normal((200, 1)))).astype(np.float32)
    q = rng.standard_normal((9, 96)).astype(np.float32)
    data = nqz.encode(x, rate=1, axis=1)
    with pytest.warns(UserWarning, match="too quiet to be coded, whose scores are not known: left out"):
        hits = nqz.topk(data, q, 200, metric="cosine")
    assert hits.indices.shape[1] < 200 and not hits.certain.any() and np.isfinite(hits.scores).all()
    exact = nqz.topk(data, q, 5, metric="cosine", rerank=x)
    assert np.array_equal(exact.indices, best(truth(x, q, "cosine"), 5, "cosine"))


def test_several_corpora_are_counted_one_after_the_other(tmp_path):
    x, q = clustered(64, 500, 20, 7)
    paths = []
    for number, part in enumerate((x[:200], x[200:210], x[210:])):
        np.save(tmp_path / f"{number}.npy", part)
        nqz.encode(part, tmp_path / f"{number}.nqz", rate=3 + number, axis=1, seed=number)
        paths.append(str(tmp_path / f"{number}."))
    files, originals = [p + "nqz" for p in paths], [p + "npy" for p in paths]
    for metric in METRICS:
        hits = nqz.topk(files, q, 8, metric=metric, rerank=originals)
        assert np.array_equal(hits.indices, best(truth(x, q, metric), 8, metric))
        assert np.array_equal(hits.file, np.searchsorted([200, 210], hits.indices, side="right"))
        found = nqz.topk(files, q, 8, metric=metric)
        off = found.scores - np.take_along_axis(truth(x, q, metric), found.indices, 1)
        assert (np.abs(off) < 6 * found.sigma).all()


def test_another_original_is_noticed():
    x, q = clustered(64, 300, 5, 8)
    data = nqz.encode(x, rate=3, axis=1)
    with pytest.raises(nqz.OperandError, match=r"vector \d+ is .* standard deviations from what"):
        nqz.topk(data, q, rerank=np.ascontiguousarray(x[::-1]))
    with pytest.raises(nqz.OperandError, match=r"299x64 where .* is 300x64"):
        nqz.topk(data, q, rerank=x[1:])
    broken = x.copy()
    broken[nqz.topk(data, q, 1).indices[0, 0], 3] = np.nan
    with pytest.raises(nqz.UnsupportedError, match="is not finite"):
        nqz.topk(data, q, rerank=broken)


def test_extreme_magnitudes_are_searched_or_refused():
    x, q = clustered(32, 100, 4, 9)
    for power in (2.0**-500, 2.0**500):
        data = nqz.encode(x * np.float64(power), rate=4, axis=1)
        hits = nqz.topk(data, q, 3)
        off = hits.scores / power - np.take_along_axis(truth(x, q, "ip"), hits.indices, 1)
        assert (np.abs(off) < 5 * hits.sigma / power).all() and (hits.sigma > 0).all()
        assert same(
            nqz.topk(data, q, 3, metric="cosine"),
            nqz.topk(data, q * np.float64(2.0**400), 3, metric="cosine"),
        )
    with pytest.raises(nqz.OperandError, match="overflow float64"):
        nqz.topk(data, q * np.float64(2.0**600), 3)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"k": 0}, nqz.UsageError, r"0 hits \(k=\)"),
        ({"metric": "dot"}, nqz.UsageError, "metric 'dot': one of ip, cosine, l2"),
        ({"risk": 0.0}, nqz.UsageError, "risk 0"),
        ({"risk": None}, nqz.UsageError, "risk None: a number is needed"),
        ({"axis": 2}, nqz.UsageError, "axis 2"),
        (
            {"queries": np.zeros((3, 5), np.float32)},
            nqz.OperandError,
            "vectors of 16 and queries of 5 entries",
        ),
        ({"queries": np.zeros((3, 16), int)}, nqz.UnsupportedError, "convert it to floating point"),
        ({"x": []}, nqz.UsageError, "a compressed matrix is needed"),
        ({"x": np.zeros((4, 16), np.float32)}, nqz.OperandError, "is not compressed"),
    ],
)
def test_what_has_no_sense_is_refused(change, error, message):
    x = np.eye(30, 16, dtype=np.float32)
    given = {"x": nqz.encode(x, rate=4, axis=1), "queries": x[:3], **change}
    with pytest.raises(error, match=message):
        nqz.topk(**given)


def test_queries_may_be_none_one_or_compressed():
    x, q = clustered(32, 60, 7, 10)
    data = nqz.encode(x, rate=5, axis=1)
    assert nqz.topk(data, q[:0], 3).indices.shape == (0, 3)
    assert nqz.topk(data, q[:0], 3, rerank=x).scores.shape == (0, 3)
    assert np.array_equal(nqz.topk(data, q[0], 3).indices, nqz.topk(data, q, 3).indices[:1])
    assert np.array_equal(nqz.topk(data, q.T.copy(), 3).indices, nqz.topk(data, q, 3).indices)
    coded = nqz.encode(q, rate=6, axis=1)
    assert nqz.topk(data, coded, 3).scores == pytest.approx(nqz.topk(data, q, 3).scores, abs=0.1)
    with pytest.raises(nqz.OperandError, match="need the queries as they were"):
        nqz.topk(data, coded, 3, rerank=x)
    with pytest.raises(nqz.OperandError, match="the queries are the corpus itself"):
        nqz.topk(data, data, 3)


@pytest.mark.parametrize(
    "metric, rate, n, gap", [("ip", 3, 384, 0.03), ("cosine", 4, 96, 0.2), ("l2", 4, 96, 0.2)]
)
def test_a_few_vectors_of_another_length_are_as_far_off_as_is_said(metric, rate, n, gap):
    """Norms of many equal vectors say nothing of those among them that are unlike them."""
    units = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((500, n))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        few = rng.choice(500, 5, replace=False)
        x[few] *= 1 + gap
        x = x.astype(np.float32)
        q = x[few] if metric == "ip" else (x[few] + 0.05 / math.sqrt(n) * rng.standard_normal((5, n)))
        hits = nqz.topk(nqz.encode(x, axis=1, rate=rate, seed=seed), q.astype(np.float32), 1, metric=metric)
        off = hits.scores - np.take_along_axis(truth(x, q.astype(np.float32), metric), hits.indices, 1)
        units.append(off / hits.sigma)
    assert np.sqrt(np.square(units).mean()) < 1.6 and np.abs(units).max() < 4.5


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("coding", ["entropy", "trellis"])
@pytest.mark.parametrize("metric", METRICS)
def test_vectors_that_are_their_means_are_hits(coding, metric):
    q = np.ones((2, 7), np.float32)
    for value in (0.0, 1.0):
        x = np.full((5, 7), value, np.float32)
        data = nqz.encode(x, axis=1, rate=2, coding=coding)
        for hits in (nqz.topk(data, q, 9, metric=metric), nqz.topk(data, q, 9, metric=metric, rerank=x)):
            assert hits.indices.tolist() == [[0, 1, 2, 3, 4]] * 2 and (hits.certain == 5).all()
            assert hits.scores == pytest.approx(
                truth(x, q, "ip" if metric == "cosine" else metric) / (7.0 if metric == "cosine" else 1.0),
                abs=1e-5,
            )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_where_no_vector_is_coded_there_are_no_hits_but_reranked_ones():
    x = np.random.default_rng(11).standard_normal((50, 1)).astype(np.float32)
    data = nqz.encode(x, axis=1, rate=2, coding="trellis")
    hits = nqz.topk(data, x[:4], 3)
    assert hits.indices.shape == (4, 0) and hits.certain.tolist() == [0] * 4
    exact = nqz.topk(data, x[:4], 3, rerank=x)
    assert np.array_equal(exact.indices, best(truth(x, x[:4], "ip"), 3, "ip"))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("rate", [6, 12])
def test_the_right_original_of_short_vectors_is_no_other(n, rate):
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((100, n)).astype(np.float32)
        data = nqz.encode(x, axis=1, rate=rate, seed=seed)
        for metric in METRICS:
            hits = nqz.topk(data, x[:20], 5, metric=metric, rerank=x)
            assert hits.scores == pytest.approx(
                np.take_along_axis(truth(x, x[:20], metric), hits.indices, 1), rel=1e-12, abs=1e-12
            )
            assert metric != "l2" or np.array_equal(hits.indices[:, 0], np.arange(20))


@pytest.mark.parametrize("seed", [0, 1])
def test_short_vectors_with_an_entry_beyond_the_table_of_rings_are_reranked(seed):
    rng = np.random.default_rng(seed)
    x = 0.05 * rng.standard_normal((800, 8))
    x[np.arange(800), rng.integers(0, 8, 800)] += rng.choice([-2, 2], 800) * rng.uniform(0.5, 1, 800)
    x, q = x[:700], x[700:]
    hits = nqz.topk(nqz.encode(x, axis=1, rate=4, coding="trellis"), q, 8, metric="l2", rerank=x)
    assert hits.scores == pytest.approx(np.sort(truth(x, q, "l2"), axis=1)[:, :8], rel=1e-9)
