"""Rate and distortion of products of files, against the limit.

usage: python benchmarks/rate_distortion.py [--sets gauss,heavy] [--rates 1,2,3,4] [--lattice conv] [--coding entropy]
       [--shape 4096,1024] [--seeds 1] [--encode "--allocate column"] [--matmul "--dtype float64"]

For every set and rate it encodes both matrices with the command line, multiplies the two files, and prints the rate
of the files, the normalized error, its ratio to Γ(rate), the excess (bits beyond the rate at which Γ equals the
error, allowing for related operands), how far it is over the limit for columns of these energies, and the measured
error relative to the predicted one, with the standard deviation of one product: as it is expected for products of many
columns alike, or, of several seeds, whose means are printed, as it is.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path

import numpy as np

import nqz
from common import SETS, Truth, file_rate, gamma, gamma_inverse, make, save
from common import nqz as run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rates", default="1,2,3,4")
    parser.add_argument("--lattice", default="conv")
    parser.add_argument("--coding", default="entropy")
    parser.add_argument("--shape", default="4096,1024")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--encode", default="")
    parser.add_argument("--matmul", default="--dtype float64")
    arguments = parser.parse_args()
    n, columns = map(int, arguments.shape.split(","))
    print(f"# {arguments.lattice} {arguments.coding}, {n} x {columns} pairs, float32")
    print(
        f"{'set':9s} {'R':>5s} {'rate':>8s} {'error':>10s} {'/gamma':>7s} {'excess':>7s} "
        f"{'over':>7s} {'meas/pred':>9s} {'sd':>7s}"
    )
    for kind in arguments.sets.split(","):
        a, b = make(kind, n, columns)
        truth = Truth(a, b)
        proportional = arguments.coding == "voronoi" or "column" in arguments.encode
        deviation = truth.deviation("column" if proportional else "matrix")
        with tempfile.TemporaryDirectory() as folder:
            paths = save(Path(folder), a, b)
            for rate in map(float, arguments.rates.split(",")):
                found = [
                    measured(arguments, truth, paths, rate, seed, (a.size, b.size))
                    for seed in range(arguments.seeds)
                ]
                bits, error, excess, over, ratio = np.mean(found, axis=0)
                spread = np.std([row[-1] for row in found], ddof=1) if len(found) > 1 else deviation
                print(
                    f"{kind:9s} {rate:5.2f} {bits:8.4f} {error:10.4g} {error / gamma(bits):7.4f} {excess:7.4f} "
                    f"{over:7.4f} {ratio:9.4f} {spread:7.4f}",
                    flush=True,
                )


def measured(arguments, truth, paths, rate, seed, entries) -> tuple[float, ...]:
    """Bits, error, excess, bits over the limit, and measured over predicted error."""
    files = [path.with_suffix(".nqz") for path in paths]
    own = ["--lattice", arguments.lattice, "--coding", arguments.coding, "--seed", seed]
    own += shlex.split(arguments.encode)
    for path, file in zip(paths, files, strict=True):
        run("encode", path, "-o", file, "-r", rate, "-f", "-q", *own)
    out = paths[0].parent / "out.npy"
    run("matmul", *files, "-o", out, "-f", "-q", *shlex.split(arguments.matmul))
    error, bits = truth.error(np.load(out).astype(np.float64)), file_rate(files, sum(entries))
    with nqz.open(files[0]) as x, nqz.open(files[1]) as y:
        predicted = nqz.predicted_error(x, y)
    excess = bits - gamma_inverse(truth.equivalent(error))
    rates = (file_rate([file], count) for file, count in zip(files, entries, strict=True))
    return bits, error, excess, truth.over(error, *rates), error / predicted


if __name__ == "__main__":
    main()
