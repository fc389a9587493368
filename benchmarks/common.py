"""What the benchmarks share: recorded test sets, the score of an estimate against the limit, running the command line.

Normalizations are those of the documentation: errors of a product relative to ‖Ā‖²‖B̄‖²/n, columns centered.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from nqz.plan.profile import Limit, Profile

SEED = 20261122
R_STAR = 0.9063232
SETS = ("gauss", "heavy", "onehot", "offset", "lowrank", "uniform", "laplace", "signs", "outlier", "related")


def make(kind: str, n: int = 4096, columns: int = 1024, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """A pair of float32 matrices of shape (n, columns) of the named kind."""
    rng = np.random.default_rng(seed)
    shape = (n, columns)

    def place(x, values):
        x[rng.integers(0, n, columns), np.arange(columns)] = values() if callable(values) else values
        return x

    kinds = {
        "gauss": lambda: rng.standard_normal(shape),
        "heavy": lambda: rng.standard_t(3, shape) * rng.lognormal(0, 1, columns),
        "onehot": lambda: place(np.zeros(shape), lambda: rng.lognormal(0, 1, columns)),
        "offset": lambda: 1 + 1e-3 * rng.standard_normal(shape),
        "lowrank": lambda: (
            rng.standard_normal((n, 8)) @ rng.standard_normal((8, columns)) + 0.1 * rng.standard_normal(shape)
        ),
        "uniform": lambda: rng.random(shape),
        "laplace": lambda: rng.laplace(size=shape),
        "signs": lambda: rng.choice([-1.0, 1.0], shape),
        "outlier": lambda: place(rng.standard_normal(shape), 1e3),
    }
    if kind == "related":
        a = rng.standard_normal(shape)
        pair = a, 0.6 * a + 0.8 * rng.standard_normal(shape)
    else:
        pair = kinds[kind](), kinds[kind]()
    return pair[0].astype(np.float32), pair[1].astype(np.float32)


def gamma(rate: float) -> float:
    """Γ(R): no method has a lower normalized error on iid Gaussian matrices."""

    def phi(r):
        return 2 * 4.0**-r - 16.0**-r

    return phi(rate) if rate >= R_STAR else 1 - (1 - phi(R_STAR)) * rate / R_STAR


def gamma_inverse(error: float) -> float:
    """The rate at which Γ equals the error."""
    low, high = 0.0, 40.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if gamma(middle) > error else (low, middle)
    return 0.0 if error >= 1 else low


class Truth:
    """The exact product of a pair and what errors are measured by."""

    def __init__(self, a: np.ndarray, b: np.ndarray):
        a, b = a.astype(np.float64), b.astype(np.float64)
        self.product = a.T @ b
        a, b = a - a.mean(0), b - b.mean(0)
        self.scale = float(np.square(a).sum() * np.square(b).sum() / len(a))
        self.signal = float(np.square(a.T @ b).sum() / self.scale)
        self._rank = _rank(a), _rank(b)
        energy = np.square(a).sum(0), np.square(b).sum(0)
        self._limit = Limit(*map(_profile, energy))
        self._columns = [(float(e.sum() ** 2 / np.square(e).sum()), len(e)) for e in energy]

    def error(self, estimate: np.ndarray) -> float:
        """Normalized error of an estimate."""
        return float(np.square(self.product - estimate).sum() / self.scale)

    def deviation(self, allocate: str = "matrix") -> float:
        """Predicted relative standard deviation of the error energy of one product, √(½(1/(a r_B) + 1/(b r_A))).

        With equal relative precision of the columns, their effective numbers (Σe)²/Σe² stand in for a and b.
        """
        a, b = (effective if allocate == "column" else count for effective, count in self._columns)
        return float(np.sqrt(0.5 * (1 / (a * self._rank[1]) + 1 / (b * self._rank[0]))))

    def over(self, error: float, rate_a: float, rate_b: float) -> float:
        """Bits by which both rates could be lowered until the limit for columns of these energies is the error."""
        return self._limit.excess(self.equivalent(error), rate_a, rate_b)

    def equivalent(self, error: float) -> float:
        """The error that the same noise gives for unrelated operands."""
        s = self.signal
        return error if abs(s - 1) < 0.1 else error * s / (s - error + error * s)


def _profile(energies: np.ndarray) -> Profile:
    octaves = np.sort(np.log2(energies[energies > 0]))[::-1]
    return Profile(octaves, np.ones(len(octaves), np.int64), int((energies == 0).sum()))


def _rank(x: np.ndarray) -> float:
    gram = x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T
    return float(np.trace(gram) ** 2 / np.square(gram).sum())


def nqz(*arguments: object) -> float:
    """Run the command line; return the seconds it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "nqz", *map(str, arguments)], check=True)
    return time.perf_counter() - start


def file_rate(paths, entries: int) -> float:
    """Bits an entry of some files, everything counted."""
    return 8.0 * sum(os.path.getsize(path) for path in paths) / entries


def save(folder: Path, a: np.ndarray, b: np.ndarray) -> tuple[Path, Path]:
    """Write the pair as .npy files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "A.npy", folder / "B.npy"
    np.save(paths[0], a)
    np.save(paths[1], b)
    return paths
