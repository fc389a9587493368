"""Loud vectors, by group: what a few vectors or entries, far louder than the rest, do to the others and to themselves.

usage: python benchmarks/loud.py [--rates 0.5,1,2,4,6] [--shapes "512,64 4096,1024"] [--cases …] [--seeds 4]
       [--coding entropy] [--lattice conv] [--partner equal]

Normal matrices with, CASE: `columnE`, one column times 10^E; `entryE`, one entry of 10^E; `someE`, 1 % of the columns
times 10^E; `rowE`, one row times 10^E; `equal`, nothing. The partner is a normal matrix of 64 columns, coded alike.
With `--partner rate` both are coded for a partner of that rate, of columns alike.

For the rows of the product that belong to loud columns, and for those of ordinary ones:

    used       rate of the file / rate asked for
    error      of these rows, relative to their own ‖a‖²‖B‖²/n (`auto`)
    own        that error / the error of a file of their own: of loud columns with as many bits as they have, up to
               the 12 that can be asked for; of ordinary ones with what is left of the bytes
    seen/said  square error of `unbiased` / what its standard deviations say of these rows: mean over seeds, and its
               standard error
    exact      the same with the partner itself: the noise of the loud columns alone, and the rounding of their means
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np

import nqz

PARTNERS = 64
CASES = "equal column2 column4 column8 column12 entry3 entry6 entry12 some4 row3 row6"


def case(name: str, n: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A matrix, and which of its columns are loud."""
    rng = np.random.default_rng(20261126)
    x, loud = rng.standard_normal((n, columns)), np.zeros(columns, bool)
    kind, power = name.rstrip("0123456789"), name.lstrip("abcdefghijklmnopqrstuvwxyz")
    size = 10.0 ** int(power or 0)
    if kind == "row":
        x[n // 3] *= size
    elif kind == "entry":
        loud[columns // 3] = True
        x[n // 5, columns // 3] = size
    elif kind != "equal":
        loud[(np.arange(max(1, columns // 100) if kind == "some" else 1) * 97 + 5) % columns] = True
        x[:, loud] *= size
    return x, loud


def taken(coded: Any, loud: np.ndarray, size: int) -> float:
    """Bits of a file that loud columns have: by the formula, or alike with a lattice scale for each column."""
    if coded.parameters.allocate == "column":
        return 8.0 * size * float(loud.mean())
    noise = coded.side.noise_at(coded.codes())[loud]
    ideal = 0.5 * np.log2(1.0 + np.where(np.isfinite(noise), 1.0 / noise, 0.0))
    return float((ideal + 0.05 * np.isfinite(noise)).sum() * coded.parameters.m)


def said(a: Any, b: Any, inner: np.ndarray) -> np.ndarray:
    """Square errors of the unbiased estimate by its standard deviations; the product's own of what is not coded."""
    sigma = nqz.predicted_sigma(a, b, "unbiased", dtype="float64")
    return np.where(np.isnan(sigma), inner, sigma) ** 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rates", default="0.5,1,2,4,6")
    parser.add_argument("--shapes", default="512,64 4096,1024")
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--coding", default="entropy")
    parser.add_argument("--lattice", default="conv")
    parser.add_argument("--partner", choices=["equal", "rate"], default="equal")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{'shape':>9s} {'case':8s} {'rate':>4s} {'used':>5s} | {'loud':>9s} {'own':>5s} {'seen/said':>12s} "
        f"{'exact':>12s} | {'ordinary':>9s} {'own':>5s} {'seen/said':>12s}"
    )
    for shape in arguments.shapes.split():
        n, columns = map(int, shape.split(","))
        for name in arguments.cases.split():
            for rate in map(float, arguments.rates.split(",")):
                row(name, n, columns, rate, arguments)


def row(name: str, n: int, columns: int, rate: float, arguments: argparse.Namespace) -> None:
    """Print a row of the table."""
    x, loud = case(name, n, columns)
    partner = np.random.default_rng(7).standard_normal((n, PARTNERS))
    groups = [g for g in (loud, ~loud) if g.any()]
    bar, other = x - x.mean(0), partner - partner.mean(0)
    truth, inner = x.T @ partner, bar.T @ other
    scale = np.square(bar).sum(0) * np.square(other).sum() / n
    errors, owns = np.zeros(len(groups)), np.zeros(len(groups))
    ratios: list[list[float]] = [[] for _ in groups]
    exact: list[float] = []
    used, seeds = 0.0, arguments.seeds
    for seed in range(seeds):
        options: dict[str, Any] = {"seed": seed, "coding": arguments.coding, "lattice": arguments.lattice}
        if arguments.partner == "rate":
            options["partner"] = rate
        data = nqz.encode(x, rate=rate, **options)
        used = 8.0 * len(data) / x.size
        with nqz.open(data) as a, nqz.open(nqz.encode(partner, rate=rate, **options)) as b:
            bits = taken(a.matrix._coded, loud, len(data))
            auto, unbiased = (nqz.matmul(a, b, estimator=e, dtype="float64") for e in ("auto", "unbiased"))
            expected = said(a, b, inner)
            for g, chosen in enumerate(groups):
                errors[g] += np.square(truth - auto)[chosen].sum() / scale[chosen].sum() / seeds
                ratios[g].append(float(np.square(truth - unbiased)[chosen].sum() / expected[chosen].sum()))
                budget: dict[str, Any]
                if chosen is loud:
                    budget = {"rate": min(12.0, bits / (n * loud.sum()))}
                else:
                    budget = {"max_bytes": max(700, int(len(data) - bits / 8))}
                with nqz.open(nqz.encode(x[:, chosen], **budget, **options)) as own:
                    alone = nqz.matmul(own, b, dtype="float64")
                owns[g] += np.square(truth[chosen] - alone).sum() / scale[chosen].sum() / seeds
            if loud.any():
                error = np.square(truth - nqz.matmul(a, partner, estimator="unbiased", dtype="float64"))
                exact.append(float(error[loud].sum() / said(a, partner, inner)[loud].sum()))

    def mean(values: list[float]) -> str:
        spread = float(np.std(values, ddof=1) / np.sqrt(seeds)) if seeds > 1 else 0.0
        return f"{np.mean(values):6.3f} ±{spread:4.3f}"

    cells = [f"{errors[g]:9.3g} {errors[g] / owns[g]:5.3f} {mean(ratios[g])}" for g in range(len(groups))]
    if loud.any():
        cells[0] += f" {mean(exact)}"
    else:
        cells.insert(0, " " * 41)
    print(
        f"{n:>4d}x{columns:<4d} {name:8s} {rate:4g} {used / rate:5.3f} | {cells[0]} | {cells[1]}", flush=True
    )


if __name__ == "__main__":
    main()
