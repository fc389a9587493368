"""D4: Construction A from the words of even weight and length 4.

Second moment: Conway & Sloane, "Voronoi regions of lattices, second moments of polytopes, and quantization" (1982).
"""

from __future__ import annotations

from nqz.stages.lattices.lattice import Lattice, VoronoiCells

D4 = Lattice(
    name="d4",
    family="d4",
    number=1,
    fine=8,
    block=4,
    group=8,
    code_bits=0.75,
    second_moment=13 / 120,
    modelled_below=46,
    low_bits=(
        0.1247, 0.2016, 0.2749, 0.3454, 0.4136, 0.4800, 0.5450, 0.6091, 0.6724, 0.7355, 0.7982, 0.8608,
        0.9232, 0.9858, 1.0482, 1.1107, 1.1732, 1.2356, 1.2981, 1.3605, 1.4230, 1.4854, 1.5479, 1.6103,
    ),
    voronoi=VoronoiCells(
        fineness=8,
        cells={
            2: (0.45, 4.6, 4.63, 6.87),
            3: (0.44, 3.42, 4.9, 6.34),
            4: (3.17, 4.4, 5.7, 7.85),
            6: (3.05, 3.95, 5.0, 6.1),
            8: (3.05, 3.75, 4.5, 5.55),
            16: (3.0, 3.8, 4.6, 5.8),
            64: (3.0, 3.8, 4.8, 6.6),
        },
        index_bits=1.3,
        knee=3,
    ),
)  # fmt: skip
