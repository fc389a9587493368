"""Bits an entry that the entropy coder takes where little is coded, by measurement: `Lattice.low_bits`.

usage: python benchmarks/low_classes.py [--lattice conv128,e8] [--entries 4718592] [--check]

Gaussian coordinates are coded in each of the lowest classes of a lattice, with the kernels that files are coded with.
What a table costs is linear in the second moment of what it codes, so the bits are those at the class's own variance
but for chance in what the code bits and dither add. Without --check it prints the numbers anew.
"""

from __future__ import annotations

import argparse

import numpy as np

from nqz import kernels
from nqz.ground.arithmetic import round_log2
from nqz.stages.codings import tables
from nqz.stages.lattices import LATTICES
from nqz.stages.scale import CLASSES

ABOVE = 2 * CLASSES  # classes that are measured where no code bits are modelled
CHUNK, LANES = 24 << 15, 32  # whole groups of every lattice
HALF_LOG2_E = 0.7213475204444817


def classes(lattice):
    low = int(round_log2(lattice.fine_moment, CLASSES))
    return range(low, lattice.modelled_below or low + ABOVE)


def bits(lattice, index, entries):
    """Bits an entry of a class, at its own variance."""
    variance = tables.class_variance(index)
    sigma = np.sqrt(max(variance - lattice.fine_moment, 0.0)) / lattice.fine
    found, made = [], tables.tables(lattice, np.array([index]))
    numbers = made.of_columns(np.array([index]))
    for number in range(max(1, entries // CHUNK)):
        rng = np.random.default_rng([number, index])
        u = (rng.standard_normal(CHUNK) * sigma).astype(np.float32)
        place = kernels.Place(lattice.number, CHUNK, 0, CHUNK, LANES, number << 32)
        key, points = kernels.Key(11, 12), np.empty(CHUNK, np.int32)
        kernels.dither_quantize(place, key, u, np.array([256.0], np.float32), points)
        streams = kernels.entropy_encode(place, key, made.bound, numbers, points)
        whole = (
            8.0 * sum(stream.nbytes for stream in streams) - 16.0 * LANES
        )  # states hold half of their bits
        square = float(np.mean(np.square(points, dtype=np.float64)))
        found.append(whole / CHUNK - (square / variance - 1.0) * HALF_LOG2_E)
    return float(np.mean(found)), float(np.std(found) / np.sqrt(max(1, len(found) - 1)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lattice", default=",".join(LATTICES))
    parser.add_argument("--entries", type=int, default=6 * CHUNK)
    parser.add_argument("--check", action="store_true", help="compare with what the lattice has")
    arguments = parser.parse_args()
    for name in arguments.lattice.split(","):
        lattice = LATTICES[name]
        entries = arguments.entries // (4 if (lattice.states or 0) > 256 else 1)
        found = {index: bits(lattice, index, entries) for index in classes(lattice)}
        if arguments.check:
            kept = {index: tables.own_bits(lattice, index) for index in found}
            worst = max(found, key=lambda index: abs(found[index][0] - kept[index]))
            print(
                f"{name:9s} largest difference {found[worst][0] - kept[worst]:+.5f} bit, class {worst}",
                flush=True,
            )
            continue
        values = [f"{value:.4f}" for value, _ in found.values()]
        rows = [", ".join(values[i : i + 12]) for i in range(0, len(values), 12)]
        print(f'    "{name}": (', *(f"        {row}," for row in rows), "    ),", sep="\n", flush=True)


if __name__ == "__main__":
    main()
