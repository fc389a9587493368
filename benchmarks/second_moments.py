"""Measure the second moment of every lattice: mean square quantization error an entry, unit one integer step.

usage: python benchmarks/second_moments.py [LATTICE ...] [--samples N] [--seed S]

Quantizes uniform samples and prints mean, standard error (from the means of independent lanes) and granular
gain over Z in decibels. The moments of the convolutional lattices in nqz/stages/lattices come from here:

    python benchmarks/second_moments.py --samples 100000000 --seed 1

(with chunks of 2^20; those of Leech must be whole group rows).
"""

from __future__ import annotations

import argparse

import numpy as np

from nqz import kernels
from nqz.stages.lattices import LATTICES

CHUNK, LANES = 1365 * 768, 32  # below 2^20, and whole group rows whatever the lattice


def measure(lattice, samples: int, seed: int) -> tuple[float, float, int]:
    """Mean square error, its standard error, and the number of samples (whole chunks)."""
    rng = np.random.default_rng([seed, lattice.number])
    means = []
    scale = np.full(1, 256, np.float32)
    out = np.empty(CHUNK, np.int32)
    for chunk in range(-(-samples // CHUNK)):
        u = rng.random(CHUNK, dtype=np.float32)
        u *= 16
        place = kernels.Place(lattice.number, CHUNK, 0, CHUNK, LANES, chunk << 32)
        kernels.dither_quantize(place, kernels.Key(seed, lattice.number), u, scale, out)
        error = out.astype(np.float32)
        error *= np.float32(1 / lattice.fine)
        error -= u
        means.append(np.square(error, out=error).reshape(-1, LANES).mean(axis=0, dtype=np.float64))
    lanes = np.concatenate(means)
    return float(lanes.mean()), float(lanes.std(ddof=1) / np.sqrt(lanes.size)), CHUNK * len(means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ", ".join(LATTICES)
    parser.add_argument("lattices", nargs="*", metavar="LATTICE", help=f"of {known} (default: all)")
    parser.add_argument("--samples", type=int, default=20_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.lattices) - set(LATTICES)
    if unknown:
        parser.error(f"no such lattice: {', '.join(sorted(unknown))}")
    print(f"kernels {kernels.name}, seed {arguments.seed}")
    print("lattice      samples     moment  std. error  table     ratio    gain dB")
    for name in arguments.lattices or LATTICES:
        lattice = LATTICES[name]
        moment, error, samples = measure(lattice, arguments.samples, arguments.seed)
        gain = 10 * np.log10(lattice.side**2 / 12 / moment)
        print(
            f"{name:9s} {samples:10d}  {moment:.6f}    {error:.6f}  {lattice.second_moment:.6f}"
            f"  {moment / lattice.second_moment:.5f}  {gain:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
