"""The mean of the estimate over seeds against the product itself (α = κ = 1, entropy coding).

usage: python benchmarks/unbiased.py [--lattice conv] [--rate 1.5] [--seeds 200] [--shape 256,48]

Strongly related operands (cosine 0.95). Prints the energy of (mean estimate - AᵀB), relative to what independent
unbiased errors leave after that many seeds (1 for an unbiased estimator, more if there is a bias), its standard
deviation, and the least and the greatest of the entries' t values with their expected extremes.
"""

from __future__ import annotations

import argparse

import numpy as np

import nqz


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lattice", default="conv")
    parser.add_argument("--rate", type=float, default=1.5)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--shape", default="256,48")
    arguments = parser.parse_args()
    n, columns = map(int, arguments.shape.split(","))
    rng = np.random.default_rng(5)
    a = rng.standard_normal((n, columns))
    b = 0.95 * a + np.sqrt(1 - 0.95**2) * rng.standard_normal((n, columns))
    estimates = []
    for seed in range(arguments.seeds):
        options = {
            "rate": arguments.rate,
            "seed": seed,
            "lattice": arguments.lattice,
            "kappa": 1.0,
            "allocate": "column",
        }
        estimates.append(
            nqz.matmul(
                nqz.encode(a, **options), nqz.encode(b, **options), estimator="unbiased", dtype="float64"
            )
        )
    error = np.mean(estimates, 0) - a.T @ b
    standard = np.std(estimates, 0, ddof=1) / np.sqrt(arguments.seeds)
    t = error / standard
    ratio = float(np.square(error).sum() / np.square(standard).sum())
    print(
        f"# {arguments.lattice}, {arguments.rate:g} bits, {arguments.seeds} seeds, {n} x {columns}, cosine 0.95"
    )
    print(f"energy of the mean error over its expectation: {ratio:.4f} (sd {np.sqrt(2 / t.size):.4f})")
    print(
        f"t values: mean {t.mean():+.4f} (sd {1 / np.sqrt(t.size):.4f}), least {t.min():+.2f}, greatest {t.max():+.2f}"
    )
    diagonal = t[np.arange(columns), np.arange(columns)]
    print(f"t values of the diagonal: mean {diagonal.mean():+.4f} (sd {1 / np.sqrt(columns):.4f})")


if __name__ == "__main__":
    main()
