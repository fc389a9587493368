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
    voronoi=VoronoiCells(
        fineness=8,
        cells={
            2: (4.7, 4.75, 4.8, 5.4),
            3: (4.7, 4.75, 4.8, 6.4),
            4: (3.45, 4.75, 4.8, 6.2),
            6: (3.6, 4.75, 4.8, 6.3),
            8: (3.6, 4.55, 5.6, 6.9),
            16: (3.65, 4.65, 5.9, 7.6),
            64: (3.9, 4.95, 6.6, 9.15),
        },
        index_bits=1.5,
        knee=4,
    ),
)
