"""The codec: Figure 1 of the paper, one module a box.

An encoded column passes through `center`, `rotate`, `project`, `scale`, `dither`, `lattice` and then one of two
codings of the lattice point: `entropy` (a large coarse lattice and an entropy coder) or `mod` (the nested code Λ/qΛ).
`encoder` and `decoder` string the boxes together; `norms` is the side information; `allocate` and `nest` choose the
parameters for a rate; `estimate`, `signal` and `product` are the decoder of Figure 2 and its error. Nothing here
knows a path.
"""
