"""Error bars of entries against their errors: how many entries are outside of them, set by set and rate by rate.

usage: python benchmarks/coverage.py [--sets …] [--rates 0.5,1,2,4,6] [--entries 1e7] [--shape 2048,1024]
       [--coding entropy] [--lattice conv] [--parts sets,related,float32]

Products in float64, with fresh matrices and another --seed each time. For every set and rate, `unbiased`: per cent of
the entries outside ±1.96 σ (5 of a normal distribution) and ±2.576 σ (1), of products of two files, of a file with a
plain matrix, and of a file with itself, off the diagonal; and the mean of ((Ĉ - C)/σ)² with `mmse` and `auto`. Then
`heavy`, for the tenth of the kept columns of A that are quietest, and loudest; the pairs of `related` of cosine above
0.5; and `offset` in float32, where the rounding of C counts. Entries of `lowrank` err alike, most of all where
coordinates are dropped: it has about 100 seeds of smaller products. A line ends in NO where a figure is outside what is
promised.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

import nqz
from common import SETS, make

LIMITS = (1.959963985, 2.575829304)
BANDS = ((4.9, 5.1), (0.95, 1.05))
WIDE = ((4.0, 6.0), (0.6, 1.4))


class Tally:
    """Errors in units of σ, counted: how many are beyond each limit, and the mean of their squares."""

    def __init__(self) -> None:
        self.count, self.square, self.unknown = 0, 0.0, 0
        self.beyond = [0] * len(LIMITS)

    def add(self, error: np.ndarray, sigma: np.ndarray, chosen: np.ndarray | None = None) -> None:
        """Count entries, all or some."""
        known = ~np.isnan(sigma)
        self.unknown += int((~known).sum())
        known = known if chosen is None else known & chosen
        z = np.abs(error[known] / sigma[known])
        self.count += z.size
        self.square += float(np.square(z).sum())
        self.beyond = [old + int((z > limit).sum()) for old, limit in zip(self.beyond, LIMITS, strict=True)]

    @property
    def shares(self) -> list[float]:
        """Per cent beyond the limits."""
        return [100.0 * beyond / max(1, self.count) for beyond in self.beyond]

    @property
    def mean(self) -> float:
        """Mean of ((Ĉ - C)/σ)²."""
        return self.square / max(1, self.count)

    def within(self, bands: tuple[tuple[float, float], ...] = BANDS) -> bool:
        """Whether the shares are as promised."""
        return all(low <= share <= high for share, (low, high) in zip(self.shares, bands, strict=True))


def text(tally: Tally) -> str:
    return " ".join(f"{share:6.3f}" for share in tally.shares)


def verdict(good: bool) -> str:
    return "" if good else "  NO"


def tenths(a: np.ndarray, file: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a product of the quietest and of the loudest tenth of the kept columns of A."""
    energy = np.square(a - a.mean(0)).sum(0)
    order = np.argsort(energy)
    kept = order[~np.isnan(nqz.predicted_sigma(file, a[:, :1], "unbiased")[order, 0])]
    few = max(1, len(kept) // 10)
    return kept[:few], kept[-few:]


class Case:
    """Everything that is counted of one set at one rate."""

    def __init__(self) -> None:
        self.two, self.one, self.itself, self.mmse, self.auto = (Tally() for _ in range(5))
        self.quiet, self.loud = Tally(), Tally()

    def add(self, a: np.ndarray, b: np.ndarray, truths: tuple[np.ndarray, np.ndarray], options: dict) -> None:
        left, right = nqz.encode(a, **options), nqz.encode(b, **options)
        truth, gram = truths
        for tally, estimator in ((self.two, "unbiased"), (self.mmse, "mmse"), (self.auto, "auto")):
            found, sigma = multiplied(left, right, estimator)
            tally.add(found - truth, sigma)
            if estimator == "unbiased":
                for chosen, part in zip(tenths(a, left), (self.quiet, self.loud), strict=True):
                    part.add((found - truth)[chosen], sigma[chosen])
        found, sigma = multiplied(left, b, "unbiased")
        self.one.add(found - truth, sigma)
        found, sigma = multiplied(left, left, "unbiased")
        self.itself.add(found - gram, sigma, ~np.eye(len(gram), dtype=bool))


def multiplied(a, b, estimator: str = "unbiased", dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    return nqz.matmul(a, b, estimator=estimator, dtype=dtype, sigma=True, threads=1)


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.T.astype(np.float64) @ b.astype(np.float64)


def sets(kinds: list[str], rates: list[float], shape: tuple[int, int], entries: float, options: dict) -> None:
    """The table of sets and rates, and the tenths of `heavy`."""
    seeds = math.ceil(entries / shape[1] ** 2)
    print(
        f"# {seeds} products of {shape[0]} x {shape[1]} a line; per cent outside ±1.96 σ and ±2.576 σ, unbiased"
    )
    print(
        f"{'set':9s} {'bits':>4s} {'two files':>13s} {'one-sided':>13s} {'itself':>13s} {'mmse':>7s} {'auto':>7s} "
        f"{'NaN':>7s}"
    )
    for kind in kinds:
        cases = {rate: Case() for rate in rates}
        # errors of products of few directions are alike: many small ones
        n, columns = (shape[0] // 2, shape[1] * 5 // 16) if kind == "lowrank" else shape
        seeds = math.ceil(entries / columns**2)
        print(f"# {seeds} products of {n} x {columns}")
        for seed in range(seeds):
            a, b = make(kind, n, columns, seed=seed)
            truths = exact(a, b), exact(a, a)
            for rate, case in cases.items():
                case.add(a, b, truths, {"rate": rate, "seed": seed, "threads": 1, **options})
        for rate, c in cases.items():
            good = all(t.within() for t in (c.two, c.one, c.itself))
            good &= all(abs(t.mean - 1) <= 0.02 for t in (c.mmse, c.auto))
            unknown = c.two.unknown / (c.two.unknown + c.two.count)
            print(
                f"{kind:9s} {rate:4g} {text(c.two)} {text(c.one)} {text(c.itself)} {c.mmse.mean:7.4f} "
                f"{c.auto.mean:7.4f} {unknown:7.2%}{verdict(good)}",
                flush=True,
            )
        if kind == "heavy":
            for rate, c in cases.items():
                good = c.quiet.within() and c.loud.within()
                print(
                    f"  tenth {rate:4g} quietest {text(c.quiet)}, loudest {text(c.loud)}{verdict(good)}",
                    flush=True,
                )


def related(rates: list[float], shape: tuple[int, int], options: dict) -> None:
    """Pairs of columns of cosine above 0.5."""
    seeds = 24
    print(f"# related, pairs of cosine above 0.5, {seeds} products of {shape[0]} x {shape[1]}")
    tallies = {rate: Tally() for rate in rates}
    for seed in range(seeds):
        a, b = make("related", *shape, seed=seed)
        pairs = np.sum(a.astype(np.float64) * b, axis=0)
        for rate, tally in tallies.items():
            left, right = (nqz.encode(x, rate=rate, seed=seed, threads=1, **options) for x in (a, b))
            found, sigma = multiplied(left, right)
            tally.add(np.diagonal(found) - pairs, np.diagonal(sigma))
    for rate, tally in tallies.items():
        print(
            f"related   {rate:4g} {text(tally)} mean square {tally.mean:.4f}, {tally.count} pairs"
            f"{verdict(tally.within(WIDE))}",
            flush=True,
        )


def float32(rates: list[float], shape: tuple[int, int], options: dict) -> None:
    """Products whose type is coarser than their noise: no more entries outside than there should be."""
    print("# offset in float32: at most 5.1 and 1.05 per cent")
    for rate in rates:
        tally = Tally()
        for seed in range(4):
            a, b = make("offset", *shape, seed=seed)
            left, right = (nqz.encode(x, rate=rate, seed=seed, threads=1, **options) for x in (a, b))
            found, sigma = multiplied(left, right, dtype="float32")
            tally.add(found - exact(a, b), sigma.astype(np.float64))
        good = tally.shares[0] <= 5.1 and tally.shares[1] <= 1.05 and abs(tally.mean - 1) <= 0.02
        print(f"offset    {rate:4g} {text(tally)} mean square {tally.mean:.4f}{verdict(good)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rates", default="0.5,1,2,4,6")
    parser.add_argument("--entries", type=float, default=1e7)
    parser.add_argument("--shape", default="2048,1024")
    parser.add_argument("--lattice", default="conv")
    parser.add_argument("--coding", default="entropy")
    parser.add_argument("--parts", default="sets,related,float32")
    arguments = parser.parse_args()
    rates = [float(rate) for rate in arguments.rates.split(",")]
    n, columns = map(int, arguments.shape.split(","))
    options = {"lattice": arguments.lattice, "coding": arguments.coding}
    print(f"# {arguments.lattice} {arguments.coding}")
    parts = arguments.parts.split(",")
    if "sets" in parts:
        sets(arguments.sets.split(","), rates, (n, columns), arguments.entries, options)
    if "related" in parts:
        related(rates, (n, columns // 2), options)
    if "float32" in parts:
        float32(rates, (n, columns), options)


if __name__ == "__main__":
    main()
