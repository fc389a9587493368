"""A pair of matrices against which a quantizer without randomness fails: the error of the product grows with n.

usage: python docs/adversary.py [N ...]        lengths, powers of two; 256 1024 4096 16384 by default

Whoever knows how the entries of A will be rounded can choose a pattern t of signs, put each entry of A, a random one,
just beside the middle between two neighbors, on the side that makes its rounding error have the sign of t, and choose
a B whose signs are t. The error ⟨a - â, b⟩ of a product is then the sum of n terms of one sign. Relative to
‖A‖²‖B‖²/n its square grows with n, where that of random errors stays. A rotation that is known is no help: the pair
is made in the rotated coordinates. nqz gets the same pair and no more bytes; its dither is not known (docs/theory.md,
section 2).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

import nqz
from nqz.reference.rotate import rotate
from nqz.stages.transforms.hadamard2 import HADAMARD2, signs

Floats = npt.NDArray[np.float64]
Quantizer = Callable[[Floats], Floats]

COLUMNS = 64
LENGTHS = (256, 1024, 4096, 16384)
_BESIDE = 0.05  # of the way from one neighbor to the other
_TOP = 7.0  # the largest magnitude of a column: its scale is by that

INT4 = np.arange(-7.0, 8.0)
NF4 = _TOP * np.array(
    [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.09105, 0.0,
     0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.562617, 0.7229568, 1.0]
)  # fmt: skip


def nearest_level(x: Floats, levels: Floats) -> Floats:
    """Round entries to the nearest of some levels."""
    found: Floats = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2.0, x)]
    return found


def nearest_e8(x: Floats) -> Floats:
    """Round groups of eight entries of a column to the nearest point of the lattice E8."""
    groups = x.reshape(-1, 8, x.shape[1])
    found = [_nearest_d8(groups), _nearest_d8(groups - 0.5) + 0.5]
    far = [np.square(groups - y).sum(1, keepdims=True) for y in found]
    return np.where(far[1] < far[0], found[1], found[0]).reshape(x.shape)


def _nearest_d8(groups: Floats) -> Floats:
    """Integers with an even sum."""
    y = np.rint(groups)
    error = groups - y
    worst = np.abs(error).argmax(1)[:, None]
    step = np.where(np.take_along_axis(error, worst, 1) < 0.0, -1.0, 1.0) * (y.sum(1, keepdims=True) % 2.0)
    np.put_along_axis(y, worst, np.take_along_axis(y, worst, 1) + step, 1)
    return y


def scaled(round_to: Quantizer, top: float) -> Quantizer:
    """A quantizer with a scale for each column: its largest magnitude becomes `top`."""

    def quantize(x: Floats) -> Floats:
        scale = (np.abs(x).max(0) / top).astype(np.float32)
        rounded: Floats = round_to(x / scale) * scale
        return rounded

    return quantize


def rotated(x: Floats, inverse: bool) -> Floats:
    """Columns in the coordinates to which nqz itself rotates them, with the seed that everybody has; or back."""
    turned = np.ascontiguousarray(x.T, np.float32)
    if inverse:
        rotate(turned, signs(0, len(x)), inverse=True)
    else:
        HADAMARD2.rotate(turned, 0)
    found: Floats = turned.T.astype(np.float64)
    return found


def signs_even(rng: np.random.Generator, n: int) -> Floats:
    """Signs for the errors, -1 an even number of times in every eight."""
    t = rng.choice([-1.0, 1.0], (n // 8, 8))
    t[:, 0] *= t.prod(1)
    return t.reshape(n, 1)


def beside_levels(rng: np.random.Generator, t: Floats, levels: Floats) -> Floats:
    """Random columns whose entries are rounded by half a gap, in the direction of -t."""
    gap = rng.integers(0, len(levels) - 1, (len(t), COLUMNS))
    middle, width = (levels[gap + 1] + levels[gap]) / 2.0, levels[gap + 1] - levels[gap]
    x: Floats = middle - _BESIDE * width * t
    x[0] = _TOP
    return x


def beside_e8(rng: np.random.Generator, t: Floats) -> Floats:
    """Random columns whose groups are rounded by a quarter, in the direction of -t: t/2 is a point of E8."""
    x = nearest_e8(rng.uniform(-_TOP + 1.5, _TOP - 1.5, (len(t), COLUMNS))) + (0.25 - _BESIDE / 2.0) * t
    x[:8] = 0.0
    x[0] = _TOP - 0.5  # of all entries the largest
    return x


QUANTIZERS: dict[str, tuple[Quantizer, Callable[[np.random.Generator, Floats], Floats]]] = {
    "int4": (
        scaled(lambda x: nearest_level(x, INT4), _TOP),
        lambda rng, t: beside_levels(rng, t, INT4),
    ),
    "NF4": (
        scaled(lambda x: nearest_level(x, NF4), _TOP),
        lambda rng, t: beside_levels(rng, t, NF4),
    ),
    "E8": (scaled(nearest_e8, _TOP - 0.5), beside_e8),
}
"""Each with what makes columns against it. All take 4 bits an entry, and a float32 a column."""


def pair(rng: np.random.Generator, n: int, name: str, turned: bool) -> tuple[Floats, Floats]:
    """A and B against a quantizer, float32 values; columns of B are centered before a rotation."""
    half = signs_even(rng, n // 2)
    t = np.concatenate([half, -half])
    a = QUANTIZERS[name][1](rng, t)
    size = rng.integers(1, 8, (n // 2, COLUMNS))
    b = t * np.concatenate([size, size])
    if turned:
        a, b = rotated(a, True), rotated(b, True)
    return a.astype(np.float32).astype(np.float64), b.astype(np.float32).astype(np.float64)


def error_of(a: Floats, b: Floats, estimate: Floats) -> float:
    """‖AᵀB - Ĉ‖² relative to ‖Ā‖²‖B̄‖²/n."""
    scale = np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / len(a)
    return float(np.square(a.T @ b - estimate).sum() / scale)


def quantized_error(a: Floats, b: Floats, name: str, turned: bool) -> float:
    """What a quantizer makes of a pair."""
    quantize = QUANTIZERS[name][0]
    left, right = (quantize(rotated(x, False) if turned else x) for x in (a, b))
    return error_of(a, b, left.T @ right)


def nqz_errors(a: Floats, b: Floats, seed: int = 0) -> tuple[float, float]:
    """What nqz makes of a pair with the same number of bytes, and what it predicts."""
    size = a.size // 2 + 4 * a.shape[1]
    files = [nqz.encode(x.astype(np.float32), max_bytes=size, seed=seed) for x in (a, b)]
    assert max(map(len, files)) <= size
    with nqz.open(files[0]) as x, nqz.open(files[1]) as y:
        return error_of(a, b, nqz.matmul(x, y).astype(np.float64)), nqz.predicted_error(x, y)


ATTACKS = [(name, turned) for turned in (False, True) for name in QUANTIZERS]


def attacked(n: int) -> dict[str, tuple[float, float, float]]:
    """For each quantizer, rotated or not, its error on a pair made against it, nqz's there, and its prediction."""
    found = {}
    for number, (name, turned) in enumerate(ATTACKS):
        rng = np.random.default_rng([n, number])
        a, b = pair(rng, n, name, turned)
        label = f"{name}, rotated" if turned else name
        found[label] = quantized_error(a, b, name, turned), *nqz_errors(a, b)
    return found


def unaimed(n: int) -> dict[str, float]:
    """The errors on a Gaussian pair."""
    rng = np.random.default_rng(n)
    a, b = (rng.standard_normal((n, COLUMNS)).astype(np.float32).astype(np.float64) for _ in range(2))
    found = {name: quantized_error(a, b, name, False) for name in QUANTIZERS}
    return {**found, "nqz": nqz_errors(a, b)[0]}


def residue(n: int, seed: int) -> tuple[float, float]:
    """B is what the file of A leaves out, for the usual seed: the error with another seed, and its prediction."""
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, COLUMNS)).astype(np.float32)
    coded = nqz.encode(a, max_bytes=a.size // 2 + 4 * COLUMNS)
    rest = (a - np.asarray(nqz.decode(coded))) @ rng.choice([-1.0, 1.0], (COLUMNS, COLUMNS))
    return nqz_errors(a.astype(np.float64), rest.astype(np.float32).astype(np.float64), seed)


def main(lengths: list[int]) -> None:
    """Print the tables."""
    out = sys.stdout.write
    gauss = unaimed(4096)
    out("a Gaussian pair, n = 4096: " + ", ".join(f"{name} {error:.3g}" for name, error in gauss.items()))
    out("\n\nerrors of products, relative to ‖Ā‖²‖B̄‖²/n, of pairs made against each quantizer;\n")
    out("nqz on the same pairs: the largest, and the mean of measured over predicted\n")
    names = [f"{name}, rotated" if turned else name for name, turned in ATTACKS]
    out("".join(f"{name:>15}" for name in ["n", *names, "nqz", "over predicted"]) + "\n")
    for n in lengths:
        found = attacked(n)
        worst = max(error for _, error, _ in found.values())
        over = float(np.mean([error / predicted for _, error, predicted in found.values()]))
        cells = [*(error for error, _, _ in found.values()), worst, over]
        out(f"{n:15d}" + "".join(f"{cell:15.3g}" for cell in cells) + "\n")
    out("\nB is what the file of A leaves out, n = 4096: nqz's error, and its prediction\n")
    for seed, text in ((0, "for the seed that was known"), (1, "for another seed")):
        error, predicted = residue(4096, seed)
        out(f"{text:>30} {error:8.3g} {predicted:8.3g}\n")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(LENGTHS))
