"""How long a command takes that has next to nothing to do, on a warm cache.

usage: python benchmarks/startup.py [--mb 1024] [--tensors 500] [--runs 10] [--folder DIR]

``nqz --version``; ``nqz matmul`` of a matrix of 256 x 256 at 2 bits with a vector; ``nqz inspect`` of the container of
one matrix of --mb MB (float32, 2 bits), and of one of --tensors matrices, and how many bytes of them it read. The least
of --runs, by the clock and in processor time, which says more on a busy machine. ``python -c "import numpy"`` is
printed for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from memory import create, measured


def fastest(runs: int, *command: object) -> str:
    """Least milliseconds of some runs, after one that fills the cache: by the clock, and of processors."""
    times, spent = [], []
    # modules are kept compiled, as they are once a program is installed
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(runs + 1):
        start, before = time.perf_counter(), processor()
        subprocess.run(
            [sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL, env=environment
        )
        times.append(time.perf_counter() - start)
        spent.append(processor() - before)
    return f"{1e3 * min(times[1:]):.0f} | {1e3 * min(spent[1:]):.0f}"


def processor() -> float:
    """Seconds of processor time that processes took that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bytes_read(path: Path) -> int:
    """Bytes that inspect reads of a container."""
    program = (
        "import sys\n"
        "from nqz.files.access import FileAccess\n"
        "from nqz.cli import run\n"
        "count, read = 0, FileAccess.pread_into\n"
        "def counting(self, buffer, offset):\n"
        "    global count\n"
        "    count += memoryview(buffer).nbytes\n"
        "    read(self, buffer, offset)\n"
        "FileAccess.pread_into = counting\n"
        "run(['inspect', sys.argv[1]])\n"
        "print(count, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True
    )
    return int(done.stderr)


def model(path: Path, tensors: int) -> None:
    """Write a .safetensors file of many small matrices."""
    size = 64 * 64 * 4
    header = {
        f"layers.{i}.weight": {"dtype": "F32", "shape": [64, 64], "data_offsets": [i * size, (i + 1) * size]}
        for i in range(tensors)
    }
    text = json.dumps(header).encode()
    data = np.random.default_rng(0).standard_normal(tensors * size // 4, np.float32)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=1024)
    parser.add_argument("--tensors", type=int, default=500)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        create(folder / "large.npy", (4096, arguments.mb << 6), "C")
        measured("encode", folder / "large.npy", "-r", 2, "--lattice", "z", "-q")
        (folder / "large.npy").unlink()
        model(folder / "many.safetensors", arguments.tensors)
        measured("encode", folder / "many.safetensors", "-r", 4, "-q")
        np.save(folder / "x.npy", np.random.default_rng(1).standard_normal((256, 256), np.float32))
        np.save(folder / "v.npy", np.random.default_rng(2).standard_normal(256, np.float32))
        measured("encode", folder / "x.npy", "-r", 2, "--coding", "trellis", "-q")
        product = "matmul", folder / "x.nqz", folder / "v.npy", "-o", folder / "y.npy", "-f", "-q"
        print("| command | milliseconds | of processors | bytes read |\n|---|---|---|---|")
        print(f"| import numpy | {fastest(arguments.runs, '-c', 'import numpy')} | |")
        print(f"| nqz --version | {fastest(arguments.runs, '-m', 'nqz', '--version')} | |")
        print(f"| nqz matmul | {fastest(arguments.runs, '-m', 'nqz', *product)} | |")
        for file, what in (("large", f"{arguments.mb} MB"), ("many", f"{arguments.tensors} tensors")):
            path = folder / f"{file}.nqz"
            shown = f"{bytes_read(path)} of {path.stat().st_size}"
            print(
                f"| nqz inspect, {what} | {fastest(arguments.runs, '-m', 'nqz', 'inspect', path)} | {shown} |"
            )


if __name__ == "__main__":
    main()
