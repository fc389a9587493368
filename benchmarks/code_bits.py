"""Code bits of a convolutional lattice at low rate: what looking ahead saves, and what it costs in speed.

usage: python benchmarks/code_bits.py [--lattice conv128] [--entries 262144] [--seed S]

Gaussian coordinates of just the variance of a class are quantized. Bits are the ideal code length of the inputs of the
real paths, -log2 of their chances, by the weights of the branches of a step and of all paths over the L steps that
follow; "all" is the backward recursion over all that follow. Speeds are those of the kernels' entropy decoder on one
thread, with chances of branches alone and looking 3 steps ahead.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from nqz import kernels
from nqz.ground.units import FIXED_POINT
from nqz.reference.lattices import LATTICES as REFERENCE
from nqz.stages.codings import tables
from nqz.stages.lattices import LATTICES

LANES = 32
STEPS = (0, 1, 2, 3, 4, 6)


def quantized(lattice, index, entries, seed):
    """Points of a class and the dither levels."""
    energy = max(0.0, tables.class_variance(index) / lattice.fine**2 - lattice.second_moment)
    x = np.random.default_rng([seed, index]).standard_normal(entries) * np.sqrt(energy)
    points = np.empty(entries, np.int32)
    place, key = kernels.Place(lattice.number, entries, 0, entries, LANES, 0), kernels.Key(seed, index)
    kernels.dither_quantize(place, key, x.astype(np.float32), np.array([FIXED_POINT], np.float32), points)
    return points, kernels.levels(key, 0, entries).astype(np.int64), place, key


def path_bits(lattice, index, points, levels):
    """Bits an entry of the inputs of the path, by how far their chances look ahead."""
    code = REFERENCE[lattice.number]
    states, mask = lattice.states, lattice.states - 1
    k = 16 * np.arange(-60, 61)[:, None] + np.arange(16)
    mass = np.exp(-(k * k) / (2 * tables.class_variance(index))).sum(axis=0)
    context = (lattice.fine * np.arange(2) - levels[:, None]) & 15
    by_bit = mass[context].reshape(-1, 2, LANES, 2)  # step, point, lane, bit
    weight = (by_bit[:, 0, :, :, None] * by_bit[:, 1, :, None, :]).reshape(len(by_bit), LANES, 4)
    index_of = code.index_of((points + levels).reshape(-1, 2, LANES).swapaxes(1, 2) // lattice.fine)
    state = np.zeros_like(index_of)
    for t in range(1, len(state)):
        state[t] = code.next_state(state[t - 1], index_of[t - 1])

    def of_branch(weights, registers):
        return np.take_along_axis(weights, code.label[registers][..., None], axis=-1)[..., 0]

    def bits(zero, one):
        odds = np.where(index_of == 1, zero / one, one / zero)
        return float(np.log2(1 + odds).sum() / points.size)

    def ahead(register, step, left):
        """The weight of a branch with all paths over `left` steps behind it."""
        shifted = np.concatenate([weight[step:], np.ones((step, LANES, 4))])
        here = of_branch(shifted, register)
        if not left:
            return here
        after = (register & mask) << 1
        return here * (ahead(after, step + 1, left - 1) + ahead(after | 1, step + 1, left - 1))

    found = [bits(ahead(state << 1, 0, left), ahead(state << 1 | 1, 0, left)) for left in STEPS]
    later, all_states = np.ones((states, LANES)), np.arange(states)
    zero, one = np.empty_like(weight[..., 0]), np.empty_like(weight[..., 0])
    lane = np.arange(LANES)
    for t in reversed(range(len(weight))):
        branch = [
            weight[t].T[code.label[all_states << 1 | u]] * later[all_states << 1 & mask | u] for u in (0, 1)
        ]
        zero[t], one[t] = (b[state[t], lane] for b in branch)
        later = branch[0] + branch[1]
        later /= later.sum(axis=0)
    return [*found, bits(zero, one)]


def speed(lattice, index, points, place, key, kind):
    """Entries a second of the entropy decoder, best of several, and bits an entry."""
    made, column = tables.tables(lattice, np.array([index])), np.zeros(1, np.int32)
    built = kernels.Tables(
        lattice.number,
        made.half,
        made.raw,
        made.rice,
        made.offset,
        made.cumulative,
        made.weight,
        np.full(1, kind, np.uint8),
        made.last,
    )
    streams = kernels.entropy_encode(place, key, built, column, points)
    out, times = np.empty_like(points), []
    for _ in range(20):
        start = time.perf_counter()
        kernels.entropy_decode(place, key, built, column, streams, out)
        times.append(time.perf_counter() - start)
    assert (out == points).all()
    return points.size / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattice", default="conv128")
    parser.add_argument("--entries", type=int, default=1 << 18)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    lattice = LATTICES[arguments.lattice]
    print(
        f"{lattice.name}, {arguments.entries} entries, kernels {kernels.name}; bits an entry of the code bits"
    )
    print(
        "class  bits   | "
        + " ".join(f"  L={left}  " for left in STEPS)
        + "  all   | decoding, million a second"
    )
    for index in range(24, 42):
        points, levels, place, key = quantized(lattice, index, arguments.entries, arguments.seed)
        found = path_bits(lattice, index, points, levels)
        alone, looking = (speed(lattice, index, points, place, key, kind) / 1e6 for kind in (1, 2))
        print(
            f"{index:5d}  {tables.own_bits(lattice, index):.4f} | "
            + " ".join(f"{bits:.4f}" for bits in found)
            + f" | {alone:4.0f} {looking:4.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
