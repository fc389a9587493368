"""Short vectors: what norms, means and headers leave of the rate.

usage: python benchmarks/short.py [--lengths 64,128,256] [--tiny 2,4,8,16] [--seeds 4]

Normal matrices, float32, encoded and multiplied in memory; everything in the files counts. In four tables:

    columns of some dozen entries, 4096 at 2 bits: the excess over the limit of the product of two such files
    columns of a few entries, 100000 at 3 bits, times 300 others coded alike: the rate, and measured and predicted error
    lone small matrices: the size of the file, and measured and predicted error of their reconstruction
    at 3 bits, beside 300 columns of means t and standard deviation 1: the error as it is and with --center

Errors are relative to ‖Ā‖²‖B̄‖²/n. Predictions are relative to what is coded, which is not centered where means are not
worth their bits, so that norms are larger: `predicted` is for the same norms as the measured error.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import nqz
from common import SEED, gamma, gamma_inverse

MANY, PARTNERS = 100_000, 300
LONE = "1,17,12 17,1,12 1,64,3 64,1,3"


def normal(shape: tuple[int, ...], seed: int) -> Any:
    """A normal matrix."""
    return np.random.default_rng([SEED, *shape, seed]).standard_normal(shape).astype(np.float32)


def energy(x: Any, centered: bool) -> float:
    """Energy of all columns, centered or not."""
    x = x.astype(np.float64)
    return float(np.square(x - x.mean(0)).sum() if centered else np.square(x).sum())


def told(data: bytes) -> tuple[bool, dict[str, int]]:
    """Whether a matrix is centered, and the bytes of its parts."""
    tensor = nqz.inspect(data)["tensors"][0]
    return tensor["means"] is not None, tensor["bytes"]


def errors(a: Any, b: Any, files: tuple[bytes, bytes]) -> tuple[float, float]:
    """Measured and predicted error of a product, relative to centered columns."""
    scale = energy(a, True) * energy(b, True) / len(a)
    coded = energy(a, told(files[0])[0]) * energy(b, told(files[1])[0]) / len(a)
    truth = a.astype(np.float64).T @ b.astype(np.float64)
    found = float(np.square(truth - nqz.matmul(*files, dtype="float64")).sum() / scale)
    return found, nqz.predicted_error(*files) * coded / scale


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lengths", default="64,128,256")
    parser.add_argument("--tiny", default="2,4,8,16")
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    for title, print_rows in (
        (
            "| n x 4096, 2 bits | rate | norms, bits a column | means | error | excess | measured / predicted |",
            dozens,
        ),
        ("| n x 100000, 3 bits | rate | norms, bits a column | error | Γ | measured / predicted |", few),
        ("| n x 5000, 3 bits, beside means t | as it is | with `--center` |", beside_means),
        (
            "| shape, R | bytes of R, and 448 | bytes of the file | error | measured / predicted |",
            lone,
        ),
    ):
        print(f"\n{title}\n" + "|---" * (title.count("|") - 1) + "|")
        print_rows(arguments)


def dozens(arguments: argparse.Namespace) -> None:
    """Print rows of the first table."""
    for n in map(int, arguments.lengths.split(",")):
        found = []
        for seed in range(arguments.seeds):
            a, b = normal((n, 4096), 2 * seed), normal((n, 4096), 2 * seed + 1)
            files = nqz.encode(a, rate=2), nqz.encode(b, rate=2)
            sizes = [told(data)[1] for data in files]
            parts = [sum(8.0 * one[part] / (2 * 4096) for one in sizes) for part in ("norms", "means")]
            found.append((4.0 * sum(map(len, files)) / a.size, *parts, *errors(a, b, files)))
        rate, norms, means, error, expected = np.mean(found, axis=0)
        over = rate - gamma_inverse(float(error))
        print(
            f"| {n} | {rate:.4f} | {norms:.2f} | {means:.2f} | {error:.4f} | {over:.3f} | {error / expected:.3f} |",
            flush=True,
        )


def few(arguments: argparse.Namespace) -> None:
    """Print rows of the second table."""
    for n in map(int, arguments.tiny.split(",")):
        found = []
        for seed in range(arguments.seeds):
            a, b = normal((n, MANY), seed), normal((n, PARTNERS), seed)
            files = nqz.encode(a, rate=3), nqz.encode(b, rate=3)
            norms = 8.0 * told(files[0])[1]["norms"] / MANY
            found.append((8.0 * len(files[0]) / a.size, norms, *errors(a, b, files)))
        rate, norms, error, expected = np.mean(found, axis=0)
        print(
            f"| {n} | {rate:.4f} | {norms:.2f} | {error:.4f} | {gamma(3.0):.4f} | {error / expected:.3f} |",
            flush=True,
        )


def beside_means(arguments: argparse.Namespace) -> None:
    """Print rows of the table of partners with means."""
    for n in (16, 64):
        for mean in (0, 1, 3, 10):
            found = []
            for seed in range(arguments.seeds):
                a, b = normal((n, 5000), seed), normal((n, PARTNERS), seed) + np.float32(mean)
                other = nqz.encode(b, rate=3)
                found.append(
                    [errors(a, b, (nqz.encode(a, rate=3, center=c), other))[0] for c in (None, True)]
                )
            plain, fine = np.mean(found, axis=0)
            print(f"| {n}, t = {mean} | {plain:.3f} | {fine:.3f} |", flush=True)


def lone(arguments: argparse.Namespace) -> None:
    """Print rows of the third table: the errors are those of reconstructions."""
    for entry in LONE.split():
        n, columns, rate = map(int, entry.split(","))
        found = []
        for seed in range(16 * arguments.seeds):
            a = normal((n, columns), seed)
            data = nqz.encode(a, rate=rate, seed=seed)
            matrix = nqz.open(data).matrix
            wrong = (
                np.square(matrix.decode().astype(np.float64) - a).sum()
                / np.square(a.astype(np.float64)).sum()
            )
            found.append((len(data), float(wrong), matrix.predicted_reconstruction))
        size, error, expected = np.mean(found, axis=0)
        print(
            f"| {n} x {columns}, {rate} | {rate * n * columns / 8 + 448:g} | {size:g} | {error:.3g} | "
            f"{error / expected:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
