"""What each cut of a part set costs in size, error, processor time and memory.

usage: python cuts.py [--rows N] [--columns N] [--others N] [--rate R] [--runs N]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from common import SEED
from nqz import inspect

CUTS = ("1x1", "1x4", "2x2", "4x1", "4x4", "1x16", "16x1")


def main() -> None:
    """Print a table, a cut a row; a single file first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8192, help="entries of a vector")
    parser.add_argument("--columns", type=int, default=8192)
    parser.add_argument("--others", type=int, default=64, help="columns of the other factor")
    parser.add_argument("--rate", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        # elsewhere: what this process has in memory would count as that of the commands it starts
        maker = multiprocessing.get_context("spawn").Process(target=_prepare, args=(chosen,))
        maker.start()
        maker.join()
        product, scale = np.load("product.npy"), float(np.load("scale.npy"))
        print("| cut | bits an entry | error | create, s | multiply, s | create, MB | multiply, MB |")
        print("|---|---|---|---|---|---|---|")
        for cut in (None, *CUTS):
            bits, seconds, memory = _row(cut, chosen)
            error = np.square(np.load("c.npy") - product).sum() / scale
            row = [
                f"{bits:.4f}",
                f"{error:.5f}",
                *(f"{one:.2f}" for one in seconds),
                *(f"{one:.0f}" for one in memory),
            ]
            print(f"| {cut or 'a file'} | {' | '.join(row)} |", flush=True)


def _prepare(chosen: argparse.Namespace) -> None:
    """Write two Gaussian matrices, their product, and what its error is measured by."""
    rng = np.random.default_rng(SEED)
    a = rng.standard_normal((chosen.rows, chosen.columns), np.float32)
    b = rng.standard_normal((chosen.rows, chosen.others), np.float32)
    np.save("a.npy", a)
    np.save("b.npy", b)
    np.save("product.npy", a.T @ b)
    np.save("scale.npy", np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / chosen.rows)


def _row(cut: str | None, chosen: argparse.Namespace) -> tuple[float, list[float], list[float]]:
    """Bits an entry, and of making and multiplying the processor time and the memory; the product is c.npy."""
    suffix = "nqz" if cut is None else "nqzset"
    across = None if cut is None else f"{cut.split('x')[0]}x1"  # both sides are cut alike along the rows
    _make("b.npy", f"b.{suffix}", across, chosen.rate)
    made, products = [], []
    for _ in range(chosen.runs):
        made.append(_make("a.npy", f"a.{suffix}", cut, chosen.rate))
        products.append(_run("matmul", f"a.{suffix}", f"b.{suffix}", "-o", "c.npy", "-f"))
    bits = 8 * inspect(f"a.{suffix}")["file_bytes"] / (chosen.rows * chosen.columns)
    return (
        bits,
        [statistics.median(one[0] for one in runs) for runs in (made, products)],
        [max(one[1] for one in runs) for runs in (made, products)],
    )


def _make(source: str, to: str, cut: str | None, rate: float) -> tuple[float, float]:
    command = ("encode", source) if cut is None else ("set", "create", source, "--parts", cut)
    return _run(*command, "-r", str(rate), "-o", to, "-f")


def _run(*words: str) -> tuple[float, float]:
    """Processor time, and the most memory in MB, of a command."""
    command = [sys.executable, "-m", "nqz", *words, "-q", "--threads", "1"]
    with subprocess.Popen(command) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: status {child.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
