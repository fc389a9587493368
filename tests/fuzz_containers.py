"""Fuzz the reader: change golden files at random, part by part, put them together with right checksums, run commands.

    python tests/fuzz_containers.py SECONDS [--seed N] [--processes N] [--build FOLDER]
    python tests/fuzz_containers.py --again FILE ...

Whatever the file, only the documented errors may come, in bounded time and memory, with nothing left behind; and
``nqz verify`` is content exactly where decoding and inspecting are. What breaks this is kept in build/fuzz/, to be run
again. With --build the kernels of that folder are used, which may have sanitizers, and memory is not bounded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from crafted import limit_memory, limited_environment  # noqa: E402
from fuzz_kernels import load_build  # noqa: E402

KEPT = ROOT / "build" / "fuzz"
LARGE = range(64 << 20, 1 << 36)
"""Bytes of tensors for which a file may need more memory, disk or time than there is; for more, it lacks records."""


class Fuzzer:
    """Runs commands on files, and counts what comes of them."""

    def __init__(self) -> None:
        from crafted_run import Runner

        self.runner = Runner()
        self.outcomes: Counter[str] = Counter()

    def faults(self, data: bytes) -> list[str]:
        """Run everything on a file, and say what must not be."""
        size, wide = declared(data)
        if size in LARGE:
            return self._only_opened(data)
        self.runner.file.write_bytes(data)
        found: list[str] = []
        codes: dict[str, int] = {}
        for operation in ("verify", "decode", "inspect", "api", *([] if wide else ["itself"])):
            code, fault, text = (
                self.runner.api(data) if operation == "api" else self.runner.command(operation)
            )
            codes[operation] = code
            allowed = (
                (0, 5, 6, 7)
                if operation == "itself"
                else (0, 4, 5, 6)
                if operation in ("decode", "api")
                else (0, 5, 6)
            )
            if fault or code not in allowed:
                found.append(f"{operation}: {code} {fault} {text.strip()[-300:]}")
        fine = codes["decode"] in (0, 4) and codes["inspect"] == 0
        if (
            (codes["verify"] == 0) is not fine
            or (fine and codes["api"] not in (0, 4))
            or (fine and codes.get("itself", 0) not in (0, 7))
        ):
            found.append(f"these do not go together: {codes}")
        self.outcomes[" ".join(f"{name} {code}" for name, code in codes.items())] += 1
        return found

    def _only_opened(self, data: bytes) -> list[str]:
        """What decodes to much is only looked at; this must not take much."""
        self.runner.file.write_bytes(data)
        code, fault, text = self.runner.command("inspect")
        self.outcomes[f"large: inspect {code}"] += 1
        return [f"inspect: {code} {fault} {text.strip()[-300:]}"] if fault or code not in (0, 5, 6) else []


def declared(data: bytes) -> tuple[int, bool]:
    """Bytes of all tensors of a file, if it can be opened, and whether products would be too large."""
    import nqz

    try:
        with nqz.open(data) as opened:
            infos = opened.reader.manifest.tensors
            return sum(info.nbytes for info in infos), any(
                extent > 1000 for info in infos for extent in info.shape
            )
    except Exception:  # reported by the commands
        return 0, True


def work(seconds: float, seed: int, build: str | None) -> None:
    """Fuzz for a while; write lines of JSON: the files that are begun, faults, and outcomes at the end."""
    if build:
        load_build(build)
    else:
        limit_memory()
    from crafted_run import in_time
    from mutations import mutated

    warnings.simplefilter("error")
    fuzzer, rng, tried = Fuzzer(), random.Random(seed), 0
    current = KEPT / f"current-{os.getpid()}.nqz"
    end = time.monotonic() + seconds
    with fuzzer.runner:
        while time.monotonic() < end:
            what, data = mutated(rng)
            current.write_bytes(data)
            with in_time():
                found = fuzzer.faults(data)
            tried += 1
            if found:
                print(json.dumps({"kept": keep(data), "what": what, "faults": found}), flush=True)
            if tried % 50 == 0:
                print(json.dumps({"tried": tried, "outcomes": fuzzer.outcomes}), flush=True)
    current.unlink()
    print(json.dumps({"tried": tried, "outcomes": fuzzer.outcomes, "done": True}), flush=True)


def keep(data: bytes) -> str:
    """Keep a file, and return its name."""
    path = KEPT / f"{hashlib.sha256(data).hexdigest()[:12]}.nqz"
    path.write_bytes(data)
    return path.name


def start(seconds: float, seed: int, build: str | None) -> subprocess.Popen:
    """Start a process that fuzzes."""
    arguments = [
        __file__,
        str(seconds),
        "--seed",
        str(seed),
        "--worker",
        *(["--build", build] if build else []),
    ]
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=limited_environment(),
    )


def watched(process: subprocess.Popen, seed: int) -> tuple[int, Counter[str], int]:
    """Read what a process finds until it ends: files tried, outcomes, and how many files are kept."""
    last: dict[str, Any] = {"tried": 0, "outcomes": {}}
    kept = 0
    out, err = process.communicate()
    for line in map(json.loads, out.splitlines()):
        if "kept" in line:
            kept += 1
            print(
                f"{line['kept']} (seed {seed}): {'; '.join(line['what'])}",
                *line["faults"],
                sep="\n    ",
                flush=True,
            )
        else:
            last = line
    current = KEPT / f"current-{process.pid}.nqz"
    if "done" not in last:
        kept += 1
        name = keep(current.read_bytes()) if current.exists() else "nothing"
        print(
            f"{name} (seed {seed}): the process ended with {process.returncode}\n    {err[-2000:]}",
            flush=True,
        )
        current.unlink(missing_ok=True)
    return last["tried"], Counter(last["outcomes"]), kept


def fuzz(seconds: float, seed: int, processes: int, build: str | None) -> int:
    """Fuzz in several processes; a process that ends is followed by another. Returns how many files are kept."""
    from concurrent.futures import ThreadPoolExecutor

    end, tried, kept, outcomes = time.monotonic() + seconds, 0, 0, Counter[str]()

    def line(number: int) -> list[tuple[int, Counter[str], int]]:
        found: list[tuple[int, Counter[str], int]] = []
        own = seed + 1_000_003 * number
        while (left := end - time.monotonic()) > 1 or not found:
            found.append(watched(start(max(left, 1.0), own, build), own))
            own += 1
        return found

    with ThreadPoolExecutor(processes) as pool:
        for count, counted, bad in (
            entry for entries in pool.map(line, range(processes)) for entry in entries
        ):
            tried, kept = tried + count, kept + bad
            outcomes += counted
    for what, count in outcomes.most_common():
        print(f"{count:8} {what}")
    print(f"{tried} changed files in {seconds:.0f} s from seed {seed}, {kept} kept in {KEPT}")
    return kept


def again(files: list[str]) -> int:
    """Run files that were kept; return how many are faulty."""
    limit_memory()
    warnings.simplefilter("error")
    fuzzer, bad = Fuzzer(), 0
    with fuzzer.runner:
        for file in files:
            found = fuzzer.faults(Path(file).read_bytes())
            bad += bool(found)
            print(file, *(found or ["all is well"]), sep="\n    ")
    return bad


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", type=float, nargs="?", default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--build")
    parser.add_argument("--again", nargs="+")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    if options.again:
        return min(again(options.again), 1)
    KEPT.mkdir(parents=True, exist_ok=True)
    if options.worker:
        work(options.seconds, seed, options.build)
        return 0
    return min(fuzz(options.seconds, seed, options.processes, options.build), 1)


if __name__ == "__main__":
    sys.exit(main())
