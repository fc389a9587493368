"""Peak resident memory of every command while its input grows.

usage: python benchmarks/memory.py [--base 16] [--factors 1,4,16] [--cases wide,tall] [--commands encode,decode]
       [--folder DIR]

Float32 .npy files in both orders, contracted along both axes, of --base MB times each factor: wide (4096 × many),
tall (many × 256), long (2²⁴ × few), short (vectors of 64 entries) and narrow (of 16). For each the peak of a process of
its own, as the kernel reports it, of encode, decode, verify, verify --against, matmul (with up to 64 more vectors of
the same length, fewer where the product would be larger than 1 GB, on either side) and inspect. Pipes: encode from
standard input equals encode from the file, decode to standard output the decoded file. The files lie in --folder (a
temporary one by default), one case at a time: about four times the largest input. 4 GB: --base 256.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SEED = 20261122
_BLOCK = 1 << 20
_PARTNERS, _PARTNER_ENTRIES = 64, 1 << 24
_PRODUCT_ENTRIES = 1 << 28
COMMANDS = ("encode", "decode", "verify", "against", "matmul", "matmul'", "inspect", "pipes")

# name: shape for a number of entries, order in the file, contracted axis
CASES = {
    "wide C": (lambda size: (4096, max(1, size >> 12)), "C", 0),
    "wide F": (lambda size: (4096, max(1, size >> 12)), "F", 0),
    "wide C axis 1": (lambda size: (4096, max(1, size >> 12)), "C", 1),
    "wide F axis 1": (lambda size: (4096, max(1, size >> 12)), "F", 1),
    "tall C": (lambda size: (max(1, size >> 8), 256), "C", 0),
    "tall F": (lambda size: (max(1, size >> 8), 256), "F", 0),
    "tall C axis 1": (lambda size: (max(1, size >> 8), 256), "C", 1),
    "tall F axis 1": (lambda size: (max(1, size >> 8), 256), "F", 1),
    "long C": (lambda size: (1 << 24, max(1, size >> 24)), "C", 0),
    "long F": (lambda size: (1 << 24, max(1, size >> 24)), "F", 0),
    "short C": (lambda size: (64, max(1, size >> 6)), "C", 0),
    "short C axis 1": (lambda size: (max(1, size >> 6), 64), "C", 1),
    "short F": (lambda size: (64, max(1, size >> 6)), "F", 0),
    "short F axis 1": (lambda size: (max(1, size >> 6), 64), "F", 1),
    "narrow C": (lambda size: (16, max(1, size >> 4)), "C", 0),
    "narrow C axis 1": (lambda size: (max(1, size >> 4), 16), "C", 1),
}


def create(path: Path, shape: tuple[int, int], order: str, seed: int = SEED) -> None:
    """Write a Gaussian float32 matrix block by block: the memory of this process would count for its children."""
    rng = np.random.default_rng(seed)
    block = rng.standard_normal(_BLOCK, np.float32)
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": order == "F", "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        left = shape[0] * shape[1]
        while left:
            # the same numbers at other places: no two columns are alike
            start = int(rng.integers(_BLOCK))
            for part in (block[start:], block[:start]):
                file.write(part[:left].data)
                left -= len(part[:left])


def measured(
    *arguments: object, stdin: Path | None = None, stdout: Path | None = None
) -> tuple[float, float]:
    """Run the command line; return its peak memory in MB and the seconds it took."""
    with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "wb") as sink:
        # a real pipe, not the file itself, where standard input is used
        feeder = subprocess.Popen(["cat"], stdin=source, stdout=subprocess.PIPE) if stdin else None
        begin = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "nqz", *map(str, arguments)],
            stdin=feeder.stdout if feeder else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout else sink,
        )
        if feeder and feeder.stdout:
            feeder.stdout.close()
        drain = subprocess.Popen(["cat"], stdin=child.stdout, stdout=sink) if stdout else None
        if drain and child.stdout:
            child.stdout.close()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        for other in (feeder, drain):
            if other:
                other.wait()
    if child.returncode:
        raise SystemExit(f"nqz {' '.join(map(str, arguments))}: exit status {child.returncode}")
    return usage.ru_maxrss / (1 << 10 if sys.platform != "darwin" else 1 << 20), seconds


def run_case(
    folder: Path, name: str, size: int, commands: list[str], rate: float
) -> dict[str, tuple[float, float]]:
    """Peaks and seconds of the commands for one input of `size` entries; its files are removed again."""
    shape_of, order, axis = CASES[name]
    shape = shape_of(size)
    paths = [folder / part for part in ("A.npy", "A.nqz", "back.npy", "B.npy", "B.nqz", "C.npy", "piped")]
    a, coded, back, partner, partner_coded, product, piped = paths
    common = ("-q", "-f")
    found = {}
    try:
        create(a, shape, order)
        found["encode"] = measured("encode", a, "-r", rate, "--axis", axis, "-o", coded, *common)
        if "pipes" in commands:
            found["pipes"] = measured("encode", "-", "-r", rate, "--axis", axis, "-q", stdin=a, stdout=piped)
            _same(coded, piped)
        if "decode" in commands or "pipes" in commands:
            found["decode"] = measured("decode", coded, "-o", back, *common)
        if "pipes" in commands:
            found["pipes"] = max(found["pipes"], measured("decode", "-", "-q", stdin=coded, stdout=piped))
            _same(back, piped)
        for path in (back, piped):
            path.unlink(missing_ok=True)
        if "verify" in commands:
            found["verify"] = measured("verify", coded, "-q")
        if "against" in commands:
            found["against"] = measured("verify", coded, "--against", a, "-q")
        if "inspect" in commands:
            found["inspect"] = measured("inspect", coded, "-q")
        a.unlink()
        if "matmul" in commands or "matmul'" in commands:
            n, columns = shape[axis], shape[1 - axis]
            count = max(1, min(_PARTNERS, _PARTNER_ENTRIES // n, _PRODUCT_ENTRIES // columns))
            create(partner, (n, count), "F", SEED + 1)
            measured("encode", partner, "-r", rate, "-o", partner_coded, *common)
            partner.unlink()
        if "matmul" in commands:
            found["matmul"] = measured("matmul", coded, partner_coded, "-o", product, *common)
        if "matmul'" in commands:
            found["matmul'"] = measured("matmul", partner_coded, coded, "-o", product, *common)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
    return found


def _same(first: Path, second: Path) -> None:
    if not filecmp.cmp(first, second, shallow=False):
        raise SystemExit(f"{first} and {second} differ")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=float, default=16, help="MB of the smallest input")
    parser.add_argument("--factors", default="1,4,16")
    parser.add_argument("--cases", default="", help="names, or how they begin, separated by commas")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--rate", type=float, default=2)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    commands = arguments.commands.split(",")
    if not set(commands) <= set(COMMANDS):
        parser.error(f"--commands: of {', '.join(COMMANDS)}")
    wanted = arguments.cases.split(",")
    names = [n for n in CASES if any(n == w or (w not in CASES and n.startswith(w)) for w in wanted)]
    print("Peak memory in MB (seconds); matmul': the growing operand on the right.\n")
    print(f"| case | shape | MB | {' | '.join(commands)} |")
    print("|---" * (3 + len(commands)) + "|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in names:
            for factor in map(float, arguments.factors.split(",")):
                size = int(arguments.base * factor * 2**20) // 4
                rows, columns = CASES[name][0](size)
                found = run_case(Path(folder), name, size, commands, arguments.rate)
                cells = [f"{found[key][0]:.0f} ({found[key][1]:.1f})" for key in commands]
                mb = 4 * rows * columns >> 20
                print(f"| {name} | {rows} × {columns} | {mb} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
