"""Rates across tensors: what is left of a trained model's answers, by how its matrices share the bits.

usage: python benchmarks/across.py [--models minilm,magika] [--rates 4,3,2] [--across uniform,size] [--seeds 3]

Every file is encoded and decoded by the command line, once for each --seed. Prints the bits an entry of the matrices,
everything of theirs counted, the mean and the standard deviation over the seeds of the mean closeness to the original's
answers (1: the same), and the mean over the seeds of the worst one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from common import nqz
from judges import JUDGES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=",".join(JUDGES))
    parser.add_argument("--rates", default="4,3,2")
    parser.add_argument("--across", default="uniform,size")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--estimator", default="mmse", choices=["mmse", "unbiased"])
    arguments = parser.parse_args()
    for model in arguments.models.split(","):
        judge = JUDGES[model]()
        print(f"# {judge.name}; {len(judge.inputs)} inputs, {arguments.seeds} seeds\n")
        print("| R | across | bits per entry | mean | sd | worst |\n|---|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model.safetensors"
            judge.write(source)
            originals = judge.answers(load_file(source))
            for rate in arguments.rates.split(","):
                for across in arguments.across.split(","):
                    found = [
                        score(judge, originals, source, rate, across, seed, arguments.estimator)
                        for seed in range(arguments.seeds)
                    ]
                    bits, mean, worst = np.array(found).T
                    print(
                        f"| {rate} | {across} | {bits.mean():.4f} | {mean.mean():.4f} | {mean.std():.4f} "
                        f"| {worst.mean():.4f} |",
                        flush=True,
                    )
        print()


def score(judge, originals, source: Path, rate: str, across: str, seed: int, estimator: str):
    """Bits an entry of the matrices, and the mean and the worst closeness of answers."""
    coded, back, report = (source.with_name(name) for name in ("m.nqz", "b.safetensors", "report.json"))
    options = ["-r", rate, "--across", across, "--seed", seed, "--axis", 1, f"--json={report}"]
    nqz("encode", source, "-o", coded, *options, "-f", "-q")
    nqz("decode", coded, "-o", back, "--estimator", estimator, "-f", "-q")
    closeness = judge.closeness(judge.answers(load_file(back)), originals)
    done = json.loads(report.read_text())
    return done["rate"], closeness.mean(), closeness.min()


if __name__ == "__main__":
    main()
