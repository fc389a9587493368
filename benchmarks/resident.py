"""Products of one vector, and of sixteen, with a matrix that stays in memory, beside NumPy's float32.

Usage: python benchmarks/resident.py [ROWS COLUMNS [THREADS [REPEATS]]]

For every coding and rate: a hundred products with a vector each way, a tenth of which took less than the time shown,
beside that of NumPy with the original in float32, taken in turns; memory; and the dot test. With one thread it is CPU
time, which other programs on the machine touch less, else wall clock.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import threadpoolctl

import nqz
from nqz import kernels

CASES = (
    ("entropy", "conv", 2.0),
    ("entropy", "conv", 3.0),
    ("entropy", "conv", 4.0),
    ("voronoi", "e8", 2.0),
    *(("trellis", None, r) for r in (2.0, 3.0, 4.0)),
)


def least(functions, repeats, clock):
    """Least time of each of some functions but a tenth, called in turns."""
    found = [[] for _ in functions]
    for _ in range(repeats):
        for times, function in zip(found, functions, strict=True):
            start = clock()
            function()
            times.append(clock() - start)
    return [sorted(times)[len(times) // 10] for times in found]


def main(rows=4096, columns=16384, threads=2, repeats=100):
    """Print a table."""
    rng = np.random.default_rng(0)
    clock = time.thread_time if threads == 1 else time.perf_counter
    print(f"{rows} x {columns}, {threads} threads, {repeats} products, {kernels.name}")
    b = rng.standard_normal((rows, 16), np.float32)
    c = rng.standard_normal((columns, 16), np.float32)
    print(
        "coding   rate   MiB  vectors      x.T @ b        numpy   ratio        x @ c        numpy   ratio  dot test"
    )
    with threadpoolctl.threadpool_limits(threads):
        for coding, lattice, rate in CASES:
            a = rng.standard_normal((rows, columns), np.float32)
            container = nqz.open(
                nqz.encode(
                    a, rate=rate, coding=coding, threads=threads, **({"lattice": lattice} if lattice else {})
                )
            )
            x = container.matrix.operand(threads=threads)
            for vectors, times in ((1, repeats), (16, max(3, repeats // 10))):
                one, other = (np.ascontiguousarray(v[:, :vectors]) for v in (b, c))
                if vectors == 1:
                    one, other = one[:, 0], other[:, 0]
                calls = (
                    lambda x=x, v=one: x.T @ v,
                    lambda a=a, v=one: a.T @ v,
                    lambda x=x, v=other: x @ v,
                    lambda a=a, v=other: a @ v,
                )
                t = least(calls, times, clock)
                p, q = x.T @ one, x @ other
                dot = abs(np.vdot(p, other) - np.vdot(one, q)) / (np.linalg.norm(p) * np.linalg.norm(other))
                print(
                    f"{coding:8} {rate:4}  {x.nbytes / 2**20:4.0f}  {vectors:7}  "
                    f"{1e3 * t[0]:8.2f} ms  {1e3 * t[1]:8.2f} ms  {t[1] / t[0]:6.2f}  "
                    f"{1e3 * t[2]:8.2f} ms  {1e3 * t[3]:8.2f} ms  {t[3] / t[2]:6.2f}  {dot:8.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
