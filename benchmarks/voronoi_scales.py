"""Search the four scales of the Voronoi coding for each lattice and nesting ratio.

usage: python benchmarks/voronoi_scales.py [LATTICE ...] [--q 2,3,4,6,8,16] [--related 1024]

For Gaussian columns and cells c (q times the lattice scale in standard deviations) it prints the cells of least R + ½
log2 δ, the distance in bits from the rate-distortion function, where R counts log2 q and the entropy of the scale's
index and δ = d / (1 + d), d = E[û²] E[u²] / E[uû]² - 1 the relative noise. To d comes n b² / 2, the energy of what does
not cancel in a product of alike vectors of length n = --related coded twice, b = E⟨w, w'⟩ of their noises: scales that
clip are cheap and bend the estimate. The cells of the lattices in nqz/stages/lattices come from here.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np

from nqz import kernels
from nqz.stages.lattices import LATTICES

FINENESS = 64
STARTS = 16
ENTRIES = 3 << 16  # whole group rows, whatever the lattice
BEGIN = {
    "z": [3.4, 4.2, 5.2, 8.0],
    "d4": [2.8, 3.5, 4.2, 6.5],
    "e8": [2.4, 3.2, 3.8, 5.5],
    "leech": [1.3, 1.45, 1.65, 1.95],
}
"""Cells to begin the search with, by lattice; those of others are as large as those of e8."""


def evaluate(lattice, q: int, cells, u, related: float) -> tuple[float, float, float, float]:
    """Distance from the limit, rate, relative noise and b for the given cells."""
    row = [max(1, round(FINENESS * c)) for c in cells]
    if any(low >= high for low, high in pairwise(row)) or row[-1] > 4096:
        return np.inf, 0.0, 1.0, 1.0
    size = len(u)
    digits, beta = np.empty(size, np.uint16), np.empty(size // lattice.group, np.uint8)
    scale = np.array([256.0 * FINENESS * q], np.float32)
    choice = np.zeros(size // (lattice.group * 32), np.uint8)
    nest = kernels.Nest(lattice.number, np.array([q, q + 1], np.int32), np.array([row, row], np.int32))
    place = kernels.Place(lattice.number, size, 0, size, 32, 0)
    noises = []
    for key in (kernels.Key(1, 2), kernels.Key(3, 4)) if related else (kernels.Key(1, 2),):
        points = np.empty(size, np.int32)
        kernels.voronoi_encode(place, key, nest, choice, u, scale, digits, beta, points)
        noises.append(points * (float(np.mean(u * u)) / float(np.mean(u * points))) - u)
    share = np.bincount(beta, minlength=4) / len(beta)
    share = share[share > 0]
    rate = np.log2(q) - (share * np.log2(share)).sum() / lattice.group
    noise = float(np.mean(noises[0] ** 2)) / float(np.mean(u * u))
    bias = float(np.mean(noises[0] * noises[-1])) if related else 0.0
    spread = noise / np.sqrt(size)  # of the measurement
    counted = noise + related * max(bias * bias - spread * spread, 0.0) / 2.0
    return rate + 0.5 * np.log2(counted / (1.0 + counted)), rate, noise, bias


def search(lattice, q: int, start, u, related: float):
    """Coordinate descent over the four cells."""
    cells, step = list(start), start[0] / 6
    best = evaluate(lattice, q, cells, u, related)
    while step > start[0] / 60:
        improved = False
        for i in range(4):
            for sign in (1, -1):
                trial = list(cells)
                trial[i] += sign * step
                value = evaluate(lattice, q, trial, u, related)
                if value[0] < best[0] - 1e-5:
                    best, cells, improved = value, trial, True
        if not improved:
            step /= 2
    return cells, best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "lattices", nargs="*", default=[name for name, lattice in LATTICES.items() if lattice.voronoi]
    )
    parser.add_argument("--q", default="2,3,4,6,8,16,64")
    parser.add_argument("--related", type=float, default=1024.0)
    arguments = parser.parse_args()
    u = np.random.default_rng(7).standard_normal(ENTRIES).astype(np.float32)
    for name in arguments.lattices:
        common = BEGIN.get(name) or [c * LATTICES["e8"].side / LATTICES[name].side for c in BEGIN["e8"]]
        cells = common
        for q in map(int, arguments.q.split(",")):
            # from several places: there are local minima, some with scales that are never used
            rng = np.random.default_rng(8)
            near = [np.sort(np.array(common) * rng.uniform(0.85, 1.2, 4)) for _ in range(STARTS)]
            starts = [cells, common, *near]
            found = [search(LATTICES[name], q, start, u, arguments.related) for start in starts]
            cells, (distance, rate, noise, bias) = min(found, key=lambda result: result[1][0])
            w = 1 / (1 + noise)
            print(
                f"{name} q={q}: cells {tuple(round(float(c), 2) for c in cells)} rate {rate:.4f} noise {noise:.3g} "
                f"b {bias:.1e} bits over R(D) {distance:.4f} w^2/R {w * w / rate:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
