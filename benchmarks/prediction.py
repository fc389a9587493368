"""Predicted against measured error of products, in one product and in the mean over seeds.

usage: python benchmarks/prediction.py [--sets …] [--rate 2] [--lattice conv] [--coding entropy]
       [--seeds 20] [--shape 2048,256] [--spread 0]

For every set and estimator: measured / predicted error of the first product, its standard deviation (√(½(1/(a r_B) +
1/(b r_A)))), whether it is within max(2 %, 3 sd), and the mean of the ratio over the seeds (--seed of both
encodings), to be within 2 %.

Beside the recorded sets: `aligned:0.8`, Gaussian columns of which the i-th of A and B have the cosine 0.8;
`common:0.8`, all columns have it with all others; `low:8`, columns of both from one space of 8 dimensions. With
--spread s all are multiplied by log-normal factors of that spread, A's by others than B's. There the error of one
product depends on few numbers, and the mean of the ratio is to be within 3 % and its standard error.
"""

from __future__ import annotations

import argparse

import numpy as np

import nqz
from common import SEED, SETS, Truth, make


def related(kind: str, n: int, columns: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """A pair of matrices of the named kind whose columns are related."""
    name, number = kind.split(":")
    rng = np.random.default_rng(SEED)
    parts = rng.standard_normal((2, n, columns))
    if name == "aligned":
        cosine = float(number)
        pair = [parts[0], cosine * parts[0] + np.sqrt(1.0 - cosine * cosine) * parts[1]]
    elif name == "common":
        cosine, shared = float(number), rng.standard_normal((n, 1))
        pair = [np.sqrt(cosine) * shared + np.sqrt(1.0 - cosine) * x for x in parts]
    else:
        factors = rng.standard_normal((n, int(number)))
        pair = [factors @ rng.standard_normal((int(number), columns)) + 0.1 * x for x in parts]
    a, b = (x * rng.lognormal(0.0, spread, columns) for x in pair)
    return a.astype(np.float32), b.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--lattice", default="conv")
    parser.add_argument("--coding", default="entropy")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shape", default="2048,256")
    parser.add_argument("--spread", type=float, default=0.0)
    arguments = parser.parse_args()
    n, columns = map(int, arguments.shape.split(","))
    print(f"# {arguments.lattice} {arguments.coding} at {arguments.rate:g} bits, {n} x {columns} pairs")
    print(
        f"{'set':12s} {'estimator':9s} {'first':>7s} {'sd':>7s} {'within':>6s} {'mean':>7s} {'se':>7s} {'within':>6s}"
    )
    for kind in arguments.sets.split(","):
        a, b = related(kind, n, columns, arguments.spread) if ":" in kind else make(kind, n, columns)
        limit = 0.03 if ":" in kind else 0.02
        truth = Truth(a, b)
        ratios: dict[str, list[float]] = {"auto": [], "mmse": [], "unbiased": []}
        for seed in range(arguments.seeds):
            options = {
                "rate": arguments.rate,
                "seed": seed,
                "lattice": arguments.lattice,
                "coding": arguments.coding,
            }
            with nqz.open(nqz.encode(a, **options)) as x, nqz.open(nqz.encode(b, **options)) as y:
                for estimator, values in ratios.items():
                    estimate = nqz.matmul(x, y, estimator=estimator, dtype="float64")
                    values.append(truth.error(estimate) / nqz.predicted_error(x, y, estimator=estimator))
        for estimator, values in ratios.items():
            first, mean = values[0], float(np.mean(values))
            error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
            sd = truth.deviation("column" if arguments.coding == "voronoi" else "matrix")
            one = abs(first - 1) <= max(0.02, 3 * sd)
            print(
                f"{kind:12s} {estimator:9s} {first:7.4f} {sd:7.4f} {'yes' if one else 'NO':>6s} "
                f"{mean:7.4f} {error:7.4f} {'yes' if abs(mean - 1) <= limit + error * (':' in kind) else 'NO':>6s}",
                flush=True,
            )


if __name__ == "__main__":
    main()
