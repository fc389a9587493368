"""By workers: how fast so many of them are, what the process that asks has to do for it, and what memory it takes.

By default 2.1 GB of float32, in `--folder`; `--entries` takes less. Workers are processes of this machine, one thread
each; figures by the clock mean something where as many processors are free. What the process that asks does, and what
all workers do, is processor time, which means something anywhere. `expected` is how many times as fast as one worker so
many would be with a processor each: jobs are laid out on workers in their order, beside what the process that asks does
meanwhile, and after what it does `alone`. Linux only.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import nqz

N = 4096
SPAWN = multiprocessing.get_context("spawn")
TICKS = os.sysconf("SC_CLK_TCK")


def made(path: Path, entries: int, seed: int) -> None:
    """Write a matrix, some rows at a time."""
    columns, rng = entries // N, np.random.default_rng(seed)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (columns, N))
    for first in range(0, columns, 4096):
        out[first : first + 4096] = rng.standard_normal((min(4096, columns - first), N), np.float32)
    out.flush()


def clocked(function: Any, arguments: Any) -> tuple[float, Any]:
    """What a function gives, on a worker, and the processor time that it took."""
    begun = time.process_time()
    found = function(*arguments)
    return time.process_time() - begun, found


class Watched(Executor):
    """Passes jobs on, and tells how long they took, in phases that are over when none is under way.

    Attributes
    ----------
    alone : float
        Processor time of this process while no job was under way.
    phases : list of tuple
        Processor time of each job, and of this process meanwhile.
    """

    def __init__(self, executor: ProcessPoolExecutor, workers: int) -> None:
        self._executor, self._max_workers = executor, workers
        self._open, self._lock = 0, threading.Lock()
        self._since = time.process_time()
        self.alone = 0.0
        self.phases: list[tuple[list[float], list[float]]] = []

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        with self._lock:
            if self._open == 0:
                self.alone += self._passed()
                self.phases.append(([], []))
            self._open += 1
            taken, meanwhile = self.phases[-1]
        outer = Future[Any]()
        outer.set_running_or_notify_cancel()

        def done(inner: Future[Any]) -> None:
            if inner.cancelled() or inner.exception() is not None:
                outer.set_exception(RuntimeError("no result") if inner.cancelled() else inner.exception())
                return
            seconds, found = inner.result()
            taken.append(seconds)
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    meanwhile.append(self._passed())
            outer.set_result(found)

        self._executor.submit(clocked, function, arguments).add_done_callback(done)
        return outer

    def _passed(self) -> float:
        since, self._since = self._since, time.process_time()
        return self._since - since

    def finish(self) -> None:
        """Count what was done after the last job."""
        self.alone += self._passed()

    def expected(self, workers: int, share: float) -> float:
        """Time that it takes with a processor for each, jobs taken as they come; `share` is of `at_work` in them."""
        found = self.alone
        for taken, meanwhile in self.phases:
            free = [0.0] * workers
            for seconds in taken:
                heapq.heapreplace(free, free[0] + seconds / share)
            found += max(*free, sum(meanwhile))
        return found


class Found(NamedTuple):
    """Seconds by the clock; of processor time of the workers, of who asks, and of who asks with no job under way."""

    clock: float
    workers: float
    asks: float
    alone: float
    expected: float
    jobs: float


def at_work() -> float:
    """Processor time of all processes that were begun here and are there."""
    found = 0
    for process in multiprocessing.active_children():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        found += int(fields[11]) + int(fields[12])
    return found / TICKS


def timed(executor: ProcessPoolExecutor, workers: int, work: Callable[[Executor], object]) -> Found:
    """What some work takes."""
    begun, own, clock = at_work(), time.process_time(), time.perf_counter()
    watched = Watched(executor, workers)
    work(watched)
    watched.finish()
    seconds, own = time.perf_counter() - clock, time.process_time() - own
    spent, jobs = at_work() - begun, [job for taken, _ in watched.phases for job in taken]
    share = min(1.0, sum(jobs) / max(spent, 1e-9))  # what is left is sending and receiving
    return Found(seconds, spent, own, watched.alone, watched.expected(workers, share), len(jobs))


def kinds(folder: Path, parts: int) -> dict[str, Callable[[Executor], object]]:
    """All that is measured, each on what was made before."""
    x, y, xs, ys = (folder / name for name in ("x.nqz", "y.nqz", "x.nqzset", "y.nqzset"))
    queries = np.random.default_rng(2).standard_normal((N, 200), np.float32)
    options: dict[str, Any] = {"rate": 3, "axis": 1, "force": True}
    nqz.encode(folder / "y.npy", y, **options)
    nqz.encode_set(folder / "y.npy", ys, parts=(1, 1), **options)
    return {
        "encode_set": lambda e: nqz.encode_set(folder / "x.npy", xs, parts=(1, parts), executor=e, **options),
        "encode": lambda e: nqz.encode(folder / "x.npy", x, executor=e, **options),
        "matmul of sets": lambda e: nqz.matmul(xs, ys, executor=e),
        "matmul of files": lambda e: nqz.matmul(x, y, executor=e),
        "topk of a set": lambda e: nqz.topk(xs, queries, 10, executor=e),
        "topk of a file": lambda e: nqz.topk(x, queries, 10, executor=e),
    }


def compared(folder: Path, parts: int, workers: list[int], runs: int, only: list[str]) -> None:
    """Print what all kinds of work take with so many workers, one run after the other of all."""
    every = kinds(folder, parts)
    chosen = {
        name: work for name, work in every.items() if not only or any(name.startswith(word) for word in only)
    }
    found: dict[tuple[str, int], list[Found]] = {(name, count): [] for name in chosen for count in workers}
    for run in range(runs):
        for count in workers:
            with ProcessPoolExecutor(count, SPAWN) as executor:
                list(executor.map(time.sleep, [0.2] * count))  # all are there
                list(executor.map(loaded, range(count)))
                for name in ("encode_set", "encode") * (run == 0 and count == workers[0]):
                    every[name](executor)  # what others work on; and all is in memory
                for name, work in chosen.items():
                    found[name, count].append(timed(executor, count, work))
    print(f"{'':16} workers   jobs   clock  times  expected   workers  who asks  share   alone  at work")
    for name in chosen:
        medians = {
            count: Found(*(float(v) for v in np.median(np.array(found[name, count]), axis=0)))
            for count in workers
        }
        first, base = medians[workers[0]], workers[0]
        for count, one in medians.items():
            print(
                f"{name if count == base else '':16} {count:7} {one.jobs:6.0f} {one.clock:7.2f} "
                f"{first.clock / one.clock:6.2f} {first.expected / one.expected:9.2f} {one.workers:9.2f} "
                f"{one.asks:9.2f} {one.asks / (one.asks + one.workers):6.1%} {one.alone:7.2f} "
                f"{one.workers / count / one.clock:8.0%}",
                flush=True,
            )


def loaded(_: int) -> bool:
    """Have a worker load what it needs."""
    import nqz.commands.elsewhere.code
    import nqz.commands.elsewhere.multiply
    import nqz.commands.elsewhere.search
    import nqz.commands.sets.create
    import nqz.commands.sets.product_elsewhere

    return bool(nqz.commands)


RESIDENT = """
import multiprocessing, re, sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
import nqz, nqz.cli.matmul
if __name__ == '__main__':
    what, folder, parts = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as executor:
        if what == 'encode':
            nqz.encode_set(f'{folder}/x.npy', f'{folder}/r{parts}.nqzset', rate=3, axis=1, parts=(1, parts),
                executor=executor, force=True)
        else:
            # the command, which writes the product to a file, with workers that are no Dask
            nqz.cli.matmul.executor_of = lambda cluster: nullcontext(executor)
            sides = [f'{folder}/r{parts}.nqzset', f'{folder}/y.nqzset']
            nqz.cli.matmul.command.main([*sides, '-q', '-f', '-o', f'{folder}/c.npy'], standalone_mode=False)
    # what the system counts for children begins with what their parent had
    print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)
"""


def resident(folder: Path, what: str, parts: int) -> float:
    """MB of the process that asks, while a set of so many parts is made, or multiplied."""
    script = folder / "resident.py"
    script.write_text(RESIDENT)
    command = [sys.executable, str(script), what, str(folder), str(parts)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


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


def numbers(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(number) for number in text.split(",") if number]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1 << 29)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--workers", type=numbers, default="1,2", help="numbers of workers to compare")
    parser.add_argument(
        "--only", default="", help="kinds of work, by how their names begin, with commas between"
    )
    parser.add_argument("--search", action="store_true", help="measure a search alone, beside one process")
    parser.add_argument(
        "--resident", type=numbers, default="2,32", help="numbers of parts to measure memory with"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        made(folder / "x.npy", given.entries, 0)
        if given.search:
            searched(folder, given.parts, given.runs)
            return
        made(folder / "y.npy", min(given.entries, N * 2048), 1)
        size = os.path.getsize(folder / "x.npy") / 1e9
        print(f"{size:.2f} GB in {given.parts} parts, medians of {given.runs}; seconds", flush=True)
        only = [word for word in given.only.split(",") if word]
        compared(folder, given.parts, given.workers, given.runs, only)
        for parts in given.resident:
            print(
                f"memory of who asks, {parts:5} parts: {resident(folder, 'encode', parts):6.1f} MB encoding, "
                f"{resident(folder, 'multiply', parts):6.1f} MB multiplying",
                flush=True,
            )


if __name__ == "__main__":
    main()
