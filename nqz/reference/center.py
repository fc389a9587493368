"""Center the columns, and put the means back."""

from __future__ import annotations

import numpy as np

from nqz.reference.layout import require, widen
from nqz.reference.statistics import check_exponent


def center(
    block: np.ndarray, bfloat16: bool, mean: np.ndarray, exponent: np.ndarray, out: np.ndarray
) -> None:
    """Center, scale and transpose: out[j] = (block[:, j] - mean[j]) / 2^exponent[j].

    Parameters
    ----------
    block : numpy.ndarray
        [n, w], float16, float32, float64, or bfloat16 as uint16; any strides.
    bfloat16 : bool
        Whether uint16 entries are bfloat16.
    mean : numpy.ndarray
        float64 [w].
    exponent : numpy.ndarray
        int32 [w], -1100 to 1100.
    out : numpy.ndarray
        float32 [w, n], written.
    """
    x = widen(block, bfloat16)
    n, width = x.shape
    require(mean.shape == (width,) and mean.dtype == np.float64, "mean must be float64 [w]")
    check_exponent(exponent, width)
    require(out.shape == (width, n) and out.dtype == np.float32, "out must be float32 [w, n]")
    with np.errstate(all="ignore"):
        # Halved before the subtraction, so that it cannot overflow.
        half = x * 0.5 - mean * 0.5
        out[...] = np.ldexp(half, 1 - exponent[None, :]).astype(np.float32).T


def restore(u: np.ndarray, scale: np.ndarray, mean: np.ndarray, out: np.ndarray) -> None:
    """Write out[i, j] = u[j, i] * scale[j] + mean[j], rounded in float64; float32 output saturates.

    Parameters
    ----------
    u : numpy.ndarray
        float32 [w, n].
    scale, mean : numpy.ndarray
        float64 [w].
    out : numpy.ndarray
        float32 or float64 [n, w], any strides, written.
    """
    require(u.ndim == 2 and u.dtype == np.float32, "u must be float32 [w, n]")
    width, n = u.shape
    require(scale.shape == (width,) and scale.dtype == np.float64, "scale must be float64 [w]")
    require(mean.shape == (width,) and mean.dtype == np.float64, "mean must be float64 [w]")
    require(out.shape == (n, width), "out must be [n, w]")
    require(out.dtype in (np.float32, np.float64), "out must be float32 or float64")
    with np.errstate(all="ignore"):
        y = u.T.astype(np.float64) * scale + mean
    if out.dtype == np.float32:
        largest = float(np.finfo(np.float32).max)
        y = np.clip(y, -largest, largest)
    out[...] = y
