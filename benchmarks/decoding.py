"""Decoding with the entropy coding, by rate.

usage: python benchmarks/decoding.py [--size 4096] [--rates 0.5,1,2,3,4,6] [--runs 9]

Gaussian matrices of 4096 x size float32 in C order, in memory, one thread: million entries in a second of the processor
of the kernel alone, of points (what a product needs: with reading and checking the records), and of matrices rebuilt,
vectors along either axis; medians. And NumPy's copy of the matrix.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any
from unittest import mock

import numpy as np

from nqz import kernels
from nqz.commands.encode import encode
from nqz.commands.options import EncodeOptions
from nqz.files.access import MemoryAccess
from nqz.files.source import array_source
from nqz.format.reader import ContainerReader
from nqz.ground.threads import Workers, workers
from nqz.matrix import open_matrix


def seconds(function, runs: int) -> float:
    """Median seconds of the processor, after a warm-up."""
    function()
    found = []
    for _ in range(runs):
        start = time.thread_time()
        function()
        found.append(time.thread_time() - start)
    return statistics.median(found)


def speeds(a: np.ndarray, rate: float, pool: Workers, runs: int) -> list[float]:
    """Seconds of the kernel, of points, and of decoding along axes 0 and 1."""
    data, spent = bytearray(), [0.0]
    encode(array_source(a), MemoryAccess(data), EncodeOptions(rate=rate), pool)
    matrix = open_matrix(ContainerReader(MemoryAccess(data), "memory"), 0)
    across, along = np.empty(a.shape, np.float32), np.empty(a.T.shape, np.float32).T

    def points() -> None:
        for _ in matrix.blocks(pool):
            pass

    def rebuilt(out: np.ndarray) -> None:
        for _ in matrix.blocks(pool, "mmse", "float32", lambda panel: out[:, panel.first : panel.last]):
            pass

    decode = kernels.entropy_decode

    def timed(*arguments: Any) -> None:
        start = time.thread_time()
        decode(*arguments)
        spent[-1] += time.thread_time() - start

    with mock.patch.object(kernels, "entropy_decode", timed):
        for _ in range(runs + 1):
            spent.append(0.0)
            points()
    kernel = statistics.median(spent[2:])
    return [
        kernel,
        seconds(points, runs),
        seconds(lambda: rebuilt(across), runs),
        seconds(lambda: rebuilt(along), runs),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rates", default="0.5,1,2,3,4,6")
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    a = np.random.default_rng(0).standard_normal((4096, arguments.size), dtype=np.float32)
    copy = a.size / seconds(a.copy, arguments.runs) / 1e6
    print(f"# 4096 x {arguments.size}, {kernels.name}, M entries/s of the processor; NumPy copies {copy:.0f}")
    print(f"{'rate':>4s} {'kernel':>7s} {'points':>7s} {'axis 0':>7s} {'axis 1':>7s}")
    with workers(1) as pool:
        for rate in map(float, arguments.rates.split(",")):
            found = [a.size / s / 1e6 for s in speeds(a, rate, pool, arguments.runs)]
            print(f"{rate:4g} " + " ".join(f"{speed:7.0f}" for speed in found), flush=True)


if __name__ == "__main__":
    main()
