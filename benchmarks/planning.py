"""What planning takes, and comparing a code with the tensor itself, of the processor time of encoding many matrices.

usage: python benchmarks/planning.py [--count 24] [--shape 512,768] [--rate 4]

One thread, float32, least of three runs in turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from nqz.commands import encode as encoding
from nqz.commands import rounded, smaller
from nqz.commands.encode import encode_parts
from nqz.commands.options import EncodeOptions
from nqz.commands.planning import plan_parts
from nqz.files.access import MemoryAccess
from nqz.files.source import open_source
from nqz.ground.threads import Workers
from nqz.plan import side

SPENT: dict[str, float] = {}


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose processor time is added up."""

    def call(*arguments: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments)
        finally:
            SPENT[name] = SPENT.get(name, 0.0) + time.process_time() - start

    return call


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--shape", default="512,768")
    parser.add_argument("--rate", type=float, default=4.0)
    arguments = parser.parse_args()
    shape, rng = tuple(map(int, arguments.shape.split(","))), np.random.default_rng(0)
    tensors = {
        f"t{i}": (rng.standard_normal(shape) * np.exp(0.3 * rng.standard_normal(shape[1]))).astype(np.float32)
        for i in range(arguments.count)
    }
    comparing = timed("comparing", smaller.exact_lengths)
    setattr(smaller, "exact_lengths", comparing)  # noqa: B010
    setattr(encoding, "exact_lengths", comparing)  # noqa: B010
    setattr(rounded, "rounding", timed("norms", side.rounding))  # noqa: B010
    rate, error = EncodeOptions(rate=arguments.rate), EncodeOptions(error=2.0 * 4.0**-arguments.rate)
    pool = Workers(1)
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, Path(folder) / "x.safetensors")
        with open_source(Path(folder) / "x.safetensors") as source:
            runs: dict[str, Callable[[], object]] = {
                "encode": lambda: encode_parts([source], [MemoryAccess(bytearray())], rate, pool),
                "--dry-run": lambda: plan_parts([source], rate, pool),
                "--dry-run, --error": lambda: plan_parts([source], error, pool),
            }
            runs["encode"]()
            found: dict[str, list[tuple[float, dict[str, float]]]] = {name: [] for name in runs}
            for _ in range(3):
                for name, run in runs.items():
                    SPENT.clear()
                    timed("all", run)()
                    found[name].append((SPENT["all"], dict(SPENT)))
    whole = min(found["encode"], key=lambda one: one[0])[0]
    for name, several in found.items():
        best, parts = min(several, key=lambda one: one[0])
        each = ", ".join(
            f"{part} {1e3 * parts.get(part, 0.0) / arguments.count:.2f} ms ({100 * parts.get(part, 0.0) / whole:.1f} %)"
            for part in ("comparing", "norms")
        )
        print(
            f"{name}: {1e3 * best / arguments.count:.2f} ms a matrix ({100 * best / whole:.0f} % of encode); {each}"
        )


if __name__ == "__main__":
    main()
