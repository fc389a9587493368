"""Which coding is for what: one table of codings and rates, beside formats of other tools, measured in one run.

usage: python benchmarks/picture.py [--length 4096] [--columns 512] [--wide 8192] [--runs 5] [--corpus 10000] [--only X]

Bits an entry with everything counted; what a product of two Gaussian matrices is over the limit, in bits; million
entries a second of encoding and decoding; products, as multiples of the speed of NumPy's float32 with the matrix in
memory: of a file in memory with one vector, of an operand that is held with one vector, of a file with 16 (n x wide),
and of two files (n x n by n x n); and recall at ten of unit vectors of 512 entries, a hundred to a cluster. One thread;
processor time but for encode and decode; medians of runs in turn. Other tools through their Python interfaces, which
have no products; their recall is that of what they decode to.
"""

from __future__ import annotations

import argparse
import importlib
import operator
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import nqz
import peers
import search
from common import Truth, gamma_inverse, make

CODINGS: list[tuple[str, dict[str, Any], tuple[float, ...]]] = [
    ("entropy, the default", {}, (0.5, 1, 2, 3, 4, 6, 8)),
    ("entropy, `--states 1024`", {"states": 1024}, (2, 4)),
    ("trellis", {"coding": "trellis"}, (1, 2, 3, 4)),
    ("voronoi, `--lattice leech`", {"coding": "voronoi", "lattice": "leech"}, (2, 4)),
]


class Ours(peers.Nqz):
    """nqz with some options."""

    def __init__(self, rate: float, options: dict[str, Any]):
        super().__init__(rate)
        self.options = options

    def encode(self, x: np.ndarray) -> bytes:
        return nqz.encode(x, rate=self.rate, threads=1, **self.options)


def times(runs: int, *functions: Callable[[], Any]) -> list[float]:
    """Medians of the processor time of functions, which take turns."""
    spent: list[list[float]] = [[] for _ in functions]
    for _ in range(runs + 1):
        for function, kept in zip(functions, spent, strict=True):
            begin = time.process_time()
            function()
            kept.append(time.process_time() - begin)
    return [statistics.median(kept[1:]) for kept in spent]


def products(rate: float, options: dict[str, Any], arguments: argparse.Namespace) -> list[float]:
    """How many times as fast as NumPy: one vector, one with an operand, 16 vectors, and two files."""
    rng = np.random.default_rng(2)
    n, found = arguments.length, []
    a = rng.standard_normal((n, arguments.wide), np.float32)
    x = nqz.open(nqz.encode(a, rate=rate, **options))
    for count in (1, 16):
        v = rng.standard_normal((n, count), np.float32)
        ours, theirs = times(arguments.runs, partial(nqz.matmul, x, v, threads=1), partial(np.matmul, a.T, v))
        found.append(theirs / ours)
        if count == 1:
            held, one = x.matrix.operand(threads=1), v[:, 0]
            turned = held.T
            ours, theirs = times(
                arguments.runs, partial(operator.matmul, turned, one), partial(np.matmul, a.T, one)
            )
            found.append(theirs / ours)
    a, b = a[:, :n].copy(), rng.standard_normal((n, min(n, arguments.wide)), np.float32)
    x, y = (nqz.open(nqz.encode(one, rate=rate, **options)) for one in (a, b))
    ours, theirs = times(max(1, arguments.runs // 2), lambda: nqz.matmul(x, y, threads=1), lambda: a.T @ b)
    return [*found, theirs / ours]


def row(name: str, measured: Any, speeds: list[float] | None, recall: float) -> None:
    rate, error, encoding, decoding = measured
    over = f"{rate - gamma_inverse(error):.3f}" if error < 1 else "–"
    others = ["–"] * 4 if speeds is None else [f"{x:.2g}" for x in speeds]
    cells = [
        name,
        f"{rate:.2f}",
        over,
        peers.figure(encoding),
        peers.figure(decoding),
        *others,
        f"{recall:.2f}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--wide", type=int, default=8192)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--corpus", type=int, default=10000)
    parser.add_argument("--only", default="", help="only rows with this in their names")
    arguments = parser.parse_args()
    for module in peers.PACKAGES:  # whose threads are limited then
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    print(peers.machine() + f", kernels {nqz.kernels.name}\n")
    print("| | bits | over | encode | decode | 1 vector | held | 16 vectors | two files | recall@10 |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    pair = make("gauss", arguments.length, arguments.columns)
    corpus, queries = search.clusters(arguments.corpus, 200, 512, groups=arguments.corpus // 100)
    true = search.truth(corpus, queries)
    with threadpool_limits(1):
        truth = Truth(*pair)
        for name, options, rates in CODINGS:
            for rate in rates:
                if arguments.only in name:
                    file = nqz.encode(corpus, rate=rate, axis=1, **options)
                    hits = nqz.topk(file, queries.T, search.K).indices
                    measured = peers.measure(Ours(rate, options), pair, truth, arguments.runs)
                    row(name, measured, products(rate, options, arguments), search.recall(hits, true))
        for module, family in peers.peers():
            if module not in ("numpy", "faiss", "gguf", "ik_llama_cpp"):
                continue
            try:
                importlib.import_module(module)
            except ImportError:
                print(f"| {module}: not installed |" + " |" * 9)
                continue
            for peer in family():
                if arguments.only in peer.name:
                    measured = peers.measure(peer, pair, truth, arguments.runs)
                    row(peer.name, measured, None, recalled(peer, corpus, queries, true))


def recalled(peer: peers.Peer, corpus: np.ndarray, queries: np.ndarray, true: np.ndarray) -> float:
    """Recall of what a peer decodes to."""
    given = corpus if peer.transposed else np.ascontiguousarray(corpus.T)
    peer.fit(given)
    back = peer.decode(peer.encode(given))
    return search.recall(search.truth(back if peer.transposed else back.T, queries), true)


if __name__ == "__main__":
    main()
