"""Count the instructions of kernels on arm64, an entry: what a quiet machine would time, on any machine.

Run on this machine, it runs itself under emulation, with the plugin instructions.cpp, for every build and
implementation that it is given as PACKAGE=IMPLEMENTATION, and prints a table.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial


def work(implementation: str) -> Iterator[tuple[str, float, Callable[[], object]]]:
    """Yield what is counted: a name, by how much to divide, and a call of a kernel of `implementation`."""
    import numpy as np

    from nqz import kernels
    from nqz.stages.lattices import LATTICES

    native = kernels.implementations()[implementation]
    rng = np.random.default_rng(1)
    key = native.Key(1, 2)

    for n in (1024, 4096, 96):
        u = rng.integers(-1000, 1000, size=(32, n)).astype(np.float32)
        signs = rng.integers(0, 2**63, size=(2, -(-n // 64)), dtype=np.uint64)
        yield f"rotation, n = {n}: an entry", u.size, partial(native.rotate, u, signs, False)

    def quantize(lattice: int) -> Callable[[], object]:
        u = rng.integers(-1000, 1000, size=32 * 24 * 64).astype(np.float32) / np.float32(300)
        scale, out = np.full(1, 256, dtype=np.float32), np.empty(u.size, dtype=np.int32)
        place = native.Place(lattice=lattice, count=u.size, start=0, m=u.size, lanes=32, counter=0)
        return partial(native.dither_quantize, place, key, u, scale, out)

    for memory in (2, 4, 7, 12):
        call = quantize(32 + memory)
        states = 32 * 24 * 64 / 2 * 2**memory
        yield f"Viterbi, {2**memory} states: a state of a step", states, call
    for lattice in LATTICES.values():
        if not lattice.states:
            yield f"nearest point of {lattice.name}: an entry", 32 * 24 * 64, quantize(lattice.number)

    for dtype in (np.int8, np.int16):
        a, b = (rng.integers(-128, 128, size=(rows, 4096)).astype(dtype) for rows in (240, 128))
        out = np.empty((len(a), len(b)), dtype=np.int32)
        products = len(a) * len(b) * 4096
        name = f"product of {np.dtype(dtype).name}: a multiplication"
        yield name, products, partial(native.integer_product, a, b, out)


def mark(number: int) -> None:
    """Have the plugin print the instructions since the last mark."""
    with contextlib.suppress(OSError):
        os.close(-1000 - number)


def count(implementation: str) -> None:
    """Run everything, marked; print names and divisors."""
    for name, divisor, call in work(implementation):
        call()
        mark(0)
        call()
        mark(1)
        print(f"{divisor}\t{name}", flush=True)


def counted(python: str, plugin: str, package: str, implementation: str) -> dict[str, float]:
    """Run one build under emulation; return the instructions by name."""
    done = subprocess.run(
        [python, __file__, implementation],
        env={**os.environ, "NQZ_PACKAGE": package, "NQZ_EMULATE": f"-plugin {plugin}"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    marks = [line.split() for line in done.stderr.splitlines()]
    counts = [int(instructions) for number, instructions in marks if number == "1"]
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: n / float(divisor) for n, (divisor, name) in zip(counts, lines, strict=True)}


def main() -> None:
    """Print the table, or do the work of one column."""
    if len(sys.argv) == 2:
        count(sys.argv[1])
        return
    python, plugin, *columns = sys.argv[1:]
    tables = [counted(python, plugin, *column.split("=")) for column in columns]
    print(f"{'':44}" + "".join(f"{column.replace('=', ' '):>26}" for column in columns))
    for name in tables[0]:
        first = tables[0][name]
        rest = "".join(f"{table[name]:17.3f}{f'(/{table[name] / first:.1f})':>9}" for table in tables[1:])
        print(f"{name:44}{first:26.3f}{rest}")


if __name__ == "__main__":
    main()
