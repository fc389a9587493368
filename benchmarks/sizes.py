"""Bits over the limit by the length of the vectors and their number.

usage: python benchmarks/sizes.py [--rates 2,4] [--lengths 64,128,…] [--columns 64,256,…]

Gaussian pairs, float32, encoded and multiplied in memory; everything in the files is counted. The excess is the rate
of the files less Γ⁻¹ of the mean error, of as many pairs as make it exact to 0.005 bit.
"""

from __future__ import annotations

import argparse

import numpy as np

import nqz
from common import SEED, gamma_inverse

LENGTHS = "64,128,256,512,1024,2048,4096"
COLUMNS = "64,256,1024,4096"


def excess(n: int, columns: int, rate: float) -> tuple[float, float]:
    """Rate of the files, and bits over the limit."""
    pairs = max(1, round(2**17 / (min(n, columns) * columns)))
    errors, size = [], 0
    for number in range(pairs):
        rng = np.random.default_rng([SEED, n, columns, number])
        a, b = (rng.standard_normal((n, columns)).astype(np.float32) for _ in range(2))
        files = [nqz.encode(x, rate=rate) for x in (a, b)]
        size += sum(map(len, files))
        estimate = nqz.matmul(*files, dtype="float64")
        a, b = a.astype(np.float64), b.astype(np.float64)
        truth = a.T @ b
        scale = np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / n
        errors.append(float(np.square(truth - estimate).sum() / scale))
    bits = 8.0 * size / (2 * pairs * n * columns)
    return bits, bits - gamma_inverse(float(np.mean(errors)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rates", default="2,4")
    parser.add_argument("--lengths", default=LENGTHS)
    parser.add_argument("--columns", default=COLUMNS)
    arguments = parser.parse_args()
    lengths = [int(word) for word in arguments.lengths.split(",")]
    columns = [int(word) for word in arguments.columns.split(",")]
    for rate in map(float, arguments.rates.split(",")):
        print(f"\nR = {rate:g}: bits over the limit, and rate of the files\n")
        print("| n | " + " | ".join(f"{count} columns" for count in columns) + " |")
        print("|---" * (len(columns) + 1) + "|")
        for n in lengths:
            cells = [excess(n, count, rate) for count in columns]
            print(
                f"| {n} | " + " | ".join(f"{over:.3f} ({bits:.2f})" for bits, over in cells) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
