"""convS: Construction A from the rate-½ convolutional code with S states, along the steps of each lane.

Second moments: mean square errors of the Viterbi search on 10⁸ uniform samples or more, standard errors at most 6e-6
(benchmarks/second_moments.py).
"""

from __future__ import annotations

import numpy as np

from nqz.stages.lattices.lattice import Lattice

_MOMENTS = {
    4: 0.133214,
    8: 0.130512,
    16: 0.128745,
    32: 0.126984,
    64: 0.125715,
    128: 0.124786,
    256: 0.124165,
    512: 0.123648,
    1024: 0.123181,
    2048: 0.122947,
    4096: 0.122543,
}

# The two branches of a trellis step have complementary labels, of either kind equally often.
_LABELS = np.array([[0, 0], [1, 1]]), np.array([[0, 1], [1, 0]])

CONV = tuple(
    Lattice(
        name=f"conv{states}",
        family="conv",
        number=32 + states.bit_length() - 1,
        fine=8,
        block=2,
        group=8,
        code_bits=0.5,
        second_moment=moment,
        modelled_below=48,
        codewords=_LABELS,
        states=states,
    )
    for states, moment in _MOMENTS.items()
)
