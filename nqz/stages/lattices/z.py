"""The integers: Λ = Z, scalar quantization."""

from __future__ import annotations

from nqz.stages.lattices.lattice import Lattice, VoronoiCells

Z = Lattice(
    name="z",
    family="z",
    number=0,
    fine=16,
    block=1,
    group=8,
    code_bits=0.0,
    second_moment=1 / 12,
    low_bits=(
        0.1731, 0.2519, 0.3274, 0.3998, 0.4696, 0.5375, 0.6038, 0.6689, 0.7330, 0.7965, 0.8596, 0.9224,
        0.9851, 1.0483, 1.1108, 1.1732,
    ),
    voronoi=VoronoiCells(
        fineness=8,
        cells={
            2: (4.7, 4.75, 4.8, 5.4),
            3: (0.5, 4.84, 4.86, 8.21),
            4: (0.53, 3.91, 5.85, 8.28),
            6: (3.69, 4.93, 6.39, 8.12),
            8: (3.6, 4.55, 5.6, 6.9),
            16: (3.65, 4.65, 5.9, 7.6),
            64: (3.9, 4.95, 6.6, 9.15),
        },
        index_bits=1.5,
        knee=4,
    ),
)  # fmt: skip
