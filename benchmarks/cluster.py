"""Part sets by workers: time with one worker and with two, and the memory of who asks, by the number of parts.

By default 2.1 GB of float32, in `--folder`; `--entries` takes less. Workers are processes of this machine, one thread
each; figures of time mean something where as many processors are free.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import nqz

N = 4096


def made(path: Path, entries: int, seed: int) -> None:
    """Write a matrix, some rows at a time."""
    columns, rng = entries // N, np.random.default_rng(seed)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (columns, N))
    for first in range(0, columns, 4096):
        out[first : first + 4096] = rng.standard_normal((min(4096, columns - first), N), np.float32)
    out.flush()


def timed(workers: int, folder: Path, parts: int) -> tuple[float, float, float]:
    """Seconds to encode a set and to multiply it with a smaller one, and the processor time of all workers."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as executor:
        list(executor.map(abs, range(workers)))  # all are there
        start = time.perf_counter()
        options: dict[str, Any] = {"rate": 3, "axis": 1, "force": True, "executor": executor}
        nqz.encode_set(folder / "x.npy", folder / "x.nqzset", parts=(1, parts), **options)
        encoded = time.perf_counter() - start
        nqz.encode_set(folder / "y.npy", folder / "y.nqzset", parts=(1, 1), **options)
        start = time.perf_counter()
        nqz.matmul(folder / "x.nqzset", folder / "y.nqzset", executor=executor)
        multiplied = time.perf_counter() - start
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return encoded, multiplied, ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


def resident(folder: Path, parts: int) -> float:
    """MB of the process that asks, while a set of so many parts is made."""
    program = (
        "import multiprocessing, nqz, re\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as executor:\n"
        f"        nqz.encode_set({str(folder / 'x.npy')!r}, {str(folder / 'r.nqzset')!r}, rate=3, axis=1,\n"
        f"            parts=(1, {parts}), executor=executor, force=True)\n"
        # what the system counts for children begins with what their parent had
        "    print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)\n"
    )
    script = folder / "resident.py"
    script.write_text(program)
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    return float(found.stdout)


class Counting(Executor):
    """Works on pickles of jobs here, one by one: counts processor time of the jobs, and bytes there and back."""

    _max_workers = 2

    def __init__(self) -> None:
        self.seconds, self.there, self.back, self.jobs = 0.0, 0, 0, 0

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        sent, future = pickle.dumps((function, arguments)), Future[Any]()
        work, given = pickle.loads(sent)  # noqa: S301 - our own
        begun = time.process_time()
        found = work(*given, **named)
        self.seconds += time.process_time() - begun
        future.set_result(found)
        self.there, self.back, self.jobs = (
            self.there + len(sent),
            self.back + len(pickle.dumps(found)),
            self.jobs + 1,
        )
        return future


def searched(folder: Path, parts: int, runs: int) -> None:
    """Processor time of a search: in one process, and of the jobs."""
    x = np.load(folder / "x.npy", mmap_mode="r").reshape(-1, 256)
    path = folder / "s.nqzset"
    nqz.encode_set(x, path, rate=3, axis=1, parts=(1, parts))
    queries = np.random.default_rng(2).standard_normal((256, 200), np.float32)
    nqz.topk(path, queries, 10, threads=1)
    found = []
    for _ in range(runs):
        begun = time.process_time()
        nqz.topk(path, queries, 10, threads=1)
        alone = time.process_time() - begun
        executor = Counting()
        nqz.topk(path, queries, 10, executor=executor)
        found.append((alone, executor.seconds, executor.there / executor.jobs, executor.back / executor.jobs))
    alone, jobs, there, back = np.median(np.array(found), axis=0)
    print(
        f"search of {len(x)} x 256 for 200 queries, processor time: one process {alone:.2f} s, {executor.jobs} jobs "
        f"{jobs:.2f} s; a job {there / 1e3:.0f} kB there, {back / 1e3:.0f} kB back"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1 << 29)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--search", action="store_true", help="measure a search alone")
    parser.add_argument("--resident", default="2,32", help="numbers of parts to measure memory with")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        made(folder / "x.npy", given.entries, 0)
        if given.search:
            searched(folder, given.parts, given.runs)
            return
        made(folder / "y.npy", min(given.entries, N * 2048), 1)
        size = os.path.getsize(folder / "x.npy") / 1e9
        runs = [[timed(workers, folder, given.parts) for workers in (1, 2)] for _ in range(given.runs)]
        one, two = np.median(np.array(runs), axis=0)
        print(f"{size:.2f} GB in {given.parts} parts, medians of {given.runs}")
        for what, i in (("encode_set", 0), ("matmul", 1)):
            print(
                f"{what:12} one worker {one[i]:7.2f} s   two {two[i]:7.2f} s   {one[i] / two[i]:.2f} times as fast"
            )
        print(
            f"{'processor':12} one worker {one[2]:7.2f} s   two {two[2]:7.2f} s   {two[2] / one[2]:.2f} times as much"
        )
        for parts in map(int, given.resident.split(",")):
            print(f"memory of who asks, {parts:5} parts: {resident(folder, parts):6.1f} MB")


if __name__ == "__main__":
    main()
