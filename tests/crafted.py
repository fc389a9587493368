"""Containers with right checksums that are wrong, or unusual, in one thing each: thousands, made from golden files.

    python tests/crafted.py --table     how many there are, by record and exit code
    python tests/crafted.py --write CASE FILE
    python tests/crafted.py             run all commands on all of them, about three minutes
    python tests/crafted.py --run GROUP [--every NUMBER] [--after NUMBER]

What is expected of each follows from docs/format.md. Commands run in processes that may take 2 GiB of addresses; those
are this program, too (--run). test_format_crafted.py does it with every twentieth of the cases.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli_tools import environment

if TYPE_CHECKING:
    from crafted_case import Case

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MEMORY = 2 << 30
"""Bytes of addresses that a process may take."""


def limit_memory() -> None:
    """Take no more addresses than `MEMORY`; other systems than Linux do not keep to it."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def limited_environment() -> dict[str, str]:
    """The environment of such a process: a library reserves addresses for each of its threads."""
    return environment(OPENBLAS_NUM_THREADS="1")


def groups() -> dict[str, Callable[[], Iterator[Case]]]:
    """Functions that make the cases, by name."""
    import crafted_chunks
    import crafted_columns
    import crafted_frame
    import crafted_manifest
    import crafted_parameters
    import crafted_slices
    import crafted_ties

    return {
        "frame": crafted_frame.cases,
        "manifest": crafted_manifest.cases,
        "parameters": crafted_parameters.cases,
        "columns": crafted_columns.cases,
        "chunks": crafted_chunks.cases,
        "panels": crafted_chunks.panels,
        "slices": crafted_slices.cases,
        "ties": crafted_ties.cases,
    }


GROUPS = ("frame", "manifest", "parameters", "columns", "chunks", "panels", "slices", "ties")


def cases(*wanted: str) -> Iterator[Case]:
    """Cases of some groups, of all by default; each container once, each name once."""
    files: set[bytes] = set()
    names: Counter[str] = Counter()
    for name, make in groups().items():
        for case in make() if not wanted or name in wanted else ():
            digest = hashlib.sha256(case.data).digest()
            if digest in files:
                continue
            files.add(digest)
            names[case.name] += 1
            several = names[case.name]
            yield case if several == 1 else case._replace(what=f"{case.what} ({several})")


def table() -> str:
    """Records and exit codes: how many cases there are."""
    count: Counter[tuple[str, int]] = Counter()
    for case in cases():
        count[case.record, case.code] += 1
    codes = sorted({code for _, code in count})
    rows = [["record", *(f"exit status {code}" for code in codes), "all"]]
    records = sorted({record for record, _ in count}, key=lambda r: (r.isupper(), r))
    for record in records:
        row = [count[record, code] for code in codes]
        rows.append(
            [f"`{record}`" if record.isupper() else record, *(str(x or "") for x in row), str(sum(row))]
        )
    totals = [sum(count[record, code] for record in records) for code in codes]
    rows.append(["all", *map(str, totals), str(sum(totals))])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def run_group(name: str, every: int = 1) -> tuple[int, dict[str, list[str]]]:
    """Run every so many of the cases of a group in a process of its own, and in another after one that ends it.

    Returns
    -------
    int
        How many cases were run.
    dict
        By case, what is not as expected.
    """
    faults: dict[str, list[str]] = {}
    after, tried, done = -1, 0, False
    while not done:
        arguments = [__file__, "--run", name, "--every", str(every), "--after", str(after)]
        found = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=limited_environment()
        )
        begun = ""
        for line in found.stdout.splitlines():
            after, case, what = json.loads(line)
            done = after < 0
            begun = case if what is None else ""
            tried += what is not None and not done
            if what:
                faults[case] = what
        if not done:
            assert begun, found.stderr
            faults[begun] = [f"the process ended with {found.returncode}: {found.stderr[-500:]}"]
    return tried, faults


def rejects() -> Iterator[tuple[str, bytes, int, str]]:
    """Cases that are kept as files: name, container, exit code, and what the message says.

    One for each kind of message, a few of each record. Messages are those of this program: whoever makes the files
    again looks at the difference.
    """
    from crafted_run import Runner

    kinds: set[str] = set()
    count: Counter[tuple[str, str]] = Counter()
    with Runner() as runner:
        for number, (group, case) in enumerate((name, case) for name in GROUPS for case in cases(name)):
            if number % 5 or not case.code or "verify" not in case.seen or len(case.data) > 1000:
                continue
            # what libraries say may change
            message = re.sub("(damaged zstd frame|not a canonical value).*", r"\1", runner.message(case))
            kind = re.sub(r"-?[\d.]+|'.*'|\b[a-zA-Z]{4}\b", "", message)
            if kind not in kinds and count[group, case.record] < REJECTS:
                kinds.add(kind)
                count[group, case.record] += 1
                name = f"{group}-{case.record.lower()}-{count[group, case.record]}"
                yield name, case.data, case.code, message


REJECTS = 8
"""How many cases of a group and record are kept as files."""


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--write", nargs=2, metavar=("CASE", "FILE"))
    parser.add_argument("--run", choices=GROUPS)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--after", type=int, default=-1)
    options = parser.parse_args()
    if options.table:
        print(table())
    if options.write:
        name, path = options.write
        (data,) = (case.data for case in cases() if case.name == name)
        Path(path).write_bytes(data)
    if options.run:
        limit_memory()
        from crafted_run import run

        run(cases(options.run), options.every, options.after)
    if not (options.table or options.write or options.run):
        return failing()
    return 0


def failing() -> int:
    """Run everything, and print what is not as expected; return how much that is."""
    count = bad = 0
    for name in GROUPS:
        tried, faults = run_group(name)
        count += tried
        bad += len(faults)
        for case, found in faults.items():
            print(case, *found, sep="\n    ")
    print(f"{count} cases, {bad} not as expected")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
