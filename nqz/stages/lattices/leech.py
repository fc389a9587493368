"""The Leech lattice times √8.

Second moment: measured on 3·10⁸ uniform samples, standard error 1.3e-5 (benchmarks/second_moments.py); the estimate
of Conway & Sloane (1982) is 0.52617 ± 0.0006.
"""

from __future__ import annotations

from nqz.stages.lattices.lattice import Lattice, VoronoiCells

LEECH = Lattice(
    name="leech",
    family="leech",
    number=3,
    fine=4,
    block=24,
    group=24,
    code_bits=13 / 24,
    second_moment=0.526024,
    low_bits=(
        0.5611, 0.5717, 0.5849, 0.6025, 0.6222, 0.6465, 0.6746, 0.7061, 0.7418, 0.7808, 0.8233, 0.8692,
        0.9177, 0.9688, 1.0224, 1.0774,
    ),
    last_follows=True,
    voronoi=VoronoiCells(
        fineness=16,
        cells={
            2: (0.43, 0.83, 1.38, 1.76),
            3: (1.2, 1.42, 1.64, 1.86),
            4: (1.24, 1.47, 1.65, 1.86),
            6: (1.27, 1.48, 1.64, 1.86),
            8: (1.27, 1.45, 1.64, 1.88),
            16: (1.33, 1.5, 1.7, 1.98),
            64: (1.32, 1.51, 1.77, 2.16),
        },
        mixed={3: ((1.26, 1.49, 1.72, 1.95), (1.18, 1.4, 1.57, 1.77))},  # of nearly one gain
        index_bits=0.8,
        knee=3,
    ),
)  # fmt: skip
