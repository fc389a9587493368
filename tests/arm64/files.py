"""Print the SHA-256 of files that are encoded, decoded and multiplied: they must be the same on every machine.

The matrices are made of integers by exact operations, since logarithms and the like need not be the same everywhere.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from nqz.cli import run
from nqz.stages.codings import CODINGS
from nqz.stages.lattices import LATTICES

ROWS, COLUMNS = 776, 9


def matrix(seed: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Nearly Gaussian entries: sums of twelve integers, in columns of several scales, with means."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(-(2**20), 2**20, size=(12, rows, columns)).sum(axis=0)
    scale = np.ldexp(1.0, rng.integers(-24, -16, size=columns))
    return draws * scale + rng.integers(-2, 3, size=columns)


def call(*arguments: object) -> None:
    """Run a command, which must succeed."""
    code = run([str(argument) for argument in arguments])
    if code:
        sys.exit(f"nqz {' '.join(map(str, arguments))}: exit status {code}")


def show(path: Path, what: str) -> None:
    """Print the digest of a file."""
    print(hashlib.sha256(path.read_bytes()).hexdigest(), what, flush=True)


def through(work: Path, source: Path, what: str, *options: str) -> Path:
    """Encode and decode with both estimators; return the encoded file."""
    coded, back = work / "coded.nqz", work / ("back" + source.suffix)
    call("encode", source, "-o", coded, "-f", "-q", *options)
    show(coded, f"encode {what}")
    for estimator in ("mmse", "unbiased"):
        call("decode", coded, "-o", back, "-f", "-q", "--estimator", estimator)
        show(back, f"decode {what}, {estimator}")
    return coded


def main() -> None:
    """Encode, decode and multiply."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        a, b, product = work / "a.npy", work / "b.npy", work / "product.npy"
        np.save(a, matrix(1).astype(np.float32))
        np.save(b, matrix(2).astype(np.float32))
        for lattice in LATTICES.values():
            chosen = (
                (lattice.family, "--states", str(lattice.states)) if lattice.states else (lattice.family,)
            )
            for coding in (name for name, coding in CODINGS.items() if coding.takes(lattice)):
                rates = ("0.7", "3") if coding == "entropy" else ("3",)
                for rate in rates:
                    options = ("-r", rate, "--lattice", *chosen, "--coding", coding)
                    what = f"{' '.join(chosen)}, {coding}, rate {rate}"
                    left = through(work, a, what, *options).rename(work / "left.nqz")
                    right = through(work, b, what + ", b", *options)
                    call("matmul", left, right, "-o", product, "-f", "-q", "--dtype", "float64")
                    show(product, f"matmul {what}")
        # Lengths that are rotated in other ways, the other axis, other allocations.
        for rows, columns in ((64, 40), (96, 40), (1024, 5), (4097, 3), (8192, 2), (1000, 17)):
            np.save(work / "c.npy", matrix(3, rows, columns).astype(np.float32))
            through(work, work / "c.npy", f"{rows} x {columns}", "-r", "2")
            if rows < 1000:
                through(work, work / "c.npy", f"{rows} x {columns}, axis 1", "-r", "4", "--axis", "1")
        through(work, a, "allocate column", "-r", "2", "--allocate", "column")
        through(work, a, "kappa 0.5, no means", "-r", "2", "--kappa", "0.5", "--no-center")
        for dtype in (np.float16, np.float32, np.float64):
            np.save(work / "d.npy", np.asfortranarray(matrix(4, 300, 33)).astype(dtype))
            through(work, work / "d.npy", np.dtype(dtype).name, "-r", "3")
        entries = matrix(5, 256, 20)
        tensors = {f"w.{t.__name__}": entries.astype(t) for t in (np.float16, np.float32, ml_dtypes.bfloat16)}
        tensors["steps"] = np.arange(7)
        save_file(tensors, work / "model.safetensors")
        coded = through(work, work / "model.safetensors", "safetensors", "-r", "3")
        call("matmul", coded, coded, "-o", work / "product.safetensors", "-f", "-q")
        show(work / "product.safetensors", "matmul safetensors")


if __name__ == "__main__":
    main()
