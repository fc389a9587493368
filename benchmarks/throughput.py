"""Throughput of the stages in memory, and of whole commands against NumPy.

usage: python benchmarks/throughput.py [--size 4096] [--states 4,64,128] [--threads 1]

In memory, float32, n = 4096, R = 2, one thread: entries per second of encoding (measure, plan, code), of decoding, and of decoding for products
(no rotation back), each also as a share of NumPy's copy in the same run. Whole commands: seconds of `nqz encode`, `nqz decode` and `nqz matmul` on square
matrices, and the ratio of `nqz matmul` to `np.load(A).T @ np.load(B)` written to a file, pair by pair, medians of five.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common import make, save
from common import nqz as run
from nqz.container.reader import ContainerReader
from nqz.matrices.access import MemoryAccess
from nqz.matrices.source import array_source
from nqz.operations.coded import CodedMatrix
from nqz.operations.encode import encode
from nqz.operations.options import EncodeOptions
from nqz.operations.threads import workers

RUNS = 5


def median(function) -> float:
    """Median seconds of some runs after a warm-up."""
    function()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def in_memory(a: np.ndarray, options: EncodeOptions, threads: int) -> tuple[float, float, float]:
    """Million entries per second of encoding, decoding, and decoding for products."""
    with workers(threads) as pool:

        def code() -> bytearray:
            data = bytearray()
            encode(array_source(a), MemoryAccess(data), options, pool)
            return data

        data = code()
        matrix = CodedMatrix(ContainerReader(MemoryAccess(data), "memory"), 0)
        factor = matrix.factor("mmse")

        def decode() -> None:
            for panel in matrix.decoder.panels:
                matrix.reconstructed(panel, pool, factor, np.float32)

        def points() -> None:
            for panel in matrix.decoder.panels:
                matrix.points(panel, pool)

        return tuple(a.size / median(f) / 1e6 for f in (code, decode, points))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--states", default="4,64,128")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    a, b = make("gauss", arguments.size, arguments.size)
    copy = a.size / median(lambda: a.copy()) / 1e6
    print(
        f"# {arguments.size} x {arguments.size} float32, R = 2, {arguments.threads} thread(s); NumPy copy {copy:.0f} M entries/s"
    )
    print(f"{'lattice':9s} {'encode':>7s} {'decode':>7s} {'points':>7s}  M entries/s (share of copy)")
    for states in map(int, arguments.states.split(",")):
        speeds = in_memory(a, EncodeOptions(rate=2.0, states=states), arguments.threads)
        print(
            f"conv{states:<5d} "
            + " ".join(f"{s:7.0f}" for s in speeds)
            + "  "
            + " ".join(f"{s / copy:.3f}" for s in speeds)
        )
    speeds = in_memory(a, EncodeOptions(rate=2.0, lattice="e8"), arguments.threads)
    print(
        "e8        "
        + " ".join(f"{s:7.0f}" for s in speeds)
        + "  "
        + " ".join(f"{s / copy:.3f}" for s in speeds)
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = save(Path(folder), a, b)
        files = [path.with_suffix(".nqz") for path in paths]
        for path, file in zip(paths, files):
            print(f"nqz encode: {run('encode', path, '-o', file, '-r', 2, '-f', '-q'):.2f} s")
        print(f"nqz decode: {run('decode', files[0], '-o', Path(folder) / 'back.npy', '-q'):.2f} s")
        numpy = f"import numpy as np; np.save({str(Path(folder) / 'n.npy')!r}, np.load({str(paths[0])!r}).T @ np.load({str(paths[1])!r}))"
        ratios = []
        for _ in range(RUNS):
            ours = run("matmul", *files, "-o", Path(folder) / "c.npy", "-f", "-q")
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", numpy], check=True)
            ratios.append(ours / (time.perf_counter() - start))
        print(f"nqz matmul over NumPy on the originals: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
