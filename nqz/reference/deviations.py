"""Standard deviations of estimates of products, entry by entry: what all that they are off by adds up to."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, require

_LEAST, _MOST = 1e-270, 1e270
"""Sums of squares within are as good as exact: no square that counts is beyond float64."""


def deviations(
    raw: Array,
    a: Array,
    b: Array,
    group: Array,
    theta: Array,
    shrink: float,
    kappa: float,
    related: float,
    length: float,
    rounding: float,
    exponent: int,
    estimates: Array,
    out: Array,
) -> tuple[int, int, int]:
    """Standard deviations of entries of a product, not-a-number for those of columns without points.

    Parameters
    ----------
    raw : numpy.ndarray
        int32 or float64 [r, c], the exact products of points.
    a, b : numpy.ndarray
        float64 [5, r] and [5, c], of each column: what a point is worth, relative to the norm; the norm; the relative
        noise, infinite without points; the absolute value of the mean; the step to which that was rounded.
    group : numpy.ndarray
        int32 [r], rows of `theta`.
    theta : numpy.ndarray
        float64 [g, c], mean energy of entries of the product, where squares of both norms multiplied have `length`.
    shrink : float
        The factor of an estimate is 1 / (1 + shrink ν). Where it is not 0, the energy of the product is that of
        `theta`, and elsewhere that of each entry.
    kappa, related : float
        The share of the coordinates, and what related columns have beyond ν.
    length : float
        Of columns.
    rounding : float
        Root mean square of the rounding of an estimate, relative to its power of two.
    exponent : int
        -2044 to 2044: norms multiplied are in units of 2 ** exponent.
    estimates : numpy.ndarray
        float32 or float64 [r, c].
    out : numpy.ndarray
        As `estimates`, written.

    Returns
    -------
    tuple of int
        The row-major position of the first infinite result, or -1; how many are not-a-number; and of how many more
        than half of the square is rounding.
    """
    require(raw.dtype in (np.int32, np.float64), "raw must be int32 or float64")
    require(
        a.shape == (5, raw.shape[0]) and b.shape == (5, raw.shape[1]), "sides must be float64 [5, r], [5, c]"
    )
    require(group.shape == raw.shape[:1], "group must be int32 [r]")
    require(theta.shape[1:] == raw.shape[1:], "theta must be float64 [g, c]")
    require(((group >= 0) & (group < len(theta))).all(), "group names a row that does not exist")
    require(out.dtype == estimates.dtype, "estimates and out must be of one type")
    require(estimates.shape == out.shape == raw.shape, "estimates and out must be [r, c]")
    require(-2044 <= exponent <= 2044, "exponent is out of range")
    (unit_a, norm_a, noise_a, mean_a, step_a), (unit_b, norm_b, noise_b, mean_b, step_b) = a[:, :, None], b
    half = exponent if -1022 <= exponent <= 1023 else int(exponent / 2)
    share, lost = 1.0 / kappa, 1.0 - kappa
    with np.errstate(all="ignore"):
        nu = (noise_a + noise_b + noise_a * noise_b + lost) * share
        cosine = raw.astype(np.float64) * unit_a * unit_b * share
        square = np.where(cosine * cosine < 1.0, cosine * cosine, 1.0)
        alpha = 1.0 / (1.0 + nu * shrink)
        missed = nu * shrink * alpha
        mean = theta[group]
        if shrink > 0.0:
            square = mean * (1.0 / length)
        noise = alpha * alpha * (nu + related * square) + missed * missed * mean
        noise = np.where(noise > 0.0, noise, 0.0)
        size = norm_a * norm_b * np.sqrt(noise * (1.0 / length))
        size = size * np.ldexp(1.0, half) * np.ldexp(1.0, exponent - half)
        first, second = mean_a * step_b, mean_b * step_a
        rounded = rounding * _power_of_two(np.abs(estimates.astype(np.float64)))
        squares = size * size + first * first + second * second + rounded * rounded
        result = np.sqrt(squares)
        far = ~((squares > _LEAST) & (squares < _MOST))
        if far.any():
            result[far] = _far(*(x[far] for x in (size, first, second, rounded)))
        unknown = ~(nu < np.inf)
        result[unknown] = np.nan
        out[...] = result
        coarse = ~unknown & (2.0 * (rounded * rounded) > squares) & (squares < _MOST)
    infinite = np.isinf(out)
    position = int(np.argmax(infinite.reshape(-1))) if infinite.any() else -1
    return position, int(unknown.sum()), int(coarse.sum())


def _power_of_two(x: Array) -> Array:
    """The largest power of two that is at most x, 0 for subnormal numbers."""
    bits = x.view(np.int64) & (0x7FF << 52)
    return bits.view(np.float64)


def _far(*parts: Array) -> Array:
    """Roots of sums of squares, parts of which may be beyond float64."""
    most = np.maximum(np.maximum(parts[0], parts[1]), np.maximum(parts[2], parts[3]))
    scale = np.where(most < 2.0**-1022, 2.0**-1022, _power_of_two(most))
    squares = np.zeros(len(most))
    for part in parts:
        squares = squares + (part / scale) * (part / scale)
    return np.where(most < np.inf, scale * np.sqrt(squares), np.inf)
