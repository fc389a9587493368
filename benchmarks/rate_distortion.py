"""Rate and distortion of products of files, against the limit.

usage: python benchmarks/rate_distortion.py [--sets gauss,heavy] [--rates 1,2,3,4] [--lattice conv] [--coding entropy]
       [--shape 4096,1024] [--encode "--allocate column"] [--matmul "--dtype float64"]

For every set and rate it encodes both matrices with the command line, multiplies the two files, and prints the rate
of the files, the normalized error, its ratio to Γ(rate), the excess (bits beyond the rate at which Γ equals the
error, allowing for related operands), how far it is over the limit for columns of these energies, and the measured
error relative to the predicted one, with the standard deviation of one product.
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
                files = [path.with_suffix(".nqz") for path in paths]
                for path, file in zip(paths, files, strict=True):
                    options = ["--lattice", arguments.lattice, "--coding", arguments.coding]
                    run(
                        "encode",
                        path,
                        "-o",
                        file,
                        "-r",
                        rate,
                        "-f",
                        "-q",
                        *options,
                        *shlex.split(arguments.encode),
                    )
                out = Path(folder) / "out.npy"
                run("matmul", *files, "-o", out, "-f", "-q", *shlex.split(arguments.matmul))
                estimate = np.load(out).astype(np.float64)
                error, bits = truth.error(estimate), file_rate(files, a.size + b.size)
                with nqz.open(files[0]) as x, nqz.open(files[1]) as y:
                    predicted = nqz.predicted_error(x, y)
                excess = bits - gamma_inverse(truth.equivalent(error))
                over = truth.over(error, file_rate(files[:1], a.size), file_rate(files[1:], b.size))
                print(
                    f"{kind:9s} {rate:5.2f} {bits:8.4f} {error:10.4g} {error / gamma(bits):7.4f} {excess:7.4f} "
                    f"{over:7.4f} "
                    f"{error / predicted:9.4f} {deviation:7.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
