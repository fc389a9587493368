"""Products of compressed matrices against NumPy's.

usage: python benchmarks/product.py [--size 4096] [--rates 1,2,3,4,6] [--coding entropy] [--runs 7] [--columns 65536]

Kernels: multiplications a second of `kernels.integer_product` on int8 and int16, and of np.matmul on float32, one
thread, in memory. Whole commands: seconds of `nqz matmul a.nqz b.nqz -o c.npy` and of `np.save(np.load(a).T @
np.load(b))` on the float32 originals, square matrices, run in turn, from a warm page cache and from a cold one; the
ratio is the median of the pairs, and so is that of the seconds of the processor, which other work on the machine
matters less to. Then `nqz decode` of both files followed by that NumPy product, and `nqz matmul
a.nqz b.npy`. Few vectors: `nqz.matmul` of a file of 4096 x columns at 2 bits, read from memory, with plain vectors,
against NumPy's A.T @ x on the float32 matrix in memory.

The environment's choice of OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, if any, is taken out: it can hobble NumPy.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

import numpy as np
from threadpoolctl import threadpool_limits

from common import make, nqz, save
from nqz import api, kernels

SIZE = 1024


def fastest(function, runs: int = 15) -> float:
    """Least seconds of some runs after a warm-up."""
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def speeds(depth: int) -> dict[str, float]:
    """Giga-multiplications per second of a product of SIZE x depth by depth x SIZE, one thread."""
    rng = np.random.default_rng(0)
    out, found = np.empty((SIZE, SIZE), np.int32), {}
    for dtype in (np.int8, np.int16):
        a, b = (rng.integers(-99, 99, (SIZE, depth)).astype(dtype) for _ in range(2))
        seconds = fastest(lambda a=a, b=b: kernels.integer_product(a, b, out))
        found[np.dtype(dtype).name] = SIZE * SIZE * depth / seconds / 1e9
    x, y = (rng.standard_normal((depth, SIZE), dtype=np.float32) for _ in range(2))
    with threadpool_limits(1):
        found["np.matmul float32"] = SIZE * SIZE * depth / fastest(lambda: x.T @ y) / 1e9
    return found


def numpy_product(a: Path, b: Path, out: Path) -> float:
    """Seconds that a Python takes to load, multiply and save."""
    code = f"import numpy as np; np.save({str(out)!r}, np.load({str(a)!r}).T @ np.load({str(b)!r}))"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def evict(*paths: Path) -> None:
    """Drop files from the page cache."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def processor() -> float:
    """Seconds of the processor that all children have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_turn(
    a: Path, b: Path, files: list[Path], out: Path, runs: int, cold: bool
) -> tuple[float, float, float, float]:
    """Median seconds of `nqz matmul` and of NumPy, and of the ratios of pairs: by the clock, and of the processor."""
    pairs = []
    for _ in range(runs + 1):
        if cold:
            evict(a, b, *files)
        before = processor()
        ours = nqz("matmul", *files, "-o", out, "-f", "-q")
        between = processor()
        theirs = numpy_product(a, b, out)
        pairs.append((ours, theirs, ours / theirs, (between - before) / (processor() - between)))
    ours, theirs, ratio, processors = (statistics.median(side) for side in zip(*pairs[1:], strict=True))
    return ours, theirs, ratio, processors


def commands(folder: Path, size: int, rates: list[float], runs: int, coding: str) -> None:
    """Print the times of whole commands."""
    a, b = save(folder, *make("gauss", size, size))
    files = [path.with_suffix(".nqz") for path in (a, b)]
    out, back = folder / "c.npy", [folder / "a_back.npy", folder / "b_back.npy"]
    print(f"\nseconds, medians of {runs} pairs; cold: with the inputs dropped from the page cache")
    print(
        f"{'rate':>4s} {'nqz matmul':>10s} {'NumPy':>7s} {'ratio':>6s} {'processor':>9s}   "
        f"{'nqz cold':>8s} {'NumPy':>7s} {'ratio':>6s} {'processor':>9s}"
    )
    for rate in rates:
        for path, file in zip((a, b), files, strict=True):
            nqz("encode", path, "-o", file, "-r", rate, "--coding", coding, "-f", "-q")
        warm, cold = (in_turn(a, b, files, out, runs, cold) for cold in (False, True))
        print(
            "{:4g} {:10.3f} {:7.3f} {:6.2f} {:9.2f}   {:8.3f} {:7.3f} {:6.2f} {:9.2f}".format(
                rate, *warm, *cold
            ),
            flush=True,
        )
    rebuilt = statistics.median(
        sum(nqz("decode", f, "-o", o, "-f", "-q") for f, o in zip(files, back, strict=True))
        + numpy_product(back[0], back[1], out)
        for _ in range(runs)
    )
    print(f"nqz decode of both and NumPy at {rates[-1]:g} bits: {rebuilt:.3f} s")
    one_sided = statistics.median(nqz("matmul", files[0], b, "-o", out, "-f", "-q") for _ in range(runs))
    print(f"nqz matmul with the original of the second at {rates[-1]:g} bits: {one_sided:.3f} s")


def few_vectors(length: int, columns: int) -> None:
    """Print the times of products with a few vectors."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((length, columns), dtype=np.float32)
    data = api.encode(a, rate=2)
    print(
        f"\nvectors  nqz.matmul  NumPy   seconds, {length} x {columns} at 2 bits; NumPy's matrix is in memory"
    )
    for count in (1, 4, 16):
        x = rng.standard_normal((length, count), dtype=np.float32)
        ours, theirs = fastest(lambda x=x: api.matmul(data, x), 5), fastest(lambda x=x: a.T @ x, 5)
        print(f"{count:7d} {ours:11.3f} {theirs:6.3f}   {a.size / ours / 1e6:.0f} M entries/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rates", default="1,2,3,4,6")
    parser.add_argument("--coding", default="entropy")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--columns", type=int, default=65536)
    arguments = parser.parse_args()
    print(f"# {kernels.name}; giga-multiplications/s, one thread, {SIZE} x {SIZE} x {arguments.size}")
    for name, speed in speeds(arguments.size).items():
        print(f"{name:18s} {speed:6.0f}")
    with tempfile.TemporaryDirectory() as folder:
        rates = [float(r) for r in arguments.rates.split(",")]
        commands(Path(folder), arguments.size, rates, arguments.runs, arguments.coding)
    few_vectors(4096, arguments.columns)


if __name__ == "__main__":
    main()
