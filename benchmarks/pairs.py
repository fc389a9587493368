"""Products of unlike sides against the limit: one side exact, and all pairs of some rates, from files.

usage: python benchmarks/pairs.py [--rates 0.2,0.3,0.4,0.5,0.6,0.75,1,1.5,2,3] [--pairs 0.3,0.75,1.5,3,6]
       [--shape 4096,1024] [--seeds 3] [--encode "--lattice e8"]
       python benchmarks/pairs.py --split 1,2,3 [--columns 1152,128]

Gaussian matrices, encoded with --partner and multiplied by the command line. One-sided: A with the original B, the
limit is 4^-R. Pairs: the shift is the number of bits by which both rates may be lowered on the curve 1 - max κ (1 -
4^-R_A/κ)(1 - 4^-R_B/κ) for the same error; "equal" is the shift without --partner. Everything in the files counts.
Split: what the two commands of `nqz plan` give, against equal rates.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from common import SEED, Truth, gamma_inverse, save
from common import nqz as run
from nqz.plan.limit import shift


def size(path: Path, entries: int) -> float:
    return 8.0 * os.path.getsize(path) / entries


def product(truth, files, folder) -> float:
    out = folder / "out.npy"
    run("matmul", *files, "-o", out, "-f", "-q", "--dtype", "float64")
    return truth.error(np.load(out))


def pair(seed, n, columns):
    rng = np.random.default_rng(SEED + seed)
    a, b = (rng.standard_normal((n, count), dtype=np.float32) for count in columns)
    return a, b


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rates", default="0.2,0.3,0.4,0.5,0.6,0.75,1,1.5,2,3")
    parser.add_argument("--pairs", default="0.3,0.75,1.5,3,6")
    parser.add_argument("--shape", default="4096,1024")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--encode", default="")
    parser.add_argument("--split", default="")
    parser.add_argument("--columns", default="1152,128")
    arguments = parser.parse_args()
    n, columns = map(int, arguments.shape.split(","))
    more = shlex.split(arguments.encode)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.split:
            split(folder, n, [int(c) for c in arguments.columns.split(",")], arguments.split.split(","))
            return
        draws = [pair(seed, n, (columns, columns)) for seed in range(arguments.seeds)]
        draws = [(a, b, Truth(a, b)) for a, b in draws]
        if arguments.rates:
            print(
                f"# one-sided, {n} x {columns}, means of {len(draws)} draws\n    R      used     error   excess"
            )
        for rate in filter(None, arguments.rates.split(",")):
            found = []
            for a, b, truth in draws:
                left, right = save(folder, a, b)
                file = folder / "a.nqz"
                run("encode", left, "-o", file, "-r", rate, "--partner", "exact", "-f", "-q", *more)
                found.append((size(file, a.size), product(truth, (file, right), folder)))
            used, error = np.mean(found, axis=0)
            print(
                f"{float(rate):5.2f}  {used:8.4f}  {error:8.5f}  {used + 0.5 * math.log2(error):7.4f}",
                flush=True,
            )
        values = list(filter(None, arguments.pairs.split(",")))
        if values:
            print("# pairs\n  R_A   R_B    κ_A     κ_B      error    shift   equal")
        for i, first in enumerate(values):
            for second in values[i:]:
                print(two(folder, draws, first, second, more), flush=True)


def two(folder, draws, first, second, more) -> str:
    found = []
    for a, b, truth in draws:
        paths = save(folder, a, b)
        files = [folder / "a.nqz", folder / "b.nqz"]
        row: list[float] = []
        for partners in ((second, first), ("equal", "equal")):
            for path, file, rate, partner in zip(paths, files, (first, second), partners, strict=True):
                run("encode", path, "-o", file, "-r", rate, "--partner", partner, "-f", "-q", *more)
            rates = size(files[0], a.size), size(files[1], b.size)
            error = product(truth, files, folder)
            kept = [] if row else [told(file)["tensors"][0]["kappa"] for file in files]
            row += [*kept, error, shift(error, *rates)]
        found.append(row)
    left, right, error, ours, _, equal = np.mean(found, axis=0)
    what = f"{float(first):5.2f} {float(second):5.2f}  {left:6.4f}  {right:6.4f}"
    return f"{what}  {error:9.6f}  {ours:6.4f}  {equal:6.4f}"


def told(file: Path) -> dict:
    found = subprocess.run(
        [sys.executable, "-m", "nqz", "inspect", str(file), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(found.stdout)


def split(folder, n, columns, totals) -> None:
    a, b = pair(0, n, columns)
    truth, (left, right) = Truth(a, b), save(folder, a, b)
    print(
        f"# {n} x {columns[0]} with {n} x {columns[1]}\n total  R_A    R_B     used    error   equal    gain"
    )
    for total in totals:
        plan = subprocess.run(
            [sys.executable, "-m", "nqz", "plan", left, right, "--bits", total, "--json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        sides = json.loads(plan.stdout)["sides"]
        files = [folder / "a.nqz", folder / "b.nqz"]
        for side, file in zip(sides, files, strict=True):
            run(*side["arguments"][:-1], file, "-f", "-q")
        used = 8.0 * sum(map(os.path.getsize, files)) / (a.size + b.size)
        error = product(truth, files, folder)
        for path, file in zip((left, right), files, strict=True):
            run("encode", path, "-o", file, "-r", total, "-f", "-q")
        equal = 8.0 * sum(map(os.path.getsize, files)) / (a.size + b.size)
        other = product(truth, files, folder)
        gain = (gamma_inverse(error) - used) - (gamma_inverse(other) - equal)
        rates = [side["rate"] for side in sides]
        what = f"{float(total):5.2f}  {rates[0]:5.3f}  {rates[1]:5.3f}  {used:6.4f}"
        print(f"{what}  {error:8.5f}  {other:8.5f}  {gain:6.4f}", flush=True)


if __name__ == "__main__":
    main()
