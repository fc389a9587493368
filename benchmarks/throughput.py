"""Throughput of the stages in memory, and of whole commands against NumPy.

usage: python benchmarks/throughput.py [--size 4096] [--states 4,64,128] [--threads 1] [--axes 0,1]

In memory, float32 in C order, n = 4096, R = 2, vectors along each axis (contiguous along axis 1), one thread: entries
per second of encoding (measure, plan, code), the same without the content digest, of decoding into an array, and of
decoding for products (no rotation back), each also as a share of NumPy's copy in the same run; then two threads
against one, medians of the ratios of paired runs, next to the ratio for SHA-256 alone, which says what a second
thread is worth on the machine. Whole commands: seconds of `nqz encode`, `nqz decode` and `nqz matmul` on square
matrices, and the ratio of `nqz matmul` to `np.load(A).T @ np.load(B)` written to a file, pair by pair, medians of
five.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from common import make, save
from common import nqz as run
from nqz import kernels
from nqz.commands.encode import encode
from nqz.commands.options import EncodeOptions
from nqz.files.access import MemoryAccess
from nqz.files.source import array_source
from nqz.format.reader import ContainerReader
from nqz.ground.threads import workers
from nqz.matrix import open_matrix
from nqz.stages import digest

RUNS = 5


def median(function) -> float:
    """Median seconds of some runs after a warm-up."""
    function()
    return statistics.median(seconds(function) for _ in range(RUNS))


def seconds(function) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def stages(a: np.ndarray, options: EncodeOptions, pool) -> dict:
    """What is timed in memory, by name: functions without arguments."""

    def code() -> bytearray:
        data = bytearray()
        encode(array_source(a), MemoryAccess(data), options, pool)
        return data

    def code_without_digest() -> None:
        with mock.patch.object(digest, "of_pieces", return_value=b""):
            code()

    matrix = open_matrix(ContainerReader(MemoryAccess(code()), "memory"), 0)
    out = np.empty(a.shape, np.float32)
    columns = out if options.axis == 0 else out.T

    def decode() -> None:
        for _ in matrix.blocks(pool, "mmse", "float32", lambda panel: columns[:, panel.first : panel.last]):
            pass

    def points() -> None:
        for _ in matrix.blocks(pool):
            pass

    return {"encode": code, "no digest": code_without_digest, "decode": decode, "points": points}


def in_memory(a: np.ndarray, options: EncodeOptions, threads: int) -> list[float]:
    """Million entries per second of each stage."""
    with workers(threads) as pool:
        return [a.size / median(f) / 1e6 for f in stages(a, options, pool).values()]


def two_threads(a: np.ndarray, options: EncodeOptions) -> str:
    """How much faster two threads are than one: medians of the ratios of paired runs."""
    piece = a.data.cast("B")[: 1 << 24]

    def ratio(one, two) -> float:
        one(), two()
        return statistics.median(seconds(one) / seconds(two) for _ in range(RUNS))

    with workers(1) as one, workers(2) as two:
        hashing = [
            lambda pool=pool: list(pool.map(lambda _: hashlib.sha256(piece).digest(), range(8)))
            for pool in (one, two)
        ]
        ratios = {"SHA-256": ratio(*hashing)}
        ours, theirs = stages(a, options, one), stages(a, options, two)
        ratios |= {name: ratio(ours[name], theirs[name]) for name in ("encode", "decode")}
    return ", ".join(f"{name} {value:.2f}" for name, value in ratios.items())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--states", default="4,64,128")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--axes", default="0,1")
    arguments = parser.parse_args()
    a, b = make("gauss", arguments.size, arguments.size)
    copy = a.size / median(a.copy) / 1e6
    print(
        f"# {arguments.size} x {arguments.size} float32, R = 2, {arguments.threads} thread(s), {kernels.name}; "
        f"NumPy copy {copy:.0f} M entries/s"
    )
    print(
        f"{'lattice':9s} axis {'encode':>9s} {'no digest':>9s} {'decode':>9s} {'points':>9s}  "
        "M entries/s (share of copy)"
    )
    choices = [
        (f"conv{states}", EncodeOptions(rate=2.0, states=int(states)))
        for states in arguments.states.split(",")
    ]
    axes = [int(axis) for axis in arguments.axes.split(",")]
    for name, options in [*choices, ("e8", EncodeOptions(rate=2.0, lattice="e8"))]:
        for axis in axes:
            speeds = in_memory(a, replace(options, axis=axis), arguments.threads)
            shares = " ".join(f"{s / copy:.3f}" for s in speeds)
            print(f"{name:9s} {axis:4d} " + " ".join(f"{s:9.0f}" for s in speeds) + f"  {shares}")
    for axis in axes:
        ratios = two_threads(a, EncodeOptions(rate=2.0, axis=axis))
        print(f"two threads against one, times as fast, axis {axis}: {ratios}")
    with tempfile.TemporaryDirectory() as folder:
        paths = save(Path(folder), a, b)
        files = [path.with_suffix(".nqz") for path in paths]
        for path, file in zip(paths, files, strict=True):
            print(f"nqz encode: {run('encode', path, '-o', file, '-r', 2, '-f', '-q'):.2f} s")
        print(f"nqz decode: {run('decode', files[0], '-o', Path(folder) / 'back.npy', '-q'):.2f} s")
        one, other, out = (str(path) for path in (*paths, Path(folder) / "n.npy"))
        numpy = f"import numpy as np; np.save({out!r}, np.load({one!r}).T @ np.load({other!r}))"
        quotients = []
        for _ in range(RUNS):
            ours = run("matmul", *files, "-o", Path(folder) / "c.npy", "-f", "-q")
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", numpy], check=True)
            quotients.append(ours / (time.perf_counter() - start))
        print(f"nqz matmul over NumPy on the originals: {statistics.median(quotients):.2f}")


if __name__ == "__main__":
    main()
