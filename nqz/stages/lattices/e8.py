"""E8: Construction A from the Reed-Muller code RM(1, 3).

Second moment: Conway & Sloane, "Voronoi regions of lattices, second moments of polytopes, and quantization" (1982).
"""

from __future__ import annotations

from nqz.stages.lattices.lattice import Lattice, VoronoiCells

E8 = Lattice(
    name="e8",
    family="e8",
    number=2,
    fine=8,
    block=8,
    group=8,
    code_bits=0.5,
    second_moment=929 / 6480,
    modelled_below=48,
    low_bits=(
        0.1459, 0.2181, 0.2873, 0.3544, 0.4198, 0.4840, 0.5475, 0.6105, 0.6731, 0.7357, 0.7982, 0.8607,
        0.9232, 0.9856, 1.0481, 1.1105, 1.1730, 1.2354, 1.2979, 1.3603, 1.4228, 1.4852,
    ),
    voronoi=VoronoiCells(
        fineness=8,
        cells={
            2: (0.35, 3.48, 4.84, 5.17),
            3: (0.46, 2.8, 3.9, 4.8),
            4: (2.6, 3.4, 4.15, 5.15),
            6: (2.55, 3.2, 3.85, 4.5),
            8: (2.5, 3.1, 3.7, 4.45),
            16: (2.55, 3.2, 3.8, 4.7),
            64: (2.55, 3.2, 3.95, 5.25),
        },
        mixed={3: ((2.57, 3.52, 4.4, 5.17), (2.86, 3.81, 4.75, 5.6))},
        index_bits=1.25,
        knee=3,
    ),
)  # fmt: skip
