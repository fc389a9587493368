"""Products of a matrix in the trellis coding with a few vectors, against NumPy's float32 product in memory.

usage: python benchmarks/few_vectors.py [--rates 2,3,4] [--vectors 1,4,16,64] [--length 4096] [--columns 65536]
       [--runs 9] [--threads 2] [--processor] [--commands]

Resident: the bytes of the chunks are in memory, as a resident operand has them, and `kernels.ring_products` multiplies
them, chunk by chunk on so many threads. File: `nqz.matmul` of a container in memory, which checks every record, and
scales the result. NumPy multiplies the float32 matrix in memory, A.T @ x, with as many threads. The three are run in
turn, and what comes of the least time of each is printed, in 10⁹ entries of the matrix a second, with the bytes of it
that are read in GB/s: other work on the machine only adds to times. With `--processor`, times are those of the
processor, for one thread. With `--commands`, whole commands from a warm page cache: `nqz matmul a.nqz x.npy -o y.npy`
and `np.save(np.load(a).T @ np.load(x))`, seconds.

Matrices are Gaussian. To spare the time of encoding, 4096 columns are coded, and their chunks multiplied again and
again; they are larger than what caches hold. The rate has 0.01 more for norms and slopes. NQZ_KERNELS chooses the
kernels; the environment's choice of OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, if any, is taken out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from common import nqz
from nqz import api, kernels
from nqz.ground.threads import Workers
from nqz.product.few import SHORT

STEP = 4096  # columns of a file that is measured with `nqz.matmul` at a time


class Resident:
    """The chunks of a container, held as they are, so many times."""

    def __init__(self, data: bytes, repeat: int):
        self.pieces: list[Any] = []
        opened: Any = api.open(data)[""]
        matrix = opened._matrix
        for panel in matrix.panels:
            for chunk in panel.panel.chunks:
                payload = matrix.reader.read(matrix.panels.chunk(chunk.number), "CHNK")
                self.pieces.append((panel, chunk, np.frombuffer(payload, np.uint8)))
        self.pieces = [
            (panel, chunk, part.copy()) for _ in range(repeat) for panel, chunk, part in self.pieces
        ]
        self.nbytes = sum(len(part) for _, _, part in self.pieces)

    def multiply(self, vectors: np.ndarray, pool: Workers) -> None:
        def one(piece: Any) -> None:
            panel, chunk, part = piece
            panel.coder.multiply_chunk(chunk, panel.opened.coded, (part,), vectors)

        for _ in pool.map(one, self.pieces):
            pass


CLOCK = time.perf_counter


def seconds(function: Any) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def in_turn(runs: int, *functions: Any) -> list[list[float]]:
    """Seconds of each function, run by run, after a warm-up."""
    return [
        list(column)
        for column in zip(*[[seconds(f) for f in functions] for _ in range(runs + 1)][1:], strict=True)
    ]


def blas() -> str:
    return ", ".join(
        f"{x['internal_api']} {x['version']} ({x.get('architecture', '?')})" for x in threadpool_info()
    )


def measure(arguments: argparse.Namespace, rate: float) -> None:
    """Print what there is to say of one rate."""
    rng = np.random.default_rng(1)
    n, columns, threads = arguments.length, arguments.columns, arguments.threads
    width = min(STEP, columns)
    repeat = columns // width
    piece = rng.standard_normal((n, width), dtype=np.float32)
    data = api.encode(piece, rate=rate + 0.01, coding="trellis", center=False)
    resident, opened = Resident(data, repeat), api.open(data)
    matrix = np.tile(piece, repeat)  # rows of `columns` entries
    pool = Workers(threads)
    with threadpool_limits(threads):
        for vectors in map(int, arguments.vectors.split(",")):
            x = rng.standard_normal((n, vectors), dtype=np.float32)
            short = rng.integers(-SHORT, SHORT + 1, (vectors, n)).astype(np.int16)
            ours, whole, theirs = in_turn(
                arguments.runs,
                lambda short=short: resident.multiply(short, pool),
                lambda x=x: api.matmul(opened, x, threads=threads),
                lambda x=x: matrix.T @ x,
            )
            least = [min(times) for times in (ours, whole, theirs)]
            entries = [n * w for w in (columns, width, columns)]
            speed = [count / time / 1e9 for count, time in zip(entries, least, strict=True)]
            read = resident.nbytes / least[0] / 1e9, matrix.nbytes / least[2] / 1e9
            ratio = least[2] / least[0]
            values = rate, vectors, speed[0], read[0], speed[1], speed[2], read[1], ratio
            print("{:4g} {:7d} {:9.2f} {:5.1f} {:8.2f} {:8.2f} {:5.1f} {:6.2f}".format(*values), flush=True)
    pool.close()


def commands(arguments: argparse.Namespace, rate: float, folder: Path) -> None:
    """Print the times of whole commands."""
    rng = np.random.default_rng(2)
    a, x, y, file = (folder / name for name in ("a.npy", "x.npy", "y.npy", "a.nqz"))
    np.save(
        a, np.tile(rng.standard_normal((arguments.length, STEP), dtype=np.float32), arguments.columns // STEP)
    )
    nqz("encode", a, "-o", file, "--coding", "trellis", "-r", rate + 0.01, "--no-center", "-q", "-f")
    code = f"import numpy as np; np.save({str(y)!r}, np.load({str(a)!r}).T @ np.load({str(x)!r}))"
    for count in (1, 16):
        np.save(
            x,
            rng.standard_normal(
                (arguments.length, count) if count > 1 else arguments.length, dtype=np.float32
            ),
        )
        ours, theirs = in_turn(
            arguments.runs,
            lambda: nqz("matmul", file, x, "-o", y, "-f", "-q"),
            lambda: subprocess.run([sys.executable, "-c", code], check=True),
        )
        print(
            f"{rate:4g} {count:7d} {min(ours):10.3f} {min(theirs):7.3f} {min(theirs) / min(ours):6.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rates", default="2,3,4")
    parser.add_argument("--vectors", default="1,4,16,64")
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=65536)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--commands", action="store_true")
    arguments = parser.parse_args()
    if arguments.processor:
        globals()["CLOCK"], arguments.threads = time.process_time, 1
    rates = [float(rate) for rate in arguments.rates.split(",")]
    print(f"# {kernels.name}; NumPy {np.__version__}, {blas()}; {arguments.threads} threads")
    print(
        f"# {arguments.length} x {arguments.columns}; 10^9 entries/s, the best of {arguments.runs} runs in turn"
    )
    if not arguments.commands:
        print("rate vectors  resident  GB/s     file    NumPy  GB/s  ratio (resident to NumPy)")
        for rate in rates:
            measure(arguments, rate)
        return
    print("rate vectors nqz matmul   NumPy  ratio   seconds, whole commands, warm page cache")
    with tempfile.TemporaryDirectory() as folder:
        for rate in rates:
            commands(arguments, rate, Path(folder))


if __name__ == "__main__":
    main()
