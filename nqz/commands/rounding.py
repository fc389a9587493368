"""What the rounding of decoded entries to a type adds to their error: what is far from 0 has a coarse grid."""

from __future__ import annotations

import numpy as np

from nqz.ground.arithmetic import total
from nqz.matrix import Matrix
from nqz.stages import norms

# binary digits of a number, and the exponent of the smallest one
_TYPES = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}

_NARROW = 4.0  # standard deviations that entries lie within
_MOST = 400  # beyond, all entries are rounded to 0, or nearly
_SPREAD = 0.54  # mean square of 2 ** floor(log2 x) / x where log2 x is uniform


def rounding_error(matrix: Matrix, dtype: str) -> float:
    """Expected energy of the rounding of all decoded entries to a type, relative to ‖Ā‖².

    Raises
    ------
    CorruptError
        The means are damaged.
    """
    digits, least = _TYPES[dtype]
    histogram = matrix.histogram
    exponent = norms.loudest(histogram.codes) // norms.DOUBLING
    whole = total(histogram.energies(norms.DOUBLING * exponent))
    if whole <= 0.0:
        return 0.0
    n, energy = matrix.parameters.n, 0.0
    smallest = 4.0 ** min(least - exponent, _MOST)
    for panel in matrix.panels:
        codes, mean = panel.codes, np.abs(np.ldexp(panel.means.at(slice(None)), -exponent))
        variance = norms.energy(codes, norms.DOUBLING * exponent) / n
        far = mean > _NARROW * np.sqrt(variance)
        binade = np.ldexp(0.5, np.frexp(mean)[1])
        size = np.where(far, binade * binade, _SPREAD * (mean * mean + variance))
        step = np.maximum(size * 4.0 ** (1 - digits), smallest)
        energy += float(np.where(codes == norms.ZERO, 0.0, step).sum()) * n / 12.0
    return min(energy / whole, 1.0)  # what is rounded to 0 is off by itself


def decoded_error(matrix: Matrix, dtype: str, estimator: str = "mmse") -> float:
    """Expected ‖A - Â‖² / ‖Ā‖² of a decoded matrix in a type."""
    return matrix.predicted_reconstruction(estimator) + rounding_error(matrix, dtype)
