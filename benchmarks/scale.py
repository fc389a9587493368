"""Time and memory of encode, decode and matmul while a matrix grows, and what follows for larger ones.

usage: python benchmarks/scale.py [--sizes 64,256,1024] [--large] [--length 4096] [--partners 256] [--rate 2]
       [--folder DIR]

A Gaussian float32 .npy file of --length × many in C order, of each of the sizes in MB (--large adds 4 GB). Every
command is a process of its own with all processors: seconds, million entries of the matrix per second (the same for
all sizes if time is linear), peak resident memory. The product is with --partners compressed vectors. The
extrapolation takes the rate of the largest size, and memory growing by the vector as between the two largest: give
some from which on all buffers are in full use, as with --large.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from memory import SEED, create, measured

COMMANDS = ("encode", "decode", "matmul")
TARGETS = (("100 GB", 1e11), ("10 TB", 1e13))


def run(folder: Path, shape: tuple[int, int], partners: int, rate: float) -> dict[str, tuple[float, float]]:
    """Peak in MB and seconds of every command; the files are removed again."""
    paths = [folder / name for name in ("A.npy", "A.nqz", "back.npy", "B.npy", "B.nqz", "C.npy")]
    a, coded, back, partner, partner_coded, product = paths
    try:
        create(a, shape, "C")
        create(partner, (shape[0], partners), "C", SEED + 1)
        measured("encode", partner, "-r", rate, "-o", partner_coded, "-q")
        found = {"encode": measured("encode", a, "-r", rate, "-o", coded, "-q")}
        a.unlink()
        found["decode"] = measured("decode", coded, "-o", back, "-q")
        back.unlink()
        found["matmul"] = measured("matmul", coded, partner_coded, "-o", product, "-q")
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
    return found


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="64,256,1024", help="MB")
    parser.add_argument("--large", action="store_true", help="4 GB too")
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--partners", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    sizes = sorted({*map(int, arguments.sizes.split(",")), *([4096] if arguments.large else [])})
    columns = {mb: max(1, (mb << 18) // arguments.length) for mb in sizes}
    print(f"{arguments.length} × many float32, R = {arguments.rate:g}, {os.cpu_count()} processors\n")
    print("| MB | vectors | command | seconds | M entries/s | peak, MB |\n|---|---|---|---|---|---|")
    found = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for mb in sizes:
            shape = (arguments.length, columns[mb])
            found[mb] = run(Path(folder), shape, arguments.partners, arguments.rate)
            for command in COMMANDS:
                peak, seconds = found[mb][command]
                speed = shape[0] * shape[1] / seconds / 1e6
                print(
                    f"| {mb} | {shape[1]} | {command} | {seconds:.2f} | {speed:.1f} | {peak:.0f} |",
                    flush=True,
                )
    first, last = sizes[-2:] if len(sizes) > 1 else sizes * 2
    print("\n| size | command | time | memory |\n|---|---|---|---|")
    for name, size in TARGETS:
        for command in COMMANDS:
            peak, seconds = found[last][command]
            grown = columns[last] - columns[first]
            per_vector = max(0.0, peak - found[first][command][0]) / grown if grown else 0.0
            vectors = size / 4 / arguments.length
            memory = peak + per_vector * (vectors - columns[last])
            time = seconds * size / 4 / (columns[last] * arguments.length)
            print(f"| {name} | {command} | {duration(time)} | {memory / 1000:.2g} GB |")


if __name__ == "__main__":
    main()
