"""The stages: Figure 1 of the paper, one module a box, from the columns of a matrix to the arrays of chunks and back.

For every box: its module here, its twin in plain NumPy in `nqz/reference`, the kernels of `nqz.kernels` that do the
work, and the sections of docs/theory.md and docs/format.md. Stages return arrays and integers, and know nothing of
bytes or paths.

| box | module | reference | kernels | theory | format |
|---|---|---|---|---|---|
| norms and means | statistics.py, sums.py, norms.py, grid.py | statistics.py | column_statistics | 3 | 10, 11 |
| center | center.py | center_rotate.py | center_rotate | 4 | 11, 12 |
| S: rotate | transforms/ | rotate.py | center_rotate, rotate | 4 | 12 |
| P: keep κn coordinates | project.py | figure1.py | words | 4, 5 | 12 |
| 1/Δ: scale, class | scale.py | fixed_point.py | dither_quantize | 3, 5 | 13 |
| panels, chunks, lanes | panels.py, chunks.py | layout.py | Place | - | 13 |
| + z: dither | dither.py | dither.py | words, levels, dither_quantize | 2 | 13 |
| Q: nearest point of Λ | lattices/ | lattices/, dither_quantize.py | dither_quantize | 2, 3 | 14 |
| mod Λc: entropy coding | codings/entropy.py | codings/entropy.py | entropy_encode, entropy_decode | 3 | 15 |
| its tables | codings/tables.py | codings/tables.py | Tables | 3 | 15 |
| mod Λc: nested code | codings/voronoi.py | codings/voronoi.py | voronoi_encode, voronoi_decode | 6 | 16 |
| mod Λc: rings | codings/trellis.py, codings/rings.py | codings/ring.py | ring_encode, ring_decode | 6, 9 | 16 |
| the whole way there | encoder.py | figure1.py | - | - | - |
| back: scale, rotate, add the mean | decoder.py | restore.py | restore | 2, 3 | 12, 13 |
| α, and what error to expect | estimate.py | estimate.py | estimate | 4 | - |

`parameters.Parameters` name a transform, a lattice and a coding: objects of the registries `transforms.TRANSFORMS`,
`lattices.LATTICES` and `codings.CODINGS`, each with a written contract. `digest` names the data of a source, for the
key of the dither; `grid` fixes the order of sums; `partner` says what the other factor leaves of a product; `loud`
parts vectors that are far louder than the rest from these; `dependence` tells how the noise of a coding hangs together
with what is coded. What to spend bits on is chosen in `nqz.plan`; products, Figure 2, are in `nqz.product`.
"""
