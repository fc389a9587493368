"""Predicted against measured error of products, in one product and in the mean over seeds.

usage: python benchmarks/prediction.py [--sets …] [--rate 2] [--lattice conv] [--coding entropy]
       [--seeds 20] [--shape 2048,256]

For every set and estimator: measured / predicted error of the first product, its standard deviation (√(½(1/(a r_B) +
1/(b r_A)))), whether it is within max(2 %, 3 sd), and the mean of the ratio over the seeds (--seed of both
encodings), to be within 2 %.
"""

from __future__ import annotations

import argparse

import numpy as np

import nqz
from common import SETS, Truth, make


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--lattice", default="conv")
    parser.add_argument("--coding", default="entropy")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shape", default="2048,256")
    arguments = parser.parse_args()
    n, columns = map(int, arguments.shape.split(","))
    print(f"# {arguments.lattice} {arguments.coding} at {arguments.rate:g} bits, {n} x {columns} pairs")
    print(
        f"{'set':9s} {'estimator':9s} {'first':>7s} {'sd':>7s} {'within':>6s} {'mean':>7s} {'se':>7s} {'within':>6s}"
    )
    for kind in arguments.sets.split(","):
        a, b = make(kind, n, columns)
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
                f"{kind:9s} {estimator:9s} {first:7.4f} {sd:7.4f} {'yes' if one else 'NO':>6s} "
                f"{mean:7.4f} {error:7.4f} {'yes' if abs(mean - 1) <= 0.02 else 'NO':>6s}",
                flush=True,
            )


if __name__ == "__main__":
    main()
