"""Statistics of the columns: first entry, shifted sum, shifted sum of squares, largest magnitude."""

from __future__ import annotations

import numpy as np

from nqz.reference.arrays import Array, check, require, widen, within


def column_statistics(block: Array, bfloat16: bool, state: Array, exponent: Array, started: bool) -> int:
    """Add the rows of `block` to the running statistics of its columns, row after row.

    Parameters
    ----------
    block : numpy.ndarray
        [r, w], float16, float32, float64, or bfloat16 as uint16; any strides.
    bfloat16 : bool
        Whether uint16 entries are bfloat16.
    state : numpy.ndarray
        float64 [4, w], updated: first entry, sum and sum of squares of the differences from it, largest
        magnitude; all of the entries times 2^-exponent.
    exponent : numpy.ndarray
        int32 [w], -1100 to 1100.
    started : bool
        Whether `state` already holds earlier rows.

    Returns
    -------
    int
        -1, or the row-major position of the first entry that is not finite (`state` is then unspecified).
    """
    x = widen(block, bfloat16)
    rows, width = x.shape
    check({"state float64 [4, w]": state, "exponent int32 [w]": exponent}, w=width)
    check_exponent(exponent)
    finite = np.isfinite(x)
    if not finite.all():
        return int(np.argmin(finite.reshape(-1)))
    with np.errstate(all="ignore"):
        v = np.ldexp(x, -exponent[None, :])
        for i in range(rows):
            if i == 0 and not started:
                state[0] = v[0]
            d = v[i] - state[0]
            state[1] += d
            state[2] += d * d
            magnitude = np.abs(v[i])
            state[3] = np.where(magnitude > state[3], magnitude, state[3])
    return -1


def check_exponent(exponent: Array) -> None:
    """Raise ValueError unless exponents are within the range of the kernels."""
    require(within(exponent, -1100, 1100), "exponent is out of range")
