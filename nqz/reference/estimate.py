"""From exact products to estimates (Figure 2), entry by entry; and the energy of products by groups of rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nqz.reference.arrays import Array, require


def estimate(
    raw: Array,
    unit_a: Array,
    unit_b: Array,
    spread_a: Array,
    spread_b: Array,
    mean_a: Array,
    mean_b: Array,
    share: float,
    theta: float,
    factor: float,
    length: float,
    exponent: int,
    out: Array,
) -> int:
    """Estimate products from exact ones: α_ij raw_ij u_i v_j 2^exponent, and the product of the means.

    With ν_ij = spread_a[i] spread_b[j] share - 1 the factor is unit_a[i] unit_b[j] factor / (θ + ν_ij). Symmetric in
    the two sides, so that a matrix times itself comes out symmetric.

    Parameters
    ----------
    raw : numpy.ndarray
        int32 or float64 [r, c].
    unit_a, spread_a, mean_a : numpy.ndarray
        float64 [r].
    unit_b, spread_b, mean_b : numpy.ndarray
        float64 [c].
    share, theta, factor, length : float
    exponent : int
        -2044 to 2044.
    out : numpy.ndarray
        float32 or float64 [r, c], contiguous, written.

    Returns
    -------
    int
        -1, or the row-major position of the first result that is not finite.
    """
    require(raw.dtype in (np.int32, np.float64), "raw must be int32 or float64")
    require(out.shape == raw.shape, "out must be [r, c]")
    require(-2044 <= exponent <= 2044, "exponent is out of range")
    half = exponent if -1022 <= exponent <= 1023 else int(exponent / 2)
    with np.errstate(all="ignore"):
        nu = spread_a[:, None] * spread_b[None, :] * share - 1.0
        scale = unit_a[:, None] * unit_b[None, :] * factor / (theta + nu)
        product = raw.astype(np.float64) * scale * np.ldexp(1.0, half) * np.ldexp(1.0, exponent - half)
        out[...] = product + length * (mean_a[:, None] * mean_b[None, :])
    finite = np.isfinite(out)
    return -1 if finite.all() else int(np.argmin(finite.reshape(-1)))


def group_energies(
    raw: Array,
    order: Array,
    edges: Array,
    unit: Array,
    skips: bool,
    diagonal: int,
    out: Array,
) -> None:
    """Sum the squares of unit[i] raw[i, j] over groups of rows, row after row in the given order.

    Parameters
    ----------
    raw : numpy.ndarray
        int32 or float64 [r, c].
    order : numpy.ndarray
        int64: rows, group after group.
    edges : numpy.ndarray
        int64 [g + 1]: where the groups begin in `order`.
    unit : numpy.ndarray
        float64 [r].
    skips : bool
        Whether entries [i, i - diagonal] do not count.
    diagonal : int
    out : numpy.ndarray
        float64 [g, c], written.
    """
    require(raw.dtype in (np.int32, np.float64), "raw must be int32 or float64")
    out[...] = 0.0
    for g, (first, last) in enumerate(pairwise(edges)):
        for i in order[first:last]:
            x = raw[i] * unit[i]
            if skips and diagonal <= i < diagonal + len(x):
                x[i - diagonal] = 0.0
            out[g] += x * x
